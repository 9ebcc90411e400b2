//! Operators, type by type.

use anchorhold_kms_core::key::DeletionWindow;
use serde_json::{Value, json};

use crate::common::Ask;
use crate::common::truth::Truth::{F, T, U};
use crate::common::truth::check_all;

#[test]
fn strings() {
    let ask = Ask::decrypt().encryption_context(&[("Dept", "Pii-Records"), ("empty", "")]);
    check_all(
        &ask,
        &[
            // Another value, another case, a part of it.
            (
                F,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": "pii-records"}}),
            ),
            (
                F,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": "Pii-Record"}}),
            ),
            (
                F,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": "Pii-*"}}),
            ),
            (
                F,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": ["a", "b"]}}),
            ),
            (
                F,
                json!({"StringEqualsIgnoreCase": {"kms:EncryptionContext:Dept": "pii"}}),
            ),
            (
                F,
                json!({"StringLike": {"kms:EncryptionContext:Dept": "pii-*"}}),
            ),
            (
                F,
                json!({"StringLike": {"kms:EncryptionContext:Dept": "Pii-Record"}}),
            ),
            (
                F,
                json!({"StringLike": {"kms:EncryptionContext:Dept": "Pii-?"}}),
            ),
            (
                F,
                json!({"StringNotEquals": {"kms:EncryptionContext:Dept": "Pii-Records"}}),
            ),
            (
                F,
                json!({"StringNotEquals": {"kms:EncryptionContext:Dept": ["x", "Pii-Records"]}}),
            ),
            (
                F,
                json!({"StringNotEqualsIgnoreCase": {"kms:EncryptionContext:Dept": "PII-RECORDS"}}),
            ),
            (
                F,
                json!({"StringNotLike": {"kms:EncryptionContext:Dept": "*Rec*"}}),
            ),
            (
                F,
                json!({"StringEquals": {"kms:EncryptionContext:empty": " "}}),
            ),
            // The value itself.
            (
                T,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": "Pii-Records"}}),
            ),
            (
                T,
                json!({"StringEquals": {"kms:EncryptionContext:Dept": ["x", "Pii-Records"]}}),
            ),
            // The name's case does not count, nor does the rest of the key's.
            (
                T,
                json!({"StringEquals": {"KMS:encryptioncontext:dEPT": "Pii-Records"}}),
            ),
            (
                T,
                json!({"StringEqualsIgnoreCase": {"kms:EncryptionContext:Dept": "PII-RECORDS"}}),
            ),
            (
                T,
                json!({"StringLike": {"kms:EncryptionContext:Dept": "P?i-*s"}}),
            ),
            (
                T,
                json!({"StringNotEquals": {"kms:EncryptionContext:Dept": "pii-records"}}),
            ),
            (
                T,
                json!({"StringNotLike": {"kms:EncryptionContext:Dept": "pii*"}}),
            ),
            (
                T,
                json!({"StringEquals": {"kms:EncryptionContext:empty": ""}}),
            ),
            (
                T,
                json!({"StringLike": {"kms:EncryptionContext:empty": "*"}}),
            ),
        ],
    );
}

#[test]
fn booleans() {
    let rows = [
        (F, json!({"Bool": {"aws:SecureTransport": "false"}})),
        (F, json!({"Bool": {"aws:SecureTransport": false}})),
        (T, json!({"Bool": {"aws:SecureTransport": true}})),
        (T, json!({"Bool": {"aws:SecureTransport": "True"}})),
        (U, json!({"Bool": {"aws:username": "true"}})),
    ];
    check_all(&Ask::decrypt(), &rows);
}

