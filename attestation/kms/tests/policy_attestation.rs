//! Conditions on attestation, under one trusted root and under two; rows as in
//! [`common::truth`].

mod common;

use anchorhold_kms_core::attestation::RecipientClaims;
use anchorhold_kms_core::policy::authorize;
use common::truth::Truth::{F, T, U};
use common::truth::{check_all, policy};
use common::{Ask, Enclave};
use serde_json::{Value, json};

/// One trusted root: measurements count by themselves.
#[test]
fn attestation_under_one_root() {
    let claims: RecipientClaims = Enclave::boot().claims();
    let image = "a1".repeat(48);
    let root = claims.root_sha256().to_string();
    let other = "b1".repeat(48);
    let of = |operator: &str, key: &str, value: &str| json!({operator: {format!("kms:RecipientAttestation:{key}"): value}});
    let pin = |operator: &str, value: &str| json!({operator: {"anchorhold:RecipientAttestation:RootSha256": value}});
    check_all(
        &Ask::decrypt().attested(&claims),
        &[
            (F, of("StringEquals", "PCR0", &other)),
            (F, of("StringEquals", "PCR0", &image.to_uppercase())),
            (F, of("StringEquals", "PCR0", &format!("0x{image}"))),
            (F, of("StringEquals", "PCR00", &image)),
            (F, of("StringEquals", "PCR31", &image)),
            (F, of("StringEquals", "NitroTPMPCR0", &image)),
            (F, of("StringNotEquals", "ImageSha384", &image)),
            (F, pin("StringEquals", &"0".repeat(64))),
            (F, pin("StringNotEquals", &root)),
            (
                F,
                json!({"Null": {"kms:RecipientAttestation:PCR0": "true"}}),
            ),
            (T, of("StringEquals", "PCR0", &image)),
            (
                T,
                of("StringEqualsIgnoreCase", "PCR0", &image.to_uppercase()),
            ),
            (T, of("StringEquals", "ImageSha384", &image)),
            (T, of("StringEquals", "pcr1", &"a2".repeat(48))),
            (T, of("StringEquals", "PCR8", &"0".repeat(96))),
            (T, of("StringNotEquals", "PCR0", &other)),
            (T, of("StringLike", "PCR0", "a1*")),
            (T, pin("StringEquals", &root)),
            (
                T,
                json!({"Null": {"kms:RecipientAttestation:PCR0": "false"}}),
            ),
        ],
    );
    // Without a document there is no attestation key.
    check_all(
        &Ask::decrypt(),
        &[
            (F, of("StringEquals", "PCR0", &image)),
            (F, of("StringEqualsIgnoreCase", "ImageSha384", &image)),
            (F, of("StringLike", "PCR0", "*")),
            (F, pin("StringEquals", &root)),
            (F, of("ForAnyValue:StringEquals", "PCR0", &image)),
            (
                F,
                json!({"Null": {"kms:RecipientAttestation:PCR0": "false"}}),
            ),
            (T, of("StringNotEquals", "PCR0", &image)),
            (T, of("StringEqualsIfExists", "PCR0", &image)),
        ],
    );
    // An encryption context cannot pose as an attestation.
    let posing = Ask::decrypt().encryption_context(&[
        ("kms:RecipientAttestation:PCR0", &image),
        ("x:kms:RecipientAttestation:PCR0", &image),
    ]);
    check_all(&posing, &[(F, of("StringEquals", "PCR0", &image))]);
}

