//! The chain of a document has AWS's shape and lifetimes and is re-minted in time. Read with
//! x509-parser, which shares no code with what issued it.

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anchorhold_document::AttestationDocument;
use anchorhold_document::limits::MAX_CERTIFICATE;
use anchorhold_document::nsm::AttestationRequest;
use anchorhold_nsm::{Boot, SecurityModule, lifetimes};
use common::{boot, document_at, module, platform, seconds, signed_at, start};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{DerSignature, Signature, VerifyingKey};
use x509_parser::prelude::*;

const DAY: u64 = 86_400;

fn parse(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

/// Root, regional, zonal, instance, leaf.
fn chain(document: &AttestationDocument) -> Vec<X509Certificate<'_>> {
    document
        .cabundle
        .iter()
        .chain([&document.certificate])
        .map(|der| parse(der))
        .collect()
}

fn key(certificate: &X509Certificate<'_>) -> VerifyingKey {
    VerifyingKey::from_sec1_bytes(&certificate.public_key().subject_public_key.data).unwrap()
}

fn seconds_of(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[test]
fn every_certificate_is_signed_by_the_one_before_and_the_document_by_the_leaf() {
    let mut module = module();
    let signed = signed_at(&mut module, AttestationRequest::default(), start());
    let document = AttestationDocument::from_payload(signed.payload()).unwrap();
    let chain = chain(&document);
    assert_eq!(chain.len(), 5);
    assert_eq!(
        document.cabundle[0],
        module.platform().root_certificate_der()
    );
    for (index, certificate) in chain.iter().enumerate() {
        let issuer = &chain[index.saturating_sub(1)];
        assert_eq!(certificate.issuer().as_raw(), issuer.subject().as_raw());
        let signature = DerSignature::try_from(&*certificate.signature_value.data).unwrap();
        key(issuer)
            .verify(certificate.tbs_certificate.as_ref(), &signature)
            .unwrap();
    }
    let signature = Signature::from_slice(signed.signature()).unwrap();
    key(&chain[4])
        .verify(&signed.to_be_signed(), &signature)
        .unwrap();
}

#[test]
fn roles_and_path_lengths_are_awss() {
    let mut module = module();
    let document = document_at(&mut module, start());
    let shape = |certificate: &X509Certificate<'_>| {
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical);
        let usage = certificate.key_usage().unwrap().unwrap();
        (
            constraints.value.ca,
            constraints.value.path_len_constraint,
            usage.critical,
            usage.value.to_string(),
        )
    };
    let shapes: Vec<_> = chain(&document).iter().map(shape).collect();
    let authority = "Digital Signature, Key Cert Sign, CRL Sign".to_owned();
    assert_eq!(
        shapes,
        [
            (true, None, true, authority.clone()),
            (true, Some(2), true, authority.clone()),
            (true, Some(1), true, authority),
            (true, Some(0), true, "Key Cert Sign".to_owned()),
            (
                false,
                None,
                false,
                "Digital Signature, Non Repudiation".to_owned()
            ),
        ]
    );
}

#[test]
fn lifetimes_are_awss() {
    let mut module = module();
    let document = document_at(&mut module, start());
    let now = seconds_of(start());
    let periods: Vec<(i64, i64)> = chain(&document)
        .iter()
        .map(|certificate| {
            let validity = certificate.validity();
            (
                validity.not_before.timestamp(),
                validity.not_after.timestamp(),
            )
        })
        .collect();
    let lived: Vec<i64> = periods.iter().map(|(from, until)| until - from).collect();
    let years_30 = 30 * 36_525 * 864;
    assert_eq!(
        lived,
        [years_30, 20 * 86_400, 483_840, 86_400, 3 * 3_600 + 3]
    );
    assert_eq!(periods[4], (now - 3, now + 3 * 3_600));
    for (outer, inner) in periods.iter().zip(&periods[1..]) {
        assert!(outer.0 <= inner.0 && inner.1 <= outer.1, "{periods:?}");
    }
}