#[test]
fn numbers() {
    let ask = Ask::decrypt()
        .with(|context| context.deletion_window(DeletionWindow::from_days(14).expect("a window")));
    let days = |operator: &str, value: Value| json!({operator: {"kms:ScheduleKeyDeletionPendingWindowInDays": value}});
    check_all(
        &ask,
        &[
            (F, days("NumericEquals", json!(15))),
            (F, days("NumericNotEquals", json!("14"))),
            (F, days("NumericLessThan", json!(14))),
            (F, days("NumericLessThanEquals", json!("13.99"))),
            (F, days("NumericGreaterThan", json!(14))),
            (F, days("NumericGreaterThanEquals", json!(15))),
            (T, days("NumericEquals", json!("14.0"))),
            (T, days("NumericLessThan", json!(15))),
            (T, days("NumericLessThanEquals", json!(14))),
            (T, days("NumericGreaterThan", json!(-1))),
            (T, days("NumericGreaterThanEquals", json!([99, 14]))),
            // A word is no number: an Allow does not trust it, a Deny does not excuse it.
            (U, json!({"NumericLessThan": {"aws:username": "5"}})),
            (U, json!({"NumericNotEquals": {"aws:username": "5"}})),
        ],
    );
}

/// The request is made at 2026-03-01T12:00:00Z.
#[test]
fn dates() {
    let time = |operator: &str, value: &str| json!({operator: {"aws:CurrentTime": value}});
    check_all(
        &Ask::decrypt(),
        &[
            (F, time("DateLessThan", "2026-03-01T12:00:00Z")),
            (F, time("DateGreaterThan", "2026-03-01T12:00:00Z")),
            (F, time("DateEquals", "2026-03-01")),
            (F, time("DateNotEquals", "2026-03-01T13:00:00+01:00")),
            (F, time("DateGreaterThanEquals", "2026-03-02")),
            (T, time("DateLessThanEquals", "2026-03-01T12:00:00Z")),
            (T, time("DateGreaterThan", "2026-02-28")),
            (T, time("DateEquals", "1772366400")),
            (T, json!({"DateLessThan": {"aws:EpochTime": "2026-03-02"}})),
            (
                T,
                json!({"NumericEquals": {"aws:EpochTime": 1_772_366_400}}),
            ),
            (U, json!({"DateLessThan": {"aws:username": "2026-03-02"}})),
        ],
    );
}

#[test]
fn addresses() {
    let ip = |operator: &str, value: &str| json!({operator: {"aws:SourceIp": value}});
    check_all(
        &Ask::decrypt(),
        &[
            (F, ip("IpAddress", "203.0.113.8")),
            (F, ip("IpAddress", "203.0.112.0/24")),
            (F, ip("IpAddress", "2001:db8::/32")),
            (F, ip("NotIpAddress", "203.0.113.0/24")),
            (T, ip("IpAddress", "203.0.113.0/29")),
            (T, ip("NotIpAddress", "198.51.100.0/24")),
            (U, json!({"IpAddress": {"aws:username": "0.0.0.0/0"}})),
        ],
    );
}

#[test]
fn arns() {
    let caller = |operator: &str, value: &str| json!({operator: {"aws:PrincipalArn": value}});
    check_all(
        &Ask::decrypt(),
        &[
            (F, caller("ArnEquals", "arn:aws:iam::111122223333:user/Bob")),
            (F, caller("ArnLike", "arn:aws:iam::111122223333:role/*")),
            // A star does not reach over a colon; a pattern of StringLike does.
            (F, caller("ArnLike", "arn:aws:*:111122223333:user/Alice:x")),
            (F, caller("ArnLike", "arn:aws:i*:user/Alice:*:*")),
            (
                F,
                caller("ArnNotEquals", "arn:aws:iam::111122223333:user/Alice"),
            ),
            (F, caller("ArnNotLike", "arn:aws:iam::*:user/*")),
            (F, caller("ArnLike", "arn:aws:iam::11112222333?:user/alice")),
            (
                T,
                caller("ArnEquals", "arn:aws:iam::111122223333:user/Alice"),
            ),
            (T, caller("ArnEquals", "arn:aws:iam::*:user/A*")),
            (T, caller("ArnLike", "arn:*:iam::1111????3333:user/*")),
            (T, caller("ArnNotLike", "arn:aws:iam::444455556666:*")),
            (T, caller("StringLike", "arn:aws:i*user/Alice")),
        ],
    );
}
