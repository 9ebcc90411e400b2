//! The server on a thread of the test's own process, with limits of the test's choice.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use anchorhold_kms::instance::{Instance, Running};
use anchorhold_kms::server::{Limits, Server};
use anchorhold_kms_core::attestation::RecipientRules;
use anchorhold_verifier::TrustRoots;

use super::client::read_reply;
use super::{Client, Kms};

/// Limits that no caller reaches, however busy the machine is.
pub const LONG: Limits = Limits {
    connections: 64,
    calls: 64,
    handshake: Duration::from_secs(30),
    head: Duration::from_secs(30),
    body: Duration::from_secs(30),
    request: Duration::from_secs(30),
    idle: Duration::from_secs(30),
    last_answer: Duration::from_millis(200),
    drain: Duration::from_secs(30),
};

/// Limits short enough for a test of what they end. A caller on a busy machine may be ended too.
pub const SHORT: Limits = Limits {
    connections: 8,
    calls: 8,
    handshake: Duration::from_millis(400),
    head: Duration::from_millis(400),
    body: Duration::from_millis(400),
    request: Duration::from_secs(20),
    idle: Duration::from_millis(900),
    last_answer: Duration::from_millis(200),
    drain: Duration::from_secs(3),
};

/// A server with limits of the test's choice on a thread of its own.
pub struct Host {
    pub kms: Kms,
    pub client: Client,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    pub fn start() -> Self {
        Self::with(LONG)
    }

    pub fn with(limits: Limits) -> Self {
        let kms = Kms::new();
        let dir = kms.dir();
        let (send_url, url) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let (instance, lock) = Instance::open_to_serve(&dir).await.expect("open");
                let rules = RecipientRules::new(TrustRoots::new());
                let Running {
                    service,
                    writer,
                    lock,
                } = instance.start(lock, rules).await.expect("start");
                let address = "127.0.0.1:0".parse().expect("an address");
                let server = Server::listen(address, None, limits).await.expect("listen");
                send_url.send(server.url()).expect("the test waits");
                let end = async {
                    let _ = stopped.await;
                };
                server.run(service, end).await;
                writer.await.expect("the writer ends");
                drop(lock);
            });
        });
        let url = url.recv().expect("an endpoint");
        let client = Client::new(&url, &kms.administrator);
        Self {
            kms,
            client,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.client.address).expect("connect");
        let timeout = Some(Duration::from_secs(60));
        stream.set_read_timeout(timeout).expect("a timeout");
        stream
    }

    /// Sends bytes and reads until the server closes; whatever came back.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_all(&mut stream)
    }

    /// The server still serves. Who is cut off by a short limit, for a busy machine, comes again.
    pub fn check(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let reply = self.client.try_send("TrentService.ListKeys", "{}");
            if reply.as_ref().is_some_and(|reply| reply.status == 200) {
                return;
            }
            assert!(Instant::now() < end, "{reply:?}");
        }
    }

    pub fn head(&self, target: &str, length: &str, body: &str) -> String {
        let headers = self.client.signed_headers(target, body, SystemTime::now());
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        format!("POST / HTTP/1.1\r\n{lines}{length}\r\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("the server neither answers nor closes: {error}"),
        }
    }
}

pub fn status(answer: &[u8]) -> u16 {
    read_reply(answer).map_or(0, |reply| reply.status)
}
