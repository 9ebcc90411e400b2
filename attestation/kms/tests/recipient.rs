//! The envelope for a recipient, opened by `openssl cms -decrypt` and taken apart byte by byte.

mod common;

use std::process::{Command, Stdio};

use anchorhold_kms_core::recipient::{
    EnvelopeError, MAX_RECIPIENT_PLAINTEXT, RecipientKey, envelope,
};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use common::{recipient_spki, rng};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// An RSA key in a directory of its own, with a certificate that names it: openssl looks a
/// recipient up by certificate.
struct Recipient {
    folder: tempfile::TempDir,
    spki: Vec<u8>,
}

impl Recipient {
    fn new() -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("an RSA key");
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("its public key");
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().expect("its private key");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key.der"), pkcs8.as_ref()).expect("a file");
        Self {
            spki: spki.as_ref().to_vec(),
            folder,
        }
    }

    fn open(&self, cms: &[u8]) -> Vec<u8> {
        let path = |name: &str| self.folder.path().join(name);
        std::fs::write(path("cms.der"), cms).expect("a file");
        let output = Command::new("openssl")
            .args([
                "cms", "-decrypt", "-binary", "-inform", "DER", "-keyform", "DER", "-in",
            ])
            .arg(path("cms.der"))
            .arg("-inkey")
            .arg(path("key.der"))
            .stdin(Stdio::null())
            .output()
            .expect("openssl is missing: run `cargo xtask setup`");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }
}

#[test]
fn openssl_opens_it() {
    let recipient = Recipient::new();
    let key = RecipientKey::from_spki(&recipient.spki).expect("a key");
    for length in (1..=64).chain([0, 1024, MAX_RECIPIENT_PLAINTEXT]) {
        let plaintext: Vec<u8> = (0..length).map(|n| (n * 7 + 3) as u8).collect();
        let cms = envelope(&key, &plaintext, &mut rng()).expect("an envelope");
        assert_eq!(recipient.open(&cms), plaintext, "{length} bytes");
    }
}

/// Takes a fixed piece off the front.
fn expect<'a>(bytes: &'a [u8], piece: &str) -> &'a [u8] {
    let piece = hex::decode(piece.replace(' ', "")).expect("hex");
    bytes.strip_prefix(piece.as_slice()).unwrap_or_else(|| {
        panic!(
            "expected {}, got {}",
            hex::encode(&piece),
            hex::encode(&bytes[..piece.len().min(bytes.len())])
        )
    })
}

/// The shape that AWS's SDK for Nitro Enclaves reads, of its own two vectors, for RSA-2048.
#[test]
fn it_has_the_shape_that_aws_reads() {
    let key = RecipientKey::from_spki(recipient_spki()).expect("a key");
    for (length, header, padded) in [
        (32, "04 30", 48),
        (16, "04 20", 32),
        (1024, "04 82 0410", 1040),
    ] {
        let cms = envelope(&key, &vec![9; length], &mut rng()).expect("an envelope");
        // ContentInfo, EnvelopedData: indefinite.
        let rest = expect(&cms, "30 80 06 09 2a864886f70d010703 a0 80 30 80 02 01 02");
        // One KeyTransRecipientInfo, version 2, by subject key identifier.
        let rest = expect(rest, "31 82 016b 30 82 0167 02 01 02 80 20");
        let (identifier, rest) = rest.split_at(32);
        assert_eq!(identifier, Sha256::digest(recipient_spki()).as_slice());
        let rest = expect(
            rest,
            "30 3c 06 09 2a864886f70d010107 30 2f \
             a0 0f 30 0d 06 09 608648016503040201 05 00 \
             a1 1c 30 1a 06 09 2a864886f70d010108 30 0d 06 09 608648016503040201 05 00",
        );
        let rest = expect(rest, "04 82 0100");
        let (_wrapped, rest) = rest.split_at(256);
        // EncryptedContentInfo: indefinite, AES-256-CBC.
        let rest = expect(
            rest,
            "30 80 06 09 2a864886f70d010701 30 1d 06 09 60864801650304012a 04 10",
        );
        let (_iv, rest) = rest.split_at(16);
        let rest = expect(rest, "a0 80");
        let rest = expect(rest, header);
        let (_content, rest) = rest.split_at(padded);
        assert_eq!(
            hex::encode(rest),
            "0000".repeat(5),
            "end-of-contents of five levels"
        );
    }
}

