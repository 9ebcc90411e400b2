//! Documents whose bytes were tampered with, and signatures that are none.

mod common;

use std::num::NonZeroUsize;

use anchorhold_document::limits::{MAX_DOCUMENT, MAX_PAYLOAD};
use anchorhold_document::{AttestationDocument, DocumentToSign, SignedDocument};
use anchorhold_verifier::{ChainCache, RustCrypto, TrustRoots, UnverifiedDocument};
use ciborium::Value;
use common::forge::{self, chain, links};
use common::{NOW, genuine, rule};

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// An envelope of any four items.
fn envelope(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    encode(&Value::Array(vec![
        Value::Bytes(protected.to_vec()),
        Value::Map(vec![]),
        Value::Bytes(payload.to_vec()),
        Value::Bytes(signature.to_vec()),
    ]))
}

fn protected(algorithm: i64) -> Vec<u8> {
    encode(&Value::Map(vec![(Value::from(1), Value::from(algorithm))]))
}

/// RFC 9052 §4.4, built without the codec.
fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    encode(&Value::Array(vec![
        Value::from("Signature1"),
        Value::Bytes(protected.to_vec()),
        Value::Bytes(vec![]),
        Value::Bytes(payload.to_vec()),
    ]))
}

#[test]
fn a_genuine_document_is_accepted_tagged_and_untagged() {
    let (bytes, roots) = genuine();
    assert_eq!(bytes.first(), Some(&0x84));
    assert_eq!(rule(&bytes, &roots, NOW), "accepted");
    let tagged = [&[0xD2], &bytes[..]].concat();
    assert_eq!(rule(&tagged, &roots, NOW), "accepted");
    let other = UnverifiedDocument::parse(&bytes).unwrap();
    assert!(other.authenticate_with(&roots, NOW, &RustCrypto).is_ok());
}

#[test]
fn no_bit_can_change() {
    let (bytes, roots) = genuine();
    // The chain's certificates are checked once; everything else each time.
    let cache = ChainCache::new(NonZeroUsize::new(4).unwrap());
    let accepted = |bytes: &[u8]| {
        UnverifiedDocument::parse(bytes)
            .and_then(|document| document.authenticate_cached(&roots, NOW, &cache))
            .is_ok()
    };
    assert!(accepted(&bytes));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(!accepted(&changed), "byte {at}");
    }
    assert_eq!(cache.len(), 1);
}

#[test]
fn no_length_but_the_whole_is_accepted() {
    let (bytes, roots) = genuine();
    for length in 0..bytes.len() {
        assert_eq!(
            rule(&bytes[..length], &roots, NOW),
            "cbor.truncated",
            "{length}"
        );
    }
    for more in [&[0x00][..], &[0xF6], &[0xFF], b"\n", &bytes] {
        let longer = [&bytes[..], more].concat();
        assert_eq!(rule(&longer, &roots, NOW), "cbor.trailing-bytes");
    }
}

