//! The proof types.

use anchorhold_document::{AttestationDocument, SignedDocument};

use crate::cache::ChainCache;
use crate::chain::{self, CertificateSummary, VerifiedChain};
use crate::error::VerifyError;
use crate::policy::AppraisalPolicy;
use crate::roots::{RootSha256, TrustRoots};
use crate::signature::{AwsLc, Es384};
use crate::time::Timestamp;

/// A well-formed document that anybody may have written.
#[derive(Clone, Debug)]
pub struct UnverifiedDocument {
    signed: SignedDocument,
    document: AttestationDocument,
}

impl UnverifiedDocument {
    /// Decodes a COSE_Sign1, tagged or not, and its payload.
    ///
    /// This does not establish anything but shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        let signed = SignedDocument::from_bytes(bytes)?;
        let document = AttestationDocument::from_payload(signed.payload())?;
        Ok(Self { signed, document })
    }

    /// When the document says it was signed: the time to pass for archived documents. Whoever
    /// wrote it chose this.
    pub fn claimed_time(&self) -> Timestamp {
        Timestamp::from_millis(self.document.timestamp_ms)
    }

    /// Checks that a security module under one of `roots` signed the document, its chain being
    /// valid at `at`: the present for key release, the document's own time for archives.
    ///
    /// This does not establish that the document is fresh, of any particular enclave, meant for
    /// the caller, or of an enclave out of debug mode: [`AuthenticDocument::appraise`] does. Nor
    /// that the certificates were not revoked.
    pub fn authenticate(
        self,
        roots: &TrustRoots,
        at: Timestamp,
    ) -> Result<AuthenticDocument, VerifyError> {
        self.authenticate_with(roots, at, &AwsLc)
    }

    /// [`UnverifiedDocument::authenticate`] with another implementation of ES384.
    pub fn authenticate_with(
        self,
        roots: &TrustRoots,
        at: Timestamp,
        es384: &dyn Es384,
    ) -> Result<AuthenticDocument, VerifyError> {
        self.refuse_zero_signature()?;
        let chain = chain::verify(&self.document, roots, at, es384)?;
        self.finish(chain, at, es384)
    }

    /// [`UnverifiedDocument::authenticate`] that remembers chains: a chain that validated before
    /// costs one signature instead of five. Roots and validity at `at` are checked each time.
    pub fn authenticate_cached(
        self,
        roots: &TrustRoots,
        at: Timestamp,
        cache: &ChainCache,
    ) -> Result<AuthenticDocument, VerifyError> {
        self.refuse_zero_signature()?;
        let chain = cache.verify(&self.document, roots, at, &AwsLc)?;
        self.finish(chain, at, &AwsLc)
    }

    /// Emulated devices that hold no key fill the signature with zeros. The equation would refuse
    /// them as well; the name tells the operator why.
    fn refuse_zero_signature(&self) -> Result<(), VerifyError> {
        if self.signed.signature().iter().all(|byte| *byte == 0) {
            return Err(VerifyError::ZeroSignature);
        }
        Ok(())
    }

    /// Checks the signature (RFC 9052 §4.4) with the leaf's key.
    fn finish(
        self,
        chain: VerifiedChain,
        at: Timestamp,
        es384: &dyn Es384,
    ) -> Result<AuthenticDocument, VerifyError> {
        es384
            .verify(
                &chain.leaf_key,
                &self.signed.to_be_signed(),
                self.signed.signature(),
            )
            .map_err(|_| VerifyError::Signature)?;
        Ok(AuthenticDocument {
            signed: self.signed,
            document: self.document,
            chain,
            at,
        })
    }
}

/// A document that a security module under a trusted root signed. Made by
/// [`UnverifiedDocument::authenticate`] only.
#[derive(Clone, Debug)]
pub struct AuthenticDocument {
    signed: SignedDocument,
    document: AttestationDocument,
    chain: VerifiedChain,
    at: Timestamp,
}

impl AuthenticDocument {
    /// Checks the document's statements against the caller's demands.
    ///
    /// This does not establish anything that the policy leaves out; above all it does not by
    /// itself tell which of several trusted roots vouches: see
    /// [`AuthenticDocument::root_sha256`].
    pub fn appraise(self, policy: &AppraisalPolicy) -> Result<Appraised, VerifyError> {
        policy.check(&self.document)?;
        Ok(Appraised { authentic: self })
    }

    /// What the security module stated.
    pub fn document(&self) -> &AttestationDocument {
        &self.document
    }

    /// The envelope as it was signed.
    pub fn signed(&self) -> &SignedDocument {
        &self.signed
    }

    /// The root that vouches for the security module.
    pub fn root_sha256(&self) -> RootSha256 {
        self.chain.root
    }

    /// The chain for people to read, root first, leaf last.
    pub fn certificates(&self) -> Vec<CertificateSummary> {
        chain::summarize(&self.document)
    }

    /// Whether the enclave runs in debug mode: PCR0, PCR1 and PCR2 are zero.
    pub fn is_debug(&self) -> bool {
        self.document.is_debug()
    }

    /// When the security module signed, by its own clock.
    pub fn signed_at(&self) -> Timestamp {
        Timestamp::from_millis(self.document.timestamp_ms)
    }

    /// The time for which the chain was checked.
    pub fn authenticated_at(&self) -> Timestamp {
        self.at
    }

    /// From when the whole chain is valid.
    pub fn valid_from(&self) -> Timestamp {
        self.chain.valid_from
    }

    /// Until when the whole chain is valid: the leaf's end, normally.
    pub fn valid_until(&self) -> Timestamp {
        self.chain.valid_until
    }
}

/// An authentic document that meets a policy. Made by [`AuthenticDocument::appraise`] only; key
/// release takes nothing less.
#[derive(Clone, Debug)]
pub struct Appraised {
    authentic: AuthenticDocument,
}

impl Appraised {
    /// What the security module stated.
    pub fn document(&self) -> &AttestationDocument {
        self.authentic.document()
    }

    /// The envelope as it was signed.
    pub fn signed(&self) -> &SignedDocument {
        self.authentic.signed()
    }

    /// The root that vouches for the security module.
    pub fn root_sha256(&self) -> RootSha256 {
        self.authentic.root_sha256()
    }

    /// The chain for people to read, root first, leaf last.
    pub fn certificates(&self) -> Vec<CertificateSummary> {
        self.authentic.certificates()
    }

    /// Whether the enclave runs in debug mode, which the policy then allowed.
    pub fn is_debug(&self) -> bool {
        self.authentic.is_debug()
    }

    /// When the security module signed, by its own clock.
    pub fn signed_at(&self) -> Timestamp {
        self.authentic.signed_at()
    }

    /// The time for which the chain was checked.
    pub fn authenticated_at(&self) -> Timestamp {
        self.authentic.authenticated_at()
    }

    /// From when the whole chain is valid.
    pub fn valid_from(&self) -> Timestamp {
        self.authentic.valid_from()
    }

    /// Until when the whole chain is valid: the leaf's end, normally.
    pub fn valid_until(&self) -> Timestamp {
        self.authentic.valid_until()
    }
}
