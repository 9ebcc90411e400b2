//! Ciphertext blobs and records at rest from anywhere: never a panic, never an opening, and a
//! blob that parses has exactly the bytes it was parsed from.
#![no_main]

use anchorhold_kms_core::arn::KeyId;
use anchorhold_kms_core::material::{CiphertextBlob, MaterialId, RootKey};
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(blob) = CiphertextBlob::parse(bytes) {
        assert_eq!(blob.to_bytes(), bytes);
    }
    let root = RootKey::from_bytes(Zeroizing::new([7; 32]));
    let (key, material) = (KeyId::from_bytes([1; 16]), MaterialId::from_bytes([2; 32]));
    assert!(root.unwrap_material(key, material, bytes).is_err());
    assert!(root.unwrap_secret("sigv4", "name", bytes).is_err());
});
