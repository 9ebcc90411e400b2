//! Keys: absent, several, ambiguous, and what a request has.

use anchorhold_kms_core::key::EncryptionAlgorithm;
use serde_json::{Value, json};

use crate::common::Ask;
use crate::common::truth::Truth::{F, T, U};
use crate::common::truth::check_all;

#[test]
fn keys_that_the_request_has_not_got() {
    check_all(
        &Ask::decrypt(),
        &[
            (
                F,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": ""}}),
            ),
            (
                F,
                json!({"StringLike": {"kms:EncryptionContext:Dept": "*"}}),
            ),
            (F, json!({"ArnLike": {"aws:SourceArn": "arn:*:*:*:*:*"}})),
            (
                F,
                json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}),
            ),
            (
                F,
                json!({"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": "8"}}),
            ),
            (
                F,
                json!({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}),
            ),
            (F, json!({"Null": {"kms:EncryptionContext:Dept": "false"}})),
            (T, json!({"Null": {"kms:EncryptionContext:Dept": "true"}})),
            (
                T,
                json!({"StringNotEquals": {"kms:EncryptionContext:Dept": "x"}}),
            ),
            (
                T,
                json!({"StringNotLike": {"kms:EncryptionContext:Dept": "*"}}),
            ),
            (T, json!({"ArnNotLike": {"aws:SourceArn": "arn:*:*:*:*:*"}})),
            (
                T,
                json!({"NumericNotEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": "7"}}),
            ),
            (
                T,
                json!({"StringEqualsIfExists": {"kms:EncryptionContext:Dept": "x"}}),
            ),
            (
                T,
                json!({"BoolIfExists": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}),
            ),
        ],
    );
}

#[test]
fn if_exists_asks_when_the_key_is_there() {
    let ask = Ask::decrypt().encryption_context(&[("Dept", "x")]);
    check_all(
        &ask,
        &[
            (
                F,
                json!({"StringEqualsIfExists": {"kms:EncryptionContext:Dept": "y"}}),
            ),
            (
                F,
                json!({"StringNotEqualsIfExists": {"kms:EncryptionContext:Dept": "x"}}),
            ),
            (
                T,
                json!({"StringEqualsIfExists": {"kms:EncryptionContext:Dept": "x"}}),
            ),
            (F, json!({"Null": {"kms:EncryptionContext:Dept": "true"}})),
            (
                T,
                json!({"Null": {"kms:EncryptionContext:Dept": ["true", "false"]}}),
            ),
        ],
    );
}

#[test]
fn all_keys_and_any_value() {
    let ask = Ask::decrypt().encryption_context(&[("a", "1"), ("b", "2")]);
    let both = |a: &str, b: &str| json!({"StringEquals": {"kms:EncryptionContext:a": a, "kms:EncryptionContext:b": b}});
    check_all(
        &ask,
        &[
            (F, both("1", "1")),
            (F, both("2", "2")),
            (T, both("1", "2")),
            (
                F,
                json!({
                    "StringEquals": {"kms:EncryptionContext:a": "1"},
                    "Bool": {"aws:SecureTransport": "false"},
                }),
            ),
            (
                T,
                json!({
                    "StringEquals": {"kms:EncryptionContext:a": "1"},
                    "Bool": {"aws:SecureTransport": "true"},
                }),
            ),
            (T, json!({})),
        ],
    );
}

#[test]
fn sets() {
    let ask = Ask::decrypt().encryption_context(&[("a", "1"), ("b", "2")]);
    let keys =
        |operator: &str, values: Value| json!({operator: {"kms:EncryptionContextKeys": values}});
    check_all(
        &ask,
        &[
            (F, keys("ForAllValues:StringEquals", json!(["a"]))),
            (F, keys("ForAllValues:StringNotEquals", json!(["a"]))),
            (F, keys("ForAnyValue:StringEquals", json!(["c"]))),
            (F, keys("ForAnyValue:StringNotEquals", json!(["a", "b"]))),
            (F, keys("StringNotEquals", json!("a"))),
            (T, keys("ForAllValues:StringEquals", json!(["a", "b", "c"]))),
            (T, keys("ForAllValues:StringNotEquals", json!(["c"]))),
            (T, keys("ForAnyValue:StringEquals", json!(["a", "c"]))),
            (T, keys("ForAnyValue:StringNotEquals", json!(["a"]))),
            (T, keys("ForAllValues:StringLike", json!("?"))),
        ],
    );
    check_all(
        &Ask::decrypt(),
        &[
            (F, keys("ForAnyValue:StringEquals", json!(["a"]))),
            (F, keys("ForAnyValue:StringNotEquals", json!(["a"]))),
            (F, keys("ForAnyValue:StringLike", json!(["*"]))),
            (T, keys("ForAnyValue:StringEqualsIfExists", json!(["a"]))),
            (T, keys("ForAllValues:StringEquals", json!(["a"]))),
            (T, keys("ForAllValues:StringNotEquals", json!(["a"]))),
        ],
    );
}

#[test]
fn names_of_the_context_that_differ_by_case_alone_decide_nothing() {
    let ask = Ask::decrypt().encryption_context(&[("dept", "x"), ("Dept", "y"), ("other", "z")]);
    check_all(
        &ask,
        &[
            (
                U,
                json!({"StringEquals": {"kms:EncryptionContext:dept": "x"}}),
            ),
            (
                U,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": "y"}}),
            ),
            (
                U,
                json!({"StringNotEquals": {"kms:EncryptionContext:dept": "q"}}),
            ),
            (
                T,
                json!({"StringEquals": {"kms:EncryptionContext:other": "z"}}),
            ),
            (
                T,
                json!({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "dept"}}),
            ),
        ],
    );
}

#[test]
fn keys_of_the_request() {
    let ask = Ask::decrypt().with(|context| {
        context
            .encryption_algorithm(EncryptionAlgorithm::SymmetricDefault)
            .request_alias(&"alias/pii".parse().expect("an alias"))
            .bypass_policy_lockout_safety_check(false)
    });
    let equals = |key: &str, value: &str| json!({"StringEquals": {key: value}});
    check_all(
        &ask,
        &[
            (F, equals("kms:CallerAccount", "444455556666")),
            (F, equals("kms:RequestAlias", "alias/other")),
            (F, equals("kms:EncryptionAlgorithm", "RSAES_OAEP_SHA_256")),
            (F, equals("kms:ViaService", "*")),
            (T, equals("kms:CallerAccount", "111122223333")),
            (T, equals("aws:PrincipalAccount", "111122223333")),
            (T, equals("aws:RequestedRegion", "eu-central-1")),
            (T, equals("kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT")),
            (T, equals("kms:RequestAlias", "alias/pii")),
            (T, json!({"StringLike": {"kms:RequestAlias": "alias/p*"}})),
            (
                T,
                json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}),
            ),
        ],
    );
}
