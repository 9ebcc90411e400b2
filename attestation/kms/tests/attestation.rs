//! Documents of a real security module: which yield claims, and which never do.

mod common;

use std::time::{Duration, SystemTime};

use anchorhold_document::Pcr;
use anchorhold_kms_core::attestation::{
    MAX_ATTESTATION_DOCUMENT, RecipientClaims, RecipientError, RecipientRules, appraise,
};
use anchorhold_kms_core::{Exception, KmsError};
use anchorhold_verifier::TrustRoots;
use common::{Enclave, IMAGE, now, pcr_index, recipient_spki, roots};
use proptest::prelude::*;

fn refused(document: &[u8], rules: &RecipientRules, at: SystemTime) -> (&'static str, Exception) {
    let error: RecipientError = appraise(document, rules, at).err().expect("a refusal");
    let (rule, exception) = (error.rule(), error.exception());
    let wire = KmsError::from(error);
    assert!(wire.to_string().contains(rule), "{wire}");
    assert_eq!(wire.exception(), exception);
    (rule, exception)
}

fn trusting(enclave: &Enclave) -> RecipientRules {
    RecipientRules::new(roots(&[enclave.root]))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_foreign_root_never_yields_claims() {
    let (mut here, elsewhere) = (Enclave::boot(), Enclave::boot());
    let document = here.document(Some(recipient_spki()), None, now());
    let untrusted = ("root.untrusted", Exception::AccessDenied);
    assert_eq!(refused(&document, &trusting(&elsewhere), now()), untrusted);
    assert_eq!(
        refused(&document, &RecipientRules::new(TrustRoots::new()), now()),
        untrusted
    );
    let aws = RecipientRules::new(TrustRoots::aws_nitro_g1());
    assert_eq!(refused(&document, &aws, now()), untrusted);
    assert!(appraise(&document, &trusting(&here), now()).is_ok());
}

#[test]
fn debug_mode_never_yields_claims() {
    let mut debugging = Enclave::boot_image(IMAGE, true);
    let document = debugging.document(Some(recipient_spki()), None, now());
    let expected = ("debug.refused", Exception::AccessDenied);
    assert_eq!(refused(&document, &trusting(&debugging), now()), expected);
}

/// The verifier calls it debug mode when PCR0, 1 and 2 are zero; one alone measures nothing too.
#[test]
fn a_zero_measurement_never_yields_claims() {
    let mut unmeasured = Enclave::boot_image(Pcr::ZERO, false);
    let document = unmeasured.document(Some(recipient_spki()), None, now());
    let expected = ("recipient.zero-measurement", Exception::AccessDenied);
    assert_eq!(refused(&document, &trusting(&unmeasured), now()), expected);
}

/// A chain is verified once, and believed no longer than its certificates last.
#[test]
fn a_remembered_chain_expires() {
    let mut enclave = Enclave::boot();
    let rules = trusting(&enclave).with_max_age(seconds(400 * 86_400));
    for _ in 0..3 {
        let document = enclave.document(Some(recipient_spki()), None, now());
        assert!(appraise(&document, &rules, now()).is_ok());
        assert_eq!(rules.remembered_chains(), 1);
    }
    let document = enclave.document(Some(recipient_spki()), None, now());
    let expired = ("chain.expired", Exception::AccessDenied);
    for later in [3 * 3600 + 60, 60 * 86_400, 399 * 86_400] {
        assert_eq!(refused(&document, &rules, now() + seconds(later)), expired);
    }
    assert!(appraise(&document, &rules, now()).is_ok());
}

#[test]
fn documents_count_for_as_long_as_the_rules_say() {
    let mut enclave = Enclave::boot();
    let document = enclave.document(Some(recipient_spki()), None, now());
    let rules = trusting(&enclave);
    let too_old = ("freshness.too-old", Exception::AccessDenied);
    assert_eq!(refused(&document, &rules, now() + seconds(301)), too_old);
    assert_eq!(refused(&document, &rules, now() + seconds(3600)), too_old);
    let future = ("freshness.future", Exception::AccessDenied);
    assert_eq!(refused(&document, &rules, now() - seconds(61)), future);
    assert_eq!(rules.max_age(), seconds(300));
    for at in [now() - seconds(60), now(), now() + seconds(300)] {
        assert!(appraise(&document, &rules, at).is_ok());
    }
    let strict = trusting(&enclave).with_max_age(seconds(5));
    assert_eq!(refused(&document, &strict, now() + seconds(6)), too_old);
    assert!(appraise(&document, &strict, now() + seconds(5)).is_ok());
    // A clock before the epoch trusts nothing.
    let broken = SystemTime::UNIX_EPOCH - seconds(1);
    assert!(appraise(&document, &rules, broken).is_err());
}

#[test]
fn no_changed_byte_yields_claims() {
    let mut enclave = Enclave::boot();
    let document = enclave.document(Some(recipient_spki()), None, now());
    let rules = trusting(&enclave);
    for index in (0..document.len())
        .step_by(61)
        .chain([document.len() - 96, document.len() - 1])
    {
        let mut changed = document.clone();
        changed[index] ^= 1;
        assert!(appraise(&changed, &rules, now()).is_err(), "byte {index}");
    }
    // The unchanged one still counts: what was remembered of its chain is not spoilt.
    assert!(appraise(&document, &rules, now()).is_ok());
}

#[test]
fn what_is_no_document_is_a_validation_error() {
    let rules = RecipientRules::new(TrustRoots::aws_nitro_g1());
    for (bytes, rule) in [
        (vec![], "recipient.document-length"),
        (
            vec![0; MAX_ATTESTATION_DOCUMENT + 1],
            "recipient.document-length",
        ),
    ] {
        assert_eq!(
            refused(&bytes, &rules, now()),
            (rule, Exception::Validation)
        );
    }
    for bytes in [b"x".to_vec(), vec![0x84], vec![0; MAX_ATTESTATION_DOCUMENT]] {
        assert_eq!(refused(&bytes, &rules, now()).1, Exception::Validation);
    }
}

#[test]
fn a_document_without_a_usable_key_yields_no_claims() {
    let mut enclave = Enclave::boot();
    let rules = trusting(&enclave);
    let mut rule_of = |key: Option<&[u8]>| {
        let document = enclave.document(key, None, now());
        refused(&document, &rules, now())
    };
    let denied = |rule| (rule, Exception::AccessDenied);
    assert_eq!(rule_of(None), denied("recipient.no-public-key"));
    assert_eq!(rule_of(Some(b"key")), denied("recipient.public-key"));
    assert_eq!(
        rule_of(Some(&recipient_spki()[24..])),
        denied("recipient.public-key")
    );
}

#[test]
fn a_required_nonce_must_be_there() {
    let mut enclave = Enclave::boot();
    let rules = trusting(&enclave).with_required_nonce();
    for nonce in [None, Some(&b""[..])] {
        let document = enclave.document(Some(recipient_spki()), nonce, now());
        let expected = ("recipient.no-nonce", Exception::AccessDenied);
        assert_eq!(refused(&document, &rules, now()), expected);
    }
    let document = enclave.document(Some(recipient_spki()), Some(&[5; 32]), now());
    let claims = appraise(&document, &rules, now()).expect("claims");
    assert_eq!(claims.nonce(), Some(&[5; 32][..]));
}

#[test]
fn claims_say_what_the_document_says() {
    let mut enclave = Enclave::boot();
    let claims: RecipientClaims = enclave.claims();
    assert_eq!(claims.pcr0(), Some(&IMAGE));
    assert_eq!(claims.pcr(pcr_index(1)), Some(&Pcr([0xa2; 48])));
    assert_eq!(claims.pcr(pcr_index(31)), None);
    assert_eq!(claims.root_sha256(), enclave.root);
    assert!(claims.module_id().contains("-enc0123456789abcdef"));
    assert_eq!(claims.key().bits(), 2048);
    assert_eq!(claims.nonce(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let rules = RecipientRules::new(TrustRoots::aws_nitro_g1());
        prop_assert!(appraise(&bytes, &rules, now()).is_err());
    }
}
