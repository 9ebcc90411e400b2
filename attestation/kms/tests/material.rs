//! Ciphertext blobs and records at rest: what must not open, and what must.

mod common;

use std::collections::BTreeMap;

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::KeyId;
use anchorhold_kms_core::encryption_context::EncryptionContext;
use anchorhold_kms_core::material::{
    BLOB_OVERHEAD, CiphertextBlob, InvalidCiphertext, KeyMaterial, MAX_CIPHERTEXT_BLOB,
    MAX_PLAINTEXT, PlaintextLength, RootKey, UnwrapError,
};
use common::{pairs_of, rng};
use proptest::prelude::*;
use zeroize::Zeroizing;

fn key(n: u8) -> KeyId {
    KeyId::from_random([n; 16])
}

fn sealed(material: &KeyMaterial, context: &EncryptionContext) -> Vec<u8> {
    material
        .seal(key(1), context, b"plaintext", &mut rng())
        .expect("a blob")
}

fn open(material: &KeyMaterial, blob: &[u8], context: &EncryptionContext) -> Option<Vec<u8>> {
    let blob = CiphertextBlob::parse(blob).ok()?;
    material
        .open(&blob, context)
        .ok()
        .map(|plaintext| plaintext.to_vec())
}

#[test]
fn another_encryption_context_does_not_open() {
    let material = KeyMaterial::generate(&mut rng());
    let pairs: [&[(&str, &str)]; 9] = [
        &[],
        &[("ab", "c")],
        &[("a", "bc")],
        &[("abc", "")],
        &[("", "abc")],
        &[("a", "b"), ("c", "")],
        &[("a", "b"), ("", "c")],
        &[("ab", "C")],
        &[("ab", "c"), ("x", "y")],
    ];
    let contexts: Vec<EncryptionContext> = pairs.iter().map(|pairs| pairs_of(pairs)).collect();
    for (index, context) in contexts.iter().enumerate() {
        let blob = sealed(&material, context);
        for (other_index, other) in contexts.iter().enumerate() {
            let opened = open(&material, &blob, other);
            assert_eq!(
                opened.is_some(),
                index == other_index,
                "{context:?} {other:?}"
            );
        }
    }
}

#[test]
fn no_changed_byte_opens() {
    let material = KeyMaterial::generate(&mut rng());
    let context = pairs_of(&[("purpose", "records")]);
    let blob = sealed(&material, &context);
    for index in 0..blob.len() {
        let mut changed = blob.clone();
        changed[index] ^= 1;
        assert_eq!(open(&material, &changed, &context), None, "byte {index}");
    }
    for length in 0..blob.len() {
        assert_eq!(
            open(&material, &blob[..length], &context),
            None,
            "{length} bytes"
        );
    }
    assert_eq!(open(&material, &[&blob[..], b"x"].concat(), &context), None);
    assert_eq!(
        open(&material, &blob, &context).as_deref(),
        Some(&b"plaintext"[..])
    );
}

#[test]
fn another_material_or_key_does_not_open() {
    let (material, other) = (
        KeyMaterial::generate(&mut rng()),
        KeyMaterial::generate(&mut rng()),
    );
    let none = EncryptionContext::empty();
    let blob = sealed(&material, &none);
    assert_eq!(open(&other, &blob, &none), None);
    // A blob that claims another key's id: the id is authenticated.
    let mut moved = blob.clone();
    moved[1..17].copy_from_slice(key(2).as_bytes());
    assert_eq!(
        CiphertextBlob::parse(&moved).expect("its shape").key_id(),
        key(2)
    );
    assert_eq!(open(&material, &moved, &none), None);
    // And one that claims the other's material id.
    let mut moved = blob;
    moved[17..49].copy_from_slice(other.id().as_bytes());
    assert_eq!(open(&other, &moved, &none), None);
    assert_eq!(open(&material, &moved, &none), None);
}

#[test]
fn plaintexts_have_1_to_4096_bytes() {
    let material = KeyMaterial::generate(&mut rng());
    let none = EncryptionContext::empty();
    for got in [0, MAX_PLAINTEXT + 1] {
        let refused = material.seal(key(1), &none, &vec![7; got], &mut rng());
        assert_eq!(refused.unwrap_err(), PlaintextLength { got });
    }
    for length in [1, MAX_PLAINTEXT] {
        let blob = material
            .seal(key(1), &none, &vec![7; length], &mut rng())
            .expect("a blob");
        assert_eq!(blob.len(), length + BLOB_OVERHEAD);
        assert!(blob.len() <= MAX_CIPHERTEXT_BLOB);
        assert_eq!(open(&material, &blob, &none), Some(vec![7; length]));
    }
    let too_long = vec![0xA1; BLOB_OVERHEAD + MAX_PLAINTEXT + 1];
    assert_eq!(
        CiphertextBlob::parse(&too_long).unwrap_err(),
        InvalidCiphertext
    );
}

