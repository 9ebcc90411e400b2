//! One vector suite for the primitives, run over both implementations.

mod common;

use anchorhold_envelope::crypto::{NONCE_LENGTH, POINT_LENGTH, TAG_LENGTH};
use common::PROVIDERS;
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// Test case 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega), which SP 800-38D's
/// validation uses.
#[test]
fn aes_256_gcm_gives_the_known_answer() {
    let key = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let nonce = bytes("cafebabefacedbaddecaf888");
    let aad = bytes::<20>("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let plaintext = bytes::<60>(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let ciphertext = bytes::<60>(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
         8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
    );
    let tag: [u8; TAG_LENGTH] = bytes("76fc6ece0f4e1768cddf8853bb2d551b");
    for provider in PROVIDERS {
        let aead = provider.aes_256_gcm(&key).unwrap();
        let mut text = plaintext;
        assert_eq!(
            aead.seal(&nonce, &aad, &mut text).unwrap(),
            tag,
            "{}",
            provider.name()
        );
        assert_eq!(text, ciphertext);
        aead.open(&nonce, &aad, &mut text, &tag).unwrap();
        assert_eq!(text, plaintext);
        for bit in 0..TAG_LENGTH * 8 {
            let (mut text, mut tag) = (ciphertext, tag);
            tag[bit / 8] ^= 1 << (bit % 8);
            assert!(aead.open(&nonce, &aad, &mut text, &tag).is_err());
        }
        let mut text = ciphertext;
        assert!(aead.open(&nonce, &aad[1..], &mut text, &tag).is_err());
    }
}

/// The input of RFC 5869's test case 1 with SHA-512; the output by OpenSSL 3.
#[test]
fn hkdf_sha512_gives_the_known_answer() {
    let salt = bytes::<13>("000102030405060708090a0b0c");
    let info = bytes::<10>("f0f1f2f3f4f5f6f7f8f9");
    for provider in PROVIDERS {
        let mut out = [0; 32];
        provider
            .hkdf_sha512(&[0x0b; 32], &salt, &info, &mut out)
            .unwrap();
        assert_eq!(hex::encode(out), HKDF_ANSWER, "{}", provider.name());
    }
}

const HKDF_ANSWER: &str = "a3132bb9a5fe91980ad113bf32a0fab25c3cdf55ed25341eacf455b534f37e80";

/// FIPS 180-4's example "abc", taken in two pieces.
#[test]
fn sha384_gives_the_known_answer() {
    for provider in PROVIDERS {
        let mut hash = provider.sha384();
        hash.update(b"a");
        hash.update(b"bc");
        let expected = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163\
                        1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
        assert_eq!(hex::encode(hash.finish()), expected, "{}", provider.name());
    }
}

/// RFC 6979, A.2.6: P-384 with SHA-384, message "sample", r and s in DER.
#[test]
fn ecdsa_takes_the_known_signature_and_no_other() {
    let point: [u8; POINT_LENGTH] = bytes(
        "02ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c\
         64def8f0ea9055866064a254515480bc13",
    );
    let digest = bytes(
        "9a9083505bc92276aec4be312696ef7bf3bf603f4bbd381196a029f340585312\
         313bca4a9b5b890efee42c77b1ee25fe",
    );
    let signature = hex::decode(
        "306602310094edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4\
         ea95ad133c81a648152e44acf96e36dd1e80fabe46023100\
         99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
         a329c145786e679e7b82c71a38628ac8",
    )
    .unwrap();
    for provider in PROVIDERS {
        provider
            .verify(&point, &digest, &signature)
            .unwrap_or_else(|error| panic!("{}: {error}", provider.name()));
        // Every bit of the length fields, and one of each byte.
        for bit in (0..80).chain((80..signature.len() * 8).step_by(9)) {
            let mut changed = signature.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let outcome = provider.verify(&point, &digest, &changed);
            assert!(outcome.is_err(), "bit {bit}, {}", provider.name());
        }
        for length in 0..signature.len() {
            assert!(
                provider
                    .verify(&point, &digest, &signature[..length])
                    .is_err()
            );
        }
        let longer = [&signature[..], &[0]].concat();
        assert!(
            provider.verify(&point, &digest, &longer).is_err(),
            "{}",
            provider.name()
        );
    }
}

#[test]
fn what_is_no_compressed_point_is_refused() {
    for provider in PROVIDERS {
        for first in [0, 1, 4, 5, 6, 0xff] {
            let mut point = provider.generate_signing_key().unwrap().public_point();
            assert!(provider.is_point(&point));
            point[0] = first;
            assert!(
                !provider.is_point(&point),
                "{first:#x}, {}",
                provider.name()
            );
        }
        assert!(!provider.is_point(&[0; POINT_LENGTH]));
        assert!(!provider.is_point(&[2; POINT_LENGTH].map(|_| 0xff)));
    }
}

#[test]
fn random_bytes_are_not_repeated() {
    for provider in PROVIDERS {
        let mut draws = [[0; 32]; 2];
        for draw in &mut draws {
            provider.fill_random(draw).unwrap();
        }
        assert_ne!(draws[0], draws[1]);
        assert_ne!(draws[0], [0; 32]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_implementations_agree(
        key: [u8; 32],
        nonce: [u8; NONCE_LENGTH],
        aad in vec(any::<u8>(), 0..100),
        text in vec(any::<u8>(), 0..300),
    ) {
        let [first, second] = PROVIDERS.map(|provider| {
            let mut text = text.clone();
            let tag = provider.aes_256_gcm(&key).unwrap().seal(&nonce, &aad, &mut text).unwrap();
            let mut derived = [0; 32];
            provider.hkdf_sha512(&key, &aad, &text, &mut derived).unwrap();
            let mut hash = provider.sha384();
            hash.update(&text);
            (text, tag, derived, hash.finish())
        });
        prop_assert_eq!(first, second);
    }

    #[test]
    fn each_takes_the_others_signatures(digest in proptest::array::uniform32(any::<u8>())) {
        let mut whole = [0; 48];
        whole[..32].copy_from_slice(&digest);
        for signer in PROVIDERS {
            let key = signer.generate_signing_key().unwrap();
            let signature = key.sign(&whole).unwrap();
            prop_assert!(signature.len() <= anchorhold_envelope::limits::MAX_SIGNATURE);
            for verifier in PROVIDERS {
                prop_assert!(verifier.verify(&key.public_point(), &whole, &signature).is_ok());
                let mut other = whole;
                other[47] ^= 1;
                prop_assert!(verifier.verify(&key.public_point(), &other, &signature).is_err());
            }
        }
    }
}
