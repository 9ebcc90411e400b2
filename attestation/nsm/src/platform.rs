//! The host's identity: a root of its own and an instance id.

use std::time::SystemTime;

use der::{Decode, EncodePem, pem::LineEnding};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{DerSignature, SigningKey};
use p384::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use zeroize::Zeroizing;

use crate::chain::{ISSUERS_BEGIN_BEFORE, lifetimes};
use crate::identity::{Identity, Period};
use crate::instance::{InstanceId, InstanceIdError};
use crate::mint::{self, MintError};

/// How the root's common name begins; the instance id follows.
const ROOT_NAME: &str = "Anchorhold local platform root ";

/// Bytes of a platform's PEM: a P-384 key and a certificate take about 1,200.
const MAX_PEM: usize = 8192;

/// The identity under which a host's security modules sign: a self-made P-384 root and an instance
/// id, which stands in the root's name as well.
///
/// Whoever holds it can sign a document with any registers: it belongs to the hypervisor's user
/// alone. It has neither `Debug` nor `Display`, and its key is zeroized on drop.
pub struct Platform {
    pub(crate) root: Identity,
    pub(crate) instance: InstanceId,
}

impl Platform {
    /// Makes a new root, valid for 30 years from an hour before `now`, and a random instance id.
    pub fn generate(now: SystemTime, rng: &mut impl CryptoRng) -> Result<Self, PlatformError> {
        let instance = InstanceId::random(rng);
        let subject = mint::name(&format!("{ROOT_NAME}{instance}")).map_err(PlatformError::Mint)?;
        let root = Period::around(now, ISSUERS_BEGIN_BEFORE, lifetimes::ROOT)
            .and_then(|period| mint::issue_root(subject, period, rng))
            .map_err(PlatformError::Mint)?;
        Ok(Self { root, instance })
    }

    /// Private key (PKCS #8) and root certificate, to be stored where the hypervisor's user alone
    /// can read it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, PlatformError> {
        let key = self
            .root
            .key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| PlatformError::Key {
                got: "one that does not encode",
            })?;
        let mut text = Zeroizing::new(String::with_capacity(MAX_PEM));
        text.push_str(&key);
        text.push_str(&self.root_certificate_pem());
        Ok(text)
    }

    /// Reads what [`Platform::to_pem`] wrote, and checks it: one P-384 key and one root of ours
    /// that belongs to it and signed itself.
    pub fn from_pem(text: &str) -> Result<Self, PlatformError> {
        if text.len() > MAX_PEM {
            return Err(PlatformError::Size {
                limit: MAX_PEM,
                got: text.len(),
            });
        }
        let key = SigningKey::from_pkcs8_pem(block(text, "PRIVATE KEY")?).map_err(|_| {
            PlatformError::Key {
                got: "one that is not PKCS #8 of P-384",
            }
        })?;
        let (_, certificate) = der::pem::decode_vec(block(text, "CERTIFICATE")?.as_bytes())
            .map_err(|_| PlatformError::Certificate {
                got: "bytes that are none",
            })?;
        let (root, instance) = check_root(key, certificate)?;
        Ok(Self { root, instance })
    }

    /// The root certificate, for relying parties.
    pub fn root_certificate_pem(&self) -> String {
        Certificate::from_der(&self.root.certificate)
            .and_then(|certificate| certificate.to_pem(LineEnding::LF))
            .expect("a certificate that was minted or checked encodes")
    }

    /// DER of the root certificate.
    pub fn root_certificate_der(&self) -> &[u8] {
        &self.root.certificate
    }

    /// SHA-256 of the root certificate's DER: its identity in policies.
    pub fn root_sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.root.certificate).into()
    }

    /// The instance id, which PCR4 measures.
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance
    }

    /// The name of the module of one enclave, which is the enclave's id as well:
    /// `<instance>-enc<16 hex digits>`.
    pub fn module_id(&self, enclave: u64) -> String {
        format!("{}-enc{enclave:016x}", self.instance)
    }
}

/// The one PEM block of that label, with nothing else between its lines.
fn block<'a>(text: &'a str, label: &'static str) -> Result<&'a str, PlatformError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let missing = || PlatformError::Blocks {
        label,
        got: text.matches(&begin).count(),
    };
    if text.matches(&begin).count() != 1 || text.matches(&end).count() != 1 {
        return Err(missing());
    }
    let start = text.find(&begin).ok_or_else(missing)?;
    let stop = text
        .find(&end)
        .ok_or_else(missing)?
        .saturating_add(end.len());
    text.get(start..stop).ok_or_else(missing)
}

