//! Signing an image.

use std::time::SystemTime;

use anchorhold_eif::{Eif, SignatureSection};
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder};

use crate::certificate::Certificate;
use crate::error::{SignError, SignatureError};
use crate::key::PrivateKey;
use crate::payload::payload;

/// A certificate with its private key. The key is wiped when this is dropped.
pub struct SigningIdentity {
    certificate_pem: Vec<u8>,
    key: PrivateKey,
}

/// What to do with an image that is signed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse it.
    Refuse,
    /// Replace its signature, whoever made it.
    Replace,
}

impl SigningIdentity {
    /// Takes a certificate and its key, both PEM, to sign at the time `at`. The key is PKCS#8 or
    /// SEC1 on P-256, P-384 or P-521, without a passphrase.
    ///
    /// Does not establish that anybody trusts the certificate: it may be its own issuer, and its
    /// extensions are not looked at, as AWS's tools do not.
    ///
    /// # Errors
    /// [`SignError`]: a certificate that is not one PEM block or not valid at that time, a key
    /// that cannot be read, is encrypted, of another type or another certificate's.
    pub fn from_pem(
        certificate: &[u8],
        private_key: &[u8],
        at: SystemTime,
    ) -> Result<Self, SignError> {
        let section = SignatureSection::new(certificate, b"")?;
        let parsed = Certificate::parse(section.certificate_der())?;
        parsed.check_validity(at)?;
        let key = PrivateKey::from_pem(private_key)?;
        key.check_certificate(&parsed)?;
        Ok(Self {
            certificate_pem: certificate.to_vec(),
            key,
        })
    }
}

/// Signs an image's PCR0: gives the section that [`Eif::with_signature`] puts into its file.
///
/// The algorithm is the one of the key's curve: ES256, ES384 or ES512. The same image and identity
/// give the same section (RFC 6979), so a signed image is as reproducible as an unsigned one.
///
/// # Errors
/// [`SignError::AlreadySigned`] with [`Existing::Refuse`].
pub fn sign(
    image: &Eif<'_>,
    identity: &SigningIdentity,
    existing: Existing,
) -> Result<SignatureSection, SignError> {
    if image.signature().is_some() && existing == Existing::Refuse {
        return Err(SignError::AlreadySigned);
    }
    let header = HeaderBuilder::new().algorithm(identity.key.curve().algorithm());
    let signed = CoseSign1Builder::new()
        .protected(header.build())
        .payload(payload(&image.measure().pcr0))
        .create_signature(b"", |message| identity.key.sign(message))
        .build()
        .to_vec()
        .map_err(|error| SignatureError::Form {
            what: "COSE_Sign1",
            reason: error.to_string(),
        })?;
    Ok(SignatureSection::new(&identity.certificate_pem, &signed)?)
}
