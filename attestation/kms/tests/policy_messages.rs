//! What a refusal tells the caller, and what the audit trail.

mod common;

use anchorhold_kms_core::policy::{Decision, FailureReason, MissingAllow};
use common::statements::{DENIED, NOTHING, allow, decide, deny};
use common::{ALICE, Ask, BOB, Enclave, KEY, ROOT};
use serde_json::{Value, json};

/// The refusal's text is AWS's; only what an attestation lacked is added to it.
#[test]
fn refusals_say_what_the_caller_may_know() {
    let ask = Ask::decrypt();
    let refusal = |key: Value, ask: &Ask| {
        let error = ask
            .request()
            .enforce(decide(&key, &[], ask))
            .expect_err("a refusal");
        (error.rule(), error.to_string())
    };
    let start =
        format!("User: {ALICE} is not authorized to perform: kms:Decrypt on resource: {KEY}");
    assert_eq!(
        refusal(json!([allow(json!({"AWS": BOB}))]), &ask),
        (
            NOTHING,
            format!("{start} because no resource-based policy allows the kms:Decrypt action")
        )
    );
    assert_eq!(
        refusal(json!([allow(json!({"AWS": ROOT}))]), &ask),
        (
            NOTHING,
            format!("{start} because no identity-based policy allows the kms:Decrypt action")
        )
    );
    assert_eq!(
        refusal(json!([deny(json!("*"))]), &ask),
        (
            DENIED,
            format!("{start} with an explicit deny in a resource-based policy")
        )
    );
    // The encryption context that a policy asks for is not told.
    let secret = json!([{
        "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*",
        "Condition": {"StringEquals": {"kms:EncryptionContext:project": "bluebird"}},
    }]);
    let (rule, message) = refusal(secret, &ask);
    assert_eq!(rule, "policy.encryption-context");
    assert!(
        !message.contains("bluebird") && !message.contains("project"),
        "{message}"
    );
}

#[test]
fn a_refusal_for_want_of_attestation_says_what_was_expected_and_what_came() {
    let statement = |condition: Value| {
        json!([{"Sid": "Enclave", "Effect": "Allow", "Principal": {"AWS": ALICE},
                "Action": "kms:Decrypt", "Resource": "*", "Condition": condition}])
    };
    let agreed =
        json!({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": "c0".repeat(48)}});
    let claims = Enclave::boot().claims();
    for (ask, got) in [
        (
            Ask::decrypt(),
            "got no attestation document that has it".to_owned(),
        ),
        (
            Ask::decrypt().attested(&claims),
            format!("got {}", "a1".repeat(48)),
        ),
        (
            Ask::decrypt().attested(&claims).roots(2),
            "since more than one root is trusted".to_owned(),
        ),
    ] {
        let decision = decide(&statement(agreed.clone()), &[], &ask);
        let error = ask.request().enforce(decision).expect_err("a refusal");
        let message = error.to_string();
        assert_eq!(
            (error.rule(), error.exception().name()),
            ("policy.attestation", "AccessDeniedException")
        );
        assert!(
            message.contains(&"c0".repeat(48)) && message.contains(&got),
            "{message}"
        );
        let body: Value = serde_json::from_str(&error.body()).expect("JSON");
        assert_eq!(
            body,
            json!({"__type": "AccessDeniedException", "Message": message})
        );
    }
    // Whoever lacks more than the attestation learns nothing of it.
    let mut both = agreed;
    both["StringEquals"] = json!({"kms:EncryptionContext:project": "bluebird"});
    let ask = Ask::decrypt().attested(&claims);
    let decision = decide(&statement(both), &[], &ask);
    let Decision::ImplicitDeny(deny) = &decision else {
        panic!("{decision:?}")
    };
    assert_eq!(deny.missing, MissingAllow::KeyPolicy);
    let reasons: Vec<FailureReason> = deny.failures.iter().map(|failure| failure.reason).collect();
    assert_eq!(reasons, [FailureReason::Missing, FailureReason::Unmatched]);
    // The audit trail has it all.
    let told = decision.to_string();
    assert!(
        told.contains("bluebird") && told.contains("\"Enclave\"") && told.contains("c0c0"),
        "{told}"
    );
    let message = ask
        .request()
        .enforce(decision)
        .expect_err("a refusal")
        .to_string();
    assert!(
        !message.contains("bluebird") && !message.contains("c0c0"),
        "{message}"
    );
}

#[test]
fn a_deny_for_want_of_attestation_says_so_and_no_other_deny_says_why() {
    let denied = |condition: Value, ask: &Ask| {
        let mut statement = deny(json!({"AWS": ALICE}));
        statement["Condition"] = condition;
        let decision = decide(&json!([allow(json!({"AWS": ALICE})), statement]), &[], ask);
        let whole = decision.to_string();
        let error = ask.request().enforce(decision).expect_err("a refusal");
        assert_eq!(error.rule(), DENIED);
        (error.to_string(), whole)
    };
    let root = json!({"anchorhold:RecipientAttestation:RootSha256": "true"});
    let (message, _) = denied(json!({ "Null": root }), &Ask::decrypt());
    assert!(
        message.ends_with(
            "with an explicit deny in a resource-based policy; Null of \
             anchorhold:RecipientAttestation:RootSha256: denied true, got no attestation document \
             that has it"
        ),
        "{message}"
    );
    let both = json!({
        "Null": root,
        "StringNotEquals": {"kms:EncryptionContext:project": "bluebird"},
    });
    let (message, whole) = denied(both, &Ask::decrypt());
    assert!(message.ends_with("a resource-based policy"), "{message}");
    assert!(whole.contains("bluebird"), "{whole}");
}

/// A request is not copied whole into each of hundreds of failed conditions.
#[test]
fn a_decision_keeps_little_of_a_large_request() {
    let long = "x".repeat(1000);
    let names: Vec<String> = (0..50).map(|index| format!("{index}{long}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let ask = Ask::decrypt().encryption_context(&pairs);
    let mut statement = allow(json!("*"));
    statement["Condition"] =
        json!({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "bluebird"}});
    let decision = decide(&json!(vec![statement; 20]), &[], &ask);
    let Decision::ImplicitDeny(implicit) = &decision else {
        panic!("{decision:?}")
    };
    assert_eq!(implicit.failures.len(), 20);
    for failure in &implicit.failures {
        assert_eq!((failure.got.first.len(), failure.got.count), (4, 50));
        assert!(failure.got.first.iter().all(|value| value.len() <= 128));
    }
    assert!(decision.to_string().contains("46 more"), "{decision}");
}
