//! Several owners' keyrings: any one opens, all of them or none seal.

mod common;

use std::sync::Arc;
use std::time::Instant;

use anchorhold_envelope::bucket::MARKER;
use anchorhold_envelope::keyring::{Keyrings, MAX_UNWRAP_ATTEMPTS, SharedKeyring};
use anchorhold_envelope::materials::EncryptionMaterials;
use anchorhold_envelope::{EncryptedDataKey, EncryptionContext, Suite};
use common::kms::Kms;

fn keyrings(members: &[&Kms]) -> Keyrings {
    let shared = |kms: &&Kms| Arc::new(Kms::clone(kms)) as SharedKeyring;
    Keyrings::new(members.iter().map(shared).collect()).unwrap()
}

#[test]
fn any_one_of_the_owners_opens() {
    let now = Instant::now();
    let owners = ["a", "b", "c"].map(Kms::new);
    let all = keyrings(&owners.each_ref());
    let context = common::context();
    let (key, keys) = all.generate(&context, now).unwrap();
    assert_eq!(keys.len(), 3);
    assert_eq!(owners[0].calls(), (1, 0, 0));
    assert_eq!(owners[2].calls(), (0, 1, 0));
    for owner in &owners {
        let one = keyrings(&[owner]);
        let released = one.release(&keys, &context, now).unwrap();
        assert!(released.expose() == key.expose());
        assert_eq!(owner.calls().2, 1, "only its own wrapped key was tried");
        let other = EncryptionContext::from_pairs([("purpose", "other")]).unwrap();
        let refusal = one.release(&keys, &other, now).err().unwrap();
        assert_eq!(refusal.rule(), "kms.AccessDeniedException");
    }
    // One that refuses does not hinder the next.
    owners[0].close(true);
    let two = keyrings(&[&owners[0], &owners[1]]);
    assert!(two.release(&keys, &context, now).unwrap().expose() == key.expose());
}

#[test]
fn an_owner_who_refuses_stops_the_sealing() {
    let now = Instant::now();
    let owners = ["a", "b"].map(Kms::new);
    owners[1].close(true);
    let refusal = keyrings(&owners.each_ref()).generate(&common::context(), now);
    assert_eq!(refusal.err().unwrap().rule(), "kms.AccessDeniedException");
}

#[test]
fn what_is_nobodys_is_asked_of_nobody() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let others = [
        EncryptedDataKey::aws_kms("arn:aws:kms:us-east-1:1:key/z", b"w".to_vec()).unwrap(),
        EncryptedDataKey::new("raw", kms.arn().as_bytes(), b"w".to_vec()).unwrap(),
        EncryptedDataKey::new("aws-kms", [0xff], b"w".to_vec()).unwrap(),
    ];
    let refusal = keyrings(&[&kms]).release(&others, &common::context(), now);
    assert_eq!(refusal.err().unwrap().rule(), "keyring.none");
    assert_eq!(kms.calls(), (0, 0, 0));
}

#[test]
fn a_header_full_of_wrapped_keys_costs_few_calls() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let context = common::context();
    let (key, good) = keyrings(&[&kms]).generate(&context, now).unwrap();
    let bad = EncryptedDataKey::aws_kms(kms.arn(), b"of nobody".to_vec()).unwrap();
    let mut keys = vec![bad; 63];
    keys.extend(good.clone());
    let refusal = keyrings(&[&kms])
        .release(&keys, &context, now)
        .err()
        .unwrap();
    assert_eq!(refusal.rule(), "keyring.refused");
    assert!(
        refusal.to_string().contains("56 more were not tried"),
        "{refusal}"
    );
    assert_eq!(kms.calls().2, MAX_UNWRAP_ATTEMPTS as u64);
    // Within the bound it is found.
    let keys = [&keys[..MAX_UNWRAP_ATTEMPTS - 1], &good].concat();
    let released = keyrings(&[&kms]).release(&keys, &context, now).unwrap();
    assert!(released.expose() == key.expose());
    let none = keyrings(&[&kms]).with_attempts(0);
    assert_eq!(
        none.release(&keys, &context, now).err().unwrap().rule(),
        "keyring.refused"
    );
}

#[test]
fn no_message_has_the_context_of_a_bucket_key() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let context = EncryptionContext::from_pairs([(MARKER, "1")]).unwrap();
    let all = keyrings(&[&kms]);
    assert_eq!(
        all.generate(&context, now).err().unwrap().rule(),
        "bucket.marker"
    );
    let refusal = EncryptionMaterials::generate(&all, Suite::Committed, context.clone(), now);
    assert_eq!(refusal.err().unwrap().rule(), "bucket.marker");
    let refusal = all.release(&[common::wrapped()], &context, now);
    assert_eq!(refusal.err().unwrap().rule(), "bucket.marker");
    assert_eq!(kms.calls(), (0, 0, 0));
}

#[test]
fn no_keyrings_and_too_many_are_refused() {
    assert_eq!(
        Keyrings::new(Vec::new()).err().unwrap().rule(),
        "keyring.count"
    );
    let one: SharedKeyring = Arc::new(Kms::new("a"));
    assert!(Keyrings::new(vec![one.clone(); 64]).is_ok());
    assert_eq!(
        Keyrings::new(vec![one; 65]).err().unwrap().rule(),
        "keyring.count"
    );
}
