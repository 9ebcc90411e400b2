//! The policy of a bound key as the KMS decides by it: what releases the key, and what each condition
//! alone keeps back.

use std::time::{Duration, SystemTime};

use anchorhold_document::nsm::AttestationRequest;
use anchorhold_joint::contract::Contract;
use anchorhold_kms_core::arn::PrincipalArn;
use anchorhold_kms_core::attestation::{RecipientClaims, RecipientRules, appraise};
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{
    AuthorizationRequest, Context, Decision, KeyPolicy, Resource, authorize, lint,
};
use anchorhold_party::policy::for_contract;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::desk::Desk;

const OWNER: &str = "arn:aws:iam::000000000001:user/owner";
const ENCLAVE: &str = "arn:aws:iam::000000000001:user/enclave";
const KEY: &str = "arn:aws:kms:eu-central-1:000000000001:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The claims of a fresh document of an enclave that was given a contract.
fn claims(desk: &mut Desk, contract: &Contract) -> RecipientClaims {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let document = desk.document(AttestationRequest {
        user_data: Some(contract.user_data()),
        nonce: None,
        public_key: Some(public.as_ref().to_vec()),
    });
    let rules = RecipientRules::new(desk.roots.clone());
    appraise(&document, &rules, SystemTime::now()).unwrap()
}

/// ann's key as `key bind` binds it.
fn bound(contract: &Contract) -> Value {
    let (_, ann) = contract.party("ann").unwrap();
    for_contract(contract, ann, OWNER, ENCLAVE, None).unwrap()
}

fn decide(policy: &Value, claims: &RecipientClaims, at: SystemTime, prior: u64) -> Decision {
    let policy = KeyPolicy::parse(&policy.to_string()).unwrap();
    assert!(lint(&policy, 1).is_empty());
    let principal: PrincipalArn = ENCLAVE.parse().unwrap();
    let context = Context::new(&principal, &"eu-central-1".parse().unwrap(), at)
        .recipient(claims)
        .prior_releases(prior);
    let request = AuthorizationRequest {
        principal: &principal,
        operation: Operation::Decrypt,
        resource: Resource::Key(KEY.parse().unwrap()),
        context: &context,
        trusted_roots: 1,
    };
    authorize(Some(&policy), &[], &request)
}

/// The keys of the conditions that kept it back.
fn failed(decision: &Decision) -> Vec<&str> {
    let Decision::ImplicitDeny(deny) = decision else {
        panic!("{decision}");
    };
    deny.failures.iter().map(|f| f.key.as_str()).collect()
}

#[test]
fn the_key_is_released_to_the_contract_s_image_until_the_contract_is_over() {
    let mut desk = Desk::new(1);
    let contract = desk.contract.clone();
    let claims = claims(&mut desk, &contract);
    let policy = bound(&contract);
    let expires = &contract.terms().expires;
    let over: SystemTime = OffsetDateTime::parse(expires, &Rfc3339).unwrap().into();
    let before = over - Duration::from_secs(1);
    for at in [SystemTime::now(), before] {
        assert!(decide(&policy, &claims, at, 2).is_allowed());
    }
    // The KMS's clock decides, whatever the enclave's says.
    for at in [over, over + Duration::from_secs(86_400)] {
        let refused = decide(&policy, &claims, at, 0);
        assert_eq!(failed(&refused), ["aws:CurrentTime"]);
        let said = format!("DateLessThan of aws:CurrentTime: expected {expires}");
        assert!(refused.to_string().contains(&said), "{refused}");
    }
    let refused = decide(&policy, &claims, before, 3);
    let prior = "anchorhold:RecipientAttestation:PriorReleases";
    assert_eq!(failed(&refused), [prior]);
}

/// Another image that is given the very contract that the key is bound to: only the registers tell
/// it from the agreed one.
#[test]
fn another_image_with_the_same_contract_is_told_apart_by_its_registers() {
    let mut desk = Desk::new(9);
    let contract = desk.contract.clone();
    let claims = claims(&mut desk, &contract);
    let refused = decide(&bound(&contract), &claims, SystemTime::now(), 0);
    assert_eq!(failed(&refused), ["kms:RecipientAttestation:PCR0"]);
}

#[test]
fn another_contract_is_told_apart_by_the_user_data() {
    let mut desk = Desk::new(1);
    let mut terms = desk.contract.terms().clone();
    terms.nonce = "0e".repeat(32);
    let other = Contract::from_terms(terms).unwrap();
    let claims = claims(&mut desk, &other);
    let policy = bound(&desk.contract);
    let refused = decide(&policy, &claims, SystemTime::now(), 0);
    let user_data = "anchorhold:RecipientAttestation:UserData";
    assert_eq!(failed(&refused), [user_data]);
}
