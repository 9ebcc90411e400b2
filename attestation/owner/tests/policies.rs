//! The policies that the owner's tool writes, decided by the KMS's own rules.

use std::time::{Duration, SystemTime};

use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_kms_core::arn::{KeyArn, PrincipalArn, Region};
use anchorhold_kms_core::attestation::{RecipientClaims, RecipientRules, appraise};
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{
    AuthorizationRequest, Context, IdentityPolicy, KeyPolicy, Resource, authorize, lint_identity,
};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_owner::policy::{KeyRules, enclave_identity_policy};
use anchorhold_owner::threshold_policy::share_identity_policy;
use anchorhold_verifier::{RootSha256, TrustRoots};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::{Value, json};

const ENCLAVE: &str = "arn:aws:iam::111122223333:user/enclave";
const KEY: &str = "arn:aws:kms:eu-test-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_366_400)
}

/// The claims of a fresh document of an image, and the root that vouches for them.
fn claims(image: u8) -> (RecipientClaims, RootSha256) {
    let rng = &mut UnwrapErr(SysRng);
    let platform = Platform::generate(now(), rng).unwrap();
    let root = RootSha256(platform.root_sha256());
    let boot = Boot {
        module_id: platform.module_id(1),
        pcr0: Pcr([image; 48]),
        pcr1: Pcr([2; 48]),
        pcr2: Pcr([3; 48]),
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let request = Request::Attestation(AttestationRequest {
        user_data: None,
        nonce: None,
        public_key: Some(spki.as_ref().to_vec()),
    });
    let mut module = SecurityModule::new(platform, boot).unwrap();
    let answer = module.handle(&request.to_cbor(), now(), rng);
    let Ok(Response::Attestation { document }) = Response::from_cbor(&answer) else {
        panic!("no document")
    };
    let mut roots = TrustRoots::new();
    roots.insert(root);
    let claims = appraise(&document, &RecipientRules::new(roots), now()).unwrap();
    (claims, root)
}

/// The identity policies that the tool writes, with the operations that each leaves to key policies.
fn identities() -> [(Value, Vec<Operation>); 2] {
    let (decrypt, generate) = (Operation::Decrypt, Operation::GenerateDataKey);
    [
        (enclave_identity_policy(), vec![decrypt]),
        (share_identity_policy(), vec![decrypt, generate]),
    ]
}

/// What is decided of a call of the enclave's principal, which has an identity policy.
fn decided(
    policy: &KeyPolicy,
    identity: &Value,
    operation: Operation,
    claims: Option<&RecipientClaims>,
) -> String {
    let principal: PrincipalArn = ENCLAVE.parse().unwrap();
    let region: Region = "eu-test-1".parse().unwrap();
    let context = Context::new(&principal, &region, now());
    let context = match claims {
        Some(claims) => context.recipient(claims),
        None => context,
    };
    let key: KeyArn = KEY.parse().unwrap();
    let request = AuthorizationRequest {
        principal: &principal,
        operation,
        resource: Resource::Key(key),
        context: &context,
        trusted_roots: 1,
    };
    let identity = IdentityPolicy::parse(&identity.to_string()).unwrap();
    authorize(Some(policy), &[identity], &request)
        .rule()
        .to_owned()
}

#[test]
fn a_key_with_the_default_policy_is_not_released_to_any_image() {
    let policy = KeyPolicy::default_for(&"111122223333".parse().unwrap());
    let (claims, _) = claims(7);
    for (identity, left) in identities() {
        for operation in left {
            let refused = decided(&policy, &identity, operation, Some(&claims));
            assert_eq!(refused, "policy.no-allow", "{operation}");
            let bare = decided(&policy, &identity, operation, None);
            assert_eq!(bare, "policy.explicit-deny", "{operation}");
        }
    }
}

#[test]
fn the_principal_does_nothing_else_whatever_a_key_policy_allows() {
    let all = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": ENCLAVE}, "Action": "kms:*", "Resource": "*",
        }],
    });
    let policy = KeyPolicy::parse(&all.to_string()).unwrap();
    let (claims, _) = claims(7);
    for (identity, left) in identities() {
        for operation in Operation::ALL {
            let free = left.contains(&operation) || operation == Operation::GetAttestationNonce;
            let rule = decided(&policy, &identity, operation, Some(&claims));
            assert_eq!(rule == "policy.explicit-deny", !free, "{operation}");
        }
        for operation in left {
            let bare = decided(&policy, &identity, operation, None);
            assert_eq!(bare, "policy.explicit-deny", "{operation}");
        }
    }
}

#[test]
fn the_key_is_released_to_its_image_under_its_root_alone() {
    let (agreed, root) = claims(7);
    let rules = KeyRules {
        owner: "arn:aws:iam::111122223333:user/owner".to_owned(),
        enclave: ENCLAVE.to_owned(),
        pcrs: [(PcrIndex::new(0).unwrap(), Pcr([7; 48]))].into(),
        root,
    };
    let policy = KeyPolicy::parse(&rules.policy().to_string()).unwrap();
    let identity = enclave_identity_policy();
    for (other, rule) in [
        (Some(claims(8).0), "policy.attestation"),
        (Some(claims(7).0), "policy.attestation"),
        (None, "policy.explicit-deny"),
    ] {
        let refused = decided(&policy, &identity, Operation::Decrypt, other.as_ref());
        assert_eq!(refused, rule);
    }
    let released = decided(&policy, &identity, Operation::Decrypt, Some(&agreed));
    assert_eq!(released, "policy.allowed");
}

#[test]
fn the_identity_policies_have_nothing_to_be_warned_of() {
    for (identity, _) in identities() {
        let policy = IdentityPolicy::parse(&identity.to_string()).unwrap();
        assert_eq!(lint_identity(&policy), []);
    }
}
