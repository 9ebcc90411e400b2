//! Signers of images.

use std::time::{Duration, SystemTime};

use anchorhold_eif::{Eif, Measurement, SignatureSection};
use anchorhold_eif_signature::{Existing, SigningIdentity, sign};
use rcgen::{CertificateParams, KeyPair};

pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate with its key.
pub struct Signer {
    identity: SigningIdentity,
    der: Vec<u8>,
}

impl Signer {
    /// One whose certificate is valid for a day before and after this time, and who signs then.
    pub fn valid_at(at: SystemTime) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("generated");
        let mut params = CertificateParams::default();
        params.not_before = (at - DAY).into();
        params.not_after = (at + DAY).into();
        let certificate = params.self_signed(&key).expect("signed");
        let pem = certificate.pem();
        let identity =
            SigningIdentity::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes(), at);
        Self {
            identity: identity.unwrap_or_else(|error| panic!("{error}")),
            der: certificate.der().to_vec(),
        }
    }

    /// The certificate's measurement: what `anchorhold pcr --signing-certificate` prints.
    pub fn pcr8(&self) -> Measurement {
        Measurement::of(&self.der)
    }

    /// A signature over this image.
    pub fn section(&self, file: &[u8]) -> SignatureSection {
        let image = Eif::parse(file).expect("an image");
        sign(&image, &self.identity, Existing::Refuse).expect("signed")
    }
}

/// The file with this signature, whether it is over it or not.
pub fn with_signature(file: &[u8], section: &SignatureSection) -> Vec<u8> {
    let image = Eif::parse(file).expect("an image");
    image.with_signature(section).expect("valid")
}
