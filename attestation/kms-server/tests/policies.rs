//! Key policies as the server takes them.

mod support;

use serde_json::{Value, json};
use support::{ACCOUNT, Kms, Reply};

/// A policy that lets the account put another one under this condition only.
fn policy(condition: Value) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
                "NotAction": "kms:PutKeyPolicy",
                "Resource": "*"
            },
            {
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
                "Action": "kms:PutKeyPolicy",
                "Resource": "*",
                "Condition": condition
            }
        ]
    })
    .to_string()
}

/// The lockout check asks with what a later PutKeyPolicy would be asked with: the key's own
/// properties, and no bypass.
#[test]
fn the_lockout_check_knows_the_key_and_no_bypass() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    let made = client.call("CreateKey", &json!({})).ok();
    let key = made["KeyMetadata"]["KeyId"].clone();
    let put = |condition: &Value| -> [Reply; 2] {
        let policy = policy(condition.clone());
        let put = json!({ "KeyId": key, "Policy": policy });
        let create = json!({ "Policy": policy });
        [
            client.call("CreateKey", &create),
            client.call("PutKeyPolicy", &put),
        ]
    };
    for condition in [
        json!({ "StringEquals": { "kms:KeySpec": "RSA_2048" } }),
        json!({ "StringEquals": { "kms:KeyOrigin": "EXTERNAL" } }),
        json!({ "Bool": { "kms:BypassPolicyLockoutSafetyCheck": "true" } }),
        json!({ "Null": { "kms:KeyUsage": "true" } }),
    ] {
        for reply in put(&condition) {
            assert_eq!(
                reply.rule(),
                "policy.lockout",
                "{condition}: {}",
                reply.body
            );
        }
    }
    for condition in [
        json!({ "StringEquals": {
            "kms:KeySpec": "SYMMETRIC_DEFAULT",
            "kms:KeyUsage": "ENCRYPT_DECRYPT",
            "kms:KeyOrigin": "AWS_KMS",
        } }),
        json!({ "Bool": { "kms:BypassPolicyLockoutSafetyCheck": "false" } }),
    ] {
        for reply in put(&condition) {
            assert_eq!(reply.status, 200, "{condition}: {}", reply.body);
        }
    }
}

/// One mistake made thousands of times: answer and event stay such that their readers take them.
#[test]
fn thousands_of_warnings_are_counted_and_not_all_told() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
                "Action": "kms:*",
                "Resource": "*"
            },
            {
                "Sid": "x".repeat(3000),
                "Effect": "Deny",
                "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
                "Action": "kms:Decrypt",
                "Resource": "*",
                "Condition": { "StringEquals": {
                    "kms:RecipientAttestation:ImageSha384": vec![""; 9000]
                } }
            }
        ]
    });
    let made = client.call("CreateKey", &json!({ "Policy": policy.to_string() }));
    let body = made.ok();
    let warnings = body["Warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 33);
    // One for each value, and one for the account's statement: it allows Decrypt without a document.
    let last = warnings.last().and_then(Value::as_str).expect("a text");
    assert!(last.starts_with("and 8969 more"), "{last}");
    assert!(body.to_string().len() < 64 * 1024);
    drop(server);
    let export = kms.command(&["audit", "export"], &[]).stdout;
    let export = kms.file("export.jsonl", export);
    let export = export.to_str().expect("a path");
    let mut verify = std::process::Command::new(env!("CARGO_BIN_EXE_anchorhold-kms"));
    let verify = verify.args(["audit", "verify", "--export", export]);
    let verified = verify.output().expect("runs");
    assert!(verified.status.success(), "{}", support::stderr(&verified));
}
