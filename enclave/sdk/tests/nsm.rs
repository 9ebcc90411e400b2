//! The client of the security module, against the emulated one and against devices that lie.

#[path = "common/module.rs"]
mod module;

use std::io;

use anchorhold_document::nsm::{ErrorCode, Response};
use anchorhold_document::{AttestationDocument, Pcr, PcrIndex, SignedDocument};
use anchorhold_enclave::nsm::{Nsm, NsmDevice, NsmError};
use module::nsm;

fn payload(document: &[u8]) -> AttestationDocument {
    let signed = SignedDocument::from_bytes(document).unwrap();
    AttestationDocument::from_payload(signed.payload()).unwrap()
}

#[test]
fn documents_carry_what_was_asked_for() {
    let nsm = nsm();
    let document = nsm
        .attest(Some(b"key"), Some(b"data"), Some(b"nonce"))
        .unwrap();
    let payload_of_all = payload(&document);
    assert_eq!(payload_of_all.public_key.as_deref(), Some(&b"key"[..]));
    assert_eq!(payload_of_all.user_data.as_deref(), Some(&b"data"[..]));
    assert_eq!(payload_of_all.nonce.as_deref(), Some(&b"nonce"[..]));
    let none = payload(&nsm.attest(None, None, None).unwrap());
    assert_eq!(
        (none.public_key, none.user_data, none.nonce),
        (None, None, None)
    );
    assert_eq!(nsm.describe().unwrap().module_id, none.module_id);
}

#[test]
fn fields_over_the_limit_are_the_modules_to_refuse() {
    let nsm = nsm();
    let long = [0; 1025];
    assert!(nsm.attest(Some(&long[1..]), None, None).is_ok());
    let refusal = nsm.attest(None, Some(&long), None).unwrap_err();
    assert!(
        matches!(
            refusal,
            NsmError::Refused {
                request: "Attestation",
                ..
            }
        ),
        "{refusal}"
    );
    assert_eq!(refusal.rule(), "nsm.refused");
}

#[test]
fn registers_are_read_extended_and_locked() {
    let nsm = nsm();
    let own = PcrIndex::new(16).unwrap();
    assert_eq!(
        nsm.describe_pcr(PcrIndex::PCR0).unwrap(),
        (Pcr([1; 48]), true)
    );
    assert_eq!(nsm.describe_pcr(own).unwrap(), (Pcr([0; 48]), false));
    let extended = nsm.extend_pcr(own, b"measured").unwrap();
    nsm.lock_pcr(own).unwrap();
    assert_eq!(nsm.describe_pcr(own).unwrap(), (extended, true));
    let refusal = nsm.extend_pcr(own, b"again").unwrap_err();
    assert!(matches!(
        refusal,
        NsmError::Refused {
            code: ErrorCode::ReadOnlyIndex,
            ..
        }
    ));
}

#[test]
fn random_bytes_are_not_repeated() {
    let nsm = nsm();
    let (first, second) = (nsm.random().unwrap(), nsm.random().unwrap());
    assert_eq!((first.len(), second.len()), (256, 256));
    assert_ne!(*first, *second);
}

/// A device that answers everything with the same bytes, or not at all.
struct Lying(Option<Vec<u8>>);

impl NsmDevice for Lying {
    type Error = io::Error;

    fn request(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        self.0
            .clone()
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn answers_that_do_not_belong_are_refused() {
    let cases = [
        (None, "nsm.device"),
        (Some(vec![]), "nsm.decode"),
        (Some(vec![0xff; 100]), "nsm.decode"),
        (Some(vec![0x9b; 0x3001]), "nsm.decode"),
        (Some(Response::LockPcrs.to_cbor()), "nsm.unexpected"),
        (
            Some(Response::Error(ErrorCode::InternalError).to_cbor()),
            "nsm.refused",
        ),
    ];
    for (answer, rule) in cases {
        let nsm = Nsm::new(Lying(answer));
        assert_eq!(nsm.attest(None, None, None).unwrap_err().rule(), rule);
        assert_eq!(nsm.random().unwrap_err().rule(), rule);
        assert_eq!(nsm.describe().unwrap_err().rule(), rule);
        assert_eq!(nsm.describe_pcr(PcrIndex::PCR0).unwrap_err().rule(), rule);
        assert_eq!(
            nsm.extend_pcr(PcrIndex::PCR0, b"").unwrap_err().rule(),
            rule
        );
        assert_eq!(nsm.lock_pcr(PcrIndex::PCR0).unwrap_err().rule(), rule);
    }
}
