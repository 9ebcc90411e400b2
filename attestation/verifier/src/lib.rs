//! Checks attestation documents: signature, chain, freshness, PCR appraisal.
//!
//! Three types stand for how much has been proved, and nothing but the checks makes the next one:
//!
//! ```text
//! bytes ──parse──► UnverifiedDocument ──authenticate──► AuthenticDocument ──appraise──► Appraised
//!                  well-formed          signed by a       also fresh enough, of the
//!                                       security module    image and for the challenge
//!                                       under a root that  that the policy names
//!                                       the caller trusts
//! ```
//!
//! Time and roots are arguments: the crate reads no clock and trusts no root by itself.
//!
//! ```
//! use anchorhold_verifier::{AppraisalPolicy, Timestamp, TrustRoots, UnverifiedDocument};
//! # fn release_key(bytes: &[u8], now: Timestamp) -> Result<(), anchorhold_verifier::VerifyError> {
//! let document = UnverifiedDocument::parse(bytes)?.authenticate(&TrustRoots::aws_nitro_g1(), now)?;
//! let policy = AppraisalPolicy::fresh(now, std::time::Duration::from_secs(300));
//! let appraised = document.appraise(&policy)?;
//! println!("{} is genuine until {}", appraised.document().module_id, appraised.valid_until());
//! # Ok(())
//! # }
//! # let now = Timestamp::from_millis(1_736_480_402_571);
//! assert_eq!(release_key(b"", now).unwrap_err().rule(), "cbor.truncated");
//! ```
//!
//! # What is checked
//!
//! * **Shape** (the document crate's codec): COSE_Sign1 with ES384 alone in the protected header,
//!   nothing unprotected, 96 raw signature bytes, bounded sizes, no trailing bytes.
//! * **Root**: `cabundle[0]` is one of the trusted roots by the SHA-256 of its DER. A bundle can
//!   never vouch for itself.
//! * **Chain**: every certificate P-384 with ecdsa-with-SHA384, in the order root → leaf, each
//!   named, allowed (CA, keyCertSign, path length) and signed by the one before, all valid at the
//!   given time; the leaf is no CA and may sign.
//! * **Signature** of the leaf's key over the RFC 9052 `Sig_structure`.
//! * **Appraisal**: age and future limits, debug mode, registers, nonce, user data, public key.
//!
//! # What is not
//!
//! Revocation is not looked up: AWS says to leave CRL checking off for these chains, whose leaves
//! live three hours. And no check here can tell a security module in hardware from one in
//! software: that is what the *root* says, so policies pin it together with the registers.
#![forbid(unsafe_code)]

mod cache;
mod certificate;
mod chain;
mod document;
mod error;
mod policy;
mod roots;
mod signature;
mod time;

pub use anchorhold_document::{AttestationDocument, Pcr, PcrIndex};
pub use cache::ChainCache;
pub use chain::CertificateSummary;
pub use document::{Appraised, AuthenticDocument, UnverifiedDocument};
pub use error::{ChainPosition, VerifyError};
pub use policy::AppraisalPolicy;
pub use roots::{ParseRootError, RootSha256, TrustRootError, TrustRootFileError, TrustRoots};
pub use signature::{AwsLc, Es384, InvalidSignature, RustCrypto};
pub use time::{Timestamp, TimestampError};