/// Two trusted roots: measurements count beside a pinned root only. Whatever the operator, an
/// Allow does not allow and a Deny denies.
#[test]
fn attestation_under_two_roots() {
    let claims: RecipientClaims = Enclave::boot().claims();
    let (image, root) = ("a1".repeat(48), claims.root_sha256().to_string());
    let other_root = "0f".repeat(32);
    let pcr0 =
        |operator: &str, value: &str| json!({operator: {"kms:RecipientAttestation:PCR0": value}});
    let with_root = |operator: &str, value: Value| {
        json!({
            "StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": image},
            operator: {"anchorhold:RecipientAttestation:RootSha256": value},
        })
    };
    let unpinned = [
        (U, pcr0("StringEquals", &image)),
        (U, pcr0("StringEquals", &"b1".repeat(48))),
        (U, pcr0("StringNotEquals", &image)),
        (U, pcr0("StringNotEquals", &"b1".repeat(48))),
        (U, pcr0("StringEqualsIfExists", &image)),
        (U, pcr0("StringLike", "*")),
        (U, pcr0("ForAllValues:StringEquals", &image)),
        (U, pcr0("ForAnyValue:StringEquals", &image)),
        (
            U,
            json!({"Null": {"kms:RecipientAttestation:PCR0": "true"}}),
        ),
        (
            U,
            json!({"Null": {"kms:RecipientAttestation:PCR0": "false"}}),
        ),
        (
            U,
            json!({"StringEquals": {"kms:RecipientAttestation:ImageSha384": image}}),
        ),
        (
            U,
            json!({"StringNotEquals": {"KMS:RECIPIENTATTESTATION:PCR0": image}}),
        ),
        // What does not pin.
        (U, with_root("StringNotEquals", json!(other_root))),
        (U, with_root("StringLike", json!(root))),
        (U, with_root("StringEqualsIfExists", json!(root))),
        (U, with_root("ForAllValues:StringEquals", json!(root))),
        (U, with_root("Null", json!("false"))),
        (U, with_root("StringEquals", json!([root, ""]))),
        (U, with_root("StringEquals", json!("*"))),
    ];
    for ask in [
        Ask::decrypt().attested(&claims).roots(2),
        Ask::decrypt().roots(2),
    ] {
        check_all(&ask, &unpinned);
    }
    check_all(
        &Ask::decrypt().attested(&claims).roots(2),
        &[
            (F, with_root("StringEquals", json!(other_root))),
            (T, with_root("StringEquals", json!(root))),
            (T, with_root("StringEquals", json!([other_root, root]))),
            (T, with_root("ForAnyValue:StringEquals", json!(root))),
            // Another condition that is certainly false keeps an undecided Deny from denying.
            (
                F,
                json!({
                    "StringEquals": {"kms:RecipientAttestation:PCR0": image},
                    "Bool": {"aws:SecureTransport": "false"},
                }),
            ),
        ],
    );
    check_all(
        &Ask::decrypt().roots(2),
        &[(F, with_root("StringEquals", json!(root)))],
    );
}

/// A condition on the root alone: a Deny is whole in itself, an Allow has to pin.
#[test]
fn the_root_alone_under_two_roots() {
    let claims: RecipientClaims = Enclave::boot().claims();
    let (root, other) = (claims.root_sha256().to_string(), "0f".repeat(32));
    let on_root = |operator: &str, value: &str| json!({operator: {"anchorhold:RecipientAttestation:RootSha256": value}});
    let outcome = |condition: &Value, ask: &Ask| {
        let allow = authorize(Some(&policy("Allow", condition)), &[], &ask.request());
        let deny = authorize(Some(&policy("Deny", condition)), &[], &ask.request());
        (allow.is_allowed(), deny.is_allowed())
    };
    let attested = Ask::decrypt().attested(&claims).roots(2);
    let bare = Ask::decrypt().roots(2);
    // "Deny unless this root" lets this root through and nothing else.
    assert_eq!(
        outcome(&on_root("StringNotEquals", &root), &attested),
        (false, true)
    );
    assert_eq!(
        outcome(&on_root("StringNotEquals", &root), &bare),
        (false, false)
    );
    assert_eq!(
        outcome(&on_root("StringNotEquals", &other), &attested),
        (false, false)
    );
    assert_eq!(
        outcome(&on_root("StringEquals", &root), &attested),
        (true, false)
    );
    assert_eq!(
        outcome(&on_root("StringEquals", &root), &bare),
        (false, true)
    );
}

