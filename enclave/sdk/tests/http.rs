//! Responses: bounded, framed without doubt, or refused.

use std::io::{self, Read};

use anchorhold_enclave::http::{
    HttpError, MAX_BODY, MAX_HEAD, MAX_HEADERS, Request, Response, read_response,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Gives bytes in steps, then ends.
struct Steps<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Steps<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.step.min(out.len()).min(self.rest.len());
        let (now, later) = self.rest.split_at(count);
        out[..count].copy_from_slice(now);
        self.rest = later;
        Ok(count)
    }
}

fn read(response: impl AsRef<[u8]>) -> Result<Response, HttpError> {
    read_response(&mut Steps {
        rest: response.as_ref(),
        step: 1000,
    })
}

fn rule(response: impl AsRef<[u8]>) -> &'static str {
    read(response)
        .err()
        .expect("the response was to be refused")
        .rule()
}

#[test]
fn both_framings_are_read_in_steps_of_all_sizes() {
    let responses = [
        "HTTP/1.1 200 OK\r\nx-amzn-RequestId: id-1\r\nContent-Length: 11\r\n\r\nhello world",
        "HTTP/1.1 200 OK\r\nX-AMZN-REQUESTID: id-1\r\ntransfer-encoding: Chunked\r\n\r\n\
         6\r\nhello \r\n5;extension=1\r\nworld\r\n0\r\nTrailer: ignored\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
         HTTP/1.1 200 OK\r\nx-amzn-requestid: id-1\r\ncontent-length: 11\r\n\r\nhello world",
    ];
    for response in responses {
        for step in 1..60 {
            let response = read_response(&mut Steps {
                rest: response.as_bytes(),
                step,
            })
            .unwrap();
            assert_eq!(response.status, 200);
            assert_eq!(response.request_id.as_deref(), Some("id-1"));
            assert_eq!(response.body[..], *b"hello world");
        }
    }
}

#[test]
fn heads_that_are_not_http_1_1_are_refused() {
    let heads = [
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbroken header\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "\0\0\0\0",
    ];
    for head in heads {
        assert_eq!(rule(head), "http.head", "{head:?}");
    }
}

#[test]
fn heads_without_end_are_refused() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\nContent-Length: 0\r\n\r\n",
        "y".repeat(MAX_HEAD)
    );
    assert_eq!(rule(long), "http.head-length");
    assert_eq!(
        rule(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD))),
        "http.head-length"
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "x: y\r\n".repeat(MAX_HEADERS + 1)
    );
    assert_eq!(rule(many), "http.header-count");
    assert_eq!(
        rule("HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
        "http.interim"
    );
}

#[test]
fn bodies_without_one_clear_length_are_refused() {
    let framings = [
        "",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nContent-Encoding: gzip\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: \r\n",
    ];
    for framing in framings {
        let response = format!("HTTP/1.1 200 OK\r\n{framing}\r\nhello");
        assert_eq!(rule(response), "http.body-framing", "{framing:?}");
    }
    let chunks = [
        "x\r\n",
        "\r\n",
        "-1\r\nh",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "fffffffff\r\n",
        "0\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\n\r\n",
    ];
    for chunk in chunks {
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        assert_eq!(rule(response), "http.body-framing", "{chunk:?}");
    }
    let line = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
        "x".repeat(4096)
    );
    assert_eq!(rule(line), "http.body-framing");
}

#[test]
fn bodies_over_the_limit_are_refused_before_they_are_read() {
    for length in [MAX_BODY as u128 + 1, u64::MAX.into(), u128::MAX] {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(rule(response), "http.body-length", "{length}");
    }
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        rule(format!("{start}{:x}\r\n", MAX_BODY + 1)),
        "http.body-length"
    );
    let chunk = format!("10000\r\n{}\r\n", "z".repeat(0x10000));
    assert_eq!(
        rule(format!("{start}{}", chunk.repeat(17))),
        "http.body-length"
    );
    let whole = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY}\r\n\r\n{}",
        "z".repeat(MAX_BODY)
    );
    assert_eq!(read(whole).unwrap().body.len(), MAX_BODY);
}

#[test]
fn a_response_that_is_cut_is_refused() {
    let responses = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for response in responses {
        assert_eq!(rule(&response[..0]), "http.no-response");
        for length in 1..response.len() {
            assert_eq!(rule(&response[..length]), "http.cut", "{length} bytes");
        }
        assert_eq!(rule([response, "H"].concat()), "http.trailing");
    }
}

#[test]
fn request_ids_that_are_not_printable_are_left_out() {
    for id in ["", &"i".repeat(129), "a b", "caf\u{e9}"] {
        let response =
            format!("HTTP/1.1 200 OK\r\nx-amzn-requestid: {id}\r\nContent-Length: 0\r\n\r\n");
        let id_found = read(response).unwrap().request_id;
        assert!(id_found.is_none_or(|found| found.is_empty()), "{id:?}");
    }
}

#[test]
fn headers_cannot_be_broken_out_of() {
    let attempts = [
        ("Host", "a\r\nInjected: b"),
        ("Host\r\nInjected", "b"),
        ("Host: a", "b"),
        ("Host", ""),
        ("", "b"),
        ("Host", "caf\u{e9}"),
        ("Host", "\0"),
    ];
    for header in attempts {
        let mut sent = Vec::new();
        let refusal = Request {
            headers: &[header],
            body: b"",
        }
        .write_to(&mut sent)
        .unwrap_err();
        assert_eq!(refusal.rule(), "http.request-header", "{header:?}");
        assert!(sent.is_empty());
    }
    let mut sent = Vec::new();
    let request = Request {
        headers: &[("Host", "h"), ("X-A", "1  2")],
        body: b"{}",
    };
    request.write_to(&mut sent).unwrap();
    assert_eq!(
        sent,
        b"POST / HTTP/1.1\r\nHost: h\r\nX-A: 1  2\r\nContent-Length: 2\r\n\r\n{}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..3000), step in 1..100usize) {
        let outcome = read_response(&mut Steps { rest: &bytes, step });
        prop_assert!(outcome.is_err());
    }

    #[test]
    fn arbitrary_bytes_behind_a_head_do_not_panic(bytes in vec(any::<u8>(), 0..500)) {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        if let Ok(response) = read([&head[..], &bytes].concat()) {
            prop_assert!(response.body.len() < bytes.len());
        }
    }

    #[test]
    fn chunked_bodies_survive(chunks in vec(vec(any::<u8>(), 1..200), 0..10), step in 1..300usize) {
        let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            response.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            response.extend_from_slice(chunk);
            response.extend_from_slice(b"\r\n");
        }
        response.extend_from_slice(b"0\r\n\r\n");
        let read = read_response(&mut Steps { rest: &response, step }).unwrap();
        prop_assert_eq!(read.body.to_vec(), chunks.concat());
    }
}
