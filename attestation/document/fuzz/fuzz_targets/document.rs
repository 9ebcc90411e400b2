//! Any bytes as a signed document and as its payload: no panic, and what decodes is written one
//! way.
#![no_main]

use anchorhold_document::{AttestationDocument, SignedDocument};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let payload = match SignedDocument::from_bytes(bytes) {
        Ok(signed) => {
            assert!(bytes.ends_with(&signed.to_bytes()));
            signed.payload().to_vec()
        }
        Err(_) => bytes.to_vec(),
    };
    if let Ok(document) = AttestationDocument::from_payload(&payload) {
        let again = AttestationDocument::from_payload(&document.to_payload());
        assert_eq!(again.as_ref(), Ok(&document));
    }
});
