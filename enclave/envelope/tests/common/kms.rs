//! A KMS in the process, that counts its calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anchorhold_envelope::keyring::{Keyring, KeyringError};
use anchorhold_envelope::{DataKey, EncryptedDataKey, EncryptionContext};

/// One key. Blobs are numbers of a list, each with the context that it was made under.
#[derive(Clone, Default)]
pub struct Kms(Arc<Inner>);

#[derive(Default)]
struct Inner {
    arn: String,
    blobs: Mutex<Vec<(DataKey, EncryptionContext)>>,
    generated: AtomicU64,
    wrapped: AtomicU64,
    unwrapped: AtomicU64,
    closed: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("the test's KMS refuses")]
pub struct Refused;

fn refused() -> KeyringError {
    KeyringError::provider("kms.AccessDeniedException", Refused)
}

impl Kms {
    pub fn new(name: &str) -> Self {
        let arn = format!("arn:aws:kms:us-east-1:111122223333:key/{name}");
        Self(Arc::new(Inner {
            arn,
            ..Inner::default()
        }))
    }

    pub fn arn(&self) -> &str {
        &self.0.arn
    }

    /// From now on everything is refused, or not.
    pub fn close(&self, closed: bool) {
        self.0.closed.store(closed, Ordering::Relaxed);
    }

    /// Calls that generate, wrap and unwrap.
    pub fn calls(&self) -> (u64, u64, u64) {
        let [a, b, c] = [&self.0.generated, &self.0.wrapped, &self.0.unwrapped]
            .map(|count| count.load(Ordering::Relaxed));
        (a, b, c)
    }

    /// The contexts that blobs were made under.
    pub fn contexts(&self) -> Vec<EncryptionContext> {
        let blobs = self.0.blobs.lock().unwrap();
        blobs.iter().map(|(_, context)| context.clone()).collect()
    }

    fn count(&self, counter: &AtomicU64) -> Result<(), KeyringError> {
        counter.fetch_add(1, Ordering::Relaxed);
        match self.0.closed.load(Ordering::Relaxed) {
            true => Err(refused()),
            false => Ok(()),
        }
    }

    fn keep(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let mut blobs = self.0.blobs.lock().unwrap();
        blobs.push((key.clone(), context.clone()));
        let blob = format!("blob {} of {}", blobs.len() - 1, self.arn());
        Ok(EncryptedDataKey::aws_kms(self.arn(), blob)?)
    }
}

impl Keyring for Kms {
    fn generate(
        &self,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        self.count(&self.0.generated)?;
        let key = DataKey::generate()?;
        let wrapped = self.keep(&key, context)?;
        Ok((key, wrapped))
    }

    fn wrap(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        self.count(&self.0.wrapped)?;
        self.keep(key, context)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        key.kms_key_arn() == Some(self.arn())
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<DataKey, KeyringError> {
        self.count(&self.0.unwrapped)?;
        let text = core::str::from_utf8(key.ciphertext()).map_err(|_| refused())?;
        let number = text.strip_prefix("blob ").and_then(|t| t.split_once(' '));
        let number: usize = number
            .filter(|(_, of)| *of == format!("of {}", self.arn()))
            .and_then(|(number, _)| number.parse().ok())
            .ok_or_else(refused)?;
        let blobs = self.0.blobs.lock().unwrap();
        let found = blobs.get(number).filter(|(_, made)| made == context);
        found.map(|(key, _)| key.clone()).ok_or_else(refused)
    }
}
