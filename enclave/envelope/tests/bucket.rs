//! Bucket keys: bounds, binding, and the format.

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use anchorhold_envelope::bucket::{
    BUCKET_PROVIDER, BucketKeyring, BucketPolicy, MARKER, WrappedBucketKey,
};
use anchorhold_envelope::keyring::{Keyring, Keyrings};
use anchorhold_envelope::materials::EncryptionMaterials;
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, EncryptionContext, Suite, UnverifiedMessage,
};
use common::kms::Kms;
use common::{PROVIDERS, SUITES};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn tenant() -> EncryptionContext {
    EncryptionContext::from_pairs([("tenant", "blue")]).unwrap()
}

/// An object's context: the bucket's and its own.
fn object(name: &str) -> EncryptionContext {
    EncryptionContext::from_pairs([("tenant", "blue"), ("object", name)]).unwrap()
}

fn policy() -> BucketPolicy {
    BucketPolicy {
        max_age: MINUTE,
        max_messages: 3,
        capacity: 2,
    }
}

fn bucket(kms: &Kms) -> BucketKeyring<Kms> {
    BucketKeyring::new(kms.clone(), tenant(), policy()).unwrap()
}

#[test]
fn a_bucket_key_serves_its_messages_and_its_time() {
    let (kms, start) = (Kms::new("a"), Instant::now());
    let bucket = bucket(&kms);
    let seal = |calls, after| {
        bucket.generate(&object("1"), start + after).unwrap();
        assert_eq!(kms.calls(), (calls, 0, 0));
    };
    for calls in [1, 1, 1, 2, 2, 2, 3] {
        seal(calls, Duration::ZERO);
    }
    seal(3, MINUTE - Duration::from_nanos(1));
    seal(4, MINUTE);
    seal(4, 2 * MINUTE - Duration::from_nanos(1));
    bucket.forget();
    seal(5, MINUTE);
    for context in kms.contexts() {
        let pairs: Vec<_> = context.iter().collect();
        assert_eq!(pairs, [(MARKER, "1"), ("tenant", "blue")]);
    }
}

#[test]
fn a_refusal_when_the_time_is_over_leaves_no_bucket_key() {
    let (kms, start) = (Kms::new("a"), Instant::now());
    let bucket = bucket(&kms);
    bucket.generate(&object("1"), start).unwrap();
    kms.close(true);
    bucket.generate(&object("1"), start).unwrap();
    for after in [MINUTE, Duration::ZERO] {
        let refusal = bucket.generate(&object("1"), start + after).err().unwrap();
        assert_eq!(refusal.rule(), "kms.AccessDeniedException");
    }
}

#[test]
fn opening_asks_once_for_each_bucket_key_and_time() {
    let (kms, start) = (Kms::new("a"), Instant::now());
    let sealing = bucket(&kms);
    let wrap = |name| sealing.generate(&object(name), start).unwrap();
    let keys: Vec<_> = ["1", "2", "3", "4", "5", "6", "7"].map(wrap).into();
    assert_eq!(kms.calls(), (3, 0, 0));
    let opening = bucket(&kms);
    let open = |at: usize, after, calls| {
        let (key, wrapped) = &keys[at];
        let name = (at + 1).to_string();
        let opened = opening
            .unwrap(wrapped, &object(&name), start + after)
            .unwrap();
        assert!(opened.expose() == key.expose());
        assert_eq!(kms.calls().2, calls, "message {at}");
    };
    let now = Duration::ZERO;
    for (at, calls) in [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (0, 2),
        (6, 3),
        (0, 3),
        (3, 4),
    ] {
        open(at, now, calls);
    }
    // Released 60 s ago is too long ago.
    open(3, MINUTE - Duration::from_nanos(1), 4);
    open(3, MINUTE, 5);
    // What was revoked stays open for the time, and no longer.
    kms.close(true);
    open(4, MINUTE, 5);
    let refusal = opening.unwrap(&keys[4].1, &object("5"), start + 2 * MINUTE);
    assert_eq!(refusal.err().unwrap().rule(), "kms.AccessDeniedException");
}

