//! Who may do what: principals, actions, resources, and the two sides of a permission.

mod common;

use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{Decision, KeyPolicy, PolicySource, Resource, authorize};
use common::statements::{
    ALLOWED, DENIED, NOTHING, allow, check, deny, iam, identity_policy, key_policy,
};
use common::{ACCOUNT, ALICE, Ask, BOB, KEY, MALLORY, ROOT};
use serde_json::{Value, json};

#[test]
fn nothing_allows_by_itself() {
    let ask = Ask::decrypt();
    check(&json!([]), &[], &ask, NOTHING);
    check(&json!([allow(json!({"AWS": BOB}))]), &[], &ask, NOTHING);
    // Identity policies are inert without the key policy's leave.
    check(&json!([]), &[iam("Allow", "*", "*")], &ask, NOTHING);
    check(
        &json!([allow(json!({"AWS": BOB}))]),
        &[iam("Allow", "kms:*", "*")],
        &ask,
        NOTHING,
    );
    // The account's leave is inert without an identity policy.
    check(&json!([allow(json!({"AWS": ROOT}))]), &[], &ask, NOTHING);
    check(
        &json!([allow(json!({"AWS": ACCOUNT}))]),
        &[iam("Allow", "kms:Encrypt", "*")],
        &ask,
        NOTHING,
    );
    // A key without its policy is denied whatever else allows.
    let request = ask.request();
    let everything = [identity_policy(&iam("Allow", "*", "*"))];
    assert!(!authorize(None, &everything, &request).is_allowed());
}

#[test]
fn own_account() {
    let ask = Ask::decrypt();
    check(&json!([allow(json!({"AWS": ALICE}))]), &[], &ask, ALLOWED);
    check(
        &json!([allow(json!({"AWS": [BOB, ALICE]}))]),
        &[],
        &ask,
        ALLOWED,
    );
    check(&json!([allow(json!("*"))]), &[], &ask, ALLOWED);
    check(&json!([allow(json!({"AWS": "*"}))]), &[], &ask, ALLOWED);
    let by_iam = [iam("Allow", "kms:Decrypt", KEY)];
    check(
        &json!([allow(json!({"AWS": ROOT}))]),
        &by_iam,
        &ask,
        ALLOWED,
    );
    check(
        &json!([allow(json!({"AWS": ACCOUNT}))]),
        &by_iam,
        &ask,
        ALLOWED,
    );
    // One statement instead of a list of one.
    check(&allow(json!({"AWS": ALICE})), &[], &ask, ALLOWED);
    // The account's root itself is named by its ARN.
    let root = Ask::by(ROOT, Operation::Decrypt);
    check(&json!([allow(json!({"AWS": ROOT}))]), &[], &root, ALLOWED);
    check(&json!([allow(json!({"AWS": ALICE}))]), &[], &root, NOTHING);
}

#[test]
fn another_account_needs_both_sides() {
    let mallory = Ask::by(MALLORY, Operation::Decrypt);
    let by_iam = [iam("Allow", "kms:Decrypt", KEY)];
    check(
        &json!([allow(json!({"AWS": MALLORY}))]),
        &[],
        &mallory,
        NOTHING,
    );
    check(&json!([allow(json!("*"))]), &[], &mallory, NOTHING);
    check(
        &json!([allow(json!({"AWS": "444455556666"}))]),
        &[],
        &mallory,
        NOTHING,
    );
    check(
        &json!([allow(json!({"AWS": ROOT}))]),
        &by_iam,
        &mallory,
        NOTHING,
    );
    check(
        &json!([allow(json!({"AWS": ALICE}))]),
        &by_iam,
        &mallory,
        NOTHING,
    );
    check(
        &json!([allow(json!({"AWS": MALLORY}))]),
        &by_iam,
        &mallory,
        ALLOWED,
    );
    check(&json!([allow(json!("*"))]), &by_iam, &mallory, ALLOWED);
    check(
        &json!([allow(json!({"AWS": "444455556666"}))]),
        &by_iam,
        &mallory,
        ALLOWED,
    );
}

