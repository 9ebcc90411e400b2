//! What the tests of this crate share.
#![allow(dead_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anchorhold_document::nsm::{AttestationRequest, ErrorCode, Request, Response};
use anchorhold_document::{AttestationDocument, Pcr, SignedDocument};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// The system's randomness.
pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// A moment that tests count from: 2025-06-01T00:00:00.500Z.
pub fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_748_736_000_500)
}

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn platform() -> Platform {
    Platform::generate(start(), &mut rng()).unwrap()
}

pub fn boot(platform: &Platform) -> Boot {
    Boot {
        module_id: platform.module_id(0x0193_27e6_f225_2716),
        pcr0: Pcr([0xA0; 48]),
        pcr1: Pcr([0xA1; 48]),
        pcr2: Pcr([0xA2; 48]),
        pcr3: Some(Pcr([0xA3; 48])),
        pcr8: Some(Pcr([0xA8; 48])),
        debug: false,
    }
}

pub fn module() -> SecurityModule {
    let platform = platform();
    let boot = boot(&platform);
    SecurityModule::new(platform, boot).unwrap()
}

pub fn ask_at(module: &mut SecurityModule, request: &Request, now: SystemTime) -> Response {
    Response::from_cbor(&module.handle(&request.to_cbor(), now, &mut rng())).unwrap()
}

pub fn ask(module: &mut SecurityModule, request: &Request) -> Response {
    ask_at(module, request, start())
}

pub fn refused(module: &mut SecurityModule, request: &Request) -> ErrorCode {
    match ask(module, request) {
        Response::Error(code) => code,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn signed_at(
    module: &mut SecurityModule,
    request: AttestationRequest,
    now: SystemTime,
) -> SignedDocument {
    match ask_at(module, &Request::Attestation(request), now) {
        Response::Attestation { document } => SignedDocument::from_bytes(&document).unwrap(),
        other => panic!("no document: {other:?}"),
    }
}

pub fn document_at(module: &mut SecurityModule, now: SystemTime) -> AttestationDocument {
    let signed = signed_at(module, AttestationRequest::default(), now);
    AttestationDocument::from_payload(signed.payload()).unwrap()
}
