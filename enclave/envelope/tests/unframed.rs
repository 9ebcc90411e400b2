//! Unframed messages, both ways with the Python SDK. This crate opens them and never seals them, so
//! those that go to Python are written by the tests.

mod common;

use std::io::Read;
use std::time::Instant;

use anchorhold_envelope::crypto::Provider;
use anchorhold_envelope::keyring::Keyrings;
use anchorhold_envelope::limits::{Limits, MAX_UNFRAMED_LENGTH};
use anchorhold_envelope::{ContextRule, DataKey, Outline, SealPlan, Suite, UnverifiedMessage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::owners::{Owner, all, keyrings, owners, plaintext, text};
use common::python::Python;
use common::unframed::seal_unframed;
use common::{Opening, PROVIDERS, SUITES, wrapped};
use serde_json::{Value, json};

/// Nothing, one byte, the lengths around the SDKs' default frame, and some that no frame has.
const LENGTHS: [usize; 6] = [0, 1, 4095, 4096, 4097, 1 << 20];

/// A command to the Python SDK that makes an unframed message.
fn unframed(op: &str, owners: &[Owner; 2], suite: Suite) -> Value {
    let [one, two] = owners;
    json!({
        "op": op,
        "keys": [one.for_python("both"), two.for_python("public")],
        "suite": suite.id(),
        "context": all().as_map(),
        "frame_length": 0,
    })
}

fn open(
    provider: &'static dyn Provider,
    keyrings: &Keyrings,
    message: &[u8],
    limits: Limits,
) -> Opening {
    let begun = UnverifiedMessage::begin_with(message, limits, provider).unwrap();
    let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
    let key = keyrings.release(keys, context, Instant::now()).unwrap();
    let opener = begun
        .authenticate(&key, &ContextRule::Exactly(all()))
        .unwrap();
    let mut seen = opener.unreleased(Vec::new());
    let outcome = opener.open_into(&mut seen);
    let seen = seen.peek().clone();
    Opening { seen, outcome }
}

fn assert_opens(keyrings: &Keyrings, message: &[u8], expected: &[u8], what: &str) {
    for provider in PROVIDERS {
        let opening = open(provider, keyrings, message, Limits::default());
        let verified = opening.outcome.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(opening.seen == expected, "{what}");
        assert_eq!(verified.plaintext_length(), expected.len() as u64);
    }
    let outline = Outline::read(message, Limits::default()).unwrap();
    assert_eq!(outline.plaintext_length(), expected.len() as u64);
    assert_eq!((outline.frame_length(), outline.frames()), (None, 1));
}

#[test]
fn python_bodies_of_all_lengths_open_here() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    for suite in SUITES {
        for length in LENGTHS {
            let expected = plaintext(length);
            let mut command = unframed("encrypt", &owners, suite);
            command["plaintext"] = STANDARD.encode(&expected).into();
            let answer = python.ask(&command);
            let message = STANDARD.decode(text(&answer, "message")).unwrap();
            for owner in &owners {
                let what = format!("{suite}, {length} bytes");
                assert_opens(&keyrings(&[owner], true), &message, &expected, &what);
            }
        }
    }
}

#[test]
fn bodies_of_all_lengths_written_here_open_in_python() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    for provider in PROVIDERS {
        for suite in SUITES {
            for length in LENGTHS {
                let expected = plaintext(length);
                let key = DataKey::generate().unwrap();
                let keys = owners.each_ref().map(|o| o.wrapping().wrap(&key).unwrap());
                let message = seal_unframed(provider, suite, &all(), (&key, &keys), &expected);
                let what = format!("{suite}, {length} bytes, {}", provider.name());
                let [one, two] = &owners;
                assert_opens(&keyrings(&[one], true), &message, &expected, &what);
                let answer = python.ask(&json!({
                    "op": "decrypt",
                    "keys": [two.for_python("both")],
                    "message": STANDARD.encode(&message),
                }));
                let opened = STANDARD.decode(text(&answer, "plaintext")).unwrap();
                assert!(opened == expected, "{what}");
            }
        }
    }
}

