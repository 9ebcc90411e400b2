//! Signing: what is refused, then what AWS's crate and this one make of the result.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anchorhold_eif::{Eif, EifWriter, HEADER_SIZE};
use anchorhold_eif_signature::{Existing, SignError, SigningIdentity, sign, verify};
use aws_nitro_enclaves_image_format::utils::eif_reader::EifReader;
use proptest::prelude::*;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// OpenSSL's names of the curves, with the COSE header of each one's algorithm.
const CURVES: [(&str, &[u8]); 3] = [
    ("prime256v1", b"\x84\x43\xa1\x01\x26\xa0"),
    ("secp384r1", b"\x84\x44\xa1\x01\x38\x22\xa0"),
    ("secp521r1", b"\x84\x44\xa1\x01\x38\x23\xa0"),
];

/// A directory in which OpenSSL makes keys and certificates.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect(name)
    }

    fn openssl(&self, line: &str) {
        let mut command = Command::new("openssl");
        command.current_dir(self.0.path()).args(line.split(' '));
        let output = command.output();
        let output = output.expect("openssl is missing: run `cargo xtask setup`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {line}: {said}");
    }

    /// Makes `key.pem` as `ecparam` does, with a block of parameters before it, and `cert.pem`,
    /// valid from now on for 30 days.
    fn make(&self, curve: &str) -> (Vec<u8>, Vec<u8>) {
        self.openssl(&format!("ecparam -name {curve} -genkey -out key.pem"));
        self.certify("key.pem");
        (self.read("cert.pem"), self.read("key.pem"))
    }

    fn certify(&self, key: &str) {
        self.openssl(&format!(
            "req -new -x509 -sha384 -days 30 -subj /C=NL/CN=signer -key {key} -out cert.pem"
        ));
    }
}

fn writer() -> EifWriter<'static> {
    let mut writer = EifWriter::new(b"a kernel", "quiet");
    writer.ramdisk(b"boot").ramdisk(b"application");
    writer
}

fn image() -> Vec<u8> {
    writer().to_bytes().expect("valid")
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn refused(certificate: &[u8], key: &[u8], at: SystemTime) -> SignError {
    match SigningIdentity::from_pem(certificate, key, at) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

/// The image's file, signed.
fn signed(certificate: &[u8], key: &[u8]) -> Vec<u8> {
    let identity = SigningIdentity::from_pem(certificate, key, now());
    let identity = identity.unwrap_or_else(|error| panic!("{error}"));
    let file = image();
    let image = Eif::parse(&file).expect("valid");
    let section = sign(&image, &identity, Existing::Refuse).expect("signed");
    image.with_signature(&section).expect("valid")
}

#[test]
fn certificates_out_of_their_time_do_not_sign() {
    let workshop = Workshop::new();
    let (certificate, key) = workshop.make("secp384r1");
    for at in [UNIX_EPOCH, now() - DAY, now() + 31 * DAY] {
        let error = refused(&certificate, &key, at);
        assert_eq!(error.rule(), "signature.validity");
        assert!(error.to_string().contains("is valid from"), "{error}");
    }
}

#[test]
fn keys_of_other_certificates_do_not_sign() {
    let workshop = Workshop::new();
    let (certificate, _) = workshop.make("secp384r1");
    for (curve, named) in [
        ("secp384r1", "P-384"),
        ("prime256v1", "P-256"),
        ("secp521r1", "P-521"),
    ] {
        let (_, other) = workshop.make(curve);
        let error = refused(&certificate, &other, now());
        assert_eq!(error.rule(), "sign.key-mismatch");
        assert!(
            error.to_string().contains(&format!("on {named},")),
            "{error}"
        );
    }
}

#[test]
fn encrypted_keys_are_refused_by_name() {
    let workshop = Workshop::new();
    let (certificate, _) = workshop.make("prime256v1");
    workshop.openssl("pkcs8 -topk8 -in key.pem -passout pass:secret -out pkcs8.pem");
    workshop.openssl("ec -aes256 -in key.pem -passout pass:secret -out sec1.pem");
    for name in ["pkcs8.pem", "sec1.pem"] {
        let error = refused(&certificate, &workshop.read(name), now());
        assert_eq!(error.rule(), "sign.key-encrypted", "{name}");
        assert!(error.to_string().contains("openssl pkey"), "{error}");
    }
}

#[test]
fn keys_of_other_types_are_refused() {
    let workshop = Workshop::new();
    let (certificate, _) = workshop.make("prime256v1");
    for (line, rule) in [
        ("genpkey -algorithm RSA -out other.pem", "sign.key-type"),
        ("genpkey -algorithm ED25519 -out other.pem", "sign.key-type"),
        ("genrsa -traditional -out other.pem", "sign.key-type"),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out other.pem",
            "sign.key-type",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt \
             ec_param_enc:explicit -out other.pem",
            "sign.key-form",
        ),
        (
            "ecparam -name secp256k1 -genkey -noout -out other.pem",
            "sign.key-form",
        ),
    ] {
        workshop.openssl(line);
        let error = refused(&certificate, &workshop.read("other.pem"), now());
        assert_eq!(error.rule(), rule, "{line}: {error}");
    }
}

#[test]
fn certificates_with_keys_of_other_types_are_refused() {
    let workshop = Workshop::new();
    let (_, key) = workshop.make("prime256v1");
    workshop.openssl("genpkey -algorithm RSA -out rsa.pem");
    workshop.openssl("ecparam -name secp256k1 -genkey -out k1.pem");
    for other in ["rsa.pem", "k1.pem"] {
        workshop.certify(other);
        let error = refused(&workshop.read("cert.pem"), &key, now());
        assert_eq!(error.rule(), "sign.certificate-key", "{other}");
    }
}

#[test]
fn malformed_text_is_refused() {
    let workshop = Workshop::new();
    let (certificate, key) = workshop.make("prime256v1");
    let text = String::from_utf8(key.clone()).expect("text");
    let begin = text.find("-----BEGIN EC PRIVATE").expect("the key's block");
    let block = &text[begin..];
    let cut = |upto: usize| block[..upto].to_owned();
    for (bad, what) in [
        (String::new(), "nothing"),
        ("rubbish".into(), "no block"),
        (
            String::from_utf8(certificate.clone()).expect("text"),
            "a certificate",
        ),
        (cut(block.len() - 10), "a block without an end"),
        (cut(40), "a block without content"),
        (block.replacen("EC PRIVATE", "PRIVATE", 2), "another label"),
        (block.replacen('M', "!", 1), "not base64"),
        (block.replacen("\nM", "\nN", 1), "not DER"),
        (format!("{text}{block}"), "two keys"),
    ] {
        let error = refused(&certificate, bad.as_bytes(), now());
        assert_eq!(error.rule(), "sign.key-form", "{what}: {error}");
    }
    let error = refused(&certificate, b"\xff\xfe", now());
    assert_eq!(error.rule(), "sign.key-form");

    let twice = [&certificate[..], &certificate].concat();
    for bad in [&b""[..], b"rubbish", &key, &twice] {
        let error = refused(bad, &key, now());
        assert_eq!(error.rule(), "eif.signature-certificate", "{error}");
    }
    let not_der = b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(not_der, &key, now()).rule(), "signature.form");
}

