//! What the tests of this crate share: documents of the security module, and forgeries.
#![allow(dead_code)]

pub mod desk;
pub mod forge;
pub mod oracle;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_verifier::{
    AuthenticDocument, Pcr, RootSha256, Timestamp, TrustRoots, UnverifiedDocument, VerifyError,
};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// 2025-06-01T00:00:00.500Z.
pub const NOW: Timestamp = Timestamp::from_millis(1_748_736_000_500);

pub fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.as_millis())
}

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A security module that was booted at [`NOW`].
pub struct Genuine {
    pub module: SecurityModule,
}

impl Genuine {
    pub fn boot(debug: bool) -> Self {
        let platform = Platform::generate(system_time(NOW), &mut UnwrapErr(SysRng)).unwrap();
        let boot = Boot {
            module_id: platform.module_id(0x0193_27e6_f225_2716),
            pcr0: Pcr([0xA0; 48]),
            pcr1: Pcr([0xA1; 48]),
            pcr2: Pcr([0xA2; 48]),
            pcr3: None,
            pcr8: None,
            debug,
        };
        Self {
            module: SecurityModule::new(platform, boot).unwrap(),
        }
    }

    pub fn roots(&self) -> TrustRoots {
        TrustRoots::from_iter([RootSha256(self.module.platform().root_sha256())])
    }

    pub fn root_pem(&self) -> String {
        self.module.platform().root_certificate_pem()
    }

    pub fn document_with(&mut self, request: AttestationRequest, at: Timestamp) -> Vec<u8> {
        let request = Request::Attestation(request).to_cbor();
        let answer = self
            .module
            .handle(&request, system_time(at), &mut UnwrapErr(SysRng));
        match Response::from_cbor(&answer).unwrap() {
            Response::Attestation { document } => document,
            other => panic!("no document: {other:?}"),
        }
    }

    pub fn document(&mut self) -> Vec<u8> {
        let request = AttestationRequest {
            user_data: Some(b"user data".to_vec()),
            nonce: Some(b"nonce".to_vec()),
            public_key: Some(b"public key".to_vec()),
        };
        self.document_with(request, NOW)
    }
}

/// A document and the roots to check it with.
pub fn genuine() -> (Vec<u8>, TrustRoots) {
    let mut genuine = Genuine::boot(false);
    (genuine.document(), genuine.roots())
}

pub fn authenticate(
    bytes: &[u8],
    roots: &TrustRoots,
    at: Timestamp,
) -> Result<AuthenticDocument, VerifyError> {
    UnverifiedDocument::parse(bytes)?.authenticate(roots, at)
}

pub fn rule(bytes: &[u8], roots: &TrustRoots, at: Timestamp) -> &'static str {
    match authenticate(bytes, roots, at) {
        Ok(_) => "accepted",
        Err(error) => error.rule(),
    }
}
