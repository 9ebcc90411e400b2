//! From the bytes of an attestation document to claims that a policy may ask for.
//!
//! [`RecipientClaims`] exist only when the verifier has appraised the document: signature, chain
//! to a trusted root, age, and not in debug mode. They are the only way by which
//! `kms:RecipientAttestation:…` and `anchorhold:RecipientAttestation:RootSha256` come into a
//! policy's [`Context`](crate::policy::Context).

mod claims;
mod error;
mod rules;

pub use claims::RecipientClaims;
pub use error::RecipientError;
pub use rules::{
    DEFAULT_MAX_AGE, DEFAULT_MAX_FUTURE, MAX_ATTESTATION_DOCUMENT, RecipientRules, appraise,
};
