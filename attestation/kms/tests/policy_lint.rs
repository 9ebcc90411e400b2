//! Findings about policies that can be read, and what PutKeyPolicy makes of them.

mod common;

use anchorhold_kms_core::policy::{
    Finding, FindingKind, IdentityPolicy, KeyPolicy, Severity, admit, lint, lint_identity,
    lockout_check,
};
use anchorhold_kms_core::{Exception, operation::Operation};
use common::{ACCOUNT, ALICE, Ask, BOB, ROOT};
use serde_json::{Value, json};

/// A policy of one statement, "x", with this condition.
fn with_condition(condition: Value) -> Value {
    let statement = json!({
        "Sid": "x", "Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*", "Resource": "*",
        "Condition": condition,
    });
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

/// The findings about one Allow statement for Alice with this condition.
fn findings(condition: Value, trusted_roots: usize) -> Vec<&'static str> {
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:Decrypt",
                           "Resource": "*", "Condition": condition});
    rules(json!([statement]), trusted_roots)
}

fn rules(statements: Value, trusted_roots: usize) -> Vec<&'static str> {
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    let policy = KeyPolicy::parse(&document.to_string()).expect("a policy");
    lint(&policy, trusted_roots)
        .iter()
        .map(|finding| finding.rule())
        .collect()
}

fn pcr0(operator: &str, value: &str) -> Value {
    json!({operator: {"kms:RecipientAttestation:PCR0": value}})
}

#[test]
fn measurements_that_never_match_are_found() {
    let image = "a1".repeat(48);
    for (condition, rule) in [
        (
            pcr0("StringEquals", &format!("0x{image}")),
            "policy.hex-prefix",
        ),
        (
            pcr0("StringEqualsIgnoreCase", &format!("0X{image}")),
            "policy.hex-prefix",
        ),
        (pcr0("StringEquals", &image[..64]), "policy.hex-length"),
        (
            pcr0("StringEquals", &format!("{image}00")),
            "policy.hex-length",
        ),
        (pcr0("StringEquals", &"g".repeat(96)), "policy.hex-length"),
        (pcr0("StringEquals", ""), "policy.hex-length"),
        (
            pcr0("StringEquals", &image.to_uppercase()),
            "policy.hex-upper-case",
        ),
        (
            pcr0("StringEqualsIgnoreCase", &"0".repeat(96)),
            "policy.zero-pcr",
        ),
        (
            json!({"StringEquals": {"anchorhold:RecipientAttestation:RootSha256": image}}),
            "policy.hex-length",
        ),
        (
            json!({"StringEquals": {"kms:RecipientAttestation:ImageSha384": "A1".repeat(48)}}),
            "policy.hex-upper-case",
        ),
        (
            json!({"StringEquals": {"kms:RecipientAttestation": image}}),
            "policy.unknown-condition-key",
        ),
        (
            json!({"StringEquals": {"kms:RecipientAttestation:PCR32": image}}),
            "policy.unknown-condition-key",
        ),
        (
            json!({"StringEquals": {"kms:RecipientAttestation:NitroTPMPCR4": image}}),
            "policy.unknown-condition-key",
        ),
        (
            json!({"StringEquals": {"kms:EncryptionContex:x": "y"}}),
            "policy.unknown-condition-key",
        ),
        (
            json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}}),
            "policy.unknown-condition-key",
        ),
    ] {
        assert_eq!(findings(condition.clone(), 1), [rule], "{condition}");
    }
    for condition in [
        pcr0("StringEquals", &image),
        pcr0("StringEqualsIgnoreCase", &image.to_uppercase()),
        pcr0("StringLike", "a1*"),
        json!({"StringEquals": {"kms:EncryptionContext:x": "0xff"}}),
    ] {
        assert_eq!(findings(condition.clone(), 1), [""; 0], "{condition}");
    }
}

#[test]
fn what_passes_without_a_document_is_found() {
    let image = "a1".repeat(48);
    for operator in [
        "StringNotEquals",
        "StringNotLike",
        "StringEqualsIfExists",
        "ForAllValues:StringEquals",
    ] {
        assert_eq!(
            findings(pcr0(operator, &image), 1),
            ["policy.absence-passes"],
            "{operator}"
        );
    }
    assert_eq!(findings(pcr0("Null", "true"), 1), ["policy.absence-passes"]);
    assert_eq!(findings(pcr0("Null", "false"), 1), [""; 0]);
    // In a Deny it is the right way round.
    let deny = json!([{"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
                       "Condition": pcr0("StringNotEquals", &image)}]);
    assert_eq!(rules(deny, 1), [""; 0]);
}

