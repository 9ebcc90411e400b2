//! The documents that the fuzz target of the document's parser starts from: signed by the module, as
//! the parser's own crate cannot.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_document::{AttestationDocument, Pcr, SignedDocument};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use rand_core::{TryCryptoRng, TryRng};

/// The same bytes always, so that the same documents come out.
struct Fixed;

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0x4242_4242)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0x4242_4242_4242_4242)
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        target.fill(0x42);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fn module(now: SystemTime) -> SecurityModule {
    let platform = Platform::generate(now, &mut Fixed).unwrap();
    let boot = Boot {
        module_id: platform.module_id(1),
        pcr0: Pcr([0xA0; 48]),
        pcr1: Pcr([0xA1; 48]),
        pcr2: Pcr([0xA2; 48]),
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    SecurityModule::new(platform, boot).unwrap()
}

/// Holds seeds against what is made now. Those that differ are written anew, and the test fails once.
fn hold(seeds: &[(String, Vec<u8>)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../document/fuzz/seeds/document");
    let mut stale = Vec::new();
    for (name, made) in seeds {
        let seed = folder.join(name);
        if !std::fs::read(&seed).is_ok_and(|seed| seed == *made) {
            std::fs::write(&seed, made).unwrap();
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "out of date and written anew: {stale:?}");
}

#[test]
fn every_seed_of_the_document_parser_is_a_document_of_the_modules() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_366_400);
    let mut module = module(now);
    let mut sign = |asked: AttestationRequest| {
        let request = Request::Attestation(asked.clone()).to_cbor();
        let answer = module.handle(&request, now, &mut Fixed);
        let Response::Attestation { document } = Response::from_cbor(&answer).unwrap() else {
            panic!("no document");
        };
        let signed = SignedDocument::from_bytes(&document).unwrap();
        let read = AttestationDocument::from_payload(signed.payload()).unwrap();
        let fields = (read.user_data, read.nonce, read.public_key);
        assert_eq!(fields, (asked.user_data, asked.nonce, asked.public_key));
        (document, signed.payload().to_vec())
    };
    let (bare, payload) = sign(AttestationRequest::default());
    let (full, _) = sign(AttestationRequest {
        user_data: Some(b"user data".to_vec()),
        nonce: Some(vec![7; 32]),
        public_key: Some(vec![0x30; 64]),
    });
    // RFC 9052 §4.2: COSE_Sign1 may stand under its tag, 18.
    let tagged = [&[0xD2], &full[..]].concat();
    assert!(SignedDocument::from_bytes(&tagged).is_ok());
    hold(&[
        ("bare".to_owned(), bare),
        ("full".to_owned(), full),
        ("tagged".to_owned(), tagged),
        ("payload".to_owned(), payload),
    ]);
}
