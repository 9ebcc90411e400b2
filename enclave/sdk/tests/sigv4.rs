//! Signatures are botocore's, for random requests.

#[path = "../../envelope/tests/common/python.rs"]
mod python;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use anchorhold_enclave::Credentials;
use anchorhold_enclave::sigv4::{Scope, sign};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use python::Python;
use serde_json::json;

#[test]
fn signatures_are_botocores() {
    let python = RefCell::new(Python::start("sigv4.py"));
    let requests = (
        // Values with runs of spaces, which the canonical form collapses.
        btree_map("x-[a-z]{1,8}(-[a-z]{1,5})?", "[ -~]{1,30}", 0..5),
        vec(any::<u8>(), 0..500),
        "[!-~]{1,40}",
        proptest::option::of("[!-~]{1,200}"),
        "[a-z]{2}-[a-z]{3,9}-[1-9]",
        // Up to the year 2242.
        0..(1u64 << 33),
    );
    let config = Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&requests, |request| {
        let (extra, body, secret, token, region, seconds) = request;
        let mut headers: BTreeMap<&str, &str> = extra
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        headers.insert("Host", "kms.anchorhold.internal");
        headers.insert("Content-Type", "application/x-amz-json-1.1");
        headers.insert("X-Amz-Target", "TrentService.Decrypt");

        let credentials = Credentials::new("AKIDEXAMPLE", &secret, token.as_deref()).unwrap();
        let list: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, *value))
            .collect();
        let scope = Scope {
            region: &region,
            service: "kms",
        };
        let at = UNIX_EPOCH + Duration::from_secs(seconds);
        let signed = sign(&list, &body, &credentials, scope, at).unwrap();

        let judged = python.borrow_mut().ask(&json!({
            "access_key_id": "AKIDEXAMPLE",
            "secret_access_key": secret,
            "session_token": token,
            "region": region,
            "service": "kms",
            "seconds": seconds,
            "headers": headers,
            "body": STANDARD.encode(&body),
        }));
        prop_assert_eq!(judged["X-Amz-Date"].as_str(), Some(signed.date.as_str()));
        prop_assert_eq!(
            judged["Authorization"].as_str(),
            Some(signed.authorization.as_str())
        );
        let own = signed.security_token.as_ref().map(|token| token.as_str());
        prop_assert_eq!(judged["X-Amz-Security-Token"].as_str(), own);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_clock_without_a_date_is_refused() {
    let credentials = Credentials::new("AKID", "secret", None).unwrap();
    let scope = Scope {
        region: "us-east-1",
        service: "kms",
    };
    let day = Duration::from_secs(86_400);
    for at in [UNIX_EPOCH - day, UNIX_EPOCH + day * 3_000_000] {
        let refusal = sign(&[("host", "h")], b"", &credentials, scope, at)
            .err()
            .unwrap();
        assert_eq!(refusal.rule(), "sigv4.clock");
    }
}
