//! What a party demands of its peer, and what it then knows of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anchorhold_verifier::{
    AppraisalPolicy, Appraised, Pcr, PcrIndex, Timestamp, TrustRoots, UnverifiedDocument,
    VerifyError,
};

use crate::binding::{Claim, SessionContext};
use crate::limits::DEFAULT_MAX_MESSAGE;

/// Demands on the peer's document. There is no way to leave the image out, nor to accept an enclave
/// in debug mode, whose memory its host may read.
#[derive(Clone, Debug)]
pub struct PeerPolicy {
    roots: TrustRoots,
    pcrs: BTreeMap<PcrIndex, Pcr>,
    max_age: Duration,
    max_future: Duration,
    claim: Option<Claim>,
}

impl PeerPolicy {
    /// A document at most `max_age` old (and at most [`AppraisalPolicy::DEFAULT_MAX_FUTURE`] in the
    /// future), under one of `roots`, of the image that PCR0 measures.
    pub fn new(roots: TrustRoots, pcr0: Pcr, max_age: Duration) -> Self {
        Self {
            roots,
            pcrs: BTreeMap::from([(PcrIndex::PCR0, pcr0)]),
            max_age,
            max_future: AppraisalPolicy::DEFAULT_MAX_FUTURE,
            claim: None,
        }
    }

    /// Demands another register as well: PCR8 for the image's signer, PCR4 for the instance.
    #[must_use]
    pub fn require_pcr(mut self, index: PcrIndex, value: Pcr) -> Self {
        self.pcrs.insert(index, value);
        self
    }

    /// Demands just this claim of the peer.
    #[must_use]
    pub fn require_claim(mut self, claim: Claim) -> Self {
        self.claim = Some(claim);
        self
    }

    /// Sets how far in the future the document's time may lie: room for clocks that differ.
    #[must_use]
    pub fn with_max_future(mut self, max_future: Duration) -> Self {
        self.max_future = max_future;
        self
    }

    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// This does not establish which session the document was made for.
    pub(crate) fn appraise(
        &self,
        document: &[u8],
        at: Timestamp,
    ) -> Result<Appraised, VerifyError> {
        let mut policy = AppraisalPolicy::fresh(at, self.max_age);
        policy.max_future = self.max_future;
        policy.pcrs.clone_from(&self.pcrs);
        UnverifiedDocument::parse(document)?
            .authenticate(&self.roots, at)?
            .appraise(&policy)
    }
}

/// What a party brings to a handshake.
#[derive(Clone, Debug)]
pub struct Terms {
    pub(crate) context: SessionContext,
    pub(crate) claim: Claim,
    pub(crate) peer: PeerPolicy,
    pub(crate) max_message: usize,
}

impl Terms {
    /// Terms with an empty claim of one's own and messages of at most [`DEFAULT_MAX_MESSAGE`]
    /// bytes.
    pub fn new(context: SessionContext, peer: PeerPolicy) -> Self {
        Self {
            context,
            claim: Claim::default(),
            peer,
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// Sets what this party states about itself.
    #[must_use]
    pub fn with_claim(mut self, claim: Claim) -> Self {
        self.claim = claim;
        self
    }

    /// Sets the most bytes that a message of the peer's may have: what the peer can make this side
    /// hold in memory.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }
}

/// The peer, after its document was appraised and found bound to this session. Made by a finished
/// handshake only.
#[derive(Clone, Debug)]
pub struct Peer {
    appraised: Appraised,
    claim: Claim,
}

impl Peer {
    pub(crate) fn new(appraised: Appraised, claim: Claim) -> Self {
        Self { appraised, claim }
    }

    /// Its document: registers, module, root.
    pub fn appraised(&self) -> &Appraised {
        &self.appraised
    }

    /// What it states about itself.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}
