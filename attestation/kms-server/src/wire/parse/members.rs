//! Members that several operations have.

use std::ops::RangeInclusive;

use anchorhold_kms_core::encryption_context::EncryptionContext;
use anchorhold_kms_core::{Exception, KmsError};

use super::super::marker::MAX_MARKER;
use super::super::reader::Reader;
use super::super::{Marker, Page, Recipient};

/// `KeyIdType`, in characters.
pub(super) const KEY_ID: RangeInclusive<usize> = 1..=2048;
/// `AttestationDocumentType`, in bytes.
const DOCUMENT: RangeInclusive<usize> = 1..=262_144;

/// Limit and marker, as sent.
pub(super) struct PageText {
    limit: usize,
    marker: Option<String>,
}

impl PageText {
    pub(super) fn decide(self, is_name: impl Fn(&str) -> bool) -> Result<Page, KmsError> {
        let marker = self.marker.map(|text| Marker::decode(&text, is_name));
        Ok(Page {
            limit: self.limit,
            marker: marker.transpose()?,
        })
    }
}

pub(super) fn page(r: &mut Reader, (default, most): (usize, i64)) -> Result<PageText, KmsError> {
    let limit = r.integer("Limit", 1..=most)?;
    let marker = r.string("Marker", 1..=MAX_MARKER)?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    Ok(PageText {
        limit: limit.unwrap_or(default),
        marker,
    })
}

pub(super) fn context(r: &mut Reader) -> Result<EncryptionContext, KmsError> {
    Ok(EncryptionContext::from(r.string_map("EncryptionContext")?))
}

/// `RecipientInfo`: both members are needed, whatever the model's shape says.
pub(super) fn recipient(r: &mut Reader) -> Result<Option<Recipient>, KmsError> {
    r.structure("Recipient", "recipient.", |nested| {
        let algorithm = nested.choice("KeyEncryptionAlgorithm", &["RSAES_OAEP_SHA_256"])?;
        if algorithm.is_none() {
            nested.absent("KeyEncryptionAlgorithm");
        }
        let document = nested.required_blob("AttestationDocument", DOCUMENT)?;
        Ok(Recipient {
            document: document.to_vec(),
        })
    })
}

pub(super) fn no_grant_tokens(r: &mut Reader) -> Result<(), KmsError> {
    if r.string_list("GrantTokens", 0..=10, 1..=8192)?.is_empty() {
        return Ok(());
    }
    Err(KmsError::other(
        Exception::InvalidGrantToken,
        "request.grant-token",
        "This KMS has given out no grant tokens.",
    ))
}

/// A member with one supported value.
pub(super) fn only(
    name: &'static str,
    value: Option<&str>,
    supported: &str,
) -> Result<(), KmsError> {
    match value {
        Some(value) if value != supported => Err(KmsError::Unsupported(
            format!("{name} {value} is not supported by this KMS; it supports {supported}.").into(),
        )),
        _ => Ok(()),
    }
}

pub(super) fn unsupported(member: &'static str) -> KmsError {
    KmsError::Unsupported(format!("{member} is not supported by this KMS.").into())
}
