//! Truth tables of conditions.
//!
//! T: the Allow allows, the Deny denies. F: neither. U (undecided): the Allow does not allow, the
//! Deny denies.

use anchorhold_kms_core::policy::{Decision, KeyPolicy, authorize};
use serde_json::{Value, json};

use super::{ALICE, Ask};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    T,
    F,
    U,
}
use Truth::{F, T, U};

pub fn policy(effect: &str, condition: &Value) -> KeyPolicy {
    let statement = |effect: &str, condition: &Value| {
        json!({
            "Effect": effect, "Principal": {"AWS": ALICE}, "Action": "kms:*", "Resource": "*",
            "Condition": condition,
        })
    };
    let mut statements = vec![statement(effect, condition)];
    if effect == "Deny" {
        statements.push(statement("Allow", &json!({})));
    }
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    KeyPolicy::parse(&document.to_string()).unwrap_or_else(|error| panic!("{condition}: {error}"))
}

pub fn check(condition: &Value, ask: &Ask, expected: Truth) {
    let allow = authorize(Some(&policy("Allow", condition)), &[], &ask.request());
    let deny = authorize(Some(&policy("Deny", condition)), &[], &ask.request());
    let got = match (
        allow.is_allowed(),
        matches!(deny, Decision::ExplicitDeny(_)),
    ) {
        (true, true) => T,
        (false, false) => F,
        (false, true) => U,
        (true, false) => panic!("{condition}: allows and does not deny"),
    };
    assert_eq!(got, expected, "{condition}");
}

pub fn check_all(ask: &Ask, rows: &[(Truth, Value)]) {
    for (expected, condition) in rows {
        check(condition, ask, *expected);
    }
}
