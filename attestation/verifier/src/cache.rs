//! Chains that validated, remembered.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use anchorhold_document::AttestationDocument;
use sha2::{Digest, Sha384};

use crate::chain::{self, VerifiedChain};
use crate::error::VerifyError;
use crate::roots::TrustRoots;
use crate::signature::Es384;
use crate::time::Timestamp;

/// A bounded memory of chains whose certificates validated, for callers who see many documents of
/// the same enclaves.
///
/// A certificate's signature holds or not whatever the time, so what is remembered is: these very
/// certificates in this very order validate, for the leaf key K, under the root R, from A to B.
/// Each use checks anew that R is trusted and that the time lies between A and B; the document's
/// own signature is never remembered. Only chains that validated are kept, so a flood of forgeries
/// displaces nothing.
#[derive(Debug)]
pub struct ChainCache {
    capacity: NonZeroUsize,
    entries: Mutex<Entries>,
}

/// SHA-384 over all certificates of a chain.
type ChainDigest = [u8; 48];

#[derive(Debug, Default)]
struct Entries {
    chains: HashMap<ChainDigest, VerifiedChain>,
    oldest_first: VecDeque<ChainDigest>,
}

impl ChainCache {
    /// A cache of at most `capacity` chains, about 300 bytes each; the oldest goes first.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            capacity,
            entries: Mutex::default(),
        }
    }

    /// How many chains are remembered.
    pub fn len(&self) -> usize {
        self.entries().chains.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks a document's chain, taking the certificates' signatures from memory where they were
    /// checked before. Does not establish what the uncached check does not.
    pub(crate) fn verify(
        &self,
        document: &AttestationDocument,
        roots: &TrustRoots,
        at: Timestamp,
        es384: &dyn Es384,
    ) -> Result<VerifiedChain, VerifyError> {
        chain::check_root(document, roots)?;
        let digest = digest(document);
        let remembered = self.entries().chains.get(&digest).cloned();
        if let Some(chain) = remembered {
            let valid = (chain.valid_from..=chain.valid_until).contains(&at);
            if valid && roots.contains(&chain.root) {
                return Ok(chain);
            }
        }
        let chain = chain::verify(document, roots, at, es384)?;
        self.remember(digest, &chain);
        Ok(chain)
    }

    fn remember(&self, digest: ChainDigest, chain: &VerifiedChain) {
        let mut entries = self.entries();
        if entries.chains.insert(digest, chain.clone()).is_none() {
            entries.oldest_first.push_back(digest);
        }
        while entries.chains.len() > self.capacity.get() {
            let Some(oldest) = entries.oldest_first.pop_front() else {
                break;
            };
            entries.chains.remove(&oldest);
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        // Nothing between lock and unlock leaves the entries half-changed in a way that matters: a
        // chain is remembered whole or not at all.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes every certificate with its length before it, so that no two chains share a digest.
fn digest(document: &AttestationDocument) -> ChainDigest {
    let mut hash = Sha384::new();
    hash.update((document.cabundle.len() as u64).to_be_bytes());
    for certificate in document.cabundle.iter().chain([&document.certificate]) {
        hash.update((certificate.len() as u64).to_be_bytes());
        hash.update(certificate);
    }
    hash.finalize().into()
}
