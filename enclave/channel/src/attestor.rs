//! Whoever speaks to the own security module.

use std::error::Error;

use anchorhold_document::AttestationDocument;
use anchorhold_document::SignedDocument;
use anchorhold_verifier::RootSha256;

use crate::error::HandshakeError;

/// Asks the own security module for a document.
///
/// Closures of the same shape are attestors, so that the SDK's NSM client is one as
/// `|user_data, nonce| nsm.attest(None, Some(user_data), nonce)`.
pub trait Attestor {
    /// Why there is no document.
    type Error: Error + Send + Sync + 'static;

    /// A signed document (COSE_Sign1) with this `user_data` (48 bytes) and this `nonce` (the
    /// channel asks for none).
    fn attest(&mut self, user_data: &[u8], nonce: Option<&[u8]>) -> Result<Vec<u8>, Self::Error>;
}

impl<F, E> Attestor for F
where
    F: FnMut(&[u8], Option<&[u8]>) -> Result<Vec<u8>, E>,
    E: Error + Send + Sync + 'static,
{
    type Error = E;

    fn attest(&mut self, user_data: &[u8], nonce: Option<&[u8]>) -> Result<Vec<u8>, E> {
        self(user_data, nonce)
    }
}

/// A document of the own security module.
pub(crate) struct OwnDocument {
    pub(crate) bytes: Vec<u8>,
    pub(crate) identity: Identity,
}

/// Which enclave a document is of: the name of its security module, under its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) module_id: String,
    root: Option<RootSha256>,
}

impl Identity {
    pub(crate) fn of(document: &AttestationDocument) -> Self {
        Self {
            module_id: document.module_id.clone(),
            root: document.cabundle.first().map(|der| RootSha256::of_der(der)),
        }
    }
}

/// Has a document made, and looks whether it is one with this user data: what an attestor gets
/// wrong shall fail here and not at the peer.
pub(crate) fn own_document(
    attestor: &mut impl Attestor,
    user_data: &[u8; 48],
) -> Result<OwnDocument, HandshakeError> {
    let bytes = attestor
        .attest(user_data, None)
        .map_err(|source| HandshakeError::Attestor(Box::new(source)))?;
    let document = SignedDocument::from_bytes(&bytes)
        .and_then(|signed| AttestationDocument::from_payload(signed.payload()))
        .map_err(HandshakeError::OwnDocument)?;
    if document.user_data.as_deref() != Some(user_data.as_slice()) {
        return Err(HandshakeError::OwnUserData {
            expected: user_data.to_vec(),
            got: document.user_data,
        });
    }
    Ok(OwnDocument {
        identity: Identity::of(&document),
        bytes,
    })
}
