//! Appraisal: freshness, debug mode, registers, fields; and what the proof types say.

mod common;

use anchorhold_document::nsm::AttestationRequest;
use anchorhold_verifier::{
    AppraisalPolicy, Appraised, AuthenticDocument, Pcr, PcrIndex, Timestamp, VerifyError,
};
use common::{Genuine, NOW, authenticate, seconds};

fn authentic() -> AuthenticDocument {
    let (bytes, roots) = common::genuine();
    authenticate(&bytes, &roots, NOW).unwrap()
}

fn millis_after(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + ms)
}

fn millis_before(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - ms)
}

fn fresh(now: Timestamp) -> AppraisalPolicy {
    AppraisalPolicy::fresh(now, seconds(300))
}

fn rule(result: Result<Appraised, VerifyError>) -> &'static str {
    result.map_or_else(|error| error.rule(), |_| "accepted")
}

#[test]
fn a_document_past_the_age_limit_is_refused() {
    let document = authentic();
    let at = |now| rule(document.clone().appraise(&fresh(now)));
    assert_eq!(at(NOW), "accepted");
    assert_eq!(at(millis_after(300_000)), "accepted");
    assert_eq!(at(millis_after(300_001)), "freshness.too-old");
    assert_eq!(at(Timestamp::from_millis(u64::MAX)), "freshness.too-old");
    let now = millis_after(300_500);
    let error = document.appraise(&fresh(now)).unwrap_err();
    let expected = "freshness: expected an age of at most 300 s, got 300.500 s \
                    (signed 2025-06-01T00:00:00.500Z, now 2025-06-01T00:05:01.000Z)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_document_from_the_future_is_refused_even_from_archives() {
    let document = authentic();
    let at = |policy: AppraisalPolicy| rule(document.clone().appraise(&policy));
    for policy in [fresh, AppraisalPolicy::archived] {
        assert_eq!(at(policy(millis_before(60_000))), "accepted");
        assert_eq!(at(policy(millis_before(60_001))), "freshness.future");
        assert_eq!(at(policy(Timestamp::from_millis(0))), "freshness.future");
    }
    let mut strict = fresh(millis_before(1));
    strict.max_future = seconds(0);
    assert_eq!(at(strict), "freshness.future");
}

#[test]
fn archives_accept_any_age() {
    let policy = AppraisalPolicy::archived(Timestamp::from_millis(u64::MAX));
    assert_eq!(rule(authentic().appraise(&policy)), "accepted");
}

#[test]
fn debug_mode_is_refused_unless_allowed() {
    let mut genuine = Genuine::boot(true);
    let document = authenticate(&genuine.document(), &genuine.roots(), NOW).unwrap();
    assert!(document.is_debug());
    // PCR4 stays real, so "all are zero" would not find it.
    assert!(
        !document
            .document()
            .pcrs
            .get(&PcrIndex::PCR4)
            .unwrap()
            .is_zero()
    );
    assert_eq!(
        document.clone().appraise(&fresh(NOW)).unwrap_err(),
        VerifyError::Debug
    );
    let mut policy = fresh(NOW);
    policy.allow_debug = true;
    assert!(document.appraise(&policy).unwrap().is_debug());
}

#[test]
fn demanding_zero_registers_does_not_let_debug_mode_in() {
    let mut genuine = Genuine::boot(true);
    let document = authenticate(&genuine.document(), &genuine.roots(), NOW).unwrap();
    let policy = fresh(NOW).require_pcr(PcrIndex::PCR0, Pcr::ZERO);
    assert_eq!(rule(document.appraise(&policy)), "debug.refused");
}

#[test]
fn registers_must_match() {
    let document = authentic();
    let with = |index, value| {
        rule(
            document
                .clone()
                .appraise(&fresh(NOW).require_pcr(index, value)),
        )
    };
    assert_eq!(with(PcrIndex::PCR0, Pcr([0xA0; 48])), "accepted");
    assert_eq!(with(PcrIndex::PCR3, Pcr::ZERO), "accepted");
    assert_eq!(with(PcrIndex::PCR0, Pcr([0xA1; 48])), "pcr.mismatch");
    assert_eq!(with(PcrIndex::PCR0, Pcr::ZERO), "pcr.mismatch");
    let mut near = [0xA0; 48];
    near[47] ^= 1;
    assert_eq!(with(PcrIndex::PCR0, Pcr(near)), "pcr.mismatch");
    // An application's register that is not locked is not in the document.
    assert_eq!(with(PcrIndex::new(16).unwrap(), Pcr::ZERO), "pcr.missing");

    let two = fresh(NOW)
        .require_pcr(PcrIndex::PCR0, Pcr([0xA0; 48]))
        .require_pcr(PcrIndex::PCR1, Pcr([0xFF; 48]));
    let error = document.appraise(&two).unwrap_err();
    let (index, expected, got) = (PcrIndex::PCR1, Pcr([0xFF; 48]), Pcr([0xA1; 48]));
    assert_eq!(
        error,
        VerifyError::PcrMismatch {
            index,
            expected,
            got
        }
    );
    assert_eq!(
        error.to_string(),
        format!(
            "PCR1: expected {}, got {}",
            "ff".repeat(48),
            "a1".repeat(48)
        )
    );
}

