//! Describing images, signed ones included.

mod common;

use std::fs;
use std::time::{Duration, SystemTime};

use anchorhold_eif::{EifWriter, SignatureSection};
use anchorhold_eif_signature::payload;
use common::{Bench, stderr};
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, iana};
use p384::ecdsa::signature::Signer as _;
use p384::pkcs8::DecodePrivateKey;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn writer() -> EifWriter<'static> {
    let mut writer = EifWriter::new(b"a kernel", "quiet");
    writer.ramdisk(b"boot").ramdisk(b"application");
    writer
}

/// An image signed by a certificate that is valid from a day before `from` to a day after.
fn signed(from: SystemTime) -> Vec<u8> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("generated");
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "a signer");
    params.not_before = (from - DAY).into();
    params.not_after = (from + DAY).into();
    let certificate = params.self_signed(&key).expect("signed").pem();
    let secret =
        p384::ecdsa::SigningKey::from_pkcs8_der(&key.serialize_der()).expect("a P-384 key");
    let header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::ES384)
        .build();
    let cose = CoseSign1Builder::new()
        .protected(header)
        .payload(payload(&writer().measure().pcr0))
        .create_signature(b"", |message| {
            let signature: p384::ecdsa::Signature = secret.sign(message);
            signature.to_bytes().to_vec()
        })
        .build();
    let cose = cose.to_vec().expect("encoded");
    let section = SignatureSection::new(certificate.as_bytes(), &cose).expect("well formed");
    writer().signature(section).to_bytes().expect("valid")
}

fn describe(bench: &Bench, image: &[u8]) -> (Value, String) {
    fs::write(bench.path("image.eif"), image).expect("written");
    let output = bench.run(["describe", "--eif-path", "image.eif"]);
    assert!(output.status.success(), "{}", stderr(&output));
    (
        serde_json::from_slice(&output.stdout).expect("JSON"),
        stderr(&output),
    )
}

#[test]
fn what_is_not_a_file_is_refused_and_never_waited_for() {
    let bench = Bench::new();
    let made = std::process::Command::new("mkfifo")
        .arg(bench.path("pipe"))
        .status();
    assert!(made.expect("mkfifo").success());
    for path in ["/dev/zero", "pipe", "."] {
        let said = bench.refuse(["describe", "--eif-path", path], "file.read");
        assert!(said.contains("not a file"), "{said}");
    }
}

#[test]
fn files_that_are_no_images_are_refused() {
    let bench = Bench::new();
    let image = writer().to_bytes().expect("valid");
    let mut damaged = image.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let cases: [(&[u8], &str); 4] = [
        (b"", "eif.truncated"),
        (&[0x7f; 600], "eif.magic"),
        (&image[..last], "eif.truncated"),
        (&damaged, "eif.crc"),
    ];
    for (bytes, rule) in cases {
        fs::write(bench.path("image.eif"), bytes).expect("written");
        bench.refuse(["describe", "--eif-path", "image.eif"], rule);
    }
    common::sparse(&bench.path("image.eif"), 1 << 31);
    bench.refuse(["describe", "--eif-path", "image.eif"], "eif.too-large");
    bench.refuse(["describe", "--eif-path", "missing.eif"], "file.read");
    bench.refuse(["describe", "--eif-path", "."], "file.read");
}

#[test]
fn a_signature_that_holds_is_described() {
    let bench = Bench::new();
    let (description, warnings) = describe(&bench, &signed(SystemTime::now()));
    assert_eq!(description["IsSigned"], true);
    assert_eq!(description["SignatureCheck"], true);
    let certificate = &description["SigningCertificate"];
    assert_eq!(certificate["IssuerName"]["commonName"], "a signer");
    assert_eq!(certificate["Algorithm"], "ecdsa-with-SHA384");
    for field in ["NotBefore", "NotAfter"] {
        assert!(
            certificate[field]
                .as_str()
                .is_some_and(|time| time.ends_with(" GMT"))
        );
    }
    assert!(
        certificate["Signature"]
            .as_str()
            .is_some_and(|hex| hex.starts_with("30:"))
    );
    assert_eq!(
        description["Measurements"]["PCR8"].as_str().map(str::len),
        Some(96)
    );
    assert_eq!(warnings, "");
}

#[test]
fn a_signature_that_does_not_hold_is_described_with_the_reason() {
    let bench = Bench::new();
    let (description, warnings) = describe(&bench, &signed(SystemTime::UNIX_EPOCH + 3 * DAY));
    assert_eq!(description["SignatureCheck"], false);
    assert_eq!(description["CheckCRC"], true);
    assert!(
        warnings.starts_with("warning[signature.validity]: "),
        "{warnings}"
    );
    assert!(
        warnings.contains("is valid from 1970-01-03T00:00:00Z"),
        "{warnings}"
    );
}

#[test]
fn an_unsigned_image_is_described_as_nitro_cli_does() {
    let bench = Bench::new();
    let (description, warnings) = describe(&bench, &writer().to_bytes().expect("valid"));
    let fields: Vec<_> = description.as_object().expect("an object").keys().collect();
    let expected = [
        "CheckCRC",
        "EifVersion",
        "ImageName",
        "ImageVersion",
        "IsSigned",
        "Measurements",
        "Metadata",
    ];
    assert_eq!(fields, expected);
    assert_eq!(description["EifVersion"], 4);
    assert_eq!(description["IsSigned"], false);
    assert_eq!(
        description["Metadata"]["BuildMetadata"]["BuildTime"],
        "1970-01-01T00:00:00+00:00"
    );
    assert_eq!(warnings, "");
}
