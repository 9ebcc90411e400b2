//! What each certificate says of itself.

use anchorhold_verifier::Timestamp;
use rcgen::{
    CustomExtension, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P521_SHA512,
    PKCS_ED25519,
};

use crate::common::forge::{Link, chain, later, links};
use crate::common::{NOW, rule};
use crate::{broken, each_issuer, with};

#[test]
fn a_certificate_outside_its_time_is_refused() {
    for index in 0..5 {
        assert_eq!(
            with(index, |link| link.valid = (7_200, -1)),
            "chain.expired",
            "{index}"
        );
        assert_eq!(
            with(index, |link| link.valid = (-1, 600)),
            "chain.not-yet-valid",
            "{index}"
        );
    }
}

#[test]
fn validity_ends_and_begins_with_the_second() {
    let forged = chain(&links());
    let at = |ms: u64| {
        rule(
            &forged.signed(),
            &forged.roots(),
            Timestamp::from_millis(ms),
        )
    };
    let whole_second = NOW.as_millis() - 500;
    assert_eq!(at(whole_second - 3_001), "chain.not-yet-valid");
    assert_eq!(at(whole_second - 3_000), "accepted");
    assert_eq!(at(whole_second + 10_800_000), "accepted");
    assert_eq!(at(whole_second + 10_800_001), "chain.expired");
    assert_eq!(at(0), "chain.not-yet-valid");
    assert_eq!(at(u64::MAX), "chain.expired");
    assert_eq!(
        rule(&forged.signed(), &forged.roots(), later(86_400)),
        "chain.expired"
    );
}

#[test]
fn an_issuer_that_is_no_ca_is_refused() {
    for index in each_issuer() {
        let rule = with(index, |link| link.is_ca = IsCa::ExplicitNoCa);
        assert_eq!(rule, "chain.basic-constraints", "{index}");
        let rule = with(index, |link| link.is_ca = IsCa::NoCa);
        assert_eq!(rule, "chain.basic-constraints", "{index}");
    }
}

#[test]
fn a_leaf_that_is_a_ca_is_refused() {
    let rule = with(4, |link| link.is_ca = Link::issuer("", Some(0)).is_ca);
    assert_eq!(rule, "chain.basic-constraints");
    let rule = with(4, |link| link.usages.push(KeyUsagePurpose::KeyCertSign));
    assert_eq!(rule, "chain.key-usage");
}

#[test]
fn path_lengths_are_obeyed() {
    for index in each_issuer() {
        let below = 3 - index;
        let constrained = |length| {
            with(index, |link| {
                link.is_ca = Link::issuer("", Some(length)).is_ca
            })
        };
        assert_eq!(
            constrained(u8::try_from(below).unwrap()),
            "accepted",
            "{index}"
        );
        if let Some(short) = u8::try_from(below).unwrap().checked_sub(1) {
            assert_eq!(constrained(short), "chain.path-length", "{index}");
        }
    }
    // One more issuer under the instance.
    let mut longer = links();
    longer.insert(4, Link::issuer("enclave", None));
    assert_eq!(broken(&longer), "chain.path-length");
}

#[test]
fn key_usage_is_demanded() {
    for index in 0..5 {
        assert_eq!(
            with(index, |link| link.usages.clear()),
            "chain.key-usage",
            "{index}"
        );
    }
    for index in each_issuer() {
        let rule = with(index, |link| {
            link.usages = vec![KeyUsagePurpose::DigitalSignature]
        });
        assert_eq!(rule, "chain.key-usage", "{index}");
        let rule = with(index, |link| link.usages = vec![KeyUsagePurpose::CrlSign]);
        assert_eq!(rule, "chain.key-usage", "{index}");
        let rule = with(index, |link| {
            link.usages = vec![KeyUsagePurpose::KeyCertSign]
        });
        assert_eq!(rule, "accepted", "{index}");
    }
    let rule = with(4, |link| {
        link.usages = vec![KeyUsagePurpose::ContentCommitment]
    });
    assert_eq!(rule, "chain.key-usage");
    let rule = with(4, |link| link.usages = vec![KeyUsagePurpose::KeyAgreement]);
    assert_eq!(rule, "chain.key-usage");
}

#[test]
fn other_keys_than_p384_are_refused() {
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P521_SHA512,
        &PKCS_ED25519,
    ] {
        for index in each_issuer() {
            let rule = with(index, |link| link.algorithm = algorithm);
            assert_eq!(rule, "chain.key-algorithm", "{index}");
        }
        // The leaf cannot sign the document then; the one of the pattern does.
        let mut links = links();
        links[4].algorithm = algorithm;
        let (odd, even) = (chain(&links), chain(&crate::common::forge::links()));
        let bytes = even.sign(&odd.document());
        assert_eq!(rule(&bytes, &odd.roots(), NOW), "chain.key-algorithm");
    }
}

#[test]
fn an_unknown_critical_extension_is_refused_and_another_is_not() {
    // 1.3.6.1.4.1.32473 is the arc for examples (RFC 5612).
    let extension = |critical| {
        let mut extension =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], vec![0x05, 0x00]);
        extension.set_criticality(critical);
        extension
    };
    for index in 1..5 {
        let rule = with(index, |link| link.extensions.push(extension(true)));
        assert_eq!(rule, "chain.path", "{index}");
        let rule = with(index, |link| link.extensions.push(extension(false)));
        assert_eq!(rule, "accepted", "{index}");
    }
}

#[test]
fn an_extension_twice_or_unreadable_is_refused() {
    let usage =
        |content: &[u8]| CustomExtension::from_oid_content(&[2, 5, 29, 15], content.to_vec());
    let constraints =
        |content: &[u8]| CustomExtension::from_oid_content(&[2, 5, 29, 19], content.to_vec());
    for index in 0..5 {
        // keyUsage once more, this time with everything allowed.
        let twice = usage(&[0x03, 0x02, 0x00, 0xFF]);
        assert_eq!(
            with(index, |link| link.extensions.push(twice)),
            "chain.certificate"
        );
        let unreadable = usage(&[0x03, 0x00]);
        let rule = with(index, |link| {
            link.usages.clear();
            link.extensions.push(unreadable);
        });
        assert!(
            ["chain.key-usage", "chain.certificate"].contains(&rule),
            "{index}: {rule}"
        );
        let unreadable = constraints(&[0x30, 0x03, 0x01, 0x01]);
        let rule = with(index, |link| {
            link.is_ca = IsCa::NoCa;
            link.extensions.push(unreadable);
        });
        assert_eq!(rule, "chain.certificate", "{index}");
    }
}
