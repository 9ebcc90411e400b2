//! The requests that the fuzz target starts from: one or more for each operation, headers signed in
//! shape, bodies that are taken. Damage makes them another request or none.

#[path = "../fuzz/fuzz_targets/input.rs"]
mod input;

use std::path::Path;

use anchorhold_kms::sigv4::Authorization;
use anchorhold_kms::wire::{Input, Target};
use anchorhold_kms_core::arn::Region;
use anchorhold_kms_core::operation::Operation;
use input::Parts;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const KEY_ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS_ARN: &str = "arn:aws:kms:us-east-1:111122223333:alias/pii";

fn region() -> Region {
    "us-east-1".parse().expect("a region")
}

/// Bodies that are taken, by operation and a word for what is special.
fn bodies() -> Vec<(Operation, &'static str, Value)> {
    use Operation as Op;
    let recipient = json!({
        "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": "hEShATgioA==",
    });
    let context = json!({ "dept": "pii", "aws-crypto": "\u{e9}\n" });
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    // Markers are `v1:` and the last name, in base64.
    let (key_marker, alias_marker) = (
        "djE6MTIzNGFiY2QtMTJhYi0zNGNkLTU2ZWYtMTIzNDU2Nzg5MGFi",
        "djE6YWxpYXMvcGlp",
    );
    vec![
        (Op::CancelKeyDeletion, "", json!({ "KeyId": KEY })),
        (
            Op::CreateAlias,
            "",
            json!({ "AliasName": "alias/pii", "TargetKeyId": KEY }),
        ),
        (Op::CreateKey, "empty", json!({})),
        (
            Op::CreateKey,
            "full",
            json!({
                "Policy": policy, "Description": "records", "KeyUsage": "ENCRYPT_DECRYPT",
                "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS", "MultiRegion": false,
                "BypassPolicyLockoutSafetyCheck": true,
            }),
        ),
        (Op::Decrypt, "bare", json!({ "CiphertextBlob": "AQIDBA==" })),
        (
            Op::Decrypt,
            "attested",
            json!({
                "CiphertextBlob": "AQIDBA==", "EncryptionContext": context, "KeyId": KEY_ARN,
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "Recipient": recipient, "DryRun": false,
                "GrantTokens": [],
            }),
        ),
        (Op::DeleteAlias, "", json!({ "AliasName": "alias/pii" })),
        (
            Op::DescribeKey,
            "",
            json!({ "KeyId": ALIAS_ARN, "GrantTokens": null }),
        ),
        (Op::DisableKey, "", json!({ "KeyId": KEY })),
        (Op::EnableKey, "", json!({ "KeyId": KEY_ARN })),
        (
            Op::Encrypt,
            "",
            json!({
                "KeyId": "alias/pii", "Plaintext": "c2VjcmV0", "EncryptionContext": context,
                "DryRun": true,
            }),
        ),
        (
            Op::GenerateDataKey,
            "",
            json!({
                "KeyId": KEY, "KeySpec": "AES_256", "EncryptionContext": context,
                "Recipient": recipient,
            }),
        ),
        (
            Op::GenerateDataKeyWithoutPlaintext,
            "",
            json!({ "KeyId": KEY, "NumberOfBytes": 64 }),
        ),
        (
            Op::GenerateRandom,
            "",
            json!({ "NumberOfBytes": 1024, "Recipient": recipient }),
        ),
        (
            Op::GetKeyPolicy,
            "",
            json!({ "KeyId": KEY, "PolicyName": "default" }),
        ),
        (
            Op::ListAliases,
            "",
            json!({ "KeyId": KEY, "Limit": 100, "Marker": alias_marker }),
        ),
        (Op::ListKeyPolicies, "", json!({ "KeyId": KEY, "Limit": 1 })),
        (
            Op::ListKeys,
            "",
            json!({ "Limit": 1000, "Marker": key_marker, "Unknown": [{}] }),
        ),
        (
            Op::PutKeyPolicy,
            "",
            json!({
                "KeyId": KEY, "PolicyName": "default", "Policy": policy,
            }),
        ),
        (
            Op::ScheduleKeyDeletion,
            "",
            json!({ "KeyId": KEY, "PendingWindowInDays": 7 }),
        ),
        (
            Op::UpdateAlias,
            "",
            json!({ "AliasName": "alias/pii", "TargetKeyId": KEY_ARN }),
        ),
        (Op::GetAttestationNonce, "", json!({})),
    ]
}