/// Whoever chooses the user data would choose a new count.
#[test]
fn counts_without_a_contract_are_found() {
    const PRIOR: &str = "anchorhold:RecipientAttestation:PriorReleases";
    const USER_DATA: &str = "anchorhold:RecipientAttestation:UserData";
    let hash = "d0".repeat(48);
    let with = |operator: &str, value: Value| json!({"NumericLessThan": {PRIOR: "1"}, operator: {USER_DATA: value}});
    let rule = "policy.count-without-contract";
    assert_eq!(
        findings(json!({"NumericLessThan": {PRIOR: "1"}}), 1),
        [rule]
    );
    assert_eq!(findings(with("StringLike", json!("d0*")), 1), [rule]);
    assert_eq!(
        findings(with("StringEquals", json!([hash, "${aws:username}"])), 1),
        [rule]
    );
    for operator in ["StringNotEquals", "StringEqualsIfExists"] {
        let found = findings(with(operator, json!(hash)), 1);
        assert_eq!(found, [rule, "policy.absence-passes"], "{operator}");
    }
    for operator in [
        "StringEquals",
        "StringEqualsIgnoreCase",
        "StringLike",
        "ForAnyValue:StringEquals",
    ] {
        let found = findings(with(operator, json!([hash, "d1".repeat(48)])), 1);
        assert_eq!(found, [""; 0], "{operator}");
    }
    // A Deny bounds what others allow: one of these names the contract, or nobody does.
    let statement = |effect: &str, condition: Value| {
        json!({"Effect": effect, "Principal": {"AWS": ALICE}, "Action": "kms:Decrypt",
               "Resource": "*", "Condition": condition})
    };
    let deny = statement("Deny", json!({"NumericGreaterThanEquals": {PRIOR: "1"}}));
    let named = statement("Allow", json!({"StringEquals": {USER_DATA: hash}}));
    let open = statement("Allow", pcr0("StringEquals", &"a1".repeat(48)));
    assert_eq!(rules(json!([deny, open]), 1), [rule]);
    assert_eq!(rules(json!([deny, named]), 1), [""; 0]);
}

#[test]
fn statements_that_defeat_attestation_are_found() {
    let attested = json!({"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:Decrypt",
                          "Resource": "*", "Condition": pcr0("StringEquals", &"a1".repeat(48))});
    let account = |element: &str, action: &str| json!({"Effect": "Allow", "Principal": {"AWS": ROOT}, element: action, "Resource": "*"});
    for defeating in [
        account("Action", "kms:*"),
        account("Action", "kms:D*"),
        account("NotAction", "kms:Encrypt"),
    ] {
        assert_eq!(
            rules(json!([defeating, attested]), 1),
            ["policy.decrypt-without-attestation"]
        );
    }
    assert_eq!(
        rules(json!([account("NotAction", "kms:Decrypt"), attested]), 1),
        [""; 0]
    );
    // Without attestation there is nothing to defeat.
    assert_eq!(rules(json!([account("Action", "kms:*")]), 1), [""; 0]);
    let encrypt = json!([{"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": ["kms:Decrypt", "kms:Encrypt"],
                          "Resource": "*", "Condition": pcr0("StringEquals", &"a1".repeat(48))}]);
    assert_eq!(rules(encrypt, 1), ["policy.action-takes-no-recipient"]);
}

