//! The evidence record: a party's claim and document, and how the peer believes them.

use anchorhold_document::limits::MAX_DOCUMENT;
use anchorhold_verifier::Timestamp;
use subtle::ConstantTimeEq;

use crate::attestor::{Identity, OwnDocument};
use crate::binding::{Claim, Role, Transcript, user_data};
use crate::error::HandshakeError;
use crate::policy::{Peer, Terms};
use crate::record::Kind;

/// Type, claim with its length, document.
pub(crate) fn encode(claim: &Claim, document: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    if document.len() > MAX_DOCUMENT {
        return Err(HandshakeError::EvidenceLayout {
            expected: "a document of at most 16493 bytes",
            got: document.len(),
        });
    }
    let claim = claim.as_bytes();
    // A claim is at most 1024 bytes long.
    let length = u16::try_from(claim.len()).unwrap_or(u16::MAX);
    let mut record = vec![Kind::Evidence.byte()];
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(claim);
    record.extend_from_slice(document);
    Ok(record)
}

/// Reads a record into claim and document.
///
/// This does not establish anything but layout.
fn decode(record: &[u8]) -> Result<(Claim, &[u8]), HandshakeError> {
    let layout = |expected| HandshakeError::EvidenceLayout {
        expected,
        got: record.len(),
    };
    let (&kind, body) = record.split_first().ok_or(layout("a type"))?;
    if kind != Kind::Evidence.byte() {
        return Err(HandshakeError::BeforeEvidence { got: kind });
    }
    let (length, body) = body
        .split_first_chunk()
        .ok_or(layout("a claim's length in 2 bytes"))?;
    let (claim, document) = body
        .split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or(layout("a claim as long as its length says"))?;
    let claim = Claim::new(claim).map_err(HandshakeError::PeerClaimTooLong)?;
    match document.len() {
        0 => Err(layout("a document after the claim")),
        length if length > MAX_DOCUMENT => Err(layout("a document of at most 16493 bytes")),
        _ => Ok((claim, document)),
    }
}

/// What the receiver of evidence knows of the session.
pub(crate) struct Receiver<'a> {
    pub(crate) terms: &'a Terms,
    pub(crate) role: Role,
    pub(crate) transcript: &'a Transcript,
}

impl Receiver<'_> {
    /// Believes a record: signature, chain and root; age, debug mode and registers; then that the
    /// document was made for this session, by the other role, with this claim.
    ///
    /// This does not establish that the document is another enclave's than the own:
    /// [`refuse_self`] does, once there is an own document.
    pub(crate) fn appraise(&self, record: &[u8], at: Timestamp) -> Result<Peer, HandshakeError> {
        let (claim, document) = decode(record)?;
        let appraised = self.terms.peer.appraise(document, at)?;
        self.check_binding(appraised.document().user_data.as_deref(), &claim)?;
        if let Some(expected) = self.terms.peer.claim()
            && *expected != claim
        {
            return Err(HandshakeError::PeerClaim {
                expected: expected.clone(),
                got: claim,
            });
        }
        Ok(Peer::new(appraised, claim))
    }

    fn check_binding(&self, got: Option<&[u8]>, claim: &Claim) -> Result<(), HandshakeError> {
        let context = &self.terms.context;
        let expected = user_data(self.role.peer(), self.transcript, context, claim);
        let bytes = got.unwrap_or_default();
        if bool::from(bytes.ct_eq(&expected)) {
            return Ok(());
        }
        let own = user_data(self.role, self.transcript, context, &self.terms.claim);
        if bool::from(bytes.ct_eq(&own)) {
            return Err(HandshakeError::Reflected { role: self.role });
        }
        Err(HandshakeError::Binding {
            expected: expected.to_vec(),
            got: got.map(<[u8]>::to_vec),
        })
    }
}

/// Refuses a channel of an enclave to itself, to which a host could connect it instead of to the
/// peer that it means.
pub(crate) fn refuse_self(peer: &Peer, own: &OwnDocument) -> Result<(), HandshakeError> {
    let identity = Identity::of(peer.appraised().document());
    if identity == own.identity {
        return Err(HandshakeError::Own {
            module_id: identity.module_id,
        });
    }
    Ok(())
}