#[test]
fn bombs_are_refused() {
    let roots = TrustRoots::aws_nitro_g1();
    let too_long = vec![0x84; MAX_DOCUMENT + 1];
    assert_eq!(rule(&too_long, &roots, NOW), "input.size");
    for bomb in [
        vec![0x81; MAX_DOCUMENT],
        vec![0x9F; MAX_DOCUMENT],
        vec![0xD2; MAX_DOCUMENT],
    ] {
        assert!(["field.length", "cbor.type"].contains(&rule(&bomb, &roots, NOW)));
    }
    // Deep nesting inside the payload, and strings and maps of declared 2^63 bytes or entries.
    let signature = [1; 96];
    for payload in [
        vec![0x81; MAX_PAYLOAD],
        vec![0xA1; MAX_PAYLOAD],
        [0xA1, 0x60].repeat(MAX_PAYLOAD / 2),
        [
            &[0xA1, 0x64][..],
            b"pcrs",
            &[0xBB, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ]
        .concat(),
        [
            &[0xA1, 0x68][..],
            b"cabundle",
            &[0x9B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ]
        .concat(),
        [
            &[0xA1, 0x65][..],
            b"nonce",
            &[0x5B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ]
        .concat(),
    ] {
        let bytes = envelope(&protected(-35), &payload, &signature);
        let rule = rule(&bytes, &roots, NOW);
        let shape = [
            "cbor.type",
            "cbor.truncated",
            "field.length",
            "map.unknown-key",
        ];
        assert!(shape.contains(&rule), "{rule}");
    }
}

#[test]
fn other_algorithms_are_refused_even_when_signed_over() {
    let forged = chain(&links());
    let payload = forged.document().to_payload();
    for algorithm in [-1, -7, -36, -8, -37, -35_000, 0, 1] {
        let protected = protected(algorithm);
        let der = forged.sign_der(&sig_structure(&protected, &payload));
        let bytes = envelope(&protected, &payload, &forge::raw(&der));
        assert_eq!(
            rule(&bytes, &forged.roots(), NOW),
            "cose.algorithm",
            "{algorithm}"
        );
    }
    // The same with -35 is accepted: it is the algorithm that was refused.
    let der = forged.sign_der(&sig_structure(&protected(-35), &payload));
    let bytes = envelope(&protected(-35), &payload, &forge::raw(&der));
    assert_eq!(rule(&bytes, &forged.roots(), NOW), "accepted");
}

#[test]
fn der_signatures_are_refused() {
    let forged = chain(&links());
    let payload = forged.document().to_payload();
    let message = sig_structure(&protected(-35), &payload);
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let der = forged.sign_der(&message);
        lengths.insert(der.len());
        let bytes = envelope(&protected(-35), &payload, &der);
        assert_eq!(rule(&bytes, &forged.roots(), NOW), "field.length");
    }
    assert!(
        lengths.iter().all(|length| (98..=104).contains(length)),
        "{lengths:?}"
    );
}

#[test]
fn zero_signatures_are_refused_by_name() {
    let (bytes, roots) = genuine();
    let signed = SignedDocument::from_bytes(&bytes).unwrap();
    let zero = |signature| {
        let payload = signed.payload().to_vec();
        DocumentToSign::from_payload(payload)
            .unwrap()
            .with_signature(signature)
            .to_bytes()
    };
    assert_eq!(rule(&zero([0; 96]), &roots, NOW), "document.signature-zero");
    // r or s alone zero.
    let mut half = *signed.signature();
    half[..48].fill(0);
    assert_eq!(rule(&zero(half), &roots, NOW), "document.signature");
    let mut half = *signed.signature();
    half[48..].fill(0);
    assert_eq!(rule(&zero(half), &roots, NOW), "document.signature");
    assert_eq!(rule(&zero([0xFF; 96]), &roots, NOW), "document.signature");
}

#[test]
fn what_an_emulated_device_without_a_key_writes_is_refused() {
    // Certificate, bundle and signature of 64 zero bytes, algorithm -1.
    let mut document = chain(&links()).document();
    document.certificate = vec![0; 64];
    document.cabundle = vec![vec![0; 64]];
    let payload = document.to_payload();
    let roots = TrustRoots::aws_nitro_g1();
    assert_eq!(
        rule(&envelope(&protected(-1), &payload, &[0; 64]), &roots, NOW),
        "cose.algorithm"
    );
    assert_eq!(
        rule(&envelope(&protected(-35), &payload, &[0; 64]), &roots, NOW),
        "field.length"
    );
    let padded = envelope(&protected(-35), &payload, &[0; 96]);
    assert_eq!(rule(&padded, &roots, NOW), "document.signature-zero");
    let filled = envelope(&protected(-35), &payload, &[1; 96]);
    assert_eq!(rule(&filled, &roots, NOW), "root.untrusted");
}

#[test]
fn the_signature_covers_the_whole_payload() {
    let (bytes, roots) = genuine();
    let signed = SignedDocument::from_bytes(&bytes).unwrap();
    let original = AttestationDocument::from_payload(signed.payload()).unwrap();
    let changes: [fn(&mut AttestationDocument); 6] = [
        |document| document.module_id.push('0'),
        |document| document.timestamp_ms += 1,
        |document| document.pcrs.values_mut().for_each(|pcr| pcr.0[0] ^= 1),
        |document| document.public_key = None,
        |document| document.user_data = Some(b"other".to_vec()),
        |document| document.nonce = None,
    ];
    for change in changes {
        let mut document = original.clone();
        change(&mut document);
        let document = DocumentToSign::new(&document).unwrap();
        let bytes = document.with_signature(*signed.signature()).to_bytes();
        assert_eq!(rule(&bytes, &roots, NOW), "document.signature");
    }
}

#[test]
fn a_signature_for_another_context_is_refused() {
    let forged = chain(&links());
    let payload = forged.document().to_payload();
    let context = |context: &str, aad: &[u8]| {
        let message = encode(&Value::Array(vec![
            Value::from(context),
            Value::Bytes(protected(-35)),
            Value::Bytes(aad.to_vec()),
            Value::Bytes(payload.clone()),
        ]));
        envelope(
            &protected(-35),
            &payload,
            &forge::raw(&forged.sign_der(&message)),
        )
    };
    assert_eq!(
        rule(&context("Signature1", b""), &forged.roots(), NOW),
        "accepted"
    );
    assert_eq!(
        rule(&context("Signature", b""), &forged.roots(), NOW),
        "document.signature"
    );
    assert_eq!(
        rule(&context("Signature1", b"x"), &forged.roots(), NOW),
        "document.signature"
    );
    let bare = envelope(
        &protected(-35),
        &payload,
        &forge::raw(&forged.sign_der(&payload)),
    );
    assert_eq!(rule(&bare, &forged.roots(), NOW), "document.signature");
}
