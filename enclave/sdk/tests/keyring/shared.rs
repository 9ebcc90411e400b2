//! Keys that serve several messages in an enclave: bucket keys, and data keys from a cache.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anchorhold_envelope::bucket::{BucketKeyring, BucketPolicy};
use anchorhold_envelope::keyring::Keyrings;
use anchorhold_envelope::materials::{
    CacheLimits, Caching, EncryptionMaterials, LocalCache, Partition,
};
use anchorhold_envelope::{ContextRule, EncryptionContext, Suite, UnverifiedMessage};
use serde_json::json;

use crate::world::{Attested, PRIOR, USER_DATA, context, world};

const HOUR: Duration = Duration::from_secs(3600);

fn tenant() -> EncryptionContext {
    EncryptionContext::from_pairs([("tenant", "blue")]).unwrap()
}

/// A key that is released once.
fn key_for_one_release() -> String {
    world().key(&[
        ("StringEquals", json!({USER_DATA: "c0".repeat(48)})),
        ("NumericLessThan", json!({PRIOR: "1"})),
    ])
}

fn enclave(key_arn: &str) -> Attested {
    world().enclave(key_arn, 1).with_user_data([0xc0; 48])
}

fn seal(materials: &EncryptionMaterials, text: &[u8]) -> Vec<u8> {
    let plan = materials.plan().unwrap();
    let keys = materials.encrypted_data_keys().to_vec();
    let mut sealer = plan
        .seal_to(Vec::new(), materials.data_key(), keys)
        .unwrap();
    sealer.write_all(text).unwrap();
    sealer.finish().unwrap().0
}

/// Opens a message, or says which rule refused its key.
fn open(caching: &Caching, message: &[u8], now: Instant) -> Result<Vec<u8>, &'static str> {
    let begun = UnverifiedMessage::begin(message).unwrap();
    let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
    let data_key = caching
        .decryption(begun.suite(), keys, context, now)
        .map_err(|error| error.rule())?;
    let rule = ContextRule::AtLeast(tenant());
    let opener = begun.authenticate(&data_key, &rule).unwrap();
    let mut out = opener.unreleased(Vec::new());
    let verified = opener.open_into(&mut out).unwrap();
    Ok(out.release(&verified).unwrap())
}

fn caching(keyrings: Keyrings) -> Caching {
    let cache = Arc::new(Mutex::new(LocalCache::new(10).unwrap()));
    let limits = CacheLimits::of_age(HOUR);
    Caching::new(keyrings, cache, limits, Partition::named("test")).unwrap()
}

/// The KMS lets one release through: that the others open shows that it was not asked.
#[test]
fn a_cached_data_key_is_released_once_and_no_longer_than_its_time() {
    let arn = key_for_one_release();
    let owner = caching(Keyrings::of(world().owner_keyring(&arn)));
    let now = Instant::now();
    let sealed: Vec<_> = (0..3_u8)
        .map(|number| {
            let made = owner.encryption(Suite::CommittedSigned, &context("1"), Some(1), now);
            seal(&made.unwrap(), &[number])
        })
        .collect();
    let here = caching(Keyrings::of(enclave(&arn)));
    for (number, message) in (0..).zip(&sealed) {
        assert_eq!(open(&here, message, now).unwrap(), [number]);
    }
    assert_eq!(open(&here, &sealed[0], now + HOUR).unwrap(), [0]);
    let later = now + HOUR + Duration::from_nanos(1);
    assert_eq!(open(&here, &sealed[0], later), Err("kms.refused"));
}

#[test]
fn a_bucket_key_is_released_once_for_its_messages_and_no_longer_than_its_time() {
    let arn = key_for_one_release();
    let bucket = |keyring| BucketKeyring::new(keyring, tenant(), BucketPolicy::default());
    let owner = Keyrings::of(bucket(Arc::new(world().owner_keyring(&arn))).unwrap());
    let now = Instant::now();
    let sealed: Vec<_> = (0..3_u8)
        .map(|number| {
            let context = context(&number.to_string());
            let made = EncryptionMaterials::generate(&owner, Suite::Committed, context, now);
            seal(&made.unwrap(), &[number])
        })
        .collect();
    let here = BucketKeyring::new(Arc::new(enclave(&arn)), tenant(), BucketPolicy::default());
    let here = Arc::new(here.unwrap());
    // No cache of data keys helps here: each message has one of its own.
    let opening = caching(Keyrings::of(Arc::clone(&here)));
    for (number, message) in (0..).zip(&sealed) {
        assert_eq!(open(&opening, message, now).unwrap(), [number]);
    }
    let fresh = caching(Keyrings::of(here));
    let almost = now + HOUR - Duration::from_nanos(1);
    assert_eq!(open(&fresh, &sealed[1], almost).unwrap(), [1]);
    assert_eq!(open(&fresh, &sealed[2], now + HOUR), Err("kms.refused"));
}

/// Keyrings are shared between threads, also the ones of real enclaves.
#[test]
fn many_threads_share_one_enclaves_keyring() {
    fn shared<T: Send + Sync>() {}
    shared::<
        anchorhold_enclave::keyring::AttestedKeyring<
            anchorhold_enclave::transport::Vsock,
            anchorhold_enclave_sys::nsm::NsmDevice,
        >,
    >();
    let arn = world().key(&[]);
    let now = Instant::now();
    let owner = caching(Keyrings::of(world().owner_keyring(&arn)));
    let made = owner.encryption(Suite::Committed, &context("1"), None, now);
    let message = seal(&made.unwrap(), b"text");
    let keyrings = Keyrings::of(world().enclave(&arn, 1));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // Each asks for itself: nonce, document and answer are its own.
            let (keyrings, message) = (keyrings.clone(), &message);
            scope.spawn(move || {
                assert_eq!(open(&caching(keyrings), message, now).unwrap(), b"text");
            });
        }
    });
}