#[test]
fn a_signed_image_is_signed_again_only_when_asked_for() {
    let workshop = Workshop::new();
    let (certificate, key) = workshop.make("secp384r1");
    let file = signed(&certificate, &key);
    let image = Eif::parse(&file).expect("valid");
    let (certificate, key) = workshop.make("prime256v1");
    let other = SigningIdentity::from_pem(&certificate, &key, now());
    let other = other.unwrap_or_else(|error| panic!("{error}"));
    let error = sign(&image, &other, Existing::Refuse).expect_err("refused");
    assert_eq!(error.rule(), "sign.already-signed");

    let section = sign(&image, &other, Existing::Replace).expect("signed");
    let again = image.with_signature(&section).expect("valid");
    let again = Eif::parse(&again).expect("valid");
    let who = verify(&again, now()).expect("holds").expect("signed");
    assert_ne!(Some(who.pcr8()), image.measure().pcr8);
    assert_eq!(again.measure().pcr0, image.measure().pcr0);
}

#[test]
fn a_signature_does_not_hold_for_another_image() {
    let workshop = Workshop::new();
    let (certificate, key) = workshop.make("prime256v1");
    let file = signed(&certificate, &key);
    let section = Eif::parse(&file).expect("valid").signature().cloned();
    let mut other = EifWriter::new(b"a kernel", "quiet init=/bin/sh");
    other.ramdisk(b"boot").ramdisk(b"application");
    let other = other.signature(section.expect("signed")).to_bytes();
    let other = other.expect("valid");
    let error = verify(&Eif::parse(&other).expect("valid"), now()).expect_err("refused");
    assert_eq!(error.rule(), "signature.pcr0");
}