/// The document's user_data, as a contract's hash.
#[test]
fn user_data_counts_as_an_attestation_does() {
    let contract = [0xd0; 48];
    let mut enclave = Enclave::boot();
    let claims: RecipientClaims = enclave.claims_for(Some(&contract));
    let (hash, other) = ("d0".repeat(48), "d1".repeat(48));
    let root = claims.root_sha256().to_string();
    let of = |operator: &str, value: &str| json!({operator: {"anchorhold:RecipientAttestation:UserData": value}});
    check_all(
        &Ask::decrypt().attested(&claims),
        &[
            (F, of("StringEquals", &other)),
            (F, of("StringEquals", &hash[..94])),
            (F, of("StringEquals", &hash.to_uppercase())),
            (F, of("StringEquals", "")),
            (F, of("Null", "true")),
            (
                F,
                json!({"StringEquals": {"kms:RecipientAttestation:UserData": hash}}),
            ),
            (F, of("StringNotEquals", &hash)),
            (F, of("StringEqualsIfExists", &other)),
            (F, of("ForAllValues:StringEquals", &other)),
            (F, of("ForAnyValue:StringNotEquals", &hash)),
            (T, of("StringEquals", &hash)),
            (T, of("StringEqualsIgnoreCase", &hash.to_uppercase())),
            (T, of("StringNotEquals", &other)),
            (T, of("StringEqualsIfExists", &hash)),
            (T, of("ForAllValues:StringEquals", &hash)),
            (T, of("ForAnyValue:StringEquals", &hash)),
            (T, of("Null", "false")),
        ],
    );
    // No document, no user data: what demands some does not hold, what does not demand any does.
    check_all(
        &Ask::decrypt(),
        &[
            (F, of("StringEquals", &hash)),
            (F, of("StringEquals", "")),
            (F, of("StringLike", "*")),
            (F, of("ForAnyValue:StringEquals", &hash)),
            (F, of("Null", "false")),
            (T, of("StringNotEquals", &hash)),
            (T, of("StringEqualsIfExists", &hash)),
            (T, of("ForAllValues:StringEquals", &hash)),
            (T, of("Null", "true")),
        ],
    );
    // A document without user_data does not have the key; one with empty user_data has.
    let without = enclave.claims_for(None);
    let empty = enclave.claims_for(Some(&[]));
    for (claims, absent) in [(&without, T), (&empty, F)] {
        let ask = Ask::decrypt().attested(claims);
        check_all(
            &ask,
            &[(F, of("StringEquals", &hash)), (absent, of("Null", "true"))],
        );
    }
    // Under two roots it counts beside a pinned root only.
    let mut pinned = of("StringEquals", &hash);
    pinned["StringEquals"]["anchorhold:RecipientAttestation:RootSha256"] = json!(root);
    check_all(
        &Ask::decrypt().attested(&claims).roots(2),
        &[(U, of("StringEquals", &hash)), (T, pinned)],
    );
}

#[test]
fn prior_releases_are_compared_as_numbers() {
    let claims: RecipientClaims = Enclave::boot().claims_for(Some(&[0xd0; 48]));
    let of = |operator: &str, value: &str| json!({operator: {"anchorhold:RecipientAttestation:PriorReleases": value}});
    let ask = |count| {
        let attested = Ask::decrypt().attested(&claims);
        attested.with(|context| context.prior_releases(count))
    };
    check_all(
        &ask(10),
        &[
            (F, of("NumericLessThan", "10")),
            (F, of("NumericLessThan", "9")),
            (F, of("NumericEquals", "1")),
            (F, of("NumericGreaterThan", "10")),
            (F, of("NumericLessThanIfExists", "10")),
            (F, of("ForAllValues:NumericLessThan", "10")),
            (T, of("NumericLessThan", "11")),
            (T, of("NumericLessThanEquals", "10")),
            (T, of("NumericGreaterThanEquals", "10")),
            (T, of("NumericNotEquals", "1")),
            (T, of("NumericLessThanIfExists", "11")),
            (T, of("ForAnyValue:NumericLessThan", "11")),
            // As text "10" would stand before "9".
            (T, of("NumericGreaterThan", "9")),
            (U, of("Bool", "true")),
            (U, of("DateLessThan", "2026-03-02")),
        ],
    );
    check_all(
        &ask(0),
        &[
            (F, of("NumericLessThan", "0")),
            (T, of("NumericLessThan", "1")),
        ],
    );
    check_all(&ask(0).roots(2), &[(U, of("NumericLessThan", "1"))]);
    // Without a recipient there is no count, and a budget allows nothing.
    check_all(
        &Ask::decrypt(),
        &[
            (F, of("NumericLessThan", "1")),
            (F, of("ForAnyValue:NumericLessThan", "1")),
            (F, of("NumericGreaterThanEquals", "1")),
            (F, of("Null", "false")),
            (T, of("Null", "true")),
            (T, of("NumericLessThanIfExists", "1")),
            (T, of("ForAllValues:NumericLessThan", "1")),
        ],
    );
}

/// One document is one release, however it is wrapped or its signature written.
#[test]
fn a_document_has_one_name_and_no_other_has_it() {
    let mut enclave = Enclave::boot();
    let rules =
        anchorhold_kms_core::attestation::RecipientRules::new(common::roots(&[enclave.root]));
    let document = enclave.document(Some(common::recipient_spki()), None, common::now());
    let name = |bytes: &[u8]| {
        let claims = anchorhold_kms_core::attestation::appraise(bytes, &rules, common::now());
        *claims.expect("claims").statement_sha384()
    };
    // COSE_Sign1 with its tag (RFC 9052, 2) is the same document.
    let tagged = [&[0xD2], document.as_slice()].concat();
    assert_eq!(name(&document), name(&tagged));
    let other = enclave.document(Some(common::recipient_spki()), Some(&[1]), common::now());
    assert_ne!(name(&document), name(&other));
}