/// An input of the target, as in [`input`].
fn request(operation: Operation, body: &[u8]) -> Vec<u8> {
    let place = Operation::ALL.iter().position(|one| *one == operation);
    let byte = char::from(b'A' + u8::try_from(place.expect("one of all")).expect("a byte"));
    let signature = "5d".repeat(32);
    let (prefix, name) = (operation.target_prefix(), operation.name());
    let head = format!(
        "{byte}AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20270115/us-east-1/kms/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature={signature}\n\
         20270115T080000Z\n{prefix}{name}\n"
    );
    [head.as_bytes(), body].concat()
}

/// Holds seeds against what is made now. Those that differ are written anew, and the test fails once.
fn hold(seeds: &[(String, Vec<u8>)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/request");
    let mut stale = Vec::new();
    for (name, made) in seeds {
        let seed = folder.join(name);
        if !std::fs::read(&seed).is_ok_and(|seed| seed == *made) {
            std::fs::write(&seed, made).expect("the seed is written");
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "out of date and written anew: {stale:?}");
}

#[test]
fn every_seed_is_a_request_that_is_taken_up_to_its_signature() {
    let mut seeds = Vec::new();
    for (operation, word, body) in bodies() {
        let name = [operation.name(), word].join(if word.is_empty() { "" } else { "-" });
        let made = request(operation, body.to_string().as_bytes());
        let parts = Parts::of(&made);
        assert_eq!(parts.operation, operation);
        let target = Target::read(std::str::from_utf8(parts.target).expect("text"));
        assert_eq!(target, Target::Operation(operation));
        let presented = parts.presented();
        let presented = presented.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(presented.access_key_id(), "AKIDEXAMPLE");
        let taken = Input::parse(operation, parts.body, &region());
        taken.unwrap_or_else(|error| panic!("{name}: {error}"));
        seeds.push((name, made));
    }
    hold(&seeds);
}

#[test]
fn every_operation_has_a_seed() {
    let seeds = bodies();
    for operation in Operation::ALL {
        assert!(
            seeds.iter().any(|(of, ..)| *of == operation),
            "{operation:?}"
        );
    }
}

/// What stands in requests, so that damage puts it where it does not belong.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let tokens = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "null",
        "true",
        "-1",
        "0",
        "1e999",
        "0.5",
        "18446744073709551616",
        "=",
        "====",
        "\\ud800",
        "\\u0000",
        "\n",
        "alias/aws/",
        "arn:aws:kms:",
        "AES_128",
        "\"DryRunModifiers\":[],",
        "\"Tags\":[],",
        "Signature=",
        ";",
    ];
    prop_oneof![
        select(tokens.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ]
}

/// Up to eight pieces cut out and others put in.
fn wounds() -> impl Strategy<Value = Vec<(Index, usize, Vec<u8>)>> {
    prop::collection::vec((any::<Index>(), 0..12_usize, piece()), 1..8)
}

fn damage(mut bytes: Vec<u8>, wounds: &[(Index, usize, Vec<u8>)]) -> Vec<u8> {
    for (at, length, with) in wounds {
        let at = at.index(bytes.len() + 1);
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, with.iter().copied());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_body_is_refused_or_taken_whole(wounds in wounds()) {
        for (operation, _, body) in bodies() {
            let body = damage(body.to_string().into_bytes(), &wounds);
            if let Ok(taken) = Input::parse(operation, &body, &region()) {
                let _ = taken.audit_parameters();
            }
        }
    }

    #[test]
    fn a_damaged_head_is_refused_or_names_who_signed(wounds in wounds()) {
        let made = request(Operation::Decrypt, b"{}");
        let damaged = damage(made, &wounds);
        let parts = Parts::of(&damaged);
        if let Ok(presented) = parts.presented() {
            prop_assert!(!presented.access_key_id().is_empty());
        }
        let text = String::from_utf8_lossy(parts.authorization);
        if let Ok(parsed) = Authorization::parse(&text) {
            prop_assert!(!parsed.signed_headers().is_empty());
        }
    }
}