#[test]
fn aws_accepts_what_is_signed_here_on_every_curve() {
    let workshop = Workshop::new();
    for (curve, header) in CURVES {
        let (certificate, key) = workshop.make(curve);
        let file = signed(&certificate, &key);
        let image = Eif::parse(&file).expect("valid");
        let section = image.signature().expect("signed");
        assert!(section.cose_sign1().starts_with(header), "{curve}");
        let who = verify(&image, now()).expect("holds").expect("signed");
        assert_eq!(who.certificate().issuer_name["commonName"], "signer");

        fs::write(workshop.path("signed.eif"), &file).expect("written");
        let path = workshop.path("signed.eif").display().to_string();
        let mut aws = EifReader::from_eif(path).expect("AWS's crate reads it");
        assert!(aws.check_crc());
        let pcrs = [("PCR0".to_owned(), image.measure().pcr0.to_string())].into();
        let theirs = aws
            .get_certificate_info(pcrs)
            .expect("AWS's crate checks it");
        assert_eq!(aws.sign_check, Some(true), "{curve}");
        assert_eq!(theirs.signature, who.certificate().signature);
        let pcr8 = aws.cert_hasher.tpm_extend_finalize_reset();
        assert_eq!(pcr8.expect("a value"), who.pcr8().0);
    }
}

#[test]
fn a_key_signs_the_same_in_every_form_it_is_written() {
    let workshop = Workshop::new();
    for (curve, _) in CURVES {
        let (certificate, sec1) = workshop.make(curve);
        workshop.openssl("pkcs8 -topk8 -nocrypt -in key.pem -out pkcs8.pem");
        workshop.openssl("ec -in key.pem -no_public -out bare.pem");
        let file = signed(&certificate, &sec1);
        assert_eq!(file, signed(&certificate, &sec1), "{curve}: deterministic");
        assert_eq!(file, signed(&certificate, &workshop.read("pkcs8.pem")));
        assert_eq!(file, signed(&certificate, &workshop.read("bare.pem")));
        let beside = [&certificate[..], &workshop.read("pkcs8.pem")].concat();
        assert_eq!(file, signed(&certificate, &beside));
        let lines = String::from_utf8(sec1).expect("text").replace('\n', "\r\n");
        assert_eq!(file, signed(&certificate, lines.as_bytes()));
    }
}

/// Makes the checksum right again, so that the signature is what refuses.
fn with_crc(mut file: Vec<u8>) -> Vec<u8> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file[..HEADER_SIZE - 4]);
    crc.update(&file[HEADER_SIZE..]);
    let crc = crc.finalize().to_be_bytes();
    file[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc);
    file
}

/// The certificate and the measurements of an image whose signature holds.
fn meaning(file: &[u8]) -> Option<(Vec<u8>, anchorhold_eif::Measurements)> {
    let image = Eif::parse(file).ok()?;
    let who = verify(&image, now()).ok()??;
    assert_eq!(image.measure().pcr8, Some(who.pcr8()));
    let certificate = image.signature()?.certificate_der().to_vec();
    Some((certificate, image.measure()))
}

/// Nobody vouches for the certificate, so that a byte of its names or of its own signature may
/// change and the key's signature over PCR0 still hold: but then it is another signer's PCR8.
#[test]
fn a_changed_byte_of_the_signature_section_refuses_or_means_the_same_or_another_signer() {
    let workshop = Workshop::new();
    let (certificate, key) = workshop.make("prime256v1");
    let file = signed(&certificate, &key);
    let image = Eif::parse(&file).expect("valid");
    let section = image.signature().expect("signed");
    let first = file.len() - section.to_bytes().len();
    let (honest, measured) = meaning(&file).expect("holds");
    let changes = (first..file.len(), 1..=255u8);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    let refused = std::cell::Cell::new(0);
    let done = runner.run(&changes, |(at, change)| {
        let mut changed = file.clone();
        changed[at] ^= change;
        match meaning(&with_crc(changed)) {
            None => refused.set(refused.get() + 1),
            Some((der, meant)) if der == honest => prop_assert_eq!(meant, measured),
            Some((_, meant)) => {
                prop_assert_eq!(meant.pcr0, measured.pcr0);
                prop_assert_ne!(meant.pcr8, measured.pcr8);
            }
        }
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{error}"));
    assert!(refused.get() > 700, "{} of 1500 refused", refused.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_keys_never_panic(
        before in ".{0,40}",
        label in "(EC )?PRIVATE KEY|ENCRYPTED PRIVATE KEY|[A-Z -]{0,20}",
        der in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let key = format!("{before}{}", pem::encode(&pem::Pem::new(label, der)));
        let mut certificate = rcgen::CertificateParams::default();
        certificate.not_before = UNIX_EPOCH.into();
        let pair = rcgen::KeyPair::generate().expect("generated");
        let certificate = certificate.self_signed(&pair).expect("signed").pem();
        let identity = SigningIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), now());
        prop_assert!(identity.is_err());
    }
}
