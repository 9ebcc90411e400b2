//! Signatures made in several ways, right and wrong; AWS's crate signs some and checks others.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anchorhold_eif::{Eif, EifWriter, Measurement, SignatureSection};
use anchorhold_eif_signature::{SignatureError, certificate, payload, verify};
use aws_nitro_enclaves_image_format::defs::{EifBuildInfo, EifIdentityInfo};
use aws_nitro_enclaves_image_format::utils::eif_reader::EifReader;
use aws_nitro_enclaves_image_format::utils::{EifBuilder, SignEnclaveInfo};
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use p384::ecdsa::signature::Signer as _;
use p384::pkcs8::DecodePrivateKey;
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, SignatureAlgorithm};
use sha2_0_9::{Digest, Sha384};

const NOT_BEFORE: u64 = 1_600_000_000;
const NOT_AFTER: u64 = 4_000_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn now() -> SystemTime {
    at(1_800_000_000)
}

struct Identity {
    key: KeyPair,
    certificate: String,
}

impl Identity {
    fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).expect("generated");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "a signer");
        params.distinguished_name.push(DnType::CountryName, "NL");
        params.not_before = at(NOT_BEFORE).into();
        params.not_after = at(NOT_AFTER).into();
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { key, certificate }
    }

    fn p384() -> Self {
        Self::new(&rcgen::PKCS_ECDSA_P384_SHA384)
    }

    fn sign(&self, payload: Vec<u8>) -> coset::CoseSign1 {
        self.sign_as(payload, iana::Algorithm::ES384)
    }

    fn sign_as(&self, payload: Vec<u8>, algorithm: iana::Algorithm) -> coset::CoseSign1 {
        let key = p384::ecdsa::SigningKey::from_pkcs8_der(&self.key.serialize_der())
            .expect("a P-384 key");
        CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(algorithm).build())
            .payload(payload)
            .create_signature(b"", |message| {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            })
            .build()
    }
}

fn writer() -> EifWriter<'static> {
    let mut writer = EifWriter::new(b"a kernel", "quiet");
    writer.ramdisk(b"boot").ramdisk(b"application");
    writer
}

fn pcr0() -> Measurement {
    writer().measure().pcr0
}

fn image(certificate_pem: &str, cose: &[u8]) -> Vec<u8> {
    let section = SignatureSection::new(certificate_pem.as_bytes(), cose).expect("one block");
    writer().signature(section).to_bytes().expect("valid")
}

fn refused(certificate_pem: &str, cose: &[u8], at: SystemTime) -> SignatureError {
    let bytes = image(certificate_pem, cose);
    verify(&Eif::parse(&bytes).expect("well formed"), at).expect_err("refused")
}

#[test]
fn certificates_out_of_their_time_are_refused() {
    let signer = Identity::p384();
    let cose = signer.sign(payload(&pcr0())).to_vec().expect("encoded");
    for seconds in [0, NOT_BEFORE - 1, NOT_AFTER + 1] {
        let error = refused(&signer.certificate, &cose, at(seconds));
        assert_eq!(error.rule(), "signature.validity");
        assert!(
            error.to_string().contains("2096-10-02T07:06:40Z"),
            "{error}"
        );
    }
    let bytes = image(&signer.certificate, &cose);
    let image = Eif::parse(&bytes).expect("well formed");
    for seconds in [NOT_BEFORE, NOT_AFTER] {
        assert!(verify(&image, at(seconds)).is_ok());
    }
    let before_the_epoch = UNIX_EPOCH - Duration::from_secs(1);
    assert!(verify(&image, before_the_epoch).is_err());
}

#[test]
fn signatures_over_something_else_are_refused() {
    let signer = Identity::p384();
    let rule = |payload: Vec<u8>| {
        let cose = signer.sign(payload).to_vec().expect("encoded");
        refused(&signer.certificate, &cose, now()).rule()
    };
    let mut other_register = payload(&pcr0());
    other_register[16] = 1;
    assert_eq!(rule(other_register), "signature.register");
    assert_eq!(rule(payload(&Measurement([0; 48]))), "signature.pcr0");
    assert_eq!(rule(Vec::new()), "signature.form");
    // register_value as a byte string, which AWS's reader does not take either.
    let mut byte_string = b"\xa2\x6eregister_index\x00\x6eregister_value\x58\x30".to_vec();
    byte_string.extend(pcr0().0);
    assert_eq!(rule(byte_string), "signature.form");
}

#[test]
fn signatures_of_another_key_are_refused() {
    let (signer, other) = (Identity::p384(), Identity::p384());
    let signed = signer.sign(payload(&pcr0()));
    let cose = signed.clone().to_vec().expect("encoded");
    assert_eq!(
        refused(&other.certificate, &cose, now()).rule(),
        "signature.forged"
    );

    for change in [
        |signature: &mut Vec<u8>| signature[0] ^= 1,
        |signature: &mut Vec<u8>| signature.fill(0),
        |signature: &mut Vec<u8>| signature.truncate(95),
        |signature: &mut Vec<u8>| signature.push(0),
        |signature: &mut Vec<u8>| signature.clear(),
    ] {
        let mut changed = signed.clone();
        change(&mut changed.signature);
        let cose = changed.to_vec().expect("encoded");
        assert_eq!(
            refused(&signer.certificate, &cose, now()).rule(),
            "signature.forged"
        );
    }
}

