//! Nonces for attestation documents: 32 bytes, one use, bound to a principal, five minutes.
//!
//! A principal is known here by its unique id, which is never given again, unlike a name.
//!
//! They are kept in memory only: a restart of the server invalidates all of them,
//! and an enclave that held one asks again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rand_core::CryptoRng;
use thiserror::Error;

/// Length of a nonce, in bytes.
pub const NONCE_LENGTH: usize = 32;
/// How long a nonce can be used.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Most unused nonces of one principal; with one more, its oldest is forgotten.
pub const MAX_PER_PRINCIPAL: usize = 256;
/// Most principals with unused nonces.
pub const MAX_PRINCIPALS: usize = 4096;

type Nonce = [u8; NONCE_LENGTH];

/// Why the nonce in a document does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NonceError {
    /// It was not given to this principal, or has been used, or is too old.
    #[error(
        "the document's nonce was not given to this principal within the last 5 minutes, or has been used"
    )]
    Unknown,
    /// Too many principals hold unused nonces.
    #[error("too many principals hold unused nonces: the limit is {MAX_PRINCIPALS}")]
    TooMany,
}

impl NonceError {
    /// Stable name of the rule that refused.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Unknown => "nonce.unknown",
            Self::TooMany => "nonce.too-many",
        }
    }
}

/// The nonces that have been given out and not been used.
#[derive(Default)]
pub struct Nonces {
    held: Mutex<BTreeMap<String, VecDeque<(Nonce, SystemTime)>>>,
}

impl Nonces {
    /// A fresh nonce for the principal of this unique id, and until when it can be used.
    ///
    /// # Errors
    /// [`NonceError::TooMany`].
    pub fn issue(
        &self,
        principal: &str,
        now: SystemTime,
        rng: &mut impl CryptoRng,
    ) -> Result<(Nonce, SystemTime), NonceError> {
        let mut nonce = [0; NONCE_LENGTH];
        rng.fill_bytes(&mut nonce);
        let until = now.checked_add(NONCE_LIFETIME).unwrap_or(now);
        let mut held = self.lock();
        if held.len() >= MAX_PRINCIPALS && !held.contains_key(principal) {
            held.retain(|_, queue| queue.iter().any(|(_, until)| *until > now));
            if held.len() >= MAX_PRINCIPALS {
                return Err(NonceError::TooMany);
            }
        }
        let queue = held.entry(principal.to_owned()).or_default();
        queue.retain(|(_, until)| *until > now);
        if queue.len() >= MAX_PER_PRINCIPAL {
            queue.pop_front();
        }
        queue.push_back((nonce, until));
        Ok((nonce, until))
    }

    /// Uses up the nonce of an authentic document.
    ///
    /// # Errors
    /// [`NonceError::Unknown`].
    pub fn redeem(&self, principal: &str, nonce: &[u8], now: SystemTime) -> Result<(), NonceError> {
        let mut held = self.lock();
        let queue = held.get_mut(principal).ok_or(NonceError::Unknown)?;
        let place = queue
            .iter()
            .position(|(held, _)| held.as_slice() == nonce)
            .ok_or(NonceError::Unknown)?;
        match queue.remove(place) {
            Some((_, until)) if until > now => Ok(()),
            _ => Err(NonceError::Unknown),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, VecDeque<(Nonce, SystemTime)>>> {
        // Every change is complete when the lock is given back, so a panic elsewhere harms nothing.
        self.held
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn issue(nonces: &Nonces, name: &str, now: SystemTime) -> Nonce {
        let issued = nonces.issue(name, now, &mut Random);
        issued.expect("room").0
    }

    #[test]
    fn a_nonce_serves_once() {
        let nonces = Nonces::default();
        let nonce = issue(&nonces, "enclave", START);
        assert_eq!(nonces.redeem("enclave", &nonce, START), Ok(()));
        let again = nonces.redeem("enclave", &nonce, START);
        assert_eq!(again, Err(NonceError::Unknown));
    }

    #[test]
    fn a_nonce_of_another_principal_is_unknown_and_stays_usable() {
        let nonces = Nonces::default();
        let nonce = issue(&nonces, "enclave", START);
        let stolen = nonces.redeem("parent", &nonce, START);
        assert_eq!(stolen, Err(NonceError::Unknown));
        assert_eq!(nonces.redeem("enclave", &nonce, START), Ok(()));
    }

    #[test]
    fn an_old_empty_or_invented_nonce_does_not_count() {
        let nonces = Nonces::default();
        let nonce = issue(&nonces, "enclave", START);
        let enclave = "enclave";
        assert_eq!(nonces.redeem(enclave, &[], START), Err(NonceError::Unknown));
        assert_eq!(
            nonces.redeem(enclave, &[0; 32], START),
            Err(NonceError::Unknown)
        );
        assert_eq!(
            nonces.redeem(enclave, &nonce[..31], START),
            Err(NonceError::Unknown)
        );
        let late = nonces.redeem(enclave, &nonce, START + NONCE_LIFETIME);
        assert_eq!(late, Err(NonceError::Unknown));
    }

    #[test]
    fn the_store_is_bounded() {
        let nonces = Nonces::default();
        let first = issue(&nonces, "a", START);
        for _ in 0..MAX_PER_PRINCIPAL {
            issue(&nonces, "a", START);
        }
        let forgotten = nonces.redeem("a", &first, START);
        assert_eq!(forgotten, Err(NonceError::Unknown));
        for index in 1..MAX_PRINCIPALS {
            issue(&nonces, &format!("p{index}"), START);
        }
        let full = nonces.issue("one-more", START, &mut Random);
        assert_eq!(full.err(), Some(NonceError::TooMany));
        issue(&nonces, "one-more", START + NONCE_LIFETIME);
    }
}
