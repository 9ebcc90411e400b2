//! A request as it comes off the wire, before anybody is authenticated and after:
//!
//! ```text
//! <Authorization header> LF <X-Amz-Date> LF <X-Amz-Target> LF <body>
//! ```
#![no_main]

use anchorhold_kms::sigv4::{Authorization, Presented, Scope};
use anchorhold_kms::wire::{Input, Target};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (authorization, date, target, body) = (next(), next(), next(), next());

    if let Ok(text) = std::str::from_utf8(authorization) {
        if let Ok(parsed) = Authorization::parse(text) {
            assert!(!parsed.access_key_id().is_empty());
            assert!(!parsed.signed_headers().is_empty());
        }
    }
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("kms.example"));
    for (name, value) in [
        ("authorization", authorization),
        ("x-amz-date", date),
        ("x-amz-target", target),
    ] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let scope = Scope {
        region: "us-east-1",
        service: "kms",
    };
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
    let _ = Presented::read(&headers, &[0; 32], scope, now);

    let region = "us-east-1".parse().expect("a region");
    let target = std::str::from_utf8(target).map_or(Target::Unknown, Target::read);
    if let Ok(operation) = target.operation() {
        if let Ok(input) = Input::parse(operation, body, &region) {
            let _ = input.audit_parameters();
        }
    }
});
