//! One certificate of the chain: what it claims, with x509-parser.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{BasicConstraints, KeyUsage};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use crate::chain::CertificateSummary;
use crate::error::{ChainPosition, VerifyError};
use crate::signature::PUBLIC_KEY_BYTES;
use crate::time::Timestamp;

/// ecdsa-with-SHA384 (RFC 5758 §3.2).
const ECDSA_WITH_SHA384: &str = "1.2.840.10045.4.3.3";

/// The only way that DER begins a SubjectPublicKeyInfo of id-ecPublicKey, secp384r1 and a bit
/// string of 97 bytes (RFC 5480 §2); the point follows.
const P384_SPKI: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

/// A certificate's claims. Nothing here establishes that its issuer made them.
pub(crate) struct Certificate<'a> {
    position: ChainPosition,
    parsed: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    /// Parses DER and checks what holds for every place in the chain: version 3, no extension
    /// twice, a P-384 key, signed with ecdsa-with-SHA384.
    pub(crate) fn parse(der: &'a [u8], position: ChainPosition) -> Result<Self, VerifyError> {
        let malformed = |got| VerifyError::Malformed { position, got };
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|_| malformed("bytes that are none"))?;
        if !rest.is_empty() {
            return Err(malformed("trailing bytes"));
        }
        if parsed.version() != X509Version::V3 {
            return Err(malformed("another version"));
        }
        parsed
            .extensions_map()
            .map_err(|_| malformed("an extension twice"))?;
        let certificate = Self { position, parsed };
        certificate.check_algorithms()?;
        Ok(certificate)
    }

    /// The key as an uncompressed point.
    pub(crate) fn public_key(&self) -> Result<[u8; PUBLIC_KEY_BYTES], VerifyError> {
        self.parsed
            .public_key()
            .raw
            .strip_prefix(&P384_SPKI)
            .filter(|point| point.first() == Some(&0x04))
            .and_then(|point| point.try_into().ok())
            .ok_or(VerifyError::KeyAlgorithm {
                position: self.position,
            })
    }

    /// First moment of validity.
    pub(crate) fn not_before(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.parsed.validity().not_before.timestamp())
    }

    /// Last moment of validity: the start of the named second. RFC 5280 §4.1.2.5 counts that second
    /// in; its last 999 ms are refused here, which errs on the safe side.
    pub(crate) fn not_after(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.parsed.validity().not_after.timestamp())
    }

    /// Name and validity.
    pub(crate) fn summary(&self) -> CertificateSummary {
        CertificateSummary {
            subject: self.parsed.subject().to_string(),
            not_before: self.not_before(),
            not_after: self.not_after(),
        }
    }

    /// Checks that `at` is in the validity period.
    pub(crate) fn check_validity(&self, at: Timestamp) -> Result<(), VerifyError> {
        let (position, not_before, not_after) =
            (self.position, self.not_before(), self.not_after());
        if at < not_before {
            return Err(VerifyError::NotYetValid {
                position,
                not_before,
                at,
            });
        }
        if at > not_after {
            return Err(VerifyError::Expired {
                position,
                not_after,
                at,
            });
        }
        Ok(())
    }

    /// Checks that the certificate names `issuer` as its own.
    pub(crate) fn check_issued_by(&self, issuer: &Certificate<'_>) -> Result<(), VerifyError> {
        if self.parsed.issuer().as_raw() == issuer.parsed.subject().as_raw() {
            return Ok(());
        }
        Err(VerifyError::Order {
            position: self.position,
            expected: issuer.parsed.subject().to_string(),
            got: self.parsed.issuer().to_string(),
        })
    }

    /// Checks that none of `others` is about the same subject.
    pub(crate) fn check_subject_not_among(&self, others: &[&Self]) -> Result<(), VerifyError> {
        let subject = self.parsed.subject();
        if others
            .iter()
            .any(|other| other.parsed.subject().as_raw() == subject.as_raw())
        {
            return Err(VerifyError::SameName {
                position: self.position,
                got: subject.to_string(),
            });
        }
        Ok(())
    }

    /// Checks that the certificate can be a root: issued by itself, and allowed to issue.
    pub(crate) fn check_root(&self) -> Result<(), VerifyError> {
        self.check_issued_by(self)?;
        self.check_may_issue(0)
    }

    /// Checks that the certificate may issue others, with `issuers_below` more issuers between it
    /// and the leaf.
    pub(crate) fn check_may_issue(&self, issuers_below: usize) -> Result<(), VerifyError> {
        let refuse = |got| VerifyError::BasicConstraints {
            position: self.position,
            expected: "TRUE",
            got,
        };
        match self.basic_constraints()? {
            None => return Err(refuse("none")),
            Some(constraints) if !constraints.ca => return Err(refuse("CA:FALSE")),
            Some(constraints) => self.check_path_length(constraints, issuers_below)?,
        }
        self.check_key_usage("keyCertSign", KeyUsage::key_cert_sign)
    }

    /// Checks that the certificate is no issuer and that its key may sign documents.
    pub(crate) fn check_leaf(&self) -> Result<(), VerifyError> {
        if self
            .basic_constraints()?
            .is_some_and(|constraints| constraints.ca)
        {
            return Err(VerifyError::BasicConstraints {
                position: self.position,
                expected: "FALSE",
                got: "CA:TRUE",
            });
        }
        self.check_key_usage("digitalSignature", KeyUsage::digital_signature)?;
        self.check_key_usage("digitalSignature without keyCertSign", |usage| {
            !usage.key_cert_sign()
        })
    }

    fn check_algorithms(&self) -> Result<(), VerifyError> {
        self.public_key()?;
        for algorithm in [
            &self.parsed.signature_algorithm,
            &self.parsed.tbs_certificate.signature,
        ] {
            let got = algorithm.algorithm.to_id_string();
            if got != ECDSA_WITH_SHA384 {
                return Err(VerifyError::SignatureAlgorithm {
                    position: self.position,
                    got,
                });
            }
        }
        Ok(())
    }

    fn check_path_length(
        &self,
        constraints: &BasicConstraints,
        got: usize,
    ) -> Result<(), VerifyError> {
        match constraints.path_len_constraint {
            Some(allowed) if usize::try_from(allowed).is_ok_and(|allowed| got > allowed) => {
                Err(VerifyError::PathLength {
                    position: self.position,
                    allowed,
                    got,
                })
            }
            _ => Ok(()),
        }
    }

    fn check_key_usage(
        &self,
        expected: &'static str,
        allowed: impl Fn(&KeyUsage) -> bool,
    ) -> Result<(), VerifyError> {
        let refuse = |got| VerifyError::KeyUsage {
            position: self.position,
            expected,
            got,
        };
        match self.parsed.key_usage() {
            Ok(Some(usage)) if allowed(usage.value) => Ok(()),
            Ok(Some(_)) => Err(refuse("another")),
            Ok(None) => Err(refuse("none")),
            Err(_) => Err(refuse("one that cannot be read")),
        }
    }

    /// The basic constraints, refused if they are there and cannot be read.
    fn basic_constraints(&self) -> Result<Option<&BasicConstraints>, VerifyError> {
        let malformed = VerifyError::Malformed {
            position: self.position,
            got: "unreadable basic constraints",
        };
        let oid = x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
        let present = self
            .parsed
            .get_extension_unique(&oid)
            .map_err(|_| malformed.clone())?;
        let parsed = self
            .parsed
            .basic_constraints()
            .map_err(|_| malformed.clone())?;
        match parsed {
            None if present.is_some() => Err(malformed),
            parsed => Ok(parsed.map(|extension| extension.value)),
        }
    }
}