#[test]
fn a_refused_ciphertext_says_nothing() {
    let error = KmsError::from(InvalidCiphertext);
    assert_eq!(error.body(), r#"{"__type":"InvalidCiphertextException"}"#);
    assert_eq!(error.status(), 400);
}

#[test]
fn a_blob_names_its_key_and_material() {
    let material = KeyMaterial::generate(&mut rng());
    let bytes = sealed(&material, &EncryptionContext::empty());
    let blob = CiphertextBlob::parse(&bytes).expect("a blob");
    assert_eq!((blob.key_id(), blob.material_id()), (key(1), material.id()));
    assert_eq!(blob.to_bytes(), bytes);
    // The salt is fresh: the same plaintext never gives the same bytes.
    assert_ne!(
        bytes[49..],
        sealed(&material, &EncryptionContext::empty())[49..]
    );
}

/// The format is on disks and in backups: this blob, once made, must open for ever.
#[test]
fn a_blob_of_version_1_opens() {
    let material = RootKey::from_bytes(Zeroizing::new([0x11; 32]))
        .unwrap_material(key(1), material_id(), &hex::decode(RECORD).expect("hex"))
        .expect("the record of version 1");
    let context = pairs_of(&[("purpose", "records"), ("dataset", "2026")]);
    let blob = hex::decode(BLOB).expect("hex");
    assert_eq!(
        open(&material, &blob, &context).as_deref(),
        Some(&b"kept"[..])
    );
}

fn material_id() -> anchorhold_kms_core::material::MaterialId {
    "aa".repeat(32).parse().expect("an id")
}

// Both were made from the formats' descriptions by another implementation (Python's cryptography):
// root key 11…, salts 22… and 44…, material 33… under id aa….
const RECORD: &str = concat!(
    "b1e2c6b7e9f30327b2b588fff5c3bf38a922222222222222222222222222222222222222222222222222222222222222",
    "2285bbf5e41bef340bd4f0a15046d38aa8c3a36271a9f0ece26d508f4b4e18d18635394072c4a7126bc73be1df43e211",
    "9e",
);
const BLOB: &str = concat!(
    "a101010101010141018101010101010101aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aa444444444444444444444444444444444444444444444444444444444444444467d12df172c0f5bf1099d1294c4901",
    "4d04f6054b",
);

#[test]
fn a_record_opens_in_its_own_place_only() {
    let (root, other) = (RootKey::generate(&mut rng()), RootKey::generate(&mut rng()));
    let material = KeyMaterial::generate(&mut rng());
    let second = KeyMaterial::generate(&mut rng());
    let record = root.wrap_material(key(1), &material, &mut rng());
    let damaged = |result: Result<KeyMaterial, UnwrapError>| result.err().expect("an error");
    assert_eq!(
        damaged(root.unwrap_material(key(2), material.id(), &record)),
        UnwrapError::Damaged
    );
    assert_eq!(
        damaged(root.unwrap_material(key(1), second.id(), &record)),
        UnwrapError::Damaged
    );
    assert_eq!(
        damaged(other.unwrap_material(key(1), material.id(), &record)),
        UnwrapError::OtherRootKey {
            expected: root.id(),
            got: other.id()
        }
    );
    let secret = root.wrap_secret("sigv4", "AKIA1", &[7; 32], &mut rng());
    assert_eq!(
        damaged(root.unwrap_material(key(1), material.id(), &secret)),
        UnwrapError::Damaged
    );
    assert_eq!(
        root.unwrap_secret("sigv4", "AKIA2", &secret).unwrap_err(),
        UnwrapError::Damaged
    );
    assert_eq!(
        root.unwrap_secret("sigv4A", "KIA1", &secret).unwrap_err(),
        UnwrapError::Damaged
    );
    assert_eq!(
        root.unwrap_secret("session", "AKIA1", &secret).unwrap_err(),
        UnwrapError::Damaged
    );
    for index in 0..record.len() {
        let mut changed = record.clone();
        changed[index] ^= 1;
        assert!(
            root.unwrap_material(key(1), material.id(), &changed)
                .is_err(),
            "byte {index}"
        );
    }
    for length in 0..record.len() {
        let cut = root.unwrap_material(key(1), material.id(), &record[..length]);
        assert!(cut.is_err(), "{length} bytes");
    }

    let unwrapped = root
        .unwrap_material(key(1), material.id(), &record)
        .expect("its material");
    let none = EncryptionContext::empty();
    assert_eq!(
        open(&unwrapped, &sealed(&material, &none), &none).as_deref(),
        Some(&b"plaintext"[..])
    );
    assert_eq!(
        *root
            .unwrap_secret("sigv4", "AKIA1", &secret)
            .expect("the secret"),
        [7; 32]
    );
    let again = RootKey::from_bytes(Zeroizing::new(*root.expose_bytes()));
    assert_eq!(again.id(), root.id());
}

fn context() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-c\u{0}\u{8}é]{0,4}", "[a-c\u{0}\u{8}é]{0,4}", 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn contexts_are_encoded_injectively(a in context(), b in context()) {
        let encode = |pairs: &BTreeMap<String, String>| {
            EncryptionContext::from(pairs.clone()).canonical_bytes()
        };
        prop_assert_eq!(a == b, encode(&a) == encode(&b));
    }

    #[test]
    fn any_bytes_are_a_blob_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(blob) = CiphertextBlob::parse(&bytes) {
            prop_assert_eq!(&blob.to_bytes(), &bytes);
        }
        let root = RootKey::from_bytes(Zeroizing::new([1; 32]));
        prop_assert!(root.unwrap_secret("sigv4", "x", &bytes).is_err());
    }

    #[test]
    fn what_was_sealed_opens(plaintext in prop::collection::vec(any::<u8>(), 1..200), pairs in context()) {
        let material = KeyMaterial::generate(&mut rng());
        let context = EncryptionContext::from(pairs);
        let blob = material.seal(key(3), &context, &plaintext, &mut rng()).expect("a blob");
        prop_assert_eq!(open(&material, &blob, &context), Some(plaintext));
    }
}
