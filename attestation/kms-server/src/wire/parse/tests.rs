//! Refusals of shapes, and arbitrary input.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn region() -> Region {
    "eu-central-1".parse().expect("a region")
}

fn refused(operation: Operation, body: &serde_json::Value) -> KmsError {
    let parsed = input(operation, body.to_string().as_bytes(), &region());
    parsed.err().expect("must be refused")
}

#[test]
fn every_violated_constraint_is_named() {
    let body = json!({ "KeyId": "", "PendingWindowInDays": 366 });
    let refused = refused(Operation::ScheduleKeyDeletion, &body);
    assert_eq!(
        refused.to_string(),
        "2 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: \
         Member must have length greater than or equal to 1; Value '366' at \
         'pendingWindowInDays' failed to satisfy constraint: Member must have value less \
         than or equal to 365"
    );
}

#[test]
fn secrets_are_not_repeated_in_messages() {
    let plaintext = "c2VjcmV0".repeat(1000);
    for body in [
        json!({ "KeyId": "x", "Plaintext": plaintext }),
        json!({ "KeyId": "x", "Plaintext": "c2VjcmV0c2Vj*" }),
    ] {
        let refused = refused(Operation::Encrypt, &body).to_string();
        assert!(
            !refused.contains("c2Vj") && !refused.contains("secret"),
            "{refused}"
        );
    }
}

#[test]
fn long_and_binary_values_are_cut_and_cleaned() {
    let body = json!({ "KeySpec": format!("\u{1b}[31m{}", "x".repeat(100_000)) });
    let refused = refused(Operation::CreateKey, &body).to_string();
    assert!(
        refused.len() < 2000 && !refused.contains('\u{1b}'),
        "{refused}"
    );
}

#[test]
fn null_and_unknown_members_count_as_absent() {
    let body = r#"{"Limit":null,"Marker":null,"Unknown":{"a":[1]}}"#;
    let parsed = input(Operation::ListKeys, body.as_bytes(), &region());
    let Ok(Input::ListKeys(page)) = parsed else {
        panic!("must be taken")
    };
    assert_eq!((page.limit, page.marker), (100, None));
}

/// Values of members, sensible and otherwise.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,40}".prop_map(Into::into),
        "(alias/|arn:aws:kms:eu-central-1:111122223333:(key|alias)/)[a-z/]{0,8}"
            .prop_map(Into::into),
        "[A-Za-z0-9+/]{0,16}={0,2}".prop_map(Into::into),
        Just("AES_256".into()),
        Just("RSAES_OAEP_SHA_256".into()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(name(), inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "KeyId",
            "TargetKeyId",
            "AliasName",
            "Plaintext",
            "CiphertextBlob",
            "Recipient",
            "KeyEncryptionAlgorithm",
            "AttestationDocument",
            "EncryptionContext",
            "GrantTokens",
            "NumberOfBytes",
            "KeySpec",
            "Limit",
            "Marker",
            "Policy",
            "PolicyName",
            "DryRun",
            "PendingWindowInDays",
            "Description",
            "Tags",
            "EncryptionAlgorithm",
        ])
        .prop_map(str::to_owned),
        "[A-Za-z]{0,8}",
    ]
}

proptest! {
    #[test]
    fn arbitrary_objects_never_panic(
        members in proptest::collection::btree_map(name(), value(), 0..8),
    ) {
        let body = serde_json::to_vec(&members).expect("JSON");
        for operation in Operation::ALL {
            if let Ok(parsed) = input(operation, &body, &region()) {
                let _ = parsed.audit_parameters();
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        for operation in Operation::ALL {
            let _ = input(operation, &body, &region());
        }
    }
}
