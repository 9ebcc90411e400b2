//! What an appraised document says.

use std::collections::BTreeMap;

use anchorhold_verifier::{Appraised, Pcr, PcrIndex, RootSha256, Timestamp};
use sha2::{Digest, Sha256, Sha384};

use super::RecipientError;
use crate::recipient::RecipientKey;

/// What an appraised attestation document says about the recipient. Made by
/// [`appraise`](super::appraise) only.
pub struct RecipientClaims {
    module_id: String,
    pcrs: BTreeMap<PcrIndex, Pcr>,
    root_sha256: RootSha256,
    document_sha256: [u8; 32],
    statement_sha384: [u8; 48],
    user_data: Option<Vec<u8>>,
    signed_at: Timestamp,
    nonce: Option<Vec<u8>>,
    key: RecipientKey,
}

impl RecipientClaims {
    /// The claims of an appraised document, whose bytes were `bytes`.
    pub(super) fn new(appraised: &Appraised, bytes: &[u8]) -> Result<Self, RecipientError> {
        let document = appraised.document();
        let spki = document
            .public_key
            .as_deref()
            .ok_or(RecipientError::NoPublicKey)?;
        Ok(Self {
            module_id: document.module_id.clone(),
            pcrs: document.pcrs.clone(),
            root_sha256: appraised.root_sha256(),
            document_sha256: Sha256::digest(bytes).into(),
            statement_sha384: Sha384::digest(appraised.signed().to_be_signed()).into(),
            user_data: document.user_data.clone(),
            signed_at: appraised.signed_at(),
            nonce: document.nonce.clone(),
            key: RecipientKey::from_spki(spki).map_err(RecipientError::PublicKey)?,
        })
    }

    /// The enclave's id, e.g. `i-…-enc…`.
    pub fn module_id(&self) -> &str {
        &self.module_id
    }

    /// The value of a PCR; absent when the document does not carry it.
    pub fn pcr(&self, index: PcrIndex) -> Option<&Pcr> {
        self.pcrs.get(&index)
    }

    /// Every PCR of the document.
    pub fn pcrs(&self) -> &BTreeMap<PcrIndex, Pcr> {
        &self.pcrs
    }

    /// PCR0: the image's digest.
    pub fn pcr0(&self) -> Option<&Pcr> {
        self.pcr(PcrIndex::PCR0)
    }

    /// SHA-256 of the root certificate that the chain ended in.
    pub fn root_sha256(&self) -> RootSha256 {
        self.root_sha256
    }

    /// SHA-256 of the document's bytes.
    pub fn document_sha256(&self) -> &[u8; 32] {
        &self.document_sha256
    }

    /// SHA-384 of what the security module signed (RFC 9052, 4.4): one document's name, whatever
    /// form of its envelope or of its signature is presented.
    pub fn statement_sha384(&self) -> &[u8; 48] {
        &self.statement_sha384
    }

    /// What the enclave put into the document beside its key, for instance the hash of a contract.
    pub fn user_data(&self) -> Option<&[u8]> {
        self.user_data.as_deref()
    }

    /// When the document was made, by the security module's clock.
    pub fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// The document's nonce. Whether it is one that was given out, to whom, and used once, is
    /// for the caller to check.
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }

    /// The key to encrypt the answer to.
    pub fn key(&self) -> &RecipientKey {
        &self.key
    }
}