#[test]
fn python_refuses_a_changed_body_as_this_crate_does() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let [one, _] = &owners;
    for suite in SUITES {
        let key = DataKey::generate().unwrap();
        let keys = [one.wrapping().wrap(&key).unwrap()];
        let good = seal_unframed(PROVIDERS[0], suite, &all(), (&key, &keys), b"text");
        let signature = Outline::read(&good[..], Limits::default()).unwrap();
        let signature = signature.signature_length().map_or(0, |length| 2 + length);
        let mut message = good.clone();
        message[good.len() - signature - 16 - 1] ^= 1;
        let opening = open(
            PROVIDERS[0],
            &keyrings(&[one], true),
            &message,
            Limits::default(),
        );
        assert_eq!((opening.rule(), &opening.seen[..]), ("frame.tag", &b""[..]));
        let answer = python.ask(&json!({
            "op": "decrypt",
            "keys": [one.for_python("both")],
            "message": STANDARD.encode(&message),
        }));
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[test]
fn a_python_body_beyond_the_default_limit_opens_only_where_the_caller_raised_it() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let keyrings = keyrings(&[&owners[1]], true);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let length = MAX_UNFRAMED_LENGTH + 1;
    let expected = plaintext(usize::try_from(length).unwrap());
    std::fs::write(at("plain"), &expected).unwrap();
    for suite in SUITES {
        let mut command = unframed("encrypt_file", &owners, suite);
        command["from"] = json!(at("plain"));
        command["to"] = json!(at("theirs"));
        text(&python.ask(&command), "sha256");
        let message = std::fs::read(at("theirs")).unwrap();

        let raised = Limits {
            unframed_length: length,
            ..Limits::default()
        };
        let outline = Outline::read(&message[..], raised).unwrap();
        assert_eq!(outline.plaintext_length(), length);
        let opening = open(PROVIDERS[0], &keyrings, &message, raised);
        opening.outcome.unwrap();
        assert!(opening.seen == expected, "{suite}");

        // Without the body: the announced length is enough to refuse.
        let footer = outline.signature_length().map_or(0, |length| 2 + length);
        let announced = &message[..message.len() - footer - 16 - expected.len()];
        for input in [&message[..], announced] {
            let opening = open(PROVIDERS[0], &keyrings, input, Limits::default());
            assert_eq!(opening.rule(), "frame.length", "{suite}");
            assert_eq!(opening.seen, b"", "{suite}");
            let outline = Outline::read(input, Limits::default());
            assert_eq!(outline.unwrap_err().rule(), "frame.length");
        }
    }
}

#[test]
fn a_body_beyond_the_callers_limits_is_refused_before_it_is_read() {
    for provider in PROVIDERS {
        for suite in SUITES {
            let (key, keys) = (common::data_key(), [wrapped()]);
            let context = common::context();
            let message = seal_unframed(provider, suite, &context, (&key, &keys), b"four");
            let empty = seal_unframed(provider, suite, &context, (&key, &keys), b"");
            let rule = |mut input: &[u8], limits| {
                let before = input.len();
                let begun = UnverifiedMessage::begin_with(&mut input, limits, provider).unwrap();
                let opener = begun
                    .authenticate(&key, &ContextRule::Exactly(context.clone()))
                    .unwrap();
                let mut seen = opener.unreleased(Vec::new());
                let outcome = opener.open_into(&mut seen);
                let seen = seen.peek().len();
                let mut left = Vec::new();
                input.read_to_end(&mut left).unwrap();
                assert!(left.len() < before);
                (seen, left.len(), outcome.err().map(|error| error.rule()))
            };
            let unframed = |unframed_length| Limits {
                unframed_length,
                ..Limits::default()
            };
            let plaintext = |plaintext_length| Limits {
                plaintext_length,
                ..Limits::default()
            };
            let signature = Outline::read(&message[..], Limits::default()).unwrap();
            let signature = signature.signature_length().map_or(0, |length| 2 + length);
            let body = 4 + 16 + signature;
            assert_eq!(rule(&message, unframed(4)), (4, 0, None));
            assert_eq!(rule(&message, plaintext(4)), (4, 0, None));
            assert_eq!(rule(&empty, unframed(0)), (0, 0, None));
            for limit in [0, 3] {
                let refused = rule(&message, unframed(limit));
                assert_eq!(refused, (0, body, Some("frame.length")), "{suite}");
                let refused = rule(&message, plaintext(limit));
                assert_eq!(refused, (0, body, Some("message.length")), "{suite}");
            }
        }
    }
}

#[test]
fn nothing_is_sealed_unframed() {
    for suite in SUITES {
        let plan = SealPlan::new(suite, all()).unwrap();
        let refusal = plan.with_frame_length(0).err().unwrap();
        assert_eq!(refusal.rule(), "header.frame-length");
    }
}
