//! One attested keyring: what the KMS refuses it, and what it gives.

use std::time::Instant;

use anchorhold_envelope::EncryptedDataKey;
use anchorhold_envelope::keyring::{Keyring, KeyringError, Keyrings};
use serde_json::json;

use crate::world::{Attested, PRIOR, USER_DATA, boot, context, platform, world};

/// A data key of the owner's, wrapped.
fn wrapped(key_arn: &str) -> ([u8; 32], EncryptedDataKey) {
    let owner = world().owner_keyring(key_arn);
    let (key, wrapped) = owner.generate(&context("1"), Instant::now()).unwrap();
    (*key.expose(), wrapped)
}

fn opens(enclave: &Attested, wrapped: &EncryptedDataKey) -> Result<[u8; 32], KeyringError> {
    let opened = enclave.unwrap(wrapped, &context("1"), Instant::now());
    opened.map(|key| *key.expose())
}

/// What the refusal says of itself and of the KMS's words.
#[track_caller]
fn refused<T>(outcome: Result<T, KeyringError>, words: &str) {
    let error = outcome.err().expect("a refusal");
    assert_eq!(error.rule(), "kms.refused", "{error}");
    let mut said = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = next {
        said.push_str(&error.to_string());
        next = error.source();
    }
    assert!(said.contains(words), "{words}: {said}");
}

#[test]
fn another_image_a_debug_boot_and_another_platform_get_no_key() {
    let world = world();
    let arn = world.key(&[]);
    let (_, wrapped) = wrapped(&arn);
    refused(opens(&world.enclave(&arn, 9), &wrapped), "PCR0");
    let debug = world.enclave_of(world.this_platform(), boot(1, true), &arn, true);
    refused(opens(&debug, &wrapped), "debug");
    let elsewhere = world.enclave_of(platform(), boot(1, false), &arn, true);
    refused(opens(&elsewhere, &wrapped), "root");
    let new = elsewhere.generate(&context("1"), Instant::now());
    refused(new, "root");
}

#[test]
fn a_document_without_the_kmss_nonce_gets_no_key() {
    let world = world();
    let arn = world.key(&[]);
    let (_, wrapped) = wrapped(&arn);
    let stale = world.enclave_of(world.this_platform(), boot(1, false), &arn, false);
    refused(opens(&stale, &wrapped), "nonce");
}

#[test]
fn nobody_without_a_document_gets_the_key() {
    let arn = world().key(&[]);
    let (_, wrapped) = wrapped(&arn);
    let owner = world().owner_keyring(&arn);
    let opened = owner.unwrap(&wrapped, &context("1"), Instant::now());
    refused(opened, "not authorized");
}

#[test]
fn a_key_is_released_for_its_contract_only_and_as_often_as_is_allowed() {
    let world = world();
    let arn = world.key(&[
        ("StringEquals", json!({USER_DATA: "c0".repeat(48)})),
        ("NumericLessThan", json!({PRIOR: "2"})),
    ]);
    let (key, wrapped) = wrapped(&arn);
    refused(opens(&world.enclave(&arn, 1), &wrapped), USER_DATA);
    let other = world.enclave(&arn, 1).with_user_data([0xc1; 48]);
    refused(opens(&other, &wrapped), USER_DATA);
    let enclave = world.enclave(&arn, 1).with_user_data([0xc0; 48]);
    for _ in 0..2 {
        assert!(opens(&enclave, &wrapped).unwrap() == key);
    }
    // Each call has a document of its own: this is the third.
    refused(opens(&enclave, &wrapped), PRIOR);
    refused(enclave.generate(&context("1"), Instant::now()), PRIOR);
}

#[test]
fn another_context_and_another_key_are_refused() {
    let world = world();
    let (arn, other) = (world.key(&[]), world.key(&[]));
    let (_, wrapped) = wrapped(&arn);
    let enclave = world.enclave(&arn, 1);
    let opened = enclave.unwrap(&wrapped, &context("2"), Instant::now());
    refused(opened, "InvalidCiphertext");
    let neighbour = world.enclave(&other, 1);
    assert!(!neighbour.names(&wrapped) && enclave.names(&wrapped));
    // A blob under another key's name: the KMS is asked for that key, and says no.
    let renamed = EncryptedDataKey::aws_kms(&other, wrapped.ciphertext()).unwrap();
    assert!(neighbour.names(&renamed));
    refused(opens(&neighbour, &renamed), "IncorrectKey");
    let keyrings = Keyrings::of(neighbour);
    let released = keyrings.release(&[wrapped], &context("1"), Instant::now());
    assert_eq!(released.err().unwrap().rule(), "keyring.none");
}

#[test]
fn a_revoked_key_is_not_released_again() {
    let world = world();
    let arn = world.key(&[]);
    let (key, wrapped) = wrapped(&arn);
    let enclave = world.enclave(&arn, 1);
    assert!(opens(&enclave, &wrapped).unwrap() == key);
    let nobody = world.policy(&[("StringEquals", json!({USER_DATA: "ff"}))]);
    let put = world
        .owner()
        .put_key_policy(&arn, &nobody.to_string(), false);
    put.unwrap();
    refused(opens(&enclave, &wrapped), USER_DATA);
}

#[test]
fn what_an_enclave_makes_and_wraps_opens_for_another_of_its_image() {
    let world = world();
    let arn = world.key(&[]);
    let (one, two) = (world.enclave(&arn, 1), world.enclave(&arn, 1));
    let now = Instant::now();
    let (key, wrapped) = one.generate(&context("1"), now).unwrap();
    assert_eq!(wrapped.kms_key_arn(), Some(arn.as_str()));
    assert!(opens(&two, &wrapped).unwrap() == *key.expose());
    let again = one.wrap(&key, &context("1"), now).unwrap();
    assert_ne!(again, wrapped);
    assert!(opens(&two, &again).unwrap() == *key.expose());
}