#[test]
fn no_two_envelopes_are_alike() {
    let key = RecipientKey::from_spki(recipient_spki()).expect("a key");
    let make = || envelope(&key, &[9; 32], &mut rng()).expect("an envelope");
    let (one, other) = (make(), make());
    let tail = |cms: &[u8]| cms[cms.len() - 58..cms.len() - 10].to_vec();
    assert_ne!(tail(&one), tail(&other), "the content");
    assert_ne!(one[..400], other[..400], "the wrapped key");
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    let refused = |spki: &[u8]| RecipientKey::from_spki(spki).err().expect("an error");
    let good = recipient_spki();
    assert_eq!(refused(&[]), EnvelopeError::PublicKey);
    assert_eq!(refused(&good[..good.len() - 1]), EnvelopeError::PublicKey);
    assert_eq!(refused(&[good, b"\0"].concat()), EnvelopeError::PublicKey);
    assert_eq!(refused(&vec![0x30; 700]), EnvelopeError::PublicKey);
    // The bare RSAPublicKey, without its algorithm.
    assert_eq!(refused(&good[24..]), EnvelopeError::PublicKey);
    // An elliptic curve's.
    let p384 = aws_lc_rs::signature::EcdsaKeyPair::generate(
        &aws_lc_rs::signature::ECDSA_P384_SHA384_ASN1_SIGNING,
    )
    .expect("a key");
    let spki: PublicKeyX509Der<'_> = aws_lc_rs::signature::KeyPair::public_key(&p384)
        .as_der()
        .expect("DER");
    assert_eq!(refused(spki.as_ref()), EnvelopeError::PublicKey);
    for bits in [1024, 2040, 4104] {
        let refused = refused(&spki_of_bits(bits));
        assert!(
            matches!(
                refused,
                EnvelopeError::KeySize { .. } | EnvelopeError::PublicKey
            ),
            "{bits}"
        );
    }
    for bits in [2048, 3072, 4096] {
        let key = RecipientKey::from_spki(&spki_of_bits(bits)).expect("a key");
        assert_eq!(key.bits(), bits);
        let cms = envelope(&key, &[1; 32], &mut rng()).expect("an envelope");
        assert!(cms.len() > bits / 8);
    }
}

/// The SubjectPublicKeyInfo of a modulus of this many bits, all ones: nobody knows its factors,
/// and encrypting asks for none.
fn spki_of_bits(bits: usize) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len())
            .expect("a short element")
            .to_be_bytes();
        [&[tag, 0x82], length.as_slice(), content].concat()
    };
    let modulus = [&[0], vec![0xff; bits / 8].as_slice()].concat();
    let key = element(
        0x30,
        &[element(2, &modulus).as_slice(), &[2, 3, 1, 0, 1]].concat(),
    );
    let algorithm = hex::decode("300d06092a864886f70d0101010500").expect("hex");
    let bit_string = element(3, &[&[0], key.as_slice()].concat());
    element(0x30, &[algorithm, bit_string].concat())
}

#[test]
fn more_than_any_operation_gives_is_refused() {
    let key = RecipientKey::from_spki(recipient_spki()).expect("a key");
    let refused = envelope(&key, &[0; MAX_RECIPIENT_PLAINTEXT + 1], &mut rng()).unwrap_err();
    assert_eq!(
        refused,
        EnvelopeError::PlaintextLength {
            got: MAX_RECIPIENT_PLAINTEXT + 1
        }
    );
}

proptest! {
    #[test]
    fn any_bytes_are_a_key_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = RecipientKey::from_spki(&bytes);
    }

    #[test]
    fn a_key_with_a_wound_is_a_key_or_refused(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut spki = recipient_spki().to_vec();
        let at = at.index(spki.len());
        spki[at] = with;
        if let Ok(key) = RecipientKey::from_spki(&spki) {
            let _ = envelope(&key, &[1; 32], &mut rng());
        }
    }
}
