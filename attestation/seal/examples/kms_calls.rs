//! KMS calls and time for each object: a data key for each, data keys from a cache, bucket keys.
//!
//! ```text
//! cargo run --release -p anchorhold-seal --example kms_calls -- [OBJECTS] [BYTES]
//! ```
//!
//! Prints one JSON object. `in_process` counts the calls of a key source in the process; `kms` asks
//! Anchorhold's KMS over TLS, in the same process, with at most 200 objects without a cache.
//! Periods are those of the defaults: an hour, and for the cache 1000 messages.

#[path = "../tests/common/mod.rs"]
mod common;

use std::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anchorhold_enclave::keyring::KmsKeyring;
use anchorhold_envelope::bucket::{BucketKeyring, BucketPolicy};
use anchorhold_envelope::keyring::{Keyring, KeyringError, Keyrings};
use anchorhold_envelope::materials::{
    CacheLimits, Caching, EncryptionMaterials, LocalCache, MAX_BYTES_PER_KEY, Partition,
};
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, EncryptionContext, Suite, UnverifiedMessage,
};
use anchorhold_seal::source::Counted;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

const SUITE: Suite = Suite::CommittedSigned;

/// A key source that wraps nothing: its blobs are numbers of a list.
#[derive(Default)]
struct InProcess(Mutex<Vec<DataKey>>);

impl Keyring for InProcess {
    fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        let key = DataKey::generate()?;
        let wrapped = self.wrap(&key, context, now)?;
        Ok((key, wrapped))
    }

    fn wrap(
        &self,
        key: &DataKey,
        _: &EncryptionContext,
        _: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let mut keys = self.0.lock().map_err(|_| KeyringError::CannotWrap)?;
        keys.push(key.clone());
        let blob = (keys.len() - 1).to_be_bytes();
        Ok(EncryptedDataKey::aws_kms(
            "arn:aws:kms:us-east-1:111122223333:key/a",
            blob,
        )?)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        key.kms_key_arn().is_some()
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        _: &EncryptionContext,
        _: Instant,
    ) -> Result<DataKey, KeyringError> {
        let keys = self.0.lock().map_err(|_| KeyringError::CannotUnwrap)?;
        let number = key.ciphertext().try_into().map(usize::from_be_bytes).ok();
        let found = number.and_then(|number| keys.get(number)).cloned();
        found.ok_or(KeyringError::CannotUnwrap)
    }
}

/// How materials are come by.
enum Way {
    Each(Keyrings),
    Cached(Caching),
}

impl Way {
    fn seal(&self, context: &EncryptionContext, text: &[u8]) -> Outcome<Vec<u8>> {
        let now = Instant::now();
        let made = match self {
            Self::Each(keys) => EncryptionMaterials::generate(keys, SUITE, context.clone(), now)?,
            Self::Cached(cache) => {
                cache.encryption(SUITE, context, Some(text.len() as u64), now)?
            }
        };
        let keys = made.encrypted_data_keys().to_vec();
        let mut sealer = made.plan()?.seal_to(Vec::new(), made.data_key(), keys)?;
        sealer.write_all(text)?;
        Ok(sealer.finish()?.0)
    }

    fn open(&self, context: &EncryptionContext, message: &[u8]) -> Outcome<Vec<u8>> {
        let now = Instant::now();
        let begun = UnverifiedMessage::begin(message)?;
        let (keys, claimed) = (begun.encrypted_data_keys(), begun.encryption_context());
        let key = match self {
            Self::Each(keyrings) => keyrings.release(keys, claimed, now)?,
            Self::Cached(cache) => cache.decryption(SUITE, keys, claimed, now)?,
        };
        let opener = begun.authenticate(&key, &ContextRule::Exactly(context.clone()))?;
        let mut out = opener.unreleased(Vec::new());
        let verified = opener.open_into(&mut out)?;
        Ok(out.release(&verified)?)
    }
}

/// Seals and opens so many objects one way, and tells calls and time of each object.
fn measure(calls: &AtomicU64, way: &Way, objects: u32, text: &[u8]) -> Outcome<Value> {
    let context = EncryptionContext::from_pairs([("tenant", "blue")])?;
    let start = Instant::now();
    let sealed: Result<Vec<_>, _> = (0..objects).map(|_| way.seal(&context, text)).collect();
    let (sealed, seal_time) = (sealed?, start.elapsed());
    let seal_calls = calls.swap(0, Ordering::Relaxed);
    let start = Instant::now();
    for message in &sealed {
        if way.open(&context, message)? != text {
            return Err("an object opened as another".into());
        }
    }
    let open_time = start.elapsed();
    let open_calls = calls.swap(0, Ordering::Relaxed);
    let each = |time: Duration| round(time.as_secs_f64() * 1e6 / f64::from(objects));
    let calls = seal_calls + open_calls;
    let fewer = 100.0 * (1.0 - calls as f64 / (2.0 * f64::from(objects)));
    Ok(json!({
        "objects": objects,
        "seal_calls": seal_calls,
        "open_calls": open_calls,
        "percent_fewer_calls": (fewer * 1000.0).round() / 1000.0,
        "seal_microseconds_per_object": each(seal_time),
        "open_microseconds_per_object": each(open_time),
    }))
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The three ways over one key source.
fn ways<K>(keyring: K, objects: u32, most: u32, text: &[u8]) -> Outcome<Value>
where
    K: Keyring + Send + Sync + 'static,
{
    let calls = Arc::new(AtomicU64::new(0));
    let kms = Arc::new(Counted::new(keyring, Arc::clone(&calls)));
    let each = Way::Each(Keyrings::of(Arc::clone(&kms)));
    let limits = CacheLimits {
        max_age: Duration::from_secs(3600),
        max_messages: 1000,
        max_bytes: MAX_BYTES_PER_KEY,
    };
    let cache = Arc::new(Mutex::new(LocalCache::new(100)?));
    let partition = Partition::named("bench");
    let cached = Caching::new(Keyrings::of(Arc::clone(&kms)), cache, limits, partition)?;
    let bucket = EncryptionContext::from_pairs([("tenant", "blue")])?;
    let bucket = BucketKeyring::new(Arc::clone(&kms), bucket, BucketPolicy::default())?;
    Ok(json!({
        "each": measure(&calls, &each, objects.min(most), text)?,
        "cached": measure(&calls, &Way::Cached(cached), objects, text)?,
        "bucket": measure(&calls, &Way::Each(Keyrings::of(bucket)), objects, text)?,
    }))
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let objects: u32 = arguments.next().map_or(Ok(2000), |text| text.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    if objects == 0 {
        return Err("expected at least one object".into());
    }
    let text = vec![7; bytes];
    let in_process = ways(InProcess::default(), objects, objects, &text)?;
    let owner = common::Owner::new();
    let keyring = KmsKeyring::new(owner.client(), owner.key_arn.clone());
    let kms = ways(keyring, objects, 200, &text)?;
    let said = json!({"bytes": bytes, "in_process": in_process, "kms": kms});
    println!("{said}");
    Ok(())
}
