//! What peers can take together: calls, bodies, time; and that a refusal for want of them has its
//! event and leaves nothing half done.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anchorhold_kms::server::{BODY_BUDGET, Limits, MAX_BODY};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use support::client::read_reply;
use support::host::{Host, LONG, read_all};
use support::{Kms, Reply, comes};

/// A commit that waits for longer than the store's 5 seconds fails by that: a stall of a busy machine
/// that may have come near proves nothing.
const LONGEST_STALL: Duration = Duration::from_secs(4);

/// Keeps every commit of a KMS waiting until it is dropped.
struct Stall {
    runtime: tokio::runtime::Runtime,
    connection: Option<SqliteConnection>,
}

impl Stall {
    fn begin(kms: &Kms) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let options = SqliteConnectOptions::new().filename(kms.dir().join("kms.db"));
        let connection = runtime.block_on(async {
            let mut connection = options.connect().await.expect("connect");
            sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut connection)
                .await
                .expect("the lock");
            connection
        });
        Self {
            runtime,
            connection: Some(connection),
        }
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let closed = self.runtime.block_on(sqlx::Connection::close(connection));
            closed.expect("the lock is given back");
        }
    }
}

fn event(kms: &Kms, reply: &Reply) -> Value {
    let events = kms.events();
    let id = reply.request_id();
    let found = events.iter().filter(|event| event["requestID"] == *id);
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "each answer has one event");
    found[0].clone()
}

#[test]
fn a_call_out_of_time_is_refused_with_its_event() {
    let host = Host::with(Limits {
        request: Duration::ZERO,
        ..LONG
    });
    let reply = host.client.call("CreateKey", &json!({}));
    assert_eq!(
        (reply.exception(), reply.rule().as_str()),
        ("KMSInternalException", "server.timeout")
    );
    let event = event(&host.kms, &reply);
    assert_eq!(event["additionalEventData"]["rule"], "server.timeout");
    assert_eq!(event["eventName"], "CreateKey");
    let made = host.kms.events();
    assert!(made.iter().all(|event| event["responseElements"].is_null()));
}

/// A commit that takes longer than a call may is waited for: whoever is told of a failure can rely
/// on it.
#[test]
fn no_failure_is_told_of_a_call_that_is_then_committed() {
    assert!(
        (0..20).any(|_| outlasts_its_time()),
        "no call came to its commit in its time"
    );
}

/// Whether a call came to its commit in its time, which the commit then outlasted. One that came
/// not so far, on a busy machine, is refused, and has done nothing.
fn outlasts_its_time() -> bool {
    let host = Host::with(Limits {
        request: Duration::from_millis(500),
        ..LONG
    });
    host.check();
    let begin = Instant::now();
    let stall = Stall::begin(&host.kms);
    let (held, reply) = std::thread::scope(|scope| {
        let call = scope.spawn(|| host.client.call("CreateKey", &json!({})));
        std::thread::sleep(Duration::from_millis(1500));
        drop(stall);
        (begin.elapsed(), call.join().expect("no panic"))
    });
    if held >= LONGEST_STALL {
        return false;
    }
    if reply.rule() == "server.timeout" {
        let events = host.kms.events();
        let undone = |event: &Value| event["responseElements"].is_null();
        assert!(events.iter().all(undone), "{events:?}");
        return false;
    }
    let made = reply.clone().ok();
    assert_eq!(
        event(&host.kms, &reply)["responseElements"]["KeyMetadata"]["KeyId"],
        made["KeyMetadata"]["KeyId"]
    );
    true
}

#[test]
fn calls_beyond_the_limit_are_refused_with_their_events_though_their_peers_have_left() {
    // What a busy machine has not taken in during a stall needs a longer one.
    let scene = (0..20_u64).find_map(|attempt| crowded(Duration::from_secs(1 + attempt.min(2))));
    let (host, refused) = scene.expect("a stall in which all come");
    assert_eq!(
        (refused.exception(), refused.rule().as_str()),
        ("ThrottlingException", "server.busy")
    );
    let event = event(&host.kms, &refused);
    assert_eq!(event["additionalEventData"]["rule"], "server.busy");
    host.check();
    let keys = host.client.call("ListKeys", &json!({})).ok();
    assert_eq!(keys["Keys"].as_array().expect("keys").len(), 4);
    host.kms.verify();
}

