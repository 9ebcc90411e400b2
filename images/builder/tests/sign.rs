//! Signing images from the command line.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use anchorhold_eif::{Eif, EifWriter};
use anchorhold_eif_signature::verify;
use common::Bench;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(24 * 3600);
const SIGN: [&str; 7] = [
    "sign",
    "--eif-path",
    "image.eif",
    "--signing-certificate",
    "cert.pem",
    "--private-key",
    "key.pem",
];
const PACK: [&str; 11] = [
    "pack",
    "--init",
    "init",
    "--binary",
    "app",
    "--output-file",
    "out.eif",
    "--signing-certificate",
    "cert.pem",
    "--private-key",
    "key.pem",
];

fn writer() -> EifWriter<'static> {
    let mut writer = EifWriter::new(b"a kernel", "quiet");
    writer.ramdisk(b"boot").ramdisk(b"application");
    writer
}

/// Writes `key.pem` and `cert.pem`, valid for a day before and after this time.
fn identity(bench: &Bench, at: SystemTime) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("generated");
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "a signer");
    params.not_before = (at - DAY).into();
    params.not_after = (at + DAY).into();
    let certificate = params.self_signed(&key).expect("signed").pem();
    fs::write(bench.path("cert.pem"), certificate).expect("written");
    fs::write(bench.path("key.pem"), key.serialize_pem()).expect("written");
}

/// A bench with `image.eif`, unsigned, and a valid identity.
fn bench() -> Bench {
    let bench = Bench::with_kernel();
    fs::write(bench.path("image.eif"), writer().to_bytes().expect("valid")).expect("written");
    identity(&bench, SystemTime::now());
    bench
}

fn read(bench: &Bench, name: &str) -> Vec<u8> {
    fs::read(bench.path(name)).expect(name)
}

fn pcr8(printed: &str) -> String {
    let printed: Value = serde_json::from_str(printed).expect("JSON");
    let pcr8 = printed["Measurements"]["PCR8"].as_str();
    pcr8.expect("PCR8").to_owned()
}

#[test]
fn what_cannot_sign_is_refused_and_the_image_stays() {
    let bench = bench();
    let before = (read(&bench, "image.eif"), bench.names("."));
    let with = |name: &'static str, instead: &'static str| {
        SIGN.map(|word| if word == name { instead } else { word })
    };
    bench.refuse(with("cert.pem", "missing"), "file.read");
    bench.refuse(with("key.pem", "missing"), "file.read");
    let said = bench.refuse(with("key.pem", "/dev/zero"), "file.read");
    assert!(said.contains("65536"), "{said}");
    bench.refuse(with("key.pem", "cert.pem"), "sign.key-form");
    bench.refuse(with("cert.pem", "key.pem"), "eif.signature-certificate");
    let arn = "arn:aws:kms:eu-central-1:1:key/2";
    let said = bench.refuse(with("key.pem", arn), "sign.key-elsewhere");
    assert!(said.contains(arn), "{said}");
    bench.refuse(with("image.eif", "missing.eif"), "file.read");
    bench.refuse(with("image.eif", "cert.pem"), "eif.magic");
    assert_eq!((read(&bench, "image.eif"), bench.names(".")), before);
}

#[test]
fn an_expired_certificate_and_another_ones_key_are_refused() {
    let bench = bench();
    let before = read(&bench, "image.eif");
    let key = read(&bench, "key.pem");
    identity(&bench, SystemTime::now() - 3 * DAY);
    bench.refuse(SIGN, "signature.validity");
    identity(&bench, SystemTime::now() + 3 * DAY);
    bench.refuse(SIGN, "signature.validity");
    identity(&bench, SystemTime::now());
    fs::write(bench.path("key.pem"), key).expect("written");
    bench.refuse(SIGN, "sign.key-mismatch");
    bench.refuse(PACK, "sign.key-mismatch");
    assert!(!bench.path("out.eif").exists());
    assert_eq!(read(&bench, "image.eif"), before);
}

#[test]
fn certificate_and_key_go_together() {
    let bench = bench();
    for (words, missing) in [
        (&PACK[..9], "--private-key"),
        (&[&PACK[..7], &PACK[9..]].concat(), "--signing-certificate"),
        (&SIGN[..5], "--private-key"),
        (&[&SIGN[..3], &SIGN[5..]].concat(), "--signing-certificate"),
    ] {
        let output = bench.run(words.iter().copied());
        assert_eq!(output.status.code(), Some(2));
        let said = common::stderr(&output);
        assert!(said.contains(missing), "{said}");
    }
}

#[test]
fn an_image_is_signed_in_place_and_again_only_when_asked_for() {
    let bench = bench();
    let unsigned = read(&bench, "image.eif");
    let mode = Permissions::from_mode(0o600);
    fs::set_permissions(bench.path("image.eif"), mode).expect("set");
    let first = pcr8(&bench.succeed(SIGN));
    let file = read(&bench, "image.eif");
    let image = Eif::parse(&file).expect("valid");
    let who = verify(&image, SystemTime::now()).expect("holds");
    assert_eq!(who.expect("signed").pcr8().to_string(), first);
    let mode = fs::metadata(bench.path("image.eif")).expect("there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let described = bench.succeed(["describe", "--eif-path", "image.eif"]);
    assert_eq!(pcr8(&described), first);
    assert!(
        described.contains("\"SignatureCheck\": true"),
        "{described}"
    );

    identity(&bench, SystemTime::now());
    bench.refuse(SIGN, "sign.already-signed");
    assert_eq!(read(&bench, "image.eif"), file);
    let second = pcr8(&bench.succeed(SIGN.into_iter().chain(["--replace"])));
    assert_ne!(first, second);
    let file = read(&bench, "image.eif");
    let (unsigned, again) = (Eif::parse(&unsigned), Eif::parse(&file));
    let (unsigned, again) = (unsigned.expect("valid"), again.expect("valid"));
    assert_eq!(unsigned.measure().pcr0, again.measure().pcr0);
}

#[test]
fn with_an_output_file_the_image_stays_as_it_was() {
    let bench = bench();
    let before = read(&bench, "image.eif");
    bench.succeed(SIGN.into_iter().chain(["--output-file", "signed.eif"]));
    assert_eq!(read(&bench, "image.eif"), before);
    let signed = read(&bench, "signed.eif");
    bench.succeed(SIGN.into_iter().chain(["--output-file", "again.eif"]));
    assert_eq!(read(&bench, "again.eif"), signed, "reproducible");
}

#[test]
fn packing_with_an_identity_is_packing_and_signing() {
    let bench = bench();
    let printed = bench.succeed(PACK);
    let at_once = read(&bench, "out.eif");
    let unsigned = bench.succeed(PACK[..7].iter().copied());
    assert!(!unsigned.contains("PCR8"), "{unsigned}");
    let sign = SIGN.map(|word| if word == "image.eif" { "out.eif" } else { word });
    assert_eq!(bench.succeed(sign), printed);
    assert_eq!(read(&bench, "out.eif"), at_once);
    pcr8(&printed);
}
