//! Issuing certificates (RFC 5280) in the shape of AWS's.

use std::str::FromStr;

use der::Encode;
use p384::ecdsa::{DerSignature, SigningKey};
use p384::elliptic_curve::Generate;
use rand_core::CryptoRng;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder, Error};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

use crate::identity::{Identity, Period};

/// Bytes of a common name (RFC 5280 Appendix A, ub-common-name).
const MAX_COMMON_NAME: usize = 64;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Issues itself and regional certificates: CA, no path length, signs CRLs.
    Root,
    /// Issues others: CA with a path length, signs CRLs.
    Authority { path_length: u8 },
    /// Issues leaves only: CA with path length 0, keyCertSign alone.
    Instance,
    /// Signs documents: no CA, digitalSignature and nonRepudiation.
    Leaf,
}

/// Why a certificate could not be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The time cannot stand in a certificate.
    #[error("clock: expected a time from 1970 to 9999, got another")]
    Clock,
    /// The root is not valid yet, or has less left than what it is to sign would live.
    #[error("platform root: expected at least 20 days of validity left, got less")]
    RootPeriod,
    /// Assembling or signing failed.
    #[error("certificate: expected to be able to assemble and sign it")]
    Assemble(#[source] Error),
}

impl MintError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Clock => "mint.clock",
            Self::RootPeriod => "mint.root-period",
            Self::Assemble(_) => "mint.assemble",
        }
    }
}

/// Makes a key and a certificate for it, signed by `issuer`.
pub(crate) fn issue(
    issuer: &Identity,
    role: Role,
    subject: Name,
    period: Period,
    rng: &mut impl CryptoRng,
) -> Result<Identity, MintError> {
    let key = SigningKey::generate_from_rng(rng);
    let names = Names {
        subject,
        issuer: issuer.subject.clone(),
    };
    sign(&issuer.key, key, role, names, period, rng)
}

/// Makes a key and a root certificate for it, signed by itself.
pub(crate) fn issue_root(
    subject: Name,
    period: Period,
    rng: &mut impl CryptoRng,
) -> Result<Identity, MintError> {
    let key = SigningKey::generate_from_rng(rng);
    let names = Names {
        issuer: subject.clone(),
        subject,
    };
    sign(&key.clone(), key, Role::Root, names, period, rng)
}

/// A name with `common_name` cut to 64 bytes, as AWS cuts its leaves'. All text is ASCII letters,
/// digits, dots, dashes and spaces, so nothing in it needs escaping (RFC 4514 §2.4).
pub(crate) fn name(common_name: &str) -> Result<Name, MintError> {
    let cut = common_name.get(..MAX_COMMON_NAME).unwrap_or(common_name);
    let text = format!("CN={cut},OU=Local platform,O=Anchorhold");
    Name::from_str(&text).map_err(|error| MintError::Assemble(Error::Asn1(error)))
}

struct Names {
    subject: Name,
    issuer: Name,
}

fn sign(
    issuer_key: &SigningKey,
    key: SigningKey,
    role: Role,
    names: Names,
    period: Period,
    rng: &mut impl CryptoRng,
) -> Result<Identity, MintError> {
    let validity = period.validity()?;
    let certificate = assemble(
        issuer_key,
        &key,
        Profile {
            role,
            names: &names,
        },
        validity,
        rng,
    )
    .map_err(MintError::Assemble)?;
    Ok(Identity {
        key,
        subject: names.subject,
        certificate,
        period,
    })
}

fn assemble(
    issuer_key: &SigningKey,
    key: &SigningKey,
    profile: Profile<'_>,
    validity: x509_cert::time::Validity,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Error> {
    let public_key = SubjectPublicKeyInfoOwned::from_key(key.verifying_key())?;
    CertificateBuilder::new(profile, serial_number(rng)?, validity, public_key)?
        .build::<_, DerSignature>(issuer_key)?
        .to_der()
        .map_err(Error::from)
}

/// 16 random bytes, positive and without leading zeros (RFC 5280 §4.1.2.2).
fn serial_number(rng: &mut impl CryptoRng) -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes[0] = bytes[0] & 0x7F | 0x40;
    SerialNumber::new(&bytes).map_err(Error::from)
}

/// Names and extensions of one certificate, the extensions in the order of AWS's.
struct Profile<'a> {
    role: Role,
    names: &'a Names,
}

impl BuilderProfile for Profile<'_> {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.names.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.names.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> Result<Vec<Extension>, Error> {
        let subject_id = || SubjectKeyIdentifier::try_from(key.clone());
        let issuer_id = || AuthorityKeyIdentifier::try_from(issuer_key.clone());
        let mut extensions = Extensions {
            tbs,
            list: Vec::new(),
        };
        extensions.add(true, &self.role.basic_constraints())?;
        match self.role {
            Role::Root => {
                extensions.add(false, &subject_id()?)?;
                extensions.add(true, &self.role.key_usage())?;
            }
            Role::Authority { .. } => {
                extensions.add(false, &issuer_id()?)?;
                extensions.add(false, &subject_id()?)?;
                extensions.add(true, &self.role.key_usage())?;
            }
            Role::Instance => {
                extensions.add(true, &self.role.key_usage())?;
                extensions.add(false, &subject_id()?)?;
                extensions.add(false, &issuer_id()?)?;
            }
            Role::Leaf => extensions.add(false, &self.role.key_usage())?,
        }
        Ok(extensions.list)
    }
}

impl Role {
    fn basic_constraints(self) -> BasicConstraints {
        let (ca, path_len_constraint) = match self {
            Self::Root => (true, None),
            Self::Authority { path_length } => (true, Some(path_length)),
            Self::Instance => (true, Some(0)),
            Self::Leaf => (false, None),
        };
        BasicConstraints {
            ca,
            path_len_constraint,
        }
    }

    fn key_usage(self) -> KeyUsage {
        KeyUsage(match self {
            Self::Root | Self::Authority { .. } => {
                KeyUsages::DigitalSignature | KeyUsages::KeyCertSign | KeyUsages::CRLSign
            }
            Self::Instance => KeyUsages::KeyCertSign.into(),
            Self::Leaf => KeyUsages::DigitalSignature | KeyUsages::NonRepudiation,
        })
    }
}

struct Extensions<'a> {
    tbs: &'a TbsCertificate,
    list: Vec<Extension>,
}

impl Extensions<'_> {
    fn add<'e, E>(&mut self, critical: bool, extension: &'e E) -> Result<(), Error>
    where
        (bool, &'e E): ToExtension<Error = der::Error>,
    {
        let extension = (critical, extension).to_extension(self.tbs.subject(), &self.list)?;
        self.list.push(extension);
        Ok(())
    }
}