/// A server that takes 4 calls, after 20 came during a stall and their peers left; and what it
/// answered one more that came then. Nothing where not all came during the stall.
fn crowded(stalled: Duration) -> Option<(Host, Reply)> {
    let host = Host::with(Limits { calls: 4, ..LONG });
    host.check();
    let begin = Instant::now();
    let stall = Stall::begin(&host.kms);
    let create = host.head("TrentService.CreateKey", "Content-Length: 2\r\n", "{}") + "{}";
    // Each leaves at once, as the owner of a reset stream does.
    for _ in 0..20 {
        let mut stream = host.connect();
        stream.write_all(create.as_bytes()).expect("write");
    }
    std::thread::sleep(stalled / 2);
    let (held, last) = std::thread::scope(|scope| {
        // Its answer waits for its event, which waits as all others do.
        let call = scope.spawn(|| host.client.call("ListKeys", &json!({})));
        std::thread::sleep(stalled / 2);
        drop(stall);
        (begin.elapsed(), call.join().expect("no panic"))
    });
    if held >= LONGEST_STALL {
        return None;
    }
    let (mut made, mut refused) = (0, 0);
    let all = comes(|| {
        let events = host.kms.events();
        let creations = events
            .iter()
            .filter(|event| event["eventName"] == "CreateKey");
        let of = |failed: bool| {
            let creations = creations.clone();
            let such = creations.filter(|event| event.get("errorCode").is_some() == failed);
            such.count()
        };
        (made, refused) = (of(false), of(true));
        made + refused == 20
    });
    assert!(all, "{made} calls were done and {refused} refused, of 20");
    (made == 4 && last.status != 200).then_some((host, last))
}

/// Begins a request of a full megabyte with another line in the place of its authorization, sends
/// all of it but the last byte, and keeps it open.
fn almost_all(host: &Host, authorization: &str) -> TcpStream {
    let length = format!("Content-Length: {MAX_BODY}\r\n");
    let head = host.head("TrentService.ListKeys", &length, "{}");
    let lines = head.lines().map(|line| {
        let is_it = line.starts_with("authorization:");
        let line = if is_it { authorization } else { line };
        format!("{line}\r\n")
    });
    let head: String = lines.collect();
    let mut stream = host.connect();
    stream.write_all(head.as_bytes()).expect("write");
    // The server may refuse before it has read everything.
    let _ = stream.write_all(&vec![b' '; MAX_BODY - 1]);
    stream
}

/// Nobody without an access key holds more than a little of the memory for bodies.
#[test]
fn a_large_body_is_not_read_of_nobody() {
    let host = Host::with(Limits {
        connections: 300,
        calls: 300,
        body: Duration::from_secs(20),
        ..LONG
    });
    let known = host.client.credentials.access_key_id.clone();
    for (authorization, rule) in [
        ("x-nothing: 1".to_owned(), "signature.missing"),
        (
            "authorization: AWS4-HMAC-SHA256 x".to_owned(),
            "signature.authorization-header",
        ),
    ] {
        let mut stream = almost_all(&host, &authorization);
        let reply = read_reply(&read_all(&mut stream));
        // The answer may be lost where the peer is still writing: then the connection is closed.
        if let Some(reply) = reply {
            assert_eq!(reply.rule(), rule, "{}", reply.body);
        }
    }
    let stranger = host.head("TrentService.ListKeys", "", "{}");
    let line = stranger
        .lines()
        .find(|line| line.starts_with("authorization:"))
        .expect("a signature")
        .replace(&known, "AHIAAAAAAAAAAAAAAAAA");
    let held: Vec<_> = (0..BODY_BUDGET / MAX_BODY + 8)
        .map(|_| almost_all(&host, &line))
        .collect();
    let body = json!({ "Limit": 10, "Unknown": "x".repeat(500_000) });
    host.client.call("ListKeys", &body).ok();
    drop(held);
    let rules: Vec<Value> = host
        .kms
        .events()
        .iter()
        .map(|event| event["additionalEventData"]["rule"].clone())
        .collect();
    assert!(rules.contains(&json!("signature.unknown-key")), "{rules:?}");
}
