//! The platform's file: what is refused, and that it survives.

mod common;

use anchorhold_nsm::{Platform, PlatformError};
use common::{boot, document_at, platform, rng, start};
use p384::ecdsa::SigningKey;
use p384::elliptic_curve::Generate;
use p384::pkcs8::{EncodePrivateKey, LineEnding};

fn refusal(text: &str) -> PlatformError {
    match Platform::from_pem(text) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

fn certificate_refused_as(text: &str, expected: &str) {
    match refusal(text) {
        PlatformError::Certificate { got } => assert_eq!(got, expected),
        other => panic!("{other}"),
    }
}

/// Key and certificate of a platform's file.
fn halves(text: &str) -> (String, String) {
    let (key, certificate) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
    (key.to_owned(), certificate.to_owned())
}

#[test]
fn a_platform_survives_its_file() {
    let platform = platform();
    let text = platform.to_pem().unwrap();
    let again = Platform::from_pem(&text).unwrap();
    assert_eq!(again.instance_id(), platform.instance_id());
    assert_eq!(again.root_sha256(), platform.root_sha256());
    assert_eq!(
        again.root_certificate_der(),
        platform.root_certificate_der()
    );
    assert_eq!(*again.to_pem().unwrap(), *text);
    let boot = boot(&again);
    let mut module = anchorhold_nsm::SecurityModule::new(again, boot).unwrap();
    assert_eq!(
        document_at(&mut module, start()).cabundle[0],
        platform.root_certificate_der()
    );
}

#[test]
fn the_root_for_relying_parties_holds_no_key() {
    let platform = platform();
    let root = platform.root_certificate_pem();
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(!root.contains("PRIVATE"));
    assert!(platform.to_pem().unwrap().contains(&root));
}

#[test]
fn platforms_differ() {
    let (one, other) = (platform(), platform());
    assert_ne!(one.instance_id(), other.instance_id());
    assert_ne!(one.root_sha256(), other.root_sha256());
}

#[test]
fn files_with_absent_doubled_or_foreign_blocks_are_refused() {
    let text = platform().to_pem().unwrap();
    let (key, certificate) = halves(&text);
    for broken in [
        String::new(),
        "not PEM".to_owned(),
        key.clone(),
        certificate.clone(),
        format!("{key}{key}{certificate}"),
        format!("{key}{certificate}{certificate}"),
        key.replace("PRIVATE KEY", "EC PRIVATE KEY") + &certificate,
        text.replace("-----END CERTIFICATE-----", ""),
    ] {
        let error = refusal(&broken);
        assert_eq!(error.rule(), "platform.blocks", "{error}");
    }
    assert_eq!(refusal(&" ".repeat(8193)).rule(), "platform.size");
}

#[test]
fn a_key_that_is_not_the_roots_is_refused() {
    let (_, certificate) = halves(&platform().to_pem().unwrap());
    let (key, _) = halves(&platform().to_pem().unwrap());
    certificate_refused_as(&format!("{key}{certificate}"), "one for another key");
    let spoiled = key.replacen("MIG2", "MIG3", 1);
    assert_eq!(
        refusal(&format!("{spoiled}{certificate}")).rule(),
        "platform.key"
    );
}

#[test]
fn a_certificate_that_is_no_root_of_ours_is_refused() {
    let platform = platform();
    let (key, _) = halves(&platform.to_pem().unwrap());
    let with = |der: &[u8]| format!("{key}{}", pem(der));
    certificate_refused_as(&with(&[0x30, 0x00]), "bytes that are none");

    // A bit of its signature, of its name and of its key.
    let der = platform.root_certificate_der();
    let flipped = |at: usize| {
        let mut der = der.to_vec();
        der[at] ^= 1;
        with(&der)
    };
    certificate_refused_as(&flipped(der.len() - 1), "one with a wrong signature");
    let name = |text: &[u8]| {
        der.windows(text.len())
            .position(|window| window == text)
            .unwrap()
    };
    certificate_refused_as(
        &flipped(name(b"Anchorhold local")),
        "one that another issued",
    );
    let key_at = name(&[0x03, 0x62, 0x00, 0x04]) + 10;
    certificate_refused_as(&flipped(key_at), "one for another key");

    // What the platform issued is no platform: the leaf of a document.
    let boot = boot(&platform);
    let mut module = anchorhold_nsm::SecurityModule::new(
        Platform::from_pem(&platform.to_pem().unwrap()).unwrap(),
        boot,
    )
    .unwrap();
    let leaf = document_at(&mut module, start()).certificate;
    certificate_refused_as(&with(&leaf), "one that another issued");
}

#[test]
fn a_key_of_another_shape_is_refused_without_saying_what_it_holds() {
    let (_, certificate) = halves(&platform().to_pem().unwrap());
    let secret = "QUJDREVGR0hJSktMTU5PUA==";
    let text = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
    let error = refusal(&format!("{text}{certificate}"));
    assert_eq!(error.rule(), "platform.key");
    assert!(!error.to_string().contains(secret) && !format!("{error:?}").contains(secret));
    let other = SigningKey::generate_from_rng(&mut rng())
        .to_pkcs8_pem(LineEnding::LF)
        .unwrap();
    certificate_refused_as(&format!("{}{certificate}", *other), "one for another key");
}

#[test]
fn every_truncation_is_refused() {
    let text = platform().to_pem().unwrap();
    for length in 0..text.len() - 1 {
        assert!(Platform::from_pem(&text[..length]).is_err(), "{length}");
    }
}

fn pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).unwrap()
}