#[test]
fn statements_that_do_not_do_what_they_look_like_are_found() {
    for (statement, rule) in [
        (
            json!({"Effect": "Allow", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"}),
            "policy.allows-everyone",
        ),
        (
            json!({"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:Encrypt"}),
            "policy.no-effect",
        ),
        (
            json!({"Effect": "Deny", "Principal": "*", "Resource": "*"}),
            "policy.no-effect",
        ),
        (
            json!({"Effect": "Deny", "NotPrincipal": {"AWS": ALICE}, "Action": "*", "Resource": "*"}),
            "policy.account-not-exempted",
        ),
        (
            json!({"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*",
                "Resource": "arn:aws:kms:*:111122223333:alias/pii"}),
            "policy.alias-resource",
        ),
    ] {
        assert_eq!(rules(json!([statement]), 1), [rule], "{statement}");
    }
    let here = json!([{"Effect": "Allow", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*",
                       "Condition": {"StringEquals": {"kms:CallerAccount": ACCOUNT}}}]);
    assert_eq!(rules(here, 1), [""; 0]);
}

#[test]
fn put_key_policy_refuses_an_attestation_without_its_root() {
    let image = "a1".repeat(48);
    let unpinned = with_condition(pcr0("StringEqualsIgnoreCase", &image)).to_string();
    assert!(admit(&unpinned, 1).is_ok());
    let error = admit(&unpinned, 2).unwrap_err();
    assert_eq!(
        (error.exception(), error.rule()),
        (Exception::MalformedPolicyDocument, "policy.root-not-pinned")
    );
    let message = error.to_string();
    assert!(
        message.contains("anchorhold:RecipientAttestation:RootSha256"),
        "{message}"
    );
    assert!(
        message.contains("2 roots") && message.contains("statement 0 \"x\""),
        "{message}"
    );

    let pinned = with_condition(json!({"StringEqualsIgnoreCase": {
        "kms:RecipientAttestation:PCR0": image,
        "anchorhold:RecipientAttestation:RootSha256": "0F".repeat(32),
    }}));
    assert!(admit(&pinned.to_string(), 2).is_ok());
}

#[test]
fn put_key_policy_refuses_for_all_values_of_the_encryption_context() {
    let open =
        with_condition(json!({"ForAllValues:StringEquals": {"kms:EncryptionContext:dept": "x"}}));
    let error = admit(&open.to_string(), 1).unwrap_err();
    assert_eq!(error.rule(), "policy.overly-permissive-condition");
    assert!(error.to_string().contains("OverlyPermissiveCondition"));
    let keys =
        with_condition(json!({"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "x"}}));
    assert!(admit(&keys.to_string(), 1).is_ok());
}

#[test]
fn warnings_are_returned_and_do_not_refuse() {
    let (_, warnings) =
        admit(&with_condition(pcr0("StringEquals", "0xff")).to_string(), 1).expect("taken");
    let kinds: Vec<&FindingKind> = warnings.iter().map(|finding| &finding.kind).collect();
    assert!(
        matches!(kinds[..], [FindingKind::HexPrefix { .. }]),
        "{kinds:?}"
    );
    assert_eq!(warnings[0].severity(), Severity::Warning);
}

#[test]
fn nobody_locks_himself_out() {
    let ask = Ask::by(ALICE, Operation::CreateKey);
    let check = |statement: Value, identity: &[IdentityPolicy]| {
        let policy =
            KeyPolicy::parse(&json!({"Statement": statement}).to_string()).expect("a policy");
        lockout_check(&policy, identity, &ask.request()).map_err(|error| error.to_string())
    };
    let words = "The new key policy will not allow you to update the key policy in the future.";
    let to = |who: &str, action: &str| json!({"Effect": "Allow", "Principal": {"AWS": who}, "Action": action, "Resource": "*"});
    assert_eq!(check(json!([]), &[]), Err(words.to_owned()));
    assert_eq!(check(to(BOB, "kms:*"), &[]), Err(words.to_owned()));
    assert_eq!(check(to(ALICE, "kms:Get*"), &[]), Err(words.to_owned()));
    assert_eq!(check(to(ROOT, "kms:*"), &[]), Err(words.to_owned()));
    let administrator = IdentityPolicy::parse(
        &json!({"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}).to_string(),
    )
    .expect("a policy");
    assert_eq!(check(to(ROOT, "kms:*"), &[administrator]), Ok(()));
    assert_eq!(check(to(ALICE, "kms:PutKeyPolicy"), &[]), Ok(()));
}

#[test]
fn identity_policies_that_ask_for_an_attestation_name_its_root() {
    let rules = |statement: Value| {
        let document = json!({"Version": "2012-10-17", "Statement": [statement]});
        let policy = IdentityPolicy::parse(&document.to_string()).expect("a policy");
        let findings = lint_identity(&policy);
        findings.iter().map(Finding::rule).collect::<Vec<_>>()
    };
    let statement = |effect: &str, condition: Value| json!({"Effect": effect, "Action": "kms:Decrypt", "Resource": "*", "Condition": condition});
    let measured = json!({"Null": {"kms:RecipientAttestation:PCR0": "false"}});
    let root = "anchorhold:RecipientAttestation:RootSha256";
    assert_eq!(
        rules(statement("Allow", measured)),
        ["policy.root-not-named"]
    );
    assert_eq!(
        rules(statement("Allow", json!({"Null": {root: "false"}}))),
        ["policy.root-not-named"]
    );
    let pinned = json!({"StringEquals": {root: "0f".repeat(32)}});
    assert!(rules(statement("Allow", pinned)).is_empty());
    assert!(rules(statement("Deny", json!({"Null": {root: "true"}}))).is_empty());
}
