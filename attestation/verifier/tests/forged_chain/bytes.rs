//! Bytes that are no certificate, or not the one that was signed.

use anchorhold_document::DocumentToSign;
use anchorhold_verifier::{RootSha256, TrustRoots};
use proptest::prelude::*;

use crate::common::forge::{self, chain, links};
use crate::common::{NOW, authenticate, rule};

#[test]
fn certificates_that_are_none_are_refused() {
    let forged = chain(&links());
    for index in 1..4 {
        for garbage in [
            vec![0x00],
            vec![0x30, 0x00],
            vec![0x30; 700],
            vec![0xFF; 1024],
        ] {
            let mut document = forged.document();
            document.cabundle[index] = garbage;
            assert_eq!(
                rule(&forged.sign(&document), &forged.roots(), NOW),
                "chain.certificate"
            );
        }
        let mut document = forged.document();
        document.cabundle[index].push(0);
        assert_eq!(
            rule(&forged.sign(&document), &forged.roots(), NOW),
            "chain.certificate"
        );
    }
    let mut document = forged.document();
    document.certificate = vec![0; 64];
    assert_eq!(
        rule(&forged.sign(&document), &forged.roots(), NOW),
        "chain.certificate"
    );
}

#[test]
fn a_root_of_any_bytes_is_refused_even_when_pinned() {
    let forged = chain(&links());
    let mut document = forged.document();
    document.cabundle[0] = vec![0; 64];
    let roots = TrustRoots::from_iter([RootSha256::of_der(&[0; 64])]);
    assert_eq!(
        rule(&forged.sign(&document), &roots, NOW),
        "chain.certificate"
    );
}

#[test]
fn no_byte_of_a_certificate_can_change() {
    // Each certificate but the pinned root, every byte. The chain is checked before the document's
    // signature, so a chain that passed would be refused as `document.signature`.
    let forged = chain(&links());
    let roots = forged.roots();
    for index in 1..5 {
        for at in 0..forged.certificates[index].len() {
            let mut document = forged.document();
            let certificate = match index {
                4 => &mut document.certificate,
                _ => &mut document.cabundle[index],
            };
            certificate[at] ^= 1 << (at % 8);
            let document = DocumentToSign::new(&document)
                .unwrap()
                .with_signature([1; 96]);
            let rule = rule(&document.to_bytes(), &roots, NOW);
            assert!(
                rule.starts_with("chain."),
                "certificate {index}, byte {at}: {rule}"
            );
        }
    }
}

/// One chain for all cases: making it costs five keys.
fn shared_chain() -> &'static forge::Forged {
    static CHAIN: std::sync::OnceLock<forge::Forged> = std::sync::OnceLock::new();
    CHAIN.get_or_init(|| chain(&links()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Certificates are hostile up to the signature check, and their names stand in messages.
    #[test]
    fn deformed_certificates_never_panic(
        index in 1..5_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let forged = shared_chain();
        let mut document = forged.document();
        let certificate = match index {
            4 => &mut document.certificate,
            _ => &mut document.cabundle[index],
        };
        for (at, byte) in changes {
            let at = at.index(certificate.len());
            certificate[at] = byte;
        }
        let document = DocumentToSign::new(&document).unwrap().with_signature([1; 96]);
        let error = authenticate(&document.to_bytes(), &forged.roots(), NOW).unwrap_err();
        prop_assert!(error.to_string().contains("expected"), "{}", error);
    }
}
