//! What the tests share: names, an enclave with a real security module, and requests.
#![allow(dead_code)] // Each test file uses a part.

pub mod statements;
pub mod truth;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_kms_core::arn::{KeyArn, PrincipalArn, Region};
use anchorhold_kms_core::attestation::{RecipientClaims, RecipientRules, appraise};
use anchorhold_kms_core::encryption_context::EncryptionContext;
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{AuthorizationRequest, Context, Resource};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_verifier::{RootSha256, TrustRoots};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use getrandom::SysRng;
use rand_core::UnwrapErr;

pub const ACCOUNT: &str = "111122223333";
pub const ROOT: &str = "arn:aws:iam::111122223333:root";
pub const ALICE: &str = "arn:aws:iam::111122223333:user/Alice";
pub const BOB: &str = "arn:aws:iam::111122223333:user/Bob";
pub const MALLORY: &str = "arn:aws:iam::444455556666:user/Mallory";
pub const KEY: &str =
    "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
pub const REGION: &str = "eu-central-1";

/// 2026-03-01T12:00:00Z.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_366_400)
}

pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

pub fn key_arn() -> KeyArn {
    KEY.parse().expect("a key ARN")
}

pub fn region() -> Region {
    REGION.parse().expect("a region")
}

/// DER SubjectPublicKeyInfo of an RSA key made once for all tests of a process.
pub fn recipient_spki() -> &'static [u8] {
    static SPKI: OnceLock<Vec<u8>> = OnceLock::new();
    SPKI.get_or_init(|| {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("an RSA key");
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().expect("its DER");
        der.as_ref().to_vec()
    })
}

/// A host with one enclave on it.
pub struct Enclave {
    module: SecurityModule,
    pub root: RootSha256,
}

/// The measurements of the image everybody agreed on.
pub const IMAGE: Pcr = Pcr([0xa1; 48]);

impl Enclave {
    /// An enclave of the agreed image on a host with a root of its own.
    pub fn boot() -> Self {
        Self::boot_image(IMAGE, false)
    }

    pub fn boot_image(pcr0: Pcr, debug: bool) -> Self {
        let platform = Platform::generate(now(), &mut rng()).expect("a platform");
        let root = RootSha256(platform.root_sha256());
        let boot = Boot {
            module_id: platform.module_id(0x0123_4567_89ab_cdef),
            pcr0,
            pcr1: Pcr([0xa2; 48]),
            pcr2: Pcr([0xa3; 48]),
            pcr3: None,
            pcr8: None,
            debug,
        };
        Self {
            module: SecurityModule::new(platform, boot).expect("a module"),
            root,
        }
    }

    /// A document for `public_key`, made at `at`.
    pub fn document(
        &mut self,
        public_key: Option<&[u8]>,
        nonce: Option<&[u8]>,
        at: SystemTime,
    ) -> Vec<u8> {
        self.document_of(
            AttestationRequest {
                user_data: None,
                nonce: nonce.map(<[u8]>::to_vec),
                public_key: public_key.map(<[u8]>::to_vec),
            },
            at,
        )
    }

    fn document_of(&mut self, request: AttestationRequest, at: SystemTime) -> Vec<u8> {
        let request = Request::Attestation(request);
        let answer = self.module.handle(&request.to_cbor(), at, &mut rng());
        match Response::from_cbor(&answer).expect("an answer") {
            Response::Attestation { document } => document,
            other => panic!("no document: {other:?}"),
        }
    }

    /// The claims of a fresh document under this enclave's root.
    pub fn claims(&mut self) -> RecipientClaims {
        self.claims_for(None)
    }

    /// The claims of a fresh document with this user_data.
    pub fn claims_for(&mut self, user_data: Option<&[u8]>) -> RecipientClaims {
        let request = AttestationRequest {
            user_data: user_data.map(<[u8]>::to_vec),
            nonce: None,
            public_key: Some(recipient_spki().to_vec()),
        };
        let document = self.document_of(request, now());
        let rules = RecipientRules::new(roots(&[self.root]));
        appraise(&document, &rules, now()).expect("claims")
    }
}

pub fn roots(hashes: &[RootSha256]) -> TrustRoots {
    let mut roots = TrustRoots::new();
    for hash in hashes {
        roots.insert(*hash);
    }
    roots
}

pub fn pcr_index(index: u8) -> PcrIndex {
    PcrIndex::new(index).expect("an index")
}

/// A request in the making.
#[derive(Debug)]
pub struct Ask {
    pub principal: PrincipalArn,
    pub operation: Operation,
    pub resource: Resource,
    pub context: Context,
    pub roots: usize,
}

impl Ask {
    /// Alice wants to decrypt under the key, over TLS from 203.0.113.7; one root is trusted.
    pub fn decrypt() -> Self {
        Self::by(ALICE, Operation::Decrypt)
    }

    pub fn by(principal: &str, operation: Operation) -> Self {
        let principal: PrincipalArn = principal.parse().expect("a principal");
        let context = Context::new(&principal, &region(), now())
            .secure_transport(true)
            .source_ip("203.0.113.7".parse().expect("an address"));
        Self {
            principal,
            operation,
            resource: Resource::Key(key_arn()),
            context,
            roots: 1,
        }
    }

    pub fn on(mut self, resource: Resource) -> Self {
        self.resource = resource;
        self
    }

    pub fn with(mut self, change: impl FnOnce(Context) -> Context) -> Self {
        self.context = change(self.context);
        self
    }

    pub fn encryption_context(self, pairs: &[(&str, &str)]) -> Self {
        self.with(|context| context.encryption_context(&pairs_of(pairs)))
    }

    pub fn attested(self, claims: &RecipientClaims) -> Self {
        self.with(|context| context.recipient(claims))
    }

    pub fn roots(mut self, roots: usize) -> Self {
        self.roots = roots;
        self
    }

    pub fn request(&self) -> AuthorizationRequest<'_> {
        AuthorizationRequest {
            principal: &self.principal,
            operation: self.operation,
            resource: self.resource.clone(),
            context: &self.context,
            trusted_roots: self.roots,
        }
    }
}

pub fn pairs_of(pairs: &[(&str, &str)]) -> EncryptionContext {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
