//! Policies from statements, and what is decided by them.

use anchorhold_kms_core::policy::{Decision, IdentityPolicy, KeyPolicy, authorize};
use serde_json::{Value, json};

use super::Ask;

pub const ALLOWED: &str = "policy.allowed";
pub const DENIED: &str = "policy.explicit-deny";
pub const NOTHING: &str = "policy.no-allow";

pub fn key_policy(statements: &Value) -> KeyPolicy {
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    KeyPolicy::parse(&document.to_string()).unwrap_or_else(|error| panic!("{statements}: {error}"))
}

pub fn identity_policy(statements: &Value) -> IdentityPolicy {
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    IdentityPolicy::parse(&document.to_string())
        .unwrap_or_else(|error| panic!("{statements}: {error}"))
}

pub fn allow(principal: Value) -> Value {
    json!({"Effect": "Allow", "Principal": principal, "Action": "kms:Decrypt", "Resource": "*"})
}

pub fn deny(principal: Value) -> Value {
    json!({"Effect": "Deny", "Principal": principal, "Action": "kms:Decrypt", "Resource": "*"})
}

pub fn iam(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource})
}

pub fn decide(key: &Value, identity: &[Value], ask: &Ask) -> Decision {
    let identity: Vec<IdentityPolicy> = identity.iter().map(identity_policy).collect();
    authorize(Some(&key_policy(key)), &identity, &ask.request())
}

pub fn check(key: &Value, identity: &[Value], ask: &Ask, expected: &str) {
    assert_eq!(
        decide(key, identity, ask).rule(),
        expected,
        "{key} {identity:?}"
    );
}