/// Checks that `der` is a root of ours for `key`; says for which instance.
fn check_root(key: SigningKey, der: Vec<u8>) -> Result<(Identity, InstanceId), PlatformError> {
    let refuse = |got| PlatformError::Certificate { got };
    let certificate = Certificate::from_der(&der).map_err(|_| refuse("bytes that are none"))?;
    let tbs = certificate.tbs_certificate();
    if tbs.subject() != tbs.issuer() {
        return Err(refuse("one that another issued"));
    }
    let public_key = tbs.subject_public_key_info().subject_public_key.raw_bytes();
    if public_key != key.verifying_key().to_sec1_point(false).as_bytes() {
        return Err(refuse("one for another key"));
    }
    check_self_signature(&key, &certificate)?;
    check_may_issue(&certificate)?;
    let identity = Identity {
        subject: tbs.subject().clone(),
        period: Period::of(tbs.validity()),
        certificate: der,
        key,
    };
    let instance = instance_of(&certificate)?;
    Ok((identity, instance))
}

fn check_self_signature(key: &SigningKey, certificate: &Certificate) -> Result<(), PlatformError> {
    use der::Encode;
    let refuse = || PlatformError::Certificate {
        got: "one with a wrong signature",
    };
    let signed = certificate
        .tbs_certificate()
        .to_der()
        .map_err(|_| refuse())?;
    let signature = DerSignature::try_from(certificate.signature().raw_bytes());
    signature
        .and_then(|signature| key.verifying_key().verify(&signed, &signature))
        .map_err(|_| refuse())
}

fn check_may_issue(certificate: &Certificate) -> Result<(), PlatformError> {
    let refuse = |got| PlatformError::Certificate { got };
    let tbs = certificate.tbs_certificate();
    match tbs.get_extension::<BasicConstraints>() {
        Ok(Some((_, constraints))) if constraints.ca => {}
        _ => return Err(refuse("one that is no CA")),
    }
    match tbs.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) if usage.key_cert_sign() => Ok(()),
        _ => Err(refuse("one that may not sign certificates")),
    }
}

fn instance_of(certificate: &Certificate) -> Result<InstanceId, PlatformError> {
    let name = certificate
        .tbs_certificate()
        .subject()
        .common_name()
        .ok()
        .flatten();
    let name = name
        .as_ref()
        .map(DirectoryString::value)
        .unwrap_or_default();
    name.strip_prefix(ROOT_NAME)
        .ok_or(PlatformError::Certificate {
            got: "one of another name",
        })?
        .parse()
        .map_err(PlatformError::Instance)
}

/// Why there is no platform.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// The root could not be made.
    #[error("platform: expected to be able to make a root")]
    Mint(#[source] MintError),
    /// Too large to be a platform's file.
    #[error("platform file: expected at most {limit} bytes, got {got}")]
    Size {
        /// The most bytes allowed.
        limit: usize,
        /// The bytes that came.
        got: usize,
    },
    /// A PEM block is absent or there twice.
    #[error("platform file: expected one PEM block {label}, got {got}")]
    Blocks {
        /// The block's label.
        label: &'static str,
        /// How many of them begin.
        got: usize,
    },
    /// The key is not what it should be. Says nothing of its content.
    #[error("platform key: expected PKCS #8 of P-384, got {got}")]
    Key {
        /// What came.
        got: &'static str,
    },
    /// The certificate is not what it should be.
    #[error(
        "platform root: expected a self-signed P-384 CA named {ROOT_NAME:?} and an instance id, got {got}"
    )]
    Certificate {
        /// What came.
        got: &'static str,
    },
    /// The root's name holds no instance id.
    #[error("platform root: expected an instance id in its name")]
    Instance(#[source] InstanceIdError),
}

impl PlatformError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Mint(_) => "platform.mint",
            Self::Size { .. } => "platform.size",
            Self::Blocks { .. } => "platform.blocks",
            Self::Key { .. } => "platform.key",
            Self::Certificate { .. } => "platform.certificate",
            Self::Instance(_) => "platform.instance",
        }
    }
}