#[test]
fn an_explicit_deny_wins_anywhere() {
    let ask = Ask::decrypt();
    let allowed = allow(json!({"AWS": ALICE}));
    for principal in [
        json!({"AWS": ALICE}),
        json!("*"),
        json!({"AWS": ACCOUNT}),
        json!({"AWS": [BOB, ALICE]}),
    ] {
        check(
            &json!([deny(principal.clone()), allowed]),
            &[],
            &ask,
            DENIED,
        );
        check(&json!([allowed, deny(principal)]), &[], &ask, DENIED);
    }
    check(
        &json!([allowed]),
        &[iam("Deny", "kms:Decrypt", "*")],
        &ask,
        DENIED,
    );
    check(
        &json!([allowed]),
        &[iam("Allow", "*", "*"), iam("Deny", "kms:De*", KEY)],
        &ask,
        DENIED,
    );
    // Denies of others, of other actions and of other keys do not count.
    check(
        &json!([deny(json!({"AWS": BOB})), allowed]),
        &[],
        &ask,
        ALLOWED,
    );
    check(
        &json!([allowed]),
        &[iam("Deny", "kms:Encrypt", "*")],
        &ask,
        ALLOWED,
    );
    let other = KEY.replace("90ab", "90ac");
    check(
        &json!([allowed]),
        &[iam("Deny", "kms:*", &other)],
        &ask,
        ALLOWED,
    );
}

#[test]
fn principals_are_compared_whole_and_with_regard_to_case() {
    let ask = Ask::decrypt();
    for principal in [
        "arn:aws:iam::111122223333:user/alice",
        "arn:aws:iam::111122223333:user/Alice2",
        "arn:aws:iam::111122223333:user/team/Alice",
        "arn:aws:iam::111122223333:role/Alice",
        "arn:aws:sts::111122223333:assumed-role/Alice/Alice",
        "arn:aws:iam::444455556666:user/Alice",
    ] {
        check(
            &json!([allow(json!({"AWS": principal}))]),
            &[],
            &ask,
            NOTHING,
        );
    }
    // Services and federated identities are nobody here, whatever they are called.
    for principal in [
        json!({"Service": "kms.amazonaws.com"}),
        json!({"Federated": ALICE}),
        json!({"Service": "*"}),
    ] {
        check(
            &json!([allow(principal)]),
            &[iam("Allow", "*", "*")],
            &ask,
            NOTHING,
        );
    }
    check(
        &json!([allow(json!({"Service": "x.amazonaws.com", "AWS": ALICE}))]),
        &[],
        &ask,
        ALLOWED,
    );
}

