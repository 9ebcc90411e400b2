//! A cache of materials in memory, bounded by a number of entries.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::key::CACHE_KEY_LENGTH;
use super::{EncryptionMaterials, MaterialsError};
use crate::derive::DataKey;

/// Most entries of one cache: each holds a data key in memory.
pub const MAX_CACHE_CAPACITY: usize = 1 << 20;

pub(super) type CacheKey = [u8; CACHE_KEY_LENGTH];

/// Materials for sealing and opening, at most `capacity` of both together; the least recently used
/// entry goes first.
///
/// An entry counts what it was used for; the bounds are its users' ([`Caching`](super::Caching)),
/// who may have different ones. So the counting is the cache's and comes before the use: an entry
/// that is asked for has been used, whether its user then takes it or not.
pub struct LocalCache {
    capacity: usize,
    entries: HashMap<CacheKey, Entry>,
    /// Grows with each use; what an entry was last used at orders them.
    uses: u64,
}

pub(super) struct Entry {
    pub value: Value,
    pub made: Instant,
    pub messages: u64,
    pub bytes: u64,
    lifetime: Duration,
    used: u64,
}

/// What an entry holds.
#[derive(Clone)]
pub(super) enum Value {
    Encryption(Box<EncryptionMaterials>),
    Decryption(DataKey),
}

impl LocalCache {
    /// An empty cache.
    ///
    /// # Errors
    /// [`MaterialsError::Limit`]: no entries, or more than [`MAX_CACHE_CAPACITY`].
    pub fn new(capacity: usize) -> Result<Self, MaterialsError> {
        if capacity == 0 || capacity > MAX_CACHE_CAPACITY {
            return Err(MaterialsError::Limit {
                field: "capacity",
                least: 1,
                most: MAX_CACHE_CAPACITY as u64,
                found: capacity as u64,
            });
        }
        Ok(Self {
            capacity,
            entries: HashMap::new(),
            uses: 0,
        })
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Counts one message of so many bytes on an entry, and gives it.
    pub(super) fn use_for_message(&mut self, key: &CacheKey, bytes: u64) -> Option<&Entry> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        entry.messages = entry.messages.saturating_add(1);
        entry.bytes = entry.bytes.saturating_add(bytes);
        Some(entry)
    }

    /// Gives an entry for opening, which is not counted.
    pub(super) fn use_for_opening(&mut self, key: &CacheKey) -> Option<&Entry> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry)
    }

    /// Puts an entry in, with its first message counted where it is for sealing, and makes room:
    /// first of what is too old, then of what was used least recently.
    pub(super) fn put(
        &mut self,
        key: CacheKey,
        value: Value,
        bytes: Option<u64>,
        made: Instant,
        lifetime: Duration,
    ) {
        self.uses += 1;
        self.entries
            .retain(|_, entry| made.saturating_duration_since(entry.made) <= entry.lifetime);
        let entry = Entry {
            value,
            made,
            messages: bytes.is_some().into(),
            bytes: bytes.unwrap_or(0),
            lifetime,
            used: self.uses,
        };
        self.entries.insert(key, entry);
        while self.entries.len() > self.capacity {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            self.entries.remove(&key);
        }
    }

    pub(super) fn remove(&mut self, key: &CacheKey) {
        self.entries.remove(key);
    }
}
