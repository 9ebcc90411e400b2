//! Refusals and nonsense that a server answers.

use anchorhold_enclave::kms::ErrorKind;
use serde_json::json;

use crate::server::{Reply, refusal};
use crate::support::decrypt;

#[test]
fn refusals_carry_what_aws_says() {
    let cases = [
        (
            json!({"__type": "NotFoundException", "message": "no key"}),
            ErrorKind::NotFound,
            "NotFoundException",
            "no key",
        ),
        (
            json!({"__type": "AccessDeniedException", "Message": "no"}),
            ErrorKind::AccessDenied,
            "AccessDeniedException",
            "no",
        ),
        (
            json!({"__type": "com.amazon#DisabledException:http://x"}),
            ErrorKind::Disabled,
            "DisabledException",
            "",
        ),
        (
            json!({"__type": "InvalidCiphertextException", "message": null}),
            ErrorKind::InvalidCiphertext,
            "InvalidCiphertextException",
            "",
        ),
        (
            json!({"__type": "ANewException", "message": "line\r\nbreak\u{7}"}),
            ErrorKind::Other,
            "ANewException",
            "linebreak",
        ),
        (json!({}), ErrorKind::Other, "", ""),
        (json!([1, 2]), ErrorKind::Other, "Unknown", ""),
    ];
    for (body, kind, code, message) in cases {
        let refused = decrypt(move |_| Reply::Json(400, body.clone())).unwrap_err();
        let refusal = refused.refusal().expect("a refusal");
        assert_eq!((refusal.kind, refusal.code.as_str()), (kind, code));
        assert_eq!((refusal.message.as_str(), refusal.status), (message, 400));
        assert_eq!(refusal.request_id.as_deref(), Some("request-1"));
        assert_eq!(
            (refused.rule(), refusal.operation),
            ("kms.refused", "Decrypt")
        );
    }
    let long = decrypt(|_| refusal("ValidationException", &"x".repeat(100_000)));
    assert_eq!(long.unwrap_err().refusal().unwrap().message.len(), 1024);
    let html = decrypt(|_| {
        Reply::Raw(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>".to_vec())
    });
    let html = html.unwrap_err();
    assert_eq!(
        (
            html.refusal().unwrap().status,
            html.refusal().unwrap().code.as_str()
        ),
        (502, "Unknown")
    );
}

#[test]
fn what_is_not_json_is_refused() {
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"KeyId\":1}",
        "{\"KeyId\":\"a\",\"KeyId\":\"b\"}",
    ] {
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let refused = decrypt(move |_| Reply::Raw(response.clone().into_bytes()));
        assert_eq!(refused.unwrap_err().rule(), "kms.answer", "{body}");
    }
    let deep = format!("{{\"x\":{}}}", "[".repeat(100_000));
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{deep}",
        deep.len()
    );
    let refused = decrypt(move |_| Reply::Raw(response.clone().into_bytes()));
    assert_eq!(refused.unwrap_err().rule(), "kms.answer");
}

#[test]
fn hostile_responses_inside_tls_are_refused() {
    let cases = [
        (
            "http.head-length",
            format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(20_000)),
        ),
        (
            "http.body-length",
            "HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n".to_owned(),
        ),
        ("http.body-framing", "HTTP/1.1 200 OK\r\n\r\n{}".to_owned()),
        ("http.head", "garbage\r\n\r\n".to_owned()),
        (
            "http.trailing",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}".to_owned(),
        ),
    ];
    for (rule, response) in cases {
        let refused = decrypt(move |_| Reply::Raw(response.clone().into_bytes()));
        assert_eq!(refused.unwrap_err().rule(), rule);
    }
}