#[test]
fn not_principal_denies_all_but_those_listed_with_their_account() {
    let all_but = |principal: Value| {
        json!([
            {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"},
            {"Effect": "Deny", "NotPrincipal": principal, "Action": "kms:*", "Resource": "*"},
        ])
    };
    let alice = Ask::decrypt();
    check(&all_but(json!({"AWS": BOB})), &[], &alice, DENIED);
    check(&all_but(json!({"AWS": [BOB, ROOT]})), &[], &alice, DENIED);
    // IAM: the account must stand beside the user; it alone exempts the root only.
    check(&all_but(json!({"AWS": ALICE})), &[], &alice, DENIED);
    check(&all_but(json!({"AWS": ROOT})), &[], &alice, DENIED);
    check(
        &all_but(json!({"AWS": ["444455556666", ALICE]})),
        &[],
        &alice,
        DENIED,
    );
    check(
        &all_but(json!({"Service": "kms.amazonaws.com"})),
        &[],
        &alice,
        DENIED,
    );
    check(
        &all_but(json!({"AWS": [ALICE, ROOT]})),
        &[],
        &alice,
        ALLOWED,
    );
    check(
        &all_but(json!({"AWS": [ALICE, ACCOUNT]})),
        &[],
        &alice,
        ALLOWED,
    );
    check(
        &all_but(json!({"AWS": ROOT})),
        &[],
        &Ask::by(ROOT, Operation::Decrypt),
        ALLOWED,
    );
    check(
        &all_but(json!({"AWS": [ALICE, ROOT]})),
        &[],
        &Ask::by(BOB, Operation::Decrypt),
        DENIED,
    );
}

#[test]
fn actions() {
    let with = |element: &str, actions: Value| json!([{"Effect": "Allow", "Principal": {"AWS": ALICE}, element: actions, "Resource": "*"}]);
    for (element, actions, expected) in [
        ("Action", json!("kms:Encrypt"), NOTHING),
        ("Action", json!("kms:Decryp"), NOTHING),
        ("Action", json!("kms:Decrypt?"), NOTHING),
        ("Action", json!("s3:*"), NOTHING),
        ("Action", json!("kms:ReEncrypt*"), NOTHING),
        ("Action", json!("anchorhold:*"), NOTHING),
        ("NotAction", json!("kms:Decrypt"), NOTHING),
        ("NotAction", json!("KMS:de*"), NOTHING),
        ("NotAction", json!(["kms:Encrypt", "kms:*"]), NOTHING),
        ("Action", json!("kms:Decrypt"), ALLOWED),
        ("Action", json!("KMS:DECRYPT"), ALLOWED),
        ("Action", json!("*"), ALLOWED),
        ("Action", json!("kms:*crypt"), ALLOWED),
        ("Action", json!("kms:D?cr??t"), ALLOWED),
        ("Action", json!(["kms:Encrypt", "kms:Decrypt"]), ALLOWED),
        ("NotAction", json!("kms:Encrypt"), ALLOWED),
        ("NotAction", json!(["s3:*", "kms:Put*"]), ALLOWED),
    ] {
        check(&with(element, actions), &[], &Ask::decrypt(), expected);
    }
    // A Deny of everything but: the way to say "only".
    let only = |action: &str| {
        json!([
            {"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*", "Resource": "*"},
            {"Effect": "Deny", "Principal": "*", "NotAction": action, "Resource": "*"},
        ])
    };
    check(&only("kms:Encrypt"), &[], &Ask::decrypt(), DENIED);
    check(&only("kms:decrypt"), &[], &Ask::decrypt(), ALLOWED);
    // "kms:*" does not reach our own actions.
    let account = Resource::Account(ACCOUNT.parse().expect("an account"));
    let nonce = Ask::by(ALICE, Operation::GetAttestationNonce).on(account);
    let outcome = |action: &str| {
        authorize(
            None,
            &[identity_policy(&iam("Allow", action, "*"))],
            &nonce.request(),
        )
        .is_allowed()
    };
    assert!(!outcome("kms:*"));
    assert!(outcome("anchorhold:GetAttestationNonce"));
}

#[test]
fn resources() {
    let with = |element: &str, resources: Value| json!([{"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*", element: resources}]);
    let other = KEY.replace("90ab", "90ac");
    for (element, resources, expected) in [
        ("Resource", json!(other), NOTHING),
        (
            "Resource",
            json!("arn:aws:kms:eu-central-1:111122223333:alias/pii"),
            NOTHING,
        ),
        (
            "Resource",
            json!("arn:aws:kms:eu-central-1:111122223333:alias/*"),
            NOTHING,
        ),
        ("Resource", json!(KEY.to_uppercase()), NOTHING),
        (
            "Resource",
            json!("arn:aws:kms:us-*:111122223333:key/*"),
            NOTHING,
        ),
        ("NotResource", json!("*"), NOTHING),
        ("NotResource", json!([other, KEY]), NOTHING),
        ("Resource", json!("*"), ALLOWED),
        ("Resource", json!(KEY), ALLOWED),
        ("Resource", json!([other, KEY]), ALLOWED),
        (
            "Resource",
            json!("arn:aws:kms:*:111122223333:key/1234abcd-*"),
            ALLOWED,
        ),
        (
            "Resource",
            json!("arn:aws:kms:*:${aws:PrincipalAccount}:key/*"),
            ALLOWED,
        ),
        ("NotResource", json!(other), ALLOWED),
    ] {
        check(&with(element, resources), &[], &Ask::decrypt(), expected);
    }
    // Without Action or Resource a statement has no effect, not even a Deny's.
    let allowed = allow(json!({"AWS": ALICE}));
    for missing in [
        json!({"Effect": "Deny", "Principal": "*", "Action": "kms:*"}),
        json!({"Effect": "Deny", "Principal": "*", "Resource": "*"}),
    ] {
        check(&json!([missing, allowed]), &[], &Ask::decrypt(), ALLOWED);
    }
    check(
        &json!([{"Effect": "Allow", "Principal": "*", "Action": "kms:*"}]),
        &[],
        &Ask::decrypt(),
        NOTHING,
    );
    // A Deny on a resource that cannot be told denies.
    let root = Ask::by(ROOT, Operation::Decrypt);
    let untold = json!([
        {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "${aws:username}"},
    ]);
    check(&untold, &[], &root, DENIED);
}

#[test]
fn what_is_not_about_a_key_needs_an_identity_policy_of_the_account() {
    let account = || Resource::Account(ACCOUNT.parse().expect("an account"));
    let alias = || {
        Resource::Alias(
            "arn:aws:kms:eu-central-1:111122223333:alias/pii"
                .parse()
                .expect("an alias"),
        )
    };
    let outcome = |ask: &Ask, statement: Value| {
        authorize(None, &[identity_policy(&statement)], &ask.request()).rule()
    };
    let create = Ask::by(ALICE, Operation::CreateKey).on(account());
    assert_eq!(authorize(None, &[], &create.request()).rule(), NOTHING);
    assert_eq!(
        outcome(&create, iam("Allow", "kms:CreateKey", KEY)),
        NOTHING
    );
    assert_eq!(outcome(&create, iam("Allow", "kms:Create*", "*")), ALLOWED);
    assert_eq!(outcome(&create, iam("Deny", "kms:Create*", "*")), DENIED);
    let elsewhere = Ask::by(MALLORY, Operation::CreateKey).on(account());
    assert_eq!(outcome(&elsewhere, iam("Allow", "*", "*")), NOTHING);
    // A key policy has no say about what is not its key.
    let policy = key_policy(&json!([allow(json!("*"))]));
    assert!(!authorize(Some(&policy), &[], &create.request()).is_allowed());

    let create_alias = Ask::by(ALICE, Operation::CreateAlias).on(alias());
    assert_eq!(
        outcome(&create_alias, iam("Allow", "kms:CreateAlias", KEY)),
        NOTHING
    );
    assert_eq!(
        outcome(
            &create_alias,
            iam("Allow", "kms:CreateAlias", "arn:aws:kms:*:*:alias/p*")
        ),
        ALLOWED
    );
}

#[test]
fn the_default_policy_is_what_it_says() {
    let policy = KeyPolicy::default_for(&ACCOUNT.parse().expect("an account"));
    assert_eq!(KeyPolicy::parse(policy.text()).expect("its text"), policy);
    let ask = Ask::decrypt();
    assert!(!authorize(Some(&policy), &[], &ask.request()).is_allowed());
    let allowed = [identity_policy(&iam("Allow", "kms:*", "*"))];
    let Decision::Allow(statements) = authorize(Some(&policy), &allowed, &ask.request()) else {
        panic!("not allowed");
    };
    let sources: Vec<PolicySource> = statements
        .iter()
        .map(|statement| statement.source)
        .collect();
    assert_eq!(sources, [PolicySource::Key, PolicySource::Identity(0)]);
    assert_eq!(
        statements[0].sid.as_deref(),
        Some("Enable IAM User Permissions")
    );
}

#[test]
fn sessions_are_matched_by_their_own_arn() {
    let session = "arn:aws:sts::111122223333:assumed-role/enclave/i-1";
    let ask = Ask::by(session, Operation::Decrypt);
    check(
        &json!([allow(
            json!({"AWS": "arn:aws:iam::111122223333:role/enclave"})
        )]),
        &[],
        &ask,
        NOTHING,
    );
    check(&json!([allow(json!({"AWS": session}))]), &[], &ask, ALLOWED);
}

#[test]
fn another_keys_policy_does_not_reach_this_one() {
    let elsewhere = KEY.replace("90ab", "90ac").parse().expect("an ARN");
    let ask = Ask::decrypt().on(Resource::Key(elsewhere));
    let named = json!([{"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*", "Resource": KEY}]);
    check(&named, &[], &ask, NOTHING);
}
