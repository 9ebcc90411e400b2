//! What holds for every policy and request.

mod common;

use std::sync::OnceLock;

use anchorhold_kms_core::attestation::RecipientClaims;
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{IdentityPolicy, KeyPolicy, Severity, admit, authorize, lint};
use common::{ACCOUNT, ALICE, Ask, BOB, Enclave, KEY, MALLORY, ROOT};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

fn claims() -> &'static RecipientClaims {
    static CLAIMS: OnceLock<RecipientClaims> = OnceLock::new();
    CLAIMS.get_or_init(|| Enclave::boot().claims())
}

fn root_hash() -> String {
    claims().root_sha256().to_string()
}

const OPERATORS: [&str; 14] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "StringEqualsIfExists",
    "StringNotEqualsIfExists",
    "ForAnyValue:StringEquals",
    "ForAnyValue:StringNotLike",
    "ForAllValues:StringEquals",
    "ForAllValues:StringNotEquals",
    "ArnLike",
    "ArnNotEquals",
    "Null",
];

fn key_and_value() -> impl Strategy<Value = (String, Vec<String>)> {
    let of = |key: &str, values: &[&str]| {
        (
            key.to_owned(),
            values
                .iter()
                .map(|value| (*value).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let image = "a1".repeat(48);
    select(vec![
        of("kms:EncryptionContext:dept", &["pii", "p*", ""]),
        of("kms:EncryptionContextKeys", &["dept", "other"]),
        of(
            "aws:PrincipalArn",
            &[ALICE, "arn:aws:iam::111122223333:user/*", BOB],
        ),
        of("kms:CallerAccount", &[ACCOUNT, "444455556666"]),
        of("kms:RecipientAttestation:PCR0", &[&image, "*"]),
        of(
            "kms:RecipientAttestation:ImageSha384",
            &[&image, &"b1".repeat(48)],
        ),
        of(
            "anchorhold:RecipientAttestation:RootSha256",
            &[&root_hash(), &"0f".repeat(32)],
        ),
    ])
}

fn condition() -> impl Strategy<Value = (String, String, Vec<String>)> {
    (
        select(OPERATORS.to_vec()),
        key_and_value(),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(operator, (key, values), index)| {
            let value = match operator {
                "Null" => ["true", "false"][index.index(2)].to_owned(),
                "ArnLike" | "ArnNotEquals" => "arn:aws:iam::111122223333:user/*".to_owned(),
                _ => values[index.index(values.len())].clone(),
            };
            (operator.to_owned(), key, vec![value])
        })
}

fn block(conditions: Vec<(String, String, Vec<String>)>) -> Value {
    let mut block = json!({});
    for (operator, key, values) in conditions {
        block[operator][key] = json!(values);
    }
    block
}

fn statement(effect: &'static str) -> impl Strategy<Value = Value> {
    let principals = select(vec![
        json!("*"),
        json!({"AWS": ALICE}),
        json!({"AWS": [BOB, ALICE]}),
        json!({"AWS": ROOT}),
        json!({"AWS": "444455556666"}),
        json!({"Service": "s3.amazonaws.com"}),
    ]);
    let actions = select(vec!["kms:*", "kms:Decrypt", "kms:Encrypt", "*", "kms:De*"]);
    let resources = select(vec![
        "*",
        KEY,
        "arn:aws:kms:*:*:key/*",
        "arn:aws:kms:*:*:alias/*",
    ]);
    let conditions = prop::collection::vec(condition(), 0..3);
    (principals, any::<bool>(), actions, resources, conditions).prop_map(
        move |(principal, negated, action, resource, conditions)| {
            let who = if negated && effect == "Deny" {
                "NotPrincipal"
            } else {
                "Principal"
            };
            json!({
                "Effect": effect, who: principal, "Action": action, "Resource": resource,
                "Condition": block(conditions),
            })
        },
    )
}

fn any_statement() -> impl Strategy<Value = Value> {
    prop_oneof![statement("Allow"), statement("Allow"), statement("Deny")]
}

fn statements() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(any_statement(), 0..5)
}

fn identity() -> impl Strategy<Value = Vec<IdentityPolicy>> {
    let strip = |mut statement: Value| {
        let members = statement.as_object_mut().expect("an object");
        members.remove("Principal");
        members.remove("NotPrincipal");
        IdentityPolicy::parse(&json!({"Version": "2012-10-17", "Statement": statement}).to_string())
            .expect("an identity policy")
    };
    prop::collection::vec(any_statement().prop_map(strip), 0..3)
}

fn policy(statements: &[Value]) -> KeyPolicy {
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    KeyPolicy::parse(&document.to_string()).unwrap_or_else(|error| panic!("{document}: {error}"))
}

fn ask() -> impl Strategy<Value = Ask> {
    let who = select(vec![ALICE, BOB, ROOT, MALLORY]);
    let what = select(vec![Operation::Decrypt, Operation::Encrypt]);
    let context = select(vec![
        vec![],
        vec![("dept", "pii")],
        vec![("Dept", "x"), ("dept", "pii")],
    ]);
    (who, what, context, any::<bool>()).prop_map(|(who, what, context, attested)| {
        let ask = Ask::by(who, what).encryption_context(&context);
        if attested {
            ask.attested(claims())
        } else {
            ask
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_further_deny_never_grants(
        statements in statements(), identity in identity(), deny in statement("Deny"),
        at in any::<prop::sample::Index>(), ask in ask(), roots in 1usize..3,
    ) {
        let ask = ask.roots(roots);
        let mut more = statements.clone();
        more.insert(at.index(statements.len() + 1), deny);
        let before = authorize(Some(&policy(&statements)), &identity, &ask.request());
        let after = authorize(Some(&policy(&more)), &identity, &ask.request());
        prop_assert!(before.is_allowed() || !after.is_allowed());
    }

    #[test]
    fn a_further_trusted_root_never_grants(
        statements in statements(), identity in identity(), ask in ask(),
    ) {
        let (policy, ask) = (policy(&statements), ask.roots(1));
        let one = authorize(Some(&policy), &identity, &ask.request()).is_allowed();
        let ask = ask.roots(2);
        prop_assert!(one || !authorize(Some(&policy), &identity, &ask.request()).is_allowed());
    }

    #[test]
    fn without_a_document_nothing_that_requires_one_is_granted(
        statements in statements(), identity in identity(), who in select(vec![ALICE, BOB, ROOT, MALLORY]),
        roots in 1usize..3, operator in select(vec![
            "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ForAnyValue:StringEquals",
        ]),
        key in select(vec![
            "kms:RecipientAttestation:PCR0", "kms:RecipientAttestation:ImageSha384",
            "anchorhold:RecipientAttestation:RootSha256",
        ]),
    ) {
        let require = |mut statement: Value| {
            if statement["Effect"] == "Allow" {
                statement["Condition"][operator][key] = json!("*");
            }
            statement
        };
        let required: Vec<Value> = statements.into_iter().map(require).collect();
        let ask = Ask::by(who, Operation::Decrypt).encryption_context(&[("dept", "pii")]).roots(roots);
        prop_assert!(!authorize(Some(&policy(&required)), &identity, &ask.request()).is_allowed());
    }

    /// Where `admit` takes a policy under several roots whose every Allow asks for an attestation,
    /// a document under a root that the policy does not name gets nothing from it.
    #[test]
    fn an_admitted_policy_lets_in_the_roots_it_names_only(
        statements in statements(), identity in identity(),
        who in select(vec![ALICE, BOB, ROOT, MALLORY]), key in select(vec![
            "kms:RecipientAttestation:PCR0", "anchorhold:RecipientAttestation:RootSha256",
        ]),
    ) {
        let ask_for_it = |mut statement: Value| {
            if statement["Effect"] == "Allow" {
                statement["Condition"]["Null"][key] = json!("false");
                let pin = &mut statement["Condition"]["StringEquals"];
                pin["anchorhold:RecipientAttestation:RootSha256"] = json!(root_hash());
            }
            statement
        };
        let statements: Vec<Value> = statements.into_iter().map(ask_for_it).collect();
        let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let text = text.replace(&root_hash(), &"0f".repeat(32));
        let errors = lint(&KeyPolicy::parse(&text).expect("a policy"), 2)
            .into_iter().filter(|finding| finding.severity() == Severity::Error).count();
        prop_assert_eq!(admit(&text, 2).is_ok(), errors == 0);
        let policy = KeyPolicy::parse(&text).expect("a policy");
        let ask = Ask::by(who, Operation::Decrypt)
            .encryption_context(&[("dept", "pii")]).attested(claims()).roots(2);
        prop_assert!(!authorize(Some(&policy), &identity, &ask.request()).is_allowed());
    }

    #[test]
    fn a_decision_is_repeatable(statements in statements(), identity in identity(), ask in ask()) {
        let policy = policy(&statements);
        let again = KeyPolicy::parse(policy.text()).expect("its text");
        prop_assert_eq!(
            authorize(Some(&policy), &identity, &ask.request()),
            authorize(Some(&again), &identity, &ask.request())
        );
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = KeyPolicy::parse(&text);
        let _ = IdentityPolicy::parse(&text);
    }

    #[test]
    fn a_policy_with_a_wound_is_read_or_refused(
        statements in statements(), at in any::<prop::sample::Index>(), with in "\\PC{0,3}",
    ) {
        let mut text: Vec<char> =
            json!({"Version": "2012-10-17", "Statement": statements}).to_string().chars().collect();
        let at = at.index(text.len());
        text.splice(at..at + 1, with.chars());
        let text: String = text.into_iter().collect();
        if let Ok(policy) = KeyPolicy::parse(&text) {
            let _ = lint(&policy, 2);
        }
    }
}
