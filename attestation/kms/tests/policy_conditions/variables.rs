//! Variables in values, and what their comparison may cost.

use anchorhold_kms_core::policy::{KeyPolicy, authorize};
use serde_json::{Value, json};

use crate::common::truth::Truth::{F, T, U};
use crate::common::truth::{check, check_all};
use crate::common::{ALICE, Ask};

#[test]
fn variables() {
    let ask = Ask::decrypt().encryption_context(&[
        ("owner", "Alice"),
        ("star", "*"),
        ("arn", ALICE),
        ("dollar", "${aws:username}"),
    ]);
    let of = |operator: &str, name: &str, value: &str| json!({operator: {format!("kms:EncryptionContext:{name}"): value}});
    check_all(
        &ask,
        &[
            (F, of("StringEquals", "star", "${aws:username}")),
            (F, of("StringEquals", "owner", "${*}")),
            (F, of("StringEquals", "dollar", "${aws:username}")),
            (F, of("StringLike", "owner", "${*}")),
            (T, of("StringEquals", "owner", "${aws:username}")),
            (T, of("StringEquals", "owner", "${AWS:UserName}")),
            (T, of("StringLike", "owner", "${aws:username}*")),
            (T, of("StringEquals", "star", "${*}")),
            (T, of("StringEquals", "dollar", "${$}{aws:username}")),
            (
                T,
                of(
                    "StringEquals",
                    "arn",
                    "arn:aws:iam::${kms:CallerAccount}:user/${aws:username}",
                ),
            ),
            (
                T,
                json!({"ArnEquals": {"aws:PrincipalArn": "${aws:PrincipalArn}"}}),
            ),
        ],
    );
    // The account itself has no user name.
    let root = Ask::by(
        crate::common::ROOT,
        anchorhold_kms_core::operation::Operation::Decrypt,
    );
    let document = |effect: &str| {
        let statement = |effect: &str, condition: Value| {
            json!({"Effect": effect, "Principal": {"AWS": crate::common::ROOT}, "Action": "kms:*",
                   "Resource": "*", "Condition": condition})
        };
        let unknown = json!({"StringNotEquals": {"kms:CallerAccount": "${aws:username}"}});
        let mut statements = vec![statement(effect, unknown)];
        if effect == "Deny" {
            statements.push(statement("Allow", json!({})));
        }
        KeyPolicy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string())
            .expect("a policy")
    };
    for effect in ["Allow", "Deny"] {
        assert!(
            !authorize(Some(&document(effect)), &[], &root.request()).is_allowed(),
            "{effect}"
        );
    }
}

#[test]
fn variables_are_text_in_the_older_version() {
    let ask = Ask::decrypt().encryption_context(&[("x", "${aws:username}")]);
    let statement = json!({
        "Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*", "Resource": "*",
        "Condition": {"StringEquals": {"kms:EncryptionContext:x": "${aws:username}"}},
    });
    for document in [
        json!({"Statement": statement}),
        json!({"Version": "2008-10-17", "Statement": statement}),
    ] {
        let policy = KeyPolicy::parse(&document.to_string()).expect("a policy");
        assert!(authorize(Some(&policy), &[], &ask.request()).is_allowed());
    }
}

/// A long policy against a long encryption context would be 10^10 comparisons of characters. The
/// decision ends, and what was not compared is undecided: whoever compared all would say that none
/// is like it.
#[test]
fn what_costs_too_much_decides_nothing() {
    let patterns: Vec<String> = (0..300).map(|n| format!("*a?{n}b*")).collect();
    let like = json!({"StringLike": {"kms:EncryptionContext:long": patterns}});
    let value = "a".repeat(500_000);
    let long = Ask::decrypt().encryption_context(&[("long", &value)]);
    check(&like, &long, U);
    let names: Vec<String> = (0..50_000).map(|n| format!("name{n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let many = Ask::decrypt().encryption_context(&pairs);
    let others: Vec<String> = (0..1_000).map(|n| format!("other{n}")).collect();
    let one_of = json!({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": others}});
    check(&one_of, &many, U);
    // A context of the size that is really used is far from it.
    let value = "a".repeat(8_000);
    let ask = Ask::decrypt().encryption_context(&[("long", &value)]);
    check(&like, &ask, F);
}
