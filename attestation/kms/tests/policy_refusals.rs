//! Policies that are not taken.

mod common;

use anchorhold_kms_core::Exception;
use anchorhold_kms_core::policy::{IdentityPolicy, KeyPolicy, MAX_POLICY, admit};
use common::{ACCOUNT, ALICE, BOB, ROOT};
use serde_json::{Value, json};

fn refused(document: &Value) -> &'static str {
    match KeyPolicy::parse(&document.to_string()) {
        Ok(_) => panic!("taken: {document}"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.rule()
        }
    }
}

/// A statement that would be taken, with one element replaced.
fn with(element: &str, value: Value) -> Value {
    let mut statement = json!({
        "Sid": "x", "Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*", "Resource": "*",
    });
    statement[element] = value;
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

fn with_condition(condition: Value) -> Value {
    with("Condition", condition)
}

#[test]
fn documents() {
    for (document, rule) in [
        (json!([]), "policy.element-type"),
        (json!("*"), "policy.element-type"),
        (json!({}), "policy.missing-element"),
        (json!({"Version": "2012-10-17"}), "policy.missing-element"),
        (
            json!({"Version": "2012-10-18", "Statement": []}),
            "policy.version",
        ),
        (
            json!({"Version": 2012, "Statement": []}),
            "policy.element-type",
        ),
        (json!({"Id": null, "Statement": []}), "policy.element-type"),
        (json!({"statement": []}), "policy.unknown-element"),
        (
            json!({"Statement": [], "Comment": ""}),
            "policy.unknown-element",
        ),
        (json!({"Statement": ["x"]}), "policy.element-type"),
        (json!({"Statement": null}), "policy.element-type"),
        (json!({"Statement": [[]]}), "policy.element-type"),
    ] {
        assert_eq!(refused(&document), rule, "{document}");
    }
    let duplicate = r#"{"Statement":[],"Statement":[]}"#;
    assert_eq!(
        KeyPolicy::parse(duplicate).unwrap_err().rule(),
        "policy.duplicate-key"
    );
    assert_eq!(
        KeyPolicy::parse("{\"Statement\":[],\"Id\":\"\u{100}\"}")
            .unwrap_err()
            .rule(),
        "policy.character"
    );
}

#[test]
fn elements() {
    for (element, value, rule) in [
        ("Sid", json!(1), "policy.element-type"),
        ("sid", json!("x"), "policy.unknown-element"),
        ("Effect", json!("allow"), "policy.effect"),
        ("Effect", json!(["Allow"]), "policy.element-type"),
        ("Action", json!([]), "policy.element-type"),
        ("Action", json!([["kms:*"]]), "policy.element-type"),
        ("Action", json!("Decrypt"), "policy.action"),
        ("Action", json!("kms:"), "policy.action"),
        ("Action", json!(":Decrypt"), "policy.action"),
        ("Action", json!("k*:Decrypt"), "policy.action"),
        ("Action", json!("kms:Decrypt "), "policy.action"),
        ("NotAction", json!("kms:Decrypt"), "policy.element-conflict"),
        ("NotResource", json!("*"), "policy.element-conflict"),
        (
            "NotPrincipal",
            json!({"AWS": BOB}),
            "policy.element-conflict",
        ),
        ("Resource", json!([]), "policy.element-type"),
        ("Resource", json!("${aws:SourceIp}"), "policy.variable"),
        ("Resource", json!("${aws:username"), "policy.variable"),
        ("Principal", json!("111122223333"), "policy.principal"),
        ("Principal", json!({}), "policy.element-type"),
        ("Principal", json!({"AWS": []}), "policy.element-type"),
        ("Principal", json!({"aws": "*"}), "policy.unknown-element"),
        (
            "Principal",
            json!({"AWS": "arn:aws:iam::111122223333:user/*"}),
            "policy.principal",
        ),
        (
            "Principal",
            json!({"AWS": "arn:aws:iam::*:root"}),
            "policy.principal",
        ),
        (
            "Principal",
            json!({"AWS": "AIDACKCEVSQ6C2EXAMPLE"}),
            "policy.principal",
        ),
        (
            "Principal",
            json!({"AWS": [ALICE, "Bob"]}),
            "policy.principal",
        ),
        ("Principal", json!(null), "policy.element-type"),
    ] {
        let document = with(element, value);
        assert_eq!(refused(&document), rule, "{document}");
    }
    for (statement, rule) in [
        (
            json!({"Effect": "Allow", "Action": "kms:*", "Resource": "*"}),
            "policy.missing-element",
        ),
        (
            json!({"Principal": "*", "Action": "kms:*", "Resource": "*"}),
            "policy.missing-element",
        ),
        (
            json!({"Effect": "Allow", "NotPrincipal": {"AWS": ALICE}, "Action": "kms:*", "Resource": "*"}),
            "policy.not-principal-allow",
        ),
        (
            json!({"Effect": "Deny", "Principal": "*", "NotAction": [], "Resource": "*"}),
            "policy.element-type",
        ),
    ] {
        assert_eq!(
            refused(&json!({"Statement": [statement]})),
            rule,
            "{statement}"
        );
    }
}

#[test]
fn conditions() {
    for (condition, rule) in [
        (json!([]), "policy.element-type"),
        (json!({"StringEquals": "x"}), "policy.element-type"),
        (
            json!({"StringEquals": {"aws:username": {}}}),
            "policy.element-type",
        ),
        (
            json!({"StringEquals": {"aws:username": null}}),
            "policy.element-type",
        ),
        (
            json!({"StringEquals": {"aws:username": []}}),
            "policy.element-type",
        ),
        (
            json!({"StringNotEquals": {"aws:username": []}}),
            "policy.element-type",
        ),
        (
            json!({"stringequals": {"aws:username": "x"}}),
            "policy.unknown-operator",
        ),
        (
            json!({"StringMatches": {"aws:username": "x"}}),
            "policy.unknown-operator",
        ),
        (
            json!({"NullIfExists": {"aws:username": "true"}}),
            "policy.unknown-operator",
        ),
        (
            json!({"BinaryEquals": {"aws:username": "eA=="}}),
            "policy.unsupported-operator",
        ),
        (
            json!({"Bool": {"aws:SecureTransport": "yes"}}),
            "policy.value",
        ),
        (json!({"Null": {"aws:username": "maybe"}}), "policy.value"),
        (
            json!({"NumericEquals": {"aws:EpochTime": "soon"}}),
            "policy.value",
        ),
        (
            json!({"DateLessThan": {"aws:CurrentTime": "tomorrow"}}),
            "policy.value",
        ),
        (
            json!({"IpAddress": {"aws:SourceIp": "example.org"}}),
            "policy.value",
        ),
        (
            json!({"ArnLike": {"aws:PrincipalArn": "*"}}),
            "policy.value",
        ),
        (
            json!({"ArnNotEquals": {"aws:PrincipalArn": "Alice"}}),
            "policy.value",
        ),
        (
            json!({"StringEquals": {"aws:username": "${aws:SourceIp}"}}),
            "policy.variable",
        ),
        (
            json!({"StringEquals": {"aws:username": "${kms:EncryptionContext:user}"}}),
            "policy.variable",
        ),
        (
            json!({"StringEquals": {"aws:username": "${aws:username, 'x'}"}}),
            "policy.variable",
        ),
        (
            json!({"StringEquals": {"aws:username": "${"}}),
            "policy.variable",
        ),
    ] {
        let document = with_condition(condition);
        assert_eq!(refused(&document), rule, "{document}");
    }
}

#[test]
fn sizes() {
    let filled = |size: usize| {
        let empty = json!({"Id": "", "Statement": []}).to_string();
        json!({"Id": "x".repeat(size - empty.len()), "Statement": []}).to_string()
    };
    assert!(KeyPolicy::parse(&filled(MAX_POLICY)).is_ok());
    let error = admit(&filled(MAX_POLICY + 1), 1).unwrap_err();
    assert_eq!(
        (error.exception(), error.rule()),
        (Exception::LimitExceeded, "policy.size")
    );
    let many = |count: usize| json!({"Statement": vec![json!({"Effect": "Allow", "Principal": "*"}); count]});
    assert!(KeyPolicy::parse(&many(256).to_string()).is_ok());
    assert_eq!(refused(&many(257)), "policy.statements");
}

#[test]
fn identity_policies_name_resources_and_no_principals() {
    for (statement, rule) in [
        (
            json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}),
            "policy.principal-in-identity-policy",
        ),
        (
            json!({"Effect": "Deny", "NotPrincipal": {"AWS": ALICE}, "Action": "*", "Resource": "*"}),
            "policy.principal-in-identity-policy",
        ),
        (
            json!({"Effect": "Allow", "Action": "*"}),
            "policy.missing-element",
        ),
        (
            json!({"Effect": "Allow", "Resource": "*"}),
            "policy.missing-element",
        ),
    ] {
        let document = json!({"Statement": statement});
        let error = IdentityPolicy::parse(&document.to_string()).unwrap_err();
        assert_eq!(error.rule(), rule, "{document}");
    }
}

#[test]
fn the_principals_of_a_policy_can_be_looked_up() {
    let document = json!({"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": [ALICE, ACCOUNT], "Service": "x.amazonaws.com"}},
        {"Effect": "Deny", "NotPrincipal": {"AWS": BOB}},
        {"Effect": "Allow", "Principal": "*"},
    ]});
    let policy = KeyPolicy::parse(&document.to_string()).expect("a policy");
    let named: Vec<&str> = policy
        .principals()
        .map(|principal| principal.as_str())
        .collect();
    assert_eq!(named, [ALICE, ROOT, BOB]);
}