#[test]
fn certificates_are_small_and_keys_p384() {
    let platform = platform();
    let boot = Boot {
        module_id: "m".repeat(128),
        ..boot(&platform)
    };
    let mut module = SecurityModule::new(platform, boot).unwrap();
    let document = document_at(&mut module, start());
    for der in document.cabundle.iter().chain([&document.certificate]) {
        assert!(
            (400..=MAX_CERTIFICATE).contains(&der.len()),
            "{}",
            der.len()
        );
        let certificate = parse(der);
        assert_eq!(certificate.version(), X509Version::V3);
        assert_eq!(
            certificate.signature_algorithm.algorithm.to_id_string(),
            "1.2.840.10045.4.3.3"
        );
        assert_eq!(certificate.public_key().subject_public_key.data.len(), 97);
        let serial = certificate.raw_serial();
        assert!(
            serial.len() == 16 && serial[0] & 0x80 == 0 && serial[0] != 0,
            "{serial:?}"
        );
    }
}

#[test]
fn names_are_ours_and_common_names_at_most_64_characters() {
    let platform = platform();
    let instance = platform.instance_id().to_string();
    let boot = Boot {
        module_id: "m".repeat(60),
        ..boot(&platform)
    };
    let mut module = SecurityModule::new(platform, boot).unwrap();
    let document = document_at(&mut module, start());
    let names: Vec<String> = chain(&document)
        .iter()
        .map(|certificate| {
            let text = certificate.subject().to_string().to_lowercase();
            assert!(!text.contains("aws") && !text.contains("amazon"), "{text}");
            let name = certificate.subject().iter_common_name().next().unwrap();
            name.as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        names[0],
        format!("Anchorhold local platform root {instance}")
    );
    assert!(names[1].ends_with(".local.anchorhold"));
    assert!(names[2].ends_with(".zonal.local.anchorhold"));
    assert_eq!(names[3], format!("{instance}.local.anchorhold"));
    assert_eq!(names[4], format!("{}.loc", "m".repeat(60)));
    assert_eq!(names[4].len(), 64);
}

/// Which certificates of two documents differ: root, regional, zonal, instance, leaf.
fn changed(before: &AttestationDocument, after: &AttestationDocument) -> Vec<usize> {
    let list = |d: &AttestationDocument| {
        d.cabundle
            .iter()
            .chain([&d.certificate])
            .cloned()
            .collect::<Vec<_>>()
    };
    let pairs = list(before).into_iter().zip(list(after)).enumerate();
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(index, _)| index)
        .collect()
}

#[test]
fn a_chain_is_kept_while_it_lives_and_replaced_before_it_ends() {
    let mut module = module();
    let first = document_at(&mut module, start());
    let leaf_kept = 2 * 3_600;
    for (after, expected) in [
        (0, vec![]),
        (leaf_kept, vec![]),
        (leaf_kept + 1, vec![4]),
        (23 * 3_600 - 10_803, vec![4]),
        (23 * 3_600 - 10_802, vec![3, 4]),
        (5 * DAY, vec![2, 3, 4]),
        (15 * DAY, vec![1, 2, 3, 4]),
        (365 * DAY, vec![1, 2, 3, 4]),
    ] {
        let now = start() + seconds(after);
        let document = document_at(&mut module, now);
        assert_eq!(changed(&first, &document), expected, "after {after} s");
        assert_covers(&document, now);
    }
}

/// All certificates are valid now, and for another hour.
fn assert_covers(document: &AttestationDocument, now: SystemTime) {
    for certificate in chain(document) {
        let validity = certificate.validity();
        assert!(validity.not_before.timestamp() <= seconds_of(now));
        let until = seconds_of(now + lifetimes::LEAF_RESERVE);
        assert!(until <= validity.not_after.timestamp(), "{now:?}");
    }
}

#[test]
fn no_moment_of_a_month_lacks_a_valid_chain() {
    let mut module = module();
    let mut now = start();
    // A step that is no divisor of any lifetime.
    while now < start() + Duration::from_secs(32 * DAY) {
        assert_covers(&document_at(&mut module, now), now);
        now += seconds(5_477);
    }
}

#[test]
fn a_clock_that_goes_back_gets_a_chain_that_is_valid_then() {
    let mut module = module();
    let later = start() + seconds(10 * DAY);
    assert_covers(&document_at(&mut module, later), later);
    assert_covers(&document_at(&mut module, start()), start());
}

#[test]
fn two_enclaves_of_one_platform_share_the_root_and_no_more() {
    let text = platform().to_pem().unwrap();
    let module = || {
        let platform = anchorhold_nsm::Platform::from_pem(&text).unwrap();
        let boot = boot(&platform);
        SecurityModule::new(platform, boot).unwrap()
    };
    let (first, second) = (
        document_at(&mut module(), start()),
        document_at(&mut module(), start()),
    );
    assert_eq!(changed(&first, &second), [1, 2, 3, 4]);
}
