//! The chain of certificates from a trusted root to the key that signed.

use anchorhold_document::AttestationDocument;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};

use crate::certificate::Certificate;
use crate::error::{ChainPosition, VerifyError};
use crate::roots::{RootSha256, TrustRoots};
use crate::signature::{Es384, ForWebpki, PUBLIC_KEY_BYTES};
use crate::time::Timestamp;

/// A chain that validated: whose key the leaf's is, under which root, and from when to when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedChain {
    pub(crate) root: RootSha256,
    pub(crate) leaf_key: [u8; PUBLIC_KEY_BYTES],
    pub(crate) valid_from: Timestamp,
    pub(crate) valid_until: Timestamp,
}

/// A certificate of a chain, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The distinguished name of the key's holder.
    pub subject: String,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

/// Reads the certificates of a document without checking them: for those already checked.
pub(crate) fn summarize(document: &AttestationDocument) -> Vec<CertificateSummary> {
    document
        .cabundle
        .iter()
        .chain([&document.certificate])
        .filter_map(|der| Certificate::parse(der, ChainPosition::Leaf).ok())
        .map(|certificate| certificate.summary())
        .collect()
}

/// Checks the chain of `document` at the time `at`: see the crate's documentation for the list.
///
/// This does not establish that the leaf's key signed the document, nor anything that the document
/// says, nor that no certificate was revoked.
pub(crate) fn verify(
    document: &AttestationDocument,
    roots: &TrustRoots,
    at: Timestamp,
    es384: &dyn Es384,
) -> Result<VerifiedChain, VerifyError> {
    let root = check_root(document, roots)?;
    let issuers = parse_bundle(&document.cabundle)?;
    let leaf = Certificate::parse(&document.certificate, ChainPosition::Leaf)?;
    check_claims(&issuers, &leaf, at)?;
    check_path(document, at, es384)?;

    let all = || issuers.iter().chain(std::iter::once(&leaf));
    Ok(VerifiedChain {
        root,
        leaf_key: leaf.public_key()?,
        valid_from: all().map(Certificate::not_before).max().unwrap_or(at),
        valid_until: all().map(Certificate::not_after).min().unwrap_or(at),
    })
}

/// Checks that the bundle begins with a root that the caller trusts, by its hash.
///
/// This does not establish that anything in the bundle descends from it.
pub(crate) fn check_root(
    document: &AttestationDocument,
    roots: &TrustRoots,
) -> Result<RootSha256, VerifyError> {
    let got = RootSha256::of_der(document.cabundle.first().map_or(&[], Vec::as_slice));
    if roots.contains(&got) {
        Ok(got)
    } else {
        Err(VerifyError::UntrustedRoot {
            trusted: roots.iter().collect(),
            got,
        })
    }
}

fn parse_bundle(cabundle: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, VerifyError> {
    cabundle
        .iter()
        .enumerate()
        .map(|(index, der)| {
            let position = match index {
                0 => ChainPosition::Root,
                _ => ChainPosition::Intermediate(index),
            };
            Certificate::parse(der, position)
        })
        .collect()
}

/// Checks what the certificates claim: order, validity, CA, path length and key usage.
///
/// This does not establish that any of them was signed by the one before it.
fn check_claims(
    issuers: &[Certificate<'_>],
    leaf: &Certificate<'_>,
    at: Timestamp,
) -> Result<(), VerifyError> {
    check_order(issuers, leaf)?;
    for (index, issuer) in issuers.iter().enumerate() {
        issuer.check_validity(at)?;
        issuer.check_may_issue(issuers.len().saturating_sub(index + 1))?;
    }
    leaf.check_validity(at)?;
    leaf.check_leaf()
}

/// Checks that each certificate names the one before it as its issuer, and the first one itself;
/// and that no two have one name, so that webpki has one path to follow and none to search for.
fn check_order(issuers: &[Certificate<'_>], leaf: &Certificate<'_>) -> Result<(), VerifyError> {
    let mut issued_by = None;
    let mut before = Vec::with_capacity(issuers.len());
    for certificate in issuers.iter().chain([leaf]) {
        certificate.check_issued_by(issued_by.unwrap_or(certificate))?;
        certificate.check_subject_not_among(&before)?;
        before.push(certificate);
        issued_by = Some(certificate);
    }
    Ok(())
}

/// Validates the path (RFC 5280 §6) with webpki, and that it is the whole bundle in its order:
/// webpki itself takes intermediates as a heap to choose from.
///
/// This does not establish key usage, which webpki leaves alone.
fn check_path(
    document: &AttestationDocument,
    at: Timestamp,
    es384: &dyn Es384,
) -> Result<(), VerifyError> {
    let Some((root, intermediates)) = document.cabundle.split_first() else {
        return Err(VerifyError::PathDiffers { expected: 0 });
    };
    let root = CertificateDer::from(root.as_slice());
    let anchor = webpki::anchor_from_trusted_cert(&root).map_err(VerifyError::Path)?;
    let intermediates: Vec<_> = intermediates
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let leaf = CertificateDer::from(document.certificate.as_slice());
    let leaf = EndEntityCert::try_from(&leaf).map_err(VerifyError::Path)?;
    let path = leaf
        .verify_for_usage(
            &[&ForWebpki(es384)],
            std::slice::from_ref(&anchor),
            &intermediates,
            UnixTime::since_unix_epoch(at.since_epoch()),
            AnyPurpose,
            None,
            None,
        )
        .map_err(VerifyError::Path)?;
    check_whole_bundle(&path, &intermediates)
}

fn check_whole_bundle(
    path: &VerifiedPath<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), VerifyError> {
    let used = path
        .intermediate_certificates()
        .map(|certificate| certificate.der());
    if used.eq(intermediates.iter().rev().cloned()) {
        Ok(())
    } else {
        Err(VerifyError::PathDiffers {
            expected: intermediates.len() + 1,
        })
    }
}

/// These chains carry no extended key usage; what the keys are for stands in KeyUsage.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}
