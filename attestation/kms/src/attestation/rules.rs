//! What a document must be to count.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use anchorhold_verifier::{
    AppraisalPolicy, Appraised, ChainCache, Pcr, PcrIndex, Timestamp, TrustRoots,
    UnverifiedDocument,
};

use super::{RecipientClaims, RecipientError};

/// Oldest document unless the operator says otherwise. AWS's own limit is undocumented.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);

/// How far in the future a document's time may lie: for clocks that are not quite right.
pub const DEFAULT_MAX_FUTURE: Duration = Duration::from_secs(60);

/// Longest document that a request may carry, in bytes (API model, `AttestationDocumentType`).
pub const MAX_ATTESTATION_DOCUMENT: usize = 262_144;

/// How many verified certificate chains are remembered: one for each enclave in use.
const REMEMBERED_CHAINS: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");

/// What a document must be to count.
pub struct RecipientRules {
    roots: TrustRoots,
    max_age: Duration,
    max_future: Duration,
    require_nonce: bool,
    chains: ChainCache,
}

impl RecipientRules {
    /// Documents under one of `roots`, at most 300 s old and 60 s ahead, with or without a nonce.
    pub fn new(roots: TrustRoots) -> Self {
        Self {
            roots,
            max_age: DEFAULT_MAX_AGE,
            max_future: DEFAULT_MAX_FUTURE,
            require_nonce: false,
            chains: ChainCache::new(REMEMBERED_CHAINS),
        }
    }

    /// Takes documents of at most this age.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// Takes documents with a nonce only. Whether it was given out, to this caller, and is used
    /// for the first time is for the server to check: [`RecipientClaims::nonce`].
    #[must_use]
    pub fn with_required_nonce(self) -> Self {
        Self {
            require_nonce: true,
            ..self
        }
    }

    /// The trusted roots.
    pub fn roots(&self) -> &TrustRoots {
        &self.roots
    }

    /// Oldest document that is taken.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// How many verified certificate chains are remembered at present. Of a remembered chain every
    /// certificate's time and the root's trust are still checked at each use.
    pub fn remembered_chains(&self) -> usize {
        self.chains.len()
    }

    /// Whether documents must carry a nonce.
    pub fn requires_nonce(&self) -> bool {
        self.require_nonce
    }
}

/// Checks a document and says what it claims.
///
/// Establishes that a security module under a trusted root signed it for an enclave that runs
/// outside debug mode, that it is fresh at `now`, and that it names an RSA key. Does not
/// establish that the enclave is one that anybody agreed on: that is the policy's to say, by
/// measurement and root; nor that its nonce is one of ours.
///
/// # Errors
/// [`RecipientError`].
pub fn appraise(
    document: &[u8],
    rules: &RecipientRules,
    now: SystemTime,
) -> Result<RecipientClaims, RecipientError> {
    if document.is_empty() || document.len() > MAX_ATTESTATION_DOCUMENT {
        return Err(RecipientError::Length {
            got: document.len(),
            max: MAX_ATTESTATION_DOCUMENT,
        });
    }
    // A clock before the epoch makes every document one of the future.
    let now = Timestamp::try_from(now).unwrap_or(Timestamp::from_millis(0));
    let policy = AppraisalPolicy {
        max_future: rules.max_future,
        ..AppraisalPolicy::fresh(now, rules.max_age)
    };
    let unverified = UnverifiedDocument::parse(document)?;
    // A leaf begins moments before its first document: a module whose clock is ahead by no more
    // than the rules permit must not fail for that.
    let at = unverified
        .claimed_time()
        .clamp(now, now.saturating_add(rules.max_future));
    let appraised = unverified
        .authenticate_cached(&rules.roots, at, &rules.chains)?
        .appraise(&policy)?;
    check_measured(&appraised)?;
    if rules.require_nonce
        && appraised
            .document()
            .nonce
            .as_ref()
            .is_none_or(Vec::is_empty)
    {
        return Err(RecipientError::NoNonce);
    }
    RecipientClaims::new(&appraised, document)
}

/// PCR0, PCR1 and PCR2 must be there and none of them zero. (The verifier calls a document one of
/// debug mode when all three are.)
fn check_measured(appraised: &Appraised) -> Result<(), RecipientError> {
    for index in [PcrIndex::PCR0, PcrIndex::PCR1, PcrIndex::PCR2] {
        match appraised.document().pcrs.get(&index) {
            None => return Err(RecipientError::NotMeasured { index }),
            Some(pcr) if pcr == &Pcr::ZERO => {
                return Err(RecipientError::ZeroMeasurement { index });
            }
            Some(_) => {}
        }
    }
    Ok(())
}