#[test]
fn other_algorithms_and_keys_are_refused() {
    let signer = Identity::p384();
    for algorithm in [iana::Algorithm::ES256K, iana::Algorithm::HMAC_256_256] {
        let cose = signer
            .sign_as(payload(&pcr0()), algorithm)
            .to_vec()
            .expect("encoded");
        assert_eq!(
            refused(&signer.certificate, &cose, now()).rule(),
            "signature.algorithm"
        );
    }
    let cose = signer
        .sign_as(payload(&pcr0()), iana::Algorithm::ES256)
        .to_vec()
        .expect("encoded");
    assert_eq!(
        refused(&signer.certificate, &cose, now()).rule(),
        "signature.key"
    );

    let mut unnamed = signer.sign(payload(&pcr0()));
    unnamed.protected = coset::ProtectedHeader::default();
    let cose = unnamed.to_vec().expect("encoded");
    assert_eq!(
        refused(&signer.certificate, &cose, now()).rule(),
        "signature.algorithm"
    );

    let ed25519 = Identity::new(&rcgen::PKCS_ED25519);
    let cose = signer.sign(payload(&pcr0())).to_vec().expect("encoded");
    assert_eq!(
        refused(&ed25519.certificate, &cose, now()).rule(),
        "signature.key"
    );
}

#[test]
fn other_forms_are_refused() {
    let signer = Identity::p384();
    let signed = signer.sign(payload(&pcr0()));
    let rule = |cose: &[u8]| refused(&signer.certificate, cose, now()).rule();
    let cose = signed.clone().to_vec().expect("encoded");
    assert_eq!(rule(&cose[..cose.len() - 1]), "signature.form");
    assert_eq!(rule(&[&cose[..], b"\0"].concat()), "signature.form");
    assert_eq!(
        rule(&signed.clone().to_tagged_vec().expect("encoded")),
        "signature.form"
    );
    let mut detached = signed;
    detached.payload = None;
    assert_eq!(rule(&detached.to_vec().expect("encoded")), "signature.form");

    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    assert_eq!(
        refused(not_a_certificate, &cose, now()).rule(),
        "signature.form"
    );
}

#[test]
fn an_unsigned_image_has_no_signer() {
    let bytes = writer().to_bytes().expect("valid");
    let image = Eif::parse(&bytes).expect("valid");
    assert_eq!(verify(&image, now()).expect("unsigned"), None);
    assert_eq!(certificate(&image).expect("unsigned"), None);
}

#[test]
fn aws_checks_our_signature() {
    let signer = Identity::p384();
    let cose = signer.sign(payload(&pcr0())).to_vec().expect("encoded");
    let bytes = image(&signer.certificate, &cose);
    let ours = Eif::parse(&bytes).expect("valid");
    let who = verify(&ours, now()).expect("holds").expect("signed");
    assert_eq!(Some(who.pcr8()), ours.measure().pcr8);

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("signed.eif");
    fs::write(&path, &bytes).expect("written");
    let mut aws = EifReader::from_eif(path.display().to_string()).expect("AWS's crate reads it");
    assert!(aws.check_crc());
    let pcrs = [("PCR0".to_owned(), pcr0().to_string())].into();
    let theirs = aws
        .get_certificate_info(pcrs)
        .expect("AWS's crate checks it");
    assert_eq!(aws.sign_check, Some(true));
    let pcr8 = aws
        .cert_hasher
        .tpm_extend_finalize_reset()
        .expect("a value");
    assert_eq!(pcr8, who.pcr8().0);

    // The certificate is described in the same words.
    let certificate = who.certificate();
    assert_eq!(certificate.issuer_name, theirs.issuer_name);
    assert_eq!(certificate.algorithm, theirs.algorithm);
    assert_eq!(certificate.not_before, theirs.not_before);
    assert_eq!(certificate.not_after, theirs.not_after);
    assert_eq!(certificate.signature, theirs.signature);
}

#[test]
fn we_check_aws_signatures_on_every_curve() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let (kernel, boot, app) = (file("kernel", b"k"), file("boot", b"b"), file("app", b"a"));
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
    ] {
        let signer = Identity::new(algorithm);
        let sign = SignEnclaveInfo {
            signing_certificate: signer.certificate.clone().into_bytes(),
            private_key: signer.key.serialize_pem().into_bytes(),
        };
        let mut builder = EifBuilder::new(
            &kernel,
            "quiet".into(),
            Some(sign),
            Sha384::new(),
            0,
            identity(),
        );
        builder.add_ramdisk(&boot);
        builder.add_ramdisk(&app);
        let path = directory.path().join("aws.eif");
        let pcrs = builder.write_to(&mut File::create(&path).expect("created"));

        let bytes = fs::read(&path).expect("read");
        let image = Eif::parse(&bytes).expect("we read AWS's image");
        let who = verify(&image, now()).expect("holds").expect("signed");
        assert_eq!(who.pcr8().to_string(), pcrs["PCR8"]);
        assert_eq!(image.measure().pcr0.to_string(), pcrs["PCR0"]);
        assert_eq!(who.certificate().issuer_name["commonName"], "a signer");
    }
}

fn identity() -> EifIdentityInfo {
    EifIdentityInfo {
        img_name: "sample".into(),
        img_version: "1.0".into(),
        build_info: EifBuildInfo {
            build_time: "2026-01-01T00:00:00+00:00".into(),
            build_tool: "nitro-cli".into(),
            build_tool_version: "1.3.0".into(),
            img_os: "Linux".into(),
            img_kernel: "6.12".into(),
        },
        docker_info: serde_json::json!({}),
        custom_info: serde_json::json!({}),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_values_never_panic(
        der in prop::collection::vec(any::<u8>(), 0..200),
        cose in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", der));
        if let Ok(section) = SignatureSection::new(certificate.as_bytes(), &cose) {
            let bytes = writer().signature(section).to_bytes().expect("valid");
            prop_assert!(verify(&Eif::parse(&bytes).expect("valid"), now()).is_err());
        }
    }
}
