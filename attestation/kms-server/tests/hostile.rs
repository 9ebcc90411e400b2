//! What no client sends: the server refuses it, and serves the next caller.

mod support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anchorhold_kms::server::{Limits, MAX_BODY};
use serde_json::json;
use support::client::read_reply;
use support::host::{Host, LONG, SHORT, read_all, status};

#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let host = Host::with(Limits {
        body: LONG.body,
        ..SHORT
    });
    let mut silent = host.connect();
    let mut head = host.connect();
    head.write_all(b"POST / HTTP/1.1\r\nHost: x\r\n")
        .expect("write");
    assert_eq!(read_all(&mut silent), b"");
    let _ = read_all(&mut head);
    host.check();

    let host = Host::with(Limits {
        body: SHORT.body,
        ..LONG
    });
    let mut body = host.connect();
    let request = host.head("TrentService.ListKeys", "Content-Length: 100\r\n", "{}");
    body.write_all(request.as_bytes()).expect("write");
    let reply = read_reply(&read_all(&mut body)).expect("an answer");
    assert_eq!(reply.exception(), "SerializationException");
    assert_eq!(reply.rule(), "request.body");
    host.check();
}

#[test]
fn dripping_bytes_buy_no_time() {
    let host = Host::with(SHORT);
    let mut stream = host.connect();
    stream.write_all(b"POST / HTTP/1.1\r\na: ").expect("write");
    // One header of a minute's bytes, which breaks no other limit.
    let cut_off = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"b").is_err()
    });
    assert!(cut_off);
    host.check();
}

#[test]
fn connections_beyond_the_limit_wait_until_idle_ones_are_closed() {
    let host = Host::with(SHORT);
    let idle: Vec<_> = (0..SHORT.connections * 2).map(|_| host.connect()).collect();
    host.check();
    drop(idle);
}

#[test]
fn oversized_bodies_are_refused_before_they_are_read() {
    let host = Host::start();
    let length = format!("Content-Length: {}\r\n", MAX_BODY + 1);
    let request = host.head("TrentService.ListKeys", &length, "{}");
    let answer = host.exchange(request.as_bytes());
    let reply = read_reply(&answer).expect("an answer");
    assert_eq!(
        (reply.status, reply.exception()),
        (413, "RequestEntityTooLargeException")
    );

    let mut chunked = host.head(
        "TrentService.ListKeys",
        "Transfer-Encoding: chunked\r\n",
        "{}",
    );
    for _ in 0..33 {
        chunked.push_str(&format!("8000\r\n{}\r\n", "x".repeat(0x8000)));
    }
    let answer = host.exchange(chunked.as_bytes());
    assert!(
        answer.is_empty() || status(&answer) == 413,
        "{}",
        status(&answer)
    );
    host.check();
}

#[test]
fn oversized_heads_are_refused() {
    let host = Host::start();
    let many: String = (0..100).map(|n| format!("h{n}: v\r\n")).collect();
    let long = format!("h: {}\r\n", "x".repeat(64 * 1024));
    let path = format!(
        "POST /{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "a".repeat(64 * 1024)
    );
    for request in [
        host.head("TrentService.ListKeys", &many, ""),
        host.head("TrentService.ListKeys", &long, ""),
        path,
    ] {
        let answer = host.exchange(request.as_bytes());
        let status = status(&answer);
        assert!(
            answer.is_empty() || (400..500).contains(&status),
            "{status}"
        );
    }
    host.check();
}

#[test]
fn what_is_no_call_is_refused() {
    let host = Host::start();
    let good = host.head("TrentService.ListKeys", "Content-Length: 2\r\n", "{}") + "{}";
    let unknown = [
        good.replacen("POST", "GET", 1),
        good.replacen("POST / ", "POST /?Action=ListKeys ", 1),
        good.replacen("POST / ", "POST /keys ", 1),
        good.replace("application/x-amz-json-1.1", "text/plain"),
        good.replace("TrentService.ListKeys", "TrentService.listkeys"),
        good.replace(
            "x-amz-target:",
            "x-amz-target: TrentService.Decrypt\r\nx-amz-target:",
        ),
        good.replace("x-amz-target:", "x-amz-aim:"),
    ];
    for request in unknown {
        let reply = read_reply(&host.exchange(request.as_bytes())).expect("an answer");
        assert_eq!(reply.exception(), "UnknownOperationException", "{request}");
    }
    for garbage in [
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        vec![b'x'; 100_000],
    ] {
        let answer = host.exchange(&garbage);
        assert!(answer.is_empty() || status(&answer) >= 400);
    }
    let twice = good.replace(
        "Content-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
    );
    assert_eq!(status(&host.exchange(twice.as_bytes())), 400);
    host.check();
}