#[test]
fn a_wrapped_key_is_bound_to_its_context() {
    let (kms, now) = (Kms::new("a"), Instant::now());
    let bucket = bucket(&kms);
    let (_, wrapped) = bucket.generate(&object("1"), now).unwrap();
    let rule = |context: &EncryptionContext| bucket.unwrap(&wrapped, context, now).err();
    assert_eq!(rule(&object("2")).unwrap().rule(), "bucket.tag");
    assert_eq!(rule(&tenant()).unwrap().rule(), "bucket.tag");
    let red = EncryptionContext::from_pairs([("tenant", "red"), ("object", "1")]).unwrap();
    assert_eq!(rule(&red).unwrap().rule(), "bucket.context");
    assert_eq!(
        rule(&EncryptionContext::empty()).unwrap().rule(),
        "bucket.context"
    );
    let refusal = bucket.generate(&red, now).err().unwrap();
    assert_eq!(refusal.rule(), "bucket.context");
    let marked = [("tenant", "blue"), (MARKER, "1")];
    let marked = EncryptionContext::from_pairs(marked).unwrap();
    assert_eq!(rule(&marked).unwrap().rule(), "bucket.marker");
    assert_eq!(kms.calls(), (1, 0, 1));
    let refusal = BucketKeyring::new(kms, marked, policy());
    assert_eq!(refusal.err().unwrap().rule(), "bucket.marker");
}

