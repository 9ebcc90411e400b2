//! Opens arbitrary bytes as a data key under a bucket key, and counts arbitrary bytes as a message: as
//! they come, and in the middle of a good one.
//!
//! Whatever comes, nothing panics, a wrapped key that was changed does not open, and an outline
//! counts no more plaintext than there are bytes.
#![no_main]

use std::io::Write;
use std::sync::LazyLock;
use std::time::Instant;

use anchorhold_envelope::bucket::{
    BUCKET_PROVIDER, BucketKeyring, BucketPolicy, WrappedBucketKey,
};
use anchorhold_envelope::keyring::{Keyring, KeyringError};
use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::{
    DataKey, EncryptedDataKey, EncryptionContext, Outline, SealPlan, Suite,
};
use libfuzzer_sys::fuzz_target;

const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/a";

/// A KMS that gives the one bucket key for whatever blob: the worst one for what is tested.
struct Kms;

impl Keyring for Kms {
    fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        let key = DataKey::from_bytes(&[7; 32])?;
        let wrapped = self.wrap(&key, context, now)?;
        Ok((key, wrapped))
    }

    fn wrap(
        &self,
        _: &DataKey,
        _: &EncryptionContext,
        _: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        Ok(EncryptedDataKey::aws_kms(ARN, *b"blob")?)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        key.kms_key_arn() == Some(ARN)
    }

    fn unwrap(
        &self,
        _: &EncryptedDataKey,
        _: &EncryptionContext,
        _: Instant,
    ) -> Result<DataKey, KeyringError> {
        Ok(DataKey::from_bytes(&[7; 32])?)
    }
}

static BUCKET: LazyLock<BucketKeyring<Kms>> = LazyLock::new(|| {
    let made = BucketKeyring::new(Kms, EncryptionContext::empty(), BucketPolicy::default());
    made.expect("a bucket")
});

static GOOD: LazyLock<EncryptedDataKey> = LazyLock::new(|| {
    let made = BUCKET.generate(&EncryptionContext::empty(), Instant::now());
    made.expect("a wrapped key").1
});

/// A message of two frames, under the wrapped key.
static MESSAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let plan = SealPlan::new(Suite::CommittedSigned, EncryptionContext::empty()).expect("a plan");
    let plan = plan.with_frame_length(16).expect("frames of 16 bytes");
    let key = DataKey::from_bytes(&[7; 32]).expect("32 bytes");
    let mut sealer = plan.seal_to(Vec::new(), &key, vec![GOOD.clone()]).expect("a header");
    sealer.write_all(b"more than sixteen bytes").expect("two frames");
    let message = sealer.finish().expect("a message").0;
    let outline = Outline::read(&message[..], Limits::default()).expect("its outline");
    assert_eq!(outline.plaintext_length(), 23, "the good message is good");
    message
});

fn open(bytes: &[u8]) {
    let Ok(key) = EncryptedDataKey::new(BUCKET_PROVIDER, ARN.as_bytes(), bytes) else {
        return;
    };
    let opened = BUCKET.unwrap(&key, &EncryptionContext::empty(), Instant::now());
    assert_eq!(opened.is_ok(), key == *GOOD, "another wrapped key opened");
    assert_eq!(BUCKET.names(&key), WrappedBucketKey::parse(&key).is_ok());
}

fn count(bytes: &[u8]) {
    if let Ok(outline) = Outline::read(bytes, Limits::default()) {
        assert!(outline.plaintext_length() < bytes.len() as u64);
    }
}

fuzz_target!(|bytes: &[u8]| {
    open(bytes);
    count(bytes);
    // Where to cut, how much to leave out, and what to put there.
    if let [high, low, cut, insert @ ..] = bytes {
        let damaged = |good: &[u8]| {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % good.len();
            let rest = good.get(at + usize::from(*cut)..).unwrap_or_default();
            [&good[..at], insert, rest].concat()
        };
        open(&damaged(GOOD.ciphertext()));
        count(&damaged(&MESSAGE));
    }
});