#[test]
fn json_bombs_are_refused() {
    let host = Host::start();
    let nested = |open: &str, close: &str| open.repeat(50_000) + &close.repeat(50_000);
    for body in [
        nested("[", "]"),
        nested("{\"a\":", "}"),
        "{\"KeyId\":".to_owned(),
        "{\"KeyId\":1e999999}".to_owned(),
        "\u{feff}{}".to_owned(),
        String::new(),
        "null".to_owned(),
        "{} {}".to_owned(),
    ] {
        let reply = host.client.send("TrentService.DescribeKey", &body);
        assert_eq!(reply.exception(), "SerializationException", "{body:.40}");
    }
    host.check();
}

/// A megabyte of grant tokens, each of which breaks a constraint, is not answered by tens of
/// megabytes of violations.
#[test]
fn violations_of_a_large_list_are_not_listed() {
    let host = Host::start();
    for member in ["\"\"", "1"] {
        let tokens = vec![member; 300_000].join(",");
        let body = format!("{{\"KeyId\":\"x\",\"GrantTokens\":[{tokens}]}}");
        let reply = host.client.send("TrentService.DescribeKey", &body);
        assert_eq!(reply.exception(), "ValidationException", "{}", reply.rule());
        let message = reply.body["message"].as_str().expect("a message");
        assert!(
            message.len() < 1000 && message.contains("less than or equal to 10"),
            "{message:.1000}"
        );
    }
    let body = json!({ "KeyId": "x", "GrantTokens": vec!["x".repeat(9000); 10] });
    let reply = host.client.call("DescribeKey", &body);
    assert!(reply.body.to_string().len() < 8000, "{}", reply.body);
    host.check();
}

#[test]
fn a_peer_that_leaves_does_not_undo_what_it_asked_for() {
    let host = Host::start();
    for _ in 0..10 {
        let request = host.head("TrentService.CreateKey", "Content-Length: 2\r\n", "{}") + "{}";
        let mut stream = host.connect();
        stream.write_all(request.as_bytes()).expect("write");
    }
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let keys = host.client.call("ListKeys", &json!({})).ok();
        if keys["Keys"].as_array().expect("keys").len() == 10 {
            break;
        }
        assert!(Instant::now() < end, "{keys}");
        std::thread::sleep(Duration::from_millis(50));
    }
    host.kms.verify();
}

#[test]
fn pipelined_calls_are_answered_in_order() {
    let host = Host::start();
    let first = host.head("TrentService.ListKeys", "Content-Length: 2\r\n", "{}") + "{}";
    let second = host.head(
        "TrentService.Nonsense",
        "Content-Length: 2\r\nConnection: close\r\n",
        "{}",
    );
    let answer = host.exchange((first + &second + "{}").as_bytes());
    let text = String::from_utf8(answer).expect("text");
    let keys = text.find("\"Keys\"").expect("the first answer");
    let unknown = text
        .find("UnknownOperationException")
        .expect("the second answer");
    assert!(keys < unknown);
}

#[test]
fn a_flood_of_refusals_is_counted_and_does_not_fill_the_disk() {
    let host = Host::start();
    let mut stream = host.connect();
    let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let mut buffer = [0; 4096];
    for _ in 0..500 {
        stream.write_all(request.as_bytes()).expect("write");
        assert!(stream.read(&mut buffer).expect("an answer") > 0);
    }
    drop(stream);
    let events = host.kms.events();
    let refused: Vec<_> = events
        .iter()
        .filter(|e| e["userIdentity"]["type"] == "Unknown")
        .collect();
    assert!((300..400).contains(&refused.len()), "{}", refused.len());
}