#[test]
fn every_single_bit_flip_and_truncation_of_a_wrapped_key_is_refused() {
    for provider in PROVIDERS {
        let (kms, now) = (Kms::new("a"), Instant::now());
        let bucket = bucket(&kms).with_provider(provider);
        let (_, good) = bucket.generate(&object("1"), now).unwrap();
        assert!(bucket.unwrap(&good, &object("1"), now).is_ok());
        let refused = |info: &[u8], bytes: &[u8]| {
            let Ok(changed) = EncryptedDataKey::new(BUCKET_PROVIDER, info, bytes) else {
                return;
            };
            assert!(changed != good);
            assert!(bucket.unwrap(&changed, &object("1"), now).is_err());
        };
        let (info, mut bytes) = (good.provider_info(), good.ciphertext().to_vec());
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            refused(info, &bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..bytes.len() {
            refused(info, &bytes[..length]);
        }
        refused(info, &[&bytes[..], &[0]].concat());
        refused(b"arn:aws:kms:us-east-1:111122223333:key/b", &bytes);
        refused(b"", &bytes);
        refused(&[0xff], &bytes);
    }
}

#[test]
fn a_bucket_key_is_no_data_key() {
    let (kms, now) = (Kms::new("a"), Instant::now());
    let bucket = bucket(&kms);
    let (_, wrapped) = bucket.generate(&object("1"), now).unwrap();
    let wrapped = WrappedBucketKey::parse(&wrapped).unwrap();
    assert_eq!(wrapped.key_arn(), kms.arn());
    let as_data_key = [wrapped.bucket_key().unwrap()];
    let plain = Keyrings::of(kms.clone());
    for context in [tenant(), kms.contexts().remove(0)] {
        assert!(plain.release(&as_data_key, &context, now).is_err());
    }
    assert!(!bucket.names(&as_data_key[0]));
}

#[test]
fn other_keys_are_refused_by_name() {
    let now = Instant::now();
    struct Raw;
    impl Keyring for Raw {
        fn generate(
            &self,
            context: &EncryptionContext,
            now: Instant,
        ) -> Result<(DataKey, EncryptedDataKey), anchorhold_envelope::keyring::KeyringError>
        {
            let key = DataKey::generate()?;
            let wrapped = self.wrap(&key, context, now)?;
            Ok((key, wrapped))
        }
        fn wrap(
            &self,
            _: &DataKey,
            _: &EncryptionContext,
            _: Instant,
        ) -> Result<EncryptedDataKey, anchorhold_envelope::keyring::KeyringError> {
            Ok(EncryptedDataKey::new("raw", *b"key", *b"wrapped")?)
        }
        fn names(&self, _: &EncryptedDataKey) -> bool {
            false
        }
        fn unwrap(
            &self,
            _: &EncryptedDataKey,
            _: &EncryptionContext,
            _: Instant,
        ) -> Result<DataKey, anchorhold_envelope::keyring::KeyringError> {
            Err(anchorhold_envelope::keyring::KeyringError::CannotUnwrap)
        }
    }
    let raw = BucketKeyring::new(Raw, tenant(), policy()).unwrap();
    let refusal = raw.generate(&object("1"), now).err().unwrap();
    assert_eq!(refusal.rule(), "bucket.provider");
    let refusal = raw
        .unwrap(&common::wrapped(), &object("1"), now)
        .err()
        .unwrap();
    assert_eq!(refusal.rule(), "bucket.provider");
}

#[test]
fn policies_without_bounds_are_refused() {
    let zero = Duration::ZERO;
    let day = Duration::from_secs(24 * 60 * 60);
    let refused = |max_age, max_messages, capacity| {
        let policy = BucketPolicy {
            max_age,
            max_messages,
            capacity,
        };
        let made = BucketKeyring::new(Kms::new("a"), tenant(), policy);
        made.err().map(|error| error.rule())
    };
    assert_eq!(refused(day, 1 << 32, 1024), None);
    for (age, messages, capacity) in [
        (zero, 1, 1),
        (day + Duration::from_nanos(1), 1, 1),
        (day, 0, 1),
        (day, (1 << 32) + 1, 1),
        (day, 1, 0),
        (day, 1, 1025),
    ] {
        assert_eq!(refused(age, messages, capacity), Some("bucket.policy"));
    }
}

#[test]
fn messages_with_bucket_keys_open_for_each_owner() {
    let now = Instant::now();
    let (one, two) = (Kms::new("a"), Kms::new("b"));
    for suite in SUITES {
        let ours = std::sync::Arc::new(bucket(&one));
        let theirs = std::sync::Arc::new(two.clone());
        let all = Keyrings::new(vec![ours, theirs]).unwrap();
        let made = EncryptionMaterials::generate(&all, suite, object("1"), now).unwrap();
        let keys = made.encrypted_data_keys().to_vec();
        let plan = made.plan().unwrap();
        let mut sealer = plan.seal_to(Vec::new(), made.data_key(), keys).unwrap();
        sealer.write_all(b"for both").unwrap();
        let message = sealer.finish().unwrap().0;
        for keyrings in [Keyrings::of(bucket(&one)), Keyrings::of(two.clone())] {
            let begun = UnverifiedMessage::begin(&message[..]).unwrap();
            let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
            let data_key = keyrings.release(keys, context, now).unwrap();
            let rule = ContextRule::Exactly(object("1"));
            let opener = begun.authenticate(&data_key, &rule).unwrap();
            let mut out = opener.unreleased(Vec::new());
            let verified = opener.open_into(&mut out).unwrap();
            assert_eq!(out.release(&verified).unwrap(), b"for both");
        }
    }
    assert_eq!(Suite::Committed.id(), 0x0478);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_open(
        info in "\\PC{0,40}",
        mut bytes in proptest::collection::vec(any::<u8>(), 1..300),
        versioned in any::<bool>(),
    ) {
        if versioned {
            bytes[0] = 1;
        }
        let (kms, now) = (Kms::new("a"), Instant::now());
        let bucket = bucket(&kms);
        let key = EncryptedDataKey::new(BUCKET_PROVIDER, info.as_bytes(), bytes).unwrap();
        prop_assert!(bucket.unwrap(&key, &object("1"), now).is_err());
        if let Ok(parsed) = WrappedBucketKey::parse(&key) {
            prop_assert_eq!(parsed.key_arn(), info);
            prop_assert!(parsed.bucket_key().is_ok());
        }
        prop_assert!(!bucket.names(&key));
    }

    #[test]
    fn what_is_wrapped_opens_again(name in "\\PC{0,40}", key in any::<[u8; 32]>(), both in any::<bool>()) {
        let (kms, now) = (Kms::new("a"), Instant::now());
        let data_key = DataKey::from_bytes(&key).unwrap();
        let sealing = bucket(&kms).with_provider(PROVIDERS[usize::from(both)]);
        let wrapped = sealing.wrap(&data_key, &object(&name), now).unwrap();
        let opening = bucket(&kms).with_provider(PROVIDERS[usize::from(!both)]);
        prop_assert!(opening.names(&wrapped));
        let opened = opening.unwrap(&wrapped, &object(&name), now).unwrap();
        prop_assert!(opened.expose() == &key);
        prop_assert!(kms.calls() == (1, 0, 1));
    }
}
