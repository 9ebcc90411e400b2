//! The PCR0 signature of an enclave image file.
//!
//! ```text
//! signature = COSE_Sign1 (RFC 9052, untagged), alg -7, -35 or -36, payload:
//! payload   = { "register_index": 0, "register_value": [48 * u8] }
//! ```
//!
//! The certificate beside it names who signed; its hash is PCR8. Nobody vouches for the
//! certificate: a relying party knows the signer by PCR8 in an attestation document.
//!
//! [`verify`] checks such a signature, [`sign`] makes one.
#![forbid(unsafe_code)]

mod certificate;
mod curve;
mod error;
mod key;
mod payload;
mod sign;

use std::time::SystemTime;

use anchorhold_eif::{Eif, Measurement};
use coset::{CborSerializable, CoseSign1};

use certificate::Certificate;
use curve::Curve;

pub use certificate::SignerCertificate;
pub use error::{SignError, SignatureError};
pub use payload::payload;
pub use sign::{Existing, SigningIdentity, sign};

/// Who signed an image. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    certificate: SignerCertificate,
    pcr8: Measurement,
}

impl Signer {
    /// What the signer's certificate says.
    pub fn certificate(&self) -> &SignerCertificate {
        &self.certificate
    }

    /// The certificate's measurement, by which relying parties know the signer.
    pub fn pcr8(&self) -> Measurement {
        self.pcr8
    }
}

/// Checks an image's signature at the time `at`; `None` for an image that has none.
///
/// Holds when the certificate is valid at that time, its key has made the signature, and what is
/// signed is this image's PCR0.
///
/// Does not establish that the signer is anyone in particular: the certificate is whatever the
/// file carries.
///
/// # Errors
/// The first check that fails, as a [`SignatureError`].
pub fn verify(image: &Eif<'_>, at: SystemTime) -> Result<Option<Signer>, SignatureError> {
    let Some(section) = image.signature() else {
        return Ok(None);
    };
    let certificate = Certificate::parse(section.certificate_der())?;
    certificate.check_validity(at)?;
    let signed = parse_cose(section.cose_sign1())?;
    check_signature(&signed, &certificate)?;
    let measurements = image.measure();
    payload::check(
        signed.payload.as_deref().unwrap_or_default(),
        &measurements.pcr0,
    )?;
    let pcr8 = Measurement::of(section.certificate_der());
    Ok(Some(Signer {
        certificate: certificate.describe(),
        pcr8,
    }))
}

/// What the certificate in an image's signature section says, without checking anything.
///
/// # Errors
/// [`SignatureError::Form`] when it cannot be read.
pub fn certificate(image: &Eif<'_>) -> Result<Option<SignerCertificate>, SignatureError> {
    let Some(section) = image.signature() else {
        return Ok(None);
    };
    Ok(Some(
        Certificate::parse(section.certificate_der())?.describe(),
    ))
}

fn parse_cose(bytes: &[u8]) -> Result<CoseSign1, SignatureError> {
    let form = |reason: String| SignatureError::Form {
        what: "COSE_Sign1",
        reason,
    };
    let signed = CoseSign1::from_slice(bytes).map_err(|error| form(error.to_string()))?;
    if !signed.protected.header.crit.is_empty() {
        return Err(form(
            "it has critical headers, which nobody here knows".into(),
        ));
    }
    if signed.payload.is_none() {
        return Err(form("it has no payload".into()));
    }
    Ok(signed)
}

fn check_signature(
    signed: &CoseSign1,
    certificate: &Certificate<'_>,
) -> Result<(), SignatureError> {
    let curve = Curve::of_algorithm(signed.protected.header.alg.as_ref())?;
    curve.check_key(certificate)?;
    // RFC 9052 section 4.4: Sig_structure with an empty external_aad.
    let message = signed.tbs_data(b"");
    if curve.verifies(certificate.public_key(), &message, &signed.signature) {
        Ok(())
    } else {
        Err(SignatureError::Forged)
    }
}
