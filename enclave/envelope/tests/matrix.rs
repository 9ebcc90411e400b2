//! The Python SDK with the Material Providers Library, both ways: several keyrings, required
//! context, and all lengths around a frame.

mod common;

use std::io::Write;
use std::time::Instant;

use anchorhold_envelope::keyring::Keyrings;
use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::materials::EncryptionMaterials;
use anchorhold_envelope::{ContextRule, EncryptionContext, Outline, Suite, UnverifiedMessage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::SUITES;
use common::owners::{Owner, PAIRS, all, keyrings, owners, plaintext, text};
use common::python::Python;
use serde_json::json;

/// Left out of the header. In UTF-8 they sort otherwise than in UTF-16.
const REQUIRED: [&str; 3] = ["\u{1f511}", "tenant", "\u{ff5e}"];

fn required() -> EncryptionContext {
    let pairs = PAIRS.into_iter().filter(|(key, _)| REQUIRED.contains(key));
    EncryptionContext::from_pairs(pairs).unwrap()
}

fn seal(
    keyrings: &Keyrings,
    suite: Suite,
    (context, required): (&EncryptionContext, &[&str]),
    frame: u32,
    text: &[u8],
) -> Vec<u8> {
    let context = context.clone();
    let made = EncryptionMaterials::generate(keyrings, suite, context, Instant::now()).unwrap();
    let plan = made.plan().unwrap().with_frame_length(frame).unwrap();
    let plan = plan.with_required_context(required).unwrap();
    let keys = made.encrypted_data_keys().to_vec();
    let mut sealer = plan.seal_to(Vec::new(), made.data_key(), keys).unwrap();
    sealer.write_all(text).unwrap();
    sealer.finish().unwrap().0
}

fn open(
    keyrings: &Keyrings,
    message: &[u8],
    reproduced: &EncryptionContext,
) -> Result<Vec<u8>, &'static str> {
    let begun = UnverifiedMessage::begin(message).map_err(|error| error.rule())?;
    let begun = begun
        .with_reproduced_context(reproduced)
        .map_err(|error| error.rule())?;
    let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
    let data_key = keyrings
        .release(keys, context, Instant::now())
        .map_err(|error| error.rule())?;
    let rule = ContextRule::Exactly(all());
    let opener = begun
        .authenticate(&data_key, &rule)
        .map_err(|error| error.rule())?;
    let mut out = opener.unreleased(Vec::new());
    let verified = opener.open_into(&mut out).map_err(|error| error.rule())?;
    Ok(out.release(&verified).unwrap())
}

#[test]
fn both_ways_around_every_frame_length() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let [one, two] = owners.each_ref();
    let empty = EncryptionContext::empty();
    for suite in SUITES {
        for frame in [128u32, 4096, 65_536] {
            // Python's frames have multiples of 128 bytes.
            for length in [0, 1, frame - 1, frame, frame + 1] {
                let expected = plaintext(length as usize);
                let answer = python.ask(&json!({
                    "op": "encrypt",
                    "keys": [one.for_python("both"), two.for_python("public")],
                    "suite": suite.id(),
                    "context": all().as_map(),
                    "frame_length": frame,
                    "plaintext": STANDARD.encode(&expected),
                }));
                let message = STANDARD.decode(text(&answer, "message")).unwrap();
                for owner in [one, two] {
                    let opened = open(&keyrings(&[owner], true), &message, &empty);
                    assert!(opened.unwrap() == expected, "{suite}, {frame}, {length}");
                }
                let outline = Outline::read(&message[..], Limits::default()).unwrap();
                assert_eq!(outline.plaintext_length(), u64::from(length));
                assert_eq!(outline.frame_length(), Some(frame));

                // Only public halves are needed to seal.
                let both = keyrings(&[one, two], false);
                let message = seal(&both, suite, (&all(), &[]), frame, &expected);
                for owner in [one, two] {
                    let answer = python.ask(&json!({
                        "op": "decrypt",
                        "keys": [owner.for_python("both")],
                        "message": STANDARD.encode(&message),
                    }));
                    let opened = STANDARD.decode(text(&answer, "plaintext")).unwrap();
                    assert!(opened == expected, "{suite}, {frame}, {length}");
                }
            }
        }
    }
}

#[test]
fn a_third_owner_opens_nothing() {
    let owners = owners();
    let [one, two] = owners.each_ref();
    let third = Owner::new("three");
    let message = seal(
        &keyrings(&[one, two], false),
        Suite::Committed,
        (&all(), &[]),
        64,
        b"x",
    );
    let empty = EncryptionContext::empty();
    assert_eq!(
        open(&keyrings(&[&third], true), &message, &empty),
        Err("keyring.none")
    );
    // A key of the same name that is another.
    let same_name = Owner::new("one");
    assert_eq!(
        open(&keyrings(&[&same_name], true), &message, &empty),
        Err("raw-rsa.unwrap")
    );
    assert_eq!(
        open(&keyrings(&[one], false), &message, &empty),
        Err("keyring.half")
    );
    assert!(open(&keyrings(&[one, two], true), &message, &empty).is_ok());
}

#[test]
fn required_context_both_ways() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let [one, two] = owners.each_ref();
    for suite in SUITES {
        let answer = python.ask(&json!({
            "op": "encrypt",
            "keys": [one.for_python("both"), two.for_python("public")],
            "suite": suite.id(),
            "context": all().as_map(),
            "required": REQUIRED,
            "frame_length": 128,
            "plaintext": STANDARD.encode(b"known to both"),
        }));
        let theirs = STANDARD.decode(text(&answer, "message")).unwrap();
        let both = keyrings(&[one, two], false);
        let ours = seal(&both, suite, (&all(), &REQUIRED), 128, b"known to both");
        for message in [&theirs, &ours] {
            for needle in ["blue", "fullwidth", "tenant"] {
                assert!(
                    !message
                        .windows(needle.len())
                        .any(|w| w == needle.as_bytes())
                );
            }
            let opener = keyrings(&[two], true);
            assert_eq!(
                open(&opener, message, &required()).unwrap(),
                b"known to both"
            );
            let without = EncryptionContext::empty();
            assert_eq!(open(&opener, message, &without), Err("context.missing"));
            let wrong: Vec<_> = required()
                .iter()
                .map(|(key, value)| (key.to_owned(), format!("{value}!")))
                .collect();
            let wrong = EncryptionContext::from_pairs(wrong).unwrap();
            assert_eq!(open(&opener, message, &wrong), Err("context.mismatch"));

            let mut ask = |reproduced: &EncryptionContext| {
                python.ask(&json!({
                    "op": "decrypt",
                    "keys": [one.for_python("both")],
                    "required": REQUIRED,
                    "reproduced": reproduced.as_map(),
                    "message": STANDARD.encode(message),
                }))
            };
            let answer = ask(&required());
            let opened = STANDARD.decode(text(&answer, "plaintext")).unwrap();
            assert_eq!(opened, b"known to both");
            for refused in [&without, &wrong] {
                let answer = ask(refused);
                assert!(answer["error"].is_string(), "{answer}");
            }
        }
    }
}

#[test]
fn required_keys_that_cannot_be_left_out_are_refused() {
    let plan = || anchorhold_envelope::SealPlan::new(Suite::CommittedSigned, all()).unwrap();
    let rule = |key: &str| plan().with_required_context([key]).err().map(|e| e.rule());
    assert_eq!(rule("tenant"), None);
    assert_eq!(rule("absent"), Some("context.missing"));
    assert_eq!(rule("aws-crypto-public-key"), Some("context.reserved"));
}
