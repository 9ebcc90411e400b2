//! A proxy between a Unix socket and TCP servers on loopback.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Instant;

use super::*;
use crate::resolve::Family;

/// A proxy in a state directory of its own, and what it reported.
struct Running {
    _root: tempfile::TempDir,
    socket: std::path::PathBuf,
    stop: Option<UnixStream>,
    events: Arc<Mutex<Vec<String>>>,
    thread: Option<thread::JoinHandle<Result<(), ProxyError>>>,
}

impl Running {
    fn start(host: &str, port: u16, listed: &str, workers: usize) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = StateDir::new(root.path().join("state"));
        let list = format!("allowlist: [{{address: '{listed}', port: {port}}}]");
        let allowlist = Allowlist::parse(&list).expect("an allowlist");
        let target = Target::new(host, port, Family::Any);
        let config = ProxyConfig::new(state.clone(), 38_000, target, allowlist)
            .workers(workers)
            .idle(Duration::from_secs(20));
        let proxy = Proxy::bind(config).expect("bind");
        let (stop, stopped) = UnixStream::pair().expect("socket pair");
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let report = move |event: ProxyEvent| {
            seen.lock().expect("events").push(event.to_string());
        };
        let thread = thread::spawn(move || proxy.run(stopped.into(), Arc::new(report)));
        Self {
            socket: state.shared_listener(38_000),
            _root: root,
            stop: Some(stop),
            events,
            thread: Some(thread),
        }
    }

    fn dial(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("connect");
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).expect("timeout");
        stream
    }

    fn reported(&self, what: &str) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            let events = self.events.lock().expect("events");
            if events.iter().any(|event| event.contains(what)) {
                return true;
            }
            drop(events);
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn stop(mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().expect("running");
        thread.join().expect("no panic").expect("stopped");
        assert!(!self.socket.exists(), "the socket is removed");
    }
}

/// Answers each connection with its number once it has read a byte.
fn numbering_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("accept");
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    stream.write_all(&[number as u8]).expect("answer");
                }
            });
        }
    });
    port
}

fn ask(mut stream: &UnixStream) -> u8 {
    stream.write_all(b"?").expect("question");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("answer");
    answer[0]
}

#[test]
fn a_target_that_is_down_ends_the_connection_with_a_reason() {
    // Nothing listens on port 1.
    let proxy = Running::start("127.0.0.1", 1, "127.0.0.1", 1);
    let mut rest = Vec::new();
    // Closed with nothing sent: the end, or a reset.
    let _ = proxy.dial().read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert!(proxy.reported("cannot connect to 127.0.0.1"));
    proxy.stop();
}

#[test]
fn a_target_that_is_not_listed_is_never_dialled() {
    let port = numbering_server();
    let proxy = Running::start("127.0.0.1", port, "127.0.0.2", 1);
    let mut rest = Vec::new();
    let _ = proxy.dial().read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert!(proxy.reported("not in the allowlist"));
    proxy.stop();
}

#[test]
fn an_address_that_a_listed_name_has_is_dialled() {
    let port = numbering_server();
    let proxy = Running::start("127.0.0.1", port, "localhost", 1);
    assert_eq!(ask(&proxy.dial()), 0);
    proxy.stop();
}

#[test]
fn a_second_proxy_on_the_port_is_refused() {
    let proxy = Running::start("127.0.0.1", 1, "127.0.0.1", 1);
    let state = StateDir::new(proxy.socket.parent().expect("state").to_owned());
    let allowlist = Allowlist::parse("allowlist: []").expect("an allowlist");
    let target = Target::new("127.0.0.1", 1, Family::Any);
    let config = ProxyConfig::new(state, 38_000, target, allowlist);
    let error = Proxy::bind(config).expect_err("in use");
    assert_eq!(error.rule(), "hybrid.in-use");
    proxy.stop();
}

#[test]
fn connections_are_forwarded_up_to_the_workers_and_then_in_turn() {
    let port = numbering_server();
    let proxy = Running::start("localhost", port, "localhost", 2);
    let (first, second) = (proxy.dial(), proxy.dial());
    let mut served = [ask(&first), ask(&second)];
    served.sort_unstable();
    assert_eq!(served, [0, 1]);

    let third = proxy.dial();
    (&third).write_all(b"?").expect("question");
    let wait = Some(Duration::from_millis(100));
    third.set_read_timeout(wait).expect("timeout");
    assert!((&third).read(&mut [0]).is_err(), "no worker is free");

    drop(first);
    let wait = Some(Duration::from_secs(10));
    third.set_read_timeout(wait).expect("timeout");
    let mut answer = [0];
    (&third).read_exact(&mut answer).expect("its turn");
    assert_eq!(answer, [2]);
    assert!(proxy.reported("1 bytes out, 1 bytes back"));
    proxy.stop();
}
