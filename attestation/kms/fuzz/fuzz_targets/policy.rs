//! Policies from anywhere, with and without an attestation: never a panic; what parses can be judged
//! and evaluated; and a further trusted root never grants what one root did not.
#![no_main]

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_kms_core::arn::{KeyArn, PrincipalArn, Region};
use anchorhold_kms_core::attestation::{RecipientClaims, RecipientRules, appraise};
use anchorhold_kms_core::encryption_context::EncryptionContext;
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{
    AuthorizationRequest, Context, IdentityPolicy, KeyPolicy, Resource, authorize, lint,
    lint_identity,
};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_verifier::{RootSha256, TrustRoots};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use rand_core::UnwrapErr;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_366_400)
}

/// The claims of a document, made once: claims come from nothing else.
static CLAIMS: LazyLock<RecipientClaims> = LazyLock::new(|| {
    let rng = &mut UnwrapErr(SysRng);
    let platform = Platform::generate(now(), rng).expect("a platform");
    let mut roots = TrustRoots::new();
    roots.insert(RootSha256(platform.root_sha256()));
    let boot = Boot {
        module_id: platform.module_id(1),
        pcr0: Pcr([0xa1; 48]),
        pcr1: Pcr([0xa2; 48]),
        pcr2: Pcr([0xa3; 48]),
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    let mut module = SecurityModule::new(platform, boot).expect("a module");
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("a key");
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("its DER");
    let request = Request::Attestation(AttestationRequest {
        user_data: Some(vec![0xd0; 32]),
        nonce: None,
        public_key: Some(spki.as_ref().to_vec()),
    });
    let answer = module.handle(&request.to_cbor(), now(), rng);
    let Ok(Response::Attestation { document }) = Response::from_cbor(&answer) else {
        panic!("no document")
    };
    appraise(&document, &RecipientRules::new(roots), now()).expect("claims")
});

fuzz_target!(|text: &str| {
    let key_policy = KeyPolicy::parse(text);
    let identity: Vec<IdentityPolicy> = IdentityPolicy::parse(text).into_iter().collect();
    if let Ok(policy) = &key_policy {
        assert_eq!(policy.text(), text);
        for finding in lint(policy, 2) {
            assert!(!finding.to_string().is_empty());
        }
    }
    for finding in identity.iter().flat_map(lint_identity) {
        assert!(!finding.to_string().is_empty());
    }
    let principal: PrincipalArn = "arn:aws:iam::111122223333:user/Alice"
        .parse()
        .expect("a principal");
    let region: Region = "eu-central-1".parse().expect("a region");
    let key: KeyArn =
        "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
            .parse()
            .expect("a key");
    let pairs = [
        ("dept".to_owned(), "pii".to_owned()),
        ("Dept".to_owned(), "x".to_owned()),
    ];
    let bare = Context::new(&principal, &region, now())
        .secure_transport(true)
        .source_ip(Ipv4Addr::new(203, 0, 113, 7).into())
        .encryption_context(&EncryptionContext::from_iter(pairs));
    let attested = bare.clone().recipient(&CLAIMS).prior_releases(0);
    for context in [&bare, &attested] {
        let decide = |trusted_roots| {
            let request = AuthorizationRequest {
                principal: &principal,
                operation: Operation::Decrypt,
                resource: Resource::Key(key.clone()),
                context,
                trusted_roots,
            };
            authorize(key_policy.as_ref().ok(), &identity, &request)
        };
        let (one, two) = (decide(1), decide(2));
        assert!(!one.to_string().is_empty());
        assert!(one.is_allowed() || !two.is_allowed());
    }
});