#[test]
fn fields_must_match() {
    let mut genuine = Genuine::boot(false);
    let full = authenticate(&genuine.document(), &genuine.roots(), NOW).unwrap();
    let empty = genuine.document_with(AttestationRequest::default(), NOW);
    let empty = authenticate(&empty, &genuine.roots(), NOW).unwrap();

    let policy = fresh(NOW)
        .require_nonce(b"nonce")
        .require_user_data(b"user data");
    assert_eq!(rule(full.clone().appraise(&policy)), "accepted");
    assert_eq!(rule(empty.clone().appraise(&fresh(NOW))), "accepted");
    for nonce in [&b"other"[..], b"nonc", b"nonce ", b""] {
        let policy = fresh(NOW).require_nonce(nonce);
        assert_eq!(rule(full.clone().appraise(&policy)), "nonce.mismatch");
        // An absent nonce is not an empty one.
        assert_eq!(rule(empty.clone().appraise(&policy)), "nonce.mismatch");
    }
    let policy = fresh(NOW).require_user_data(b"other");
    assert_eq!(rule(full.clone().appraise(&policy)), "user-data.mismatch");
    let mut policy = fresh(NOW);
    policy.public_key = Some(b"other key".to_vec());
    assert_eq!(rule(full.clone().appraise(&policy)), "public-key.mismatch");
    policy.public_key = Some(b"public key".to_vec());
    assert_eq!(rule(full.appraise(&policy)), "accepted");
    let error = empty
        .appraise(&fresh(NOW).require_nonce([1, 2]))
        .unwrap_err();
    assert_eq!(error.to_string(), "nonce: expected 0102, got none");
}

#[test]
fn proofs_say_what_was_proved() {
    let mut genuine = Genuine::boot(false);
    let root = genuine.module.platform().root_sha256();
    let later = millis_after(60_000);
    let document = authenticate(&genuine.document(), &genuine.roots(), later).unwrap();
    let appraised = document.appraise(&fresh(later)).unwrap();
    assert_eq!(appraised.root_sha256().as_bytes(), &root);
    assert_eq!(appraised.signed_at(), NOW);
    assert_eq!(appraised.authenticated_at(), later);
    assert_eq!(
        appraised.valid_from().to_string(),
        "2025-05-31T23:59:57.000Z"
    );
    assert_eq!(
        appraised.valid_until().to_string(),
        "2025-06-01T03:00:00.000Z"
    );
    assert_eq!(appraised.document().module_id, genuine.module.module_id());
    let subjects: Vec<String> = appraised
        .certificates()
        .into_iter()
        .map(|certificate| certificate.subject)
        .collect();
    assert_eq!(subjects.len(), 5);
    assert!(
        subjects[0].contains("Anchorhold local platform root i-"),
        "{subjects:?}"
    );
    assert!(
        subjects[4].contains(genuine.module.module_id()),
        "{subjects:?}"
    );
}

#[test]
fn a_chain_ends_before_the_document_is_too_old_for_a_long_limit() {
    // A limit of a day does not stretch the leaf's three hours.
    let mut genuine = Genuine::boot(false);
    let bytes = genuine.document();
    let later = millis_after(4 * 3_600_000);
    let error = authenticate(&bytes, &genuine.roots(), later).unwrap_err();
    assert_eq!(error.rule(), "chain.expired");
}

#[test]
fn messages_name_long_fields_by_length() {
    let mut genuine = Genuine::boot(false);
    let request = AttestationRequest {
        nonce: Some(vec![7; 1024]),
        ..Default::default()
    };
    let bytes = genuine.document_with(request, NOW);
    let document = authenticate(&bytes, &genuine.roots(), NOW).unwrap();
    let error = document
        .appraise(&fresh(NOW).require_nonce([1]))
        .unwrap_err();
    let expected = format!("nonce: expected 01, got {}… (1024 bytes)", "07".repeat(64));
    assert_eq!(error.to_string(), expected);
}
