//! The policies that the fuzz target starts from: each is read and evaluated, all operators are among
//! them, and damage makes them another policy or none.

mod common;

use std::sync::OnceLock;

use anchorhold_kms_core::attestation::RecipientClaims;
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{
    Decision, IdentityPolicy, KeyPolicy, authorize, lint, lint_identity,
};
use common::{ALICE, Ask, BOB, Enclave};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Operators of every comparison, plain and negated, and what may stand around them.
const OPERATORS: [&str; 28] = [
    "\"StringEquals\"",
    "\"StringNotEquals\"",
    "\"StringEqualsIgnoreCase\"",
    "\"StringNotEqualsIgnoreCase\"",
    "\"StringLike\"",
    "\"StringNotLike\"",
    "\"ArnEquals\"",
    "\"ArnLike\"",
    "\"ArnNotEquals\"",
    "\"ArnNotLike",
    "\"Bool\"",
    "\"NumericEquals\"",
    "\"NumericNotEquals\"",
    "\"NumericLessThan\"",
    "\"NumericLessThanEquals\"",
    "\"NumericGreaterThan\"",
    "\"NumericGreaterThanEquals\"",
    "\"DateEquals\"",
    "\"DateNotEquals\"",
    "\"DateLessThan\"",
    "\"DateLessThanEquals\"",
    "\"DateGreaterThan\"",
    "\"DateGreaterThanEquals\"",
    "\"IpAddress\"",
    "\"NotIpAddress\"",
    "\"Null\"",
    "\"ForAnyValue:",
    "\"ForAllValues:",
];

/// Names and texts.
fn seeds() -> &'static [(String, String)] {
    static SEEDS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/policy");
        let files = std::fs::read_dir(folder).expect("the seeds");
        let mut seeds: Vec<_> = files
            .map(|file| {
                let file = file.expect("a seed");
                let name = file.file_name().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(file.path()).expect("text");
                (name, text)
            })
            .collect();
        seeds.sort();
        seeds
    })
}

fn attested() -> Ask {
    static CLAIMS: OnceLock<RecipientClaims> = OnceLock::new();
    let user_data = [0xd0; 32];
    let claims = CLAIMS.get_or_init(|| Enclave::boot().claims_for(Some(&user_data)));
    asked(ALICE)
        .attested(claims)
        .with(|context| context.prior_releases(0))
}

fn asked(who: &str) -> Ask {
    Ask::by(who, Operation::Decrypt).encryption_context(&[("dept", "pii")])
}

fn evaluate(text: &str, ask: &Ask) -> Option<Decision> {
    let key = KeyPolicy::parse(text);
    let identity: Vec<_> = IdentityPolicy::parse(text).into_iter().collect();
    let findings = key.iter().flat_map(|policy| lint(policy, 2));
    assert!(findings.into_iter().all(|f| !f.to_string().is_empty()));
    let findings = identity.iter().flat_map(lint_identity);
    assert!(findings.into_iter().all(|f| !f.to_string().is_empty()));
    if key.is_err() && identity.is_empty() {
        return None;
    }
    // Where the text is an identity policy, the account's own statement hands the decision to it.
    let account = KeyPolicy::default_for(ask.principal.account());
    let key = key.unwrap_or(account);
    Some(authorize(Some(&key), &identity, &ask.request()))
}

#[test]
fn every_seed_is_read_and_grants_what_it_says() {
    let granted = |ask: &Ask| {
        let allow = |(name, text): &'static (String, String)| {
            let decision = evaluate(text, ask).unwrap_or_else(|| panic!("{name} is refused"));
            decision.is_allowed().then_some(name.as_str())
        };
        seeds().iter().filter_map(allow).collect::<Vec<_>>()
    };
    let for_all = ["dates.json", "identity.json", "networks.json", "sets.json"];
    assert_eq!(granted(&asked(BOB)), for_all, "Bob, and no attestation");
    let for_alice = [
        "arns.json",
        "attestation.json",
        "numbers.json",
        "strings.json",
    ];
    let mut both = [for_all, for_alice].concat();
    both.sort_unstable();
    assert_eq!(granted(&attested()), both, "Alice's enclave");
    assert_eq!(
        seeds().len(),
        both.len() + 1,
        "principals.json grants neither"
    );
}

#[test]
fn every_operator_stands_in_a_seed() {
    for operator in OPERATORS {
        let used = seeds().iter().any(|(_, text)| text.contains(operator));
        assert!(used, "{operator}");
    }
}

/// What stands in policies, so that damage puts it where it does not belong.
fn piece() -> impl Strategy<Value = String> {
    let tokens = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "*",
        "?",
        "${",
        "${aws:username}",
        "null",
        "true",
        "\"Deny\"",
        "\"NotPrincipal\"",
        "NotAction",
        "IfExists",
        "ForAllValues:",
        "1e999",
        "-0",
        "9999-12-31T23:59:60Z",
        "/129",
        "\\u0000",
        "\\ud800",
        "arn:aws:",
        "PCR31",
    ];
    prop_oneof![select(tokens.to_vec()).prop_map(str::to_owned), "\\PC{0,3}"]
}

/// A seed with up to eight pieces cut out and others put in.
fn damaged() -> impl Strategy<Value = String> {
    let wound = (any::<Index>(), 0..12_usize, piece());
    let wounds = prop::collection::vec(wound, 1..8);
    (select(seeds().to_vec()), wounds).prop_map(|((_, text), wounds)| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, length, with) in wounds {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, with.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_damaged_policy_is_refused_or_evaluated(text in damaged()) {
        let (one, two) = (attested(), attested().roots(2));
        let decisions = evaluate(&text, &one).zip(evaluate(&text, &two));
        if let Some((one, two)) = decisions {
            prop_assert!(!one.to_string().is_empty());
            prop_assert!(one.is_allowed() || !two.is_allowed(), "a further root grants");
        }
        let _ = evaluate(&text, &asked(BOB));
    }
}
