//! Which condition keys there are, and which of them an attestation gives.

use std::ops::RangeInclusive;

use anchorhold_document::PcrIndex;
use anchorhold_document::limits::MAX_USER_FIELD;

/// `kms:RecipientAttestation:ImageSha384`: PCR0.
pub(super) const IMAGE_SHA384: &str = "kms:RecipientAttestation:ImageSha384";

/// `kms:RecipientAttestation:PCR<n>`.
pub(super) const PCR_PREFIX: &str = "kms:RecipientAttestation:PCR";

/// SHA-256 of the attestation's root certificate: Anchorhold's own key.
pub(super) const ROOT_SHA256: &str = "anchorhold:RecipientAttestation:RootSha256";

/// The document's user_data in hex: Anchorhold's own key.
pub(super) const USER_DATA: &str = "anchorhold:RecipientAttestation:UserData";

/// How many other documents of the same user_data the key has been released to: Anchorhold's own.
pub(super) const PRIOR_RELEASES: &str = "anchorhold:RecipientAttestation:PriorReleases";

/// `kms:EncryptionContext:<name>`.
pub(super) const ENCRYPTION_CONTEXT_PREFIX: &str = "kms:EncryptionContext:";

/// The names in the encryption context.
pub(super) const ENCRYPTION_CONTEXT_KEYS: &str = "kms:EncryptionContextKeys";

/// What a condition key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// A PCR or PCR0 by its other name: SHA-384, 96 hex digits.
    Measurement,
    /// [`ROOT_SHA256`]: 64 hex digits.
    Root,
    /// [`USER_DATA`]: hex digits, as many as the document has.
    UserData,
    /// [`PRIOR_RELEASES`]: a number.
    PriorReleases,
    /// Under `kms:RecipientAttestation` or `anchorhold:RecipientAttestation`, and none that a
    /// document of this KMS gives: a PCR that does not exist, a NitroTPM's, the bare prefix.
    OtherAttestation,
    /// A pair of the encryption context.
    EncryptionContext,
    /// Any other that this KMS fills in.
    Known,
    /// One that no request here ever has.
    Unknown,
}

/// Keys that [`super::Context`] fills in, those of [`KeyKind`]'s own aside; lower-case.
const KNOWN: [&str; 17] = [
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:requestedregion",
    "aws:securetransport",
    "aws:sourceip",
    "aws:username",
    "kms:bypasspolicylockoutsafetycheck",
    "kms:calleraccount",
    "kms:encryptionalgorithm",
    "kms:encryptioncontextkeys",
    "kms:keyorigin",
    "kms:keyspec",
    "kms:keyusage",
    "kms:requestalias",
    "kms:schedulekeydeletionpendingwindowindays",
];

impl KeyKind {
    /// The kind of the key of this name, case aside.
    pub(super) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name == IMAGE_SHA384.to_ascii_lowercase() || is_pcr(&name) {
            Self::Measurement
        } else if name == ROOT_SHA256.to_ascii_lowercase() {
            Self::Root
        } else if name == USER_DATA.to_ascii_lowercase() {
            Self::UserData
        } else if name == PRIOR_RELEASES.to_ascii_lowercase() {
            Self::PriorReleases
        } else if name.starts_with("kms:recipientattestation")
            || name.starts_with("anchorhold:recipientattestation")
        {
            Self::OtherAttestation
        } else if name.starts_with(&ENCRYPTION_CONTEXT_PREFIX.to_ascii_lowercase()) {
            Self::EncryptionContext
        } else if KNOWN.contains(&name.as_str()) {
            Self::Known
        } else {
            Self::Unknown
        }
    }

    /// Whether only an attestation could give it a value.
    pub(super) fn is_attestation(self) -> bool {
        matches!(
            self,
            Self::Measurement
                | Self::Root
                | Self::UserData
                | Self::PriorReleases
                | Self::OtherAttestation
        )
    }

    /// How many hex digits its values have, at least and at most; a document's user_data has up to
    /// 1024 bytes.
    pub(super) fn hex_digits(self) -> Option<RangeInclusive<usize>> {
        match self {
            Self::Measurement => Some(96..=96),
            Self::Root => Some(64..=64),
            Self::UserData => Some(0..=2 * MAX_USER_FIELD),
            _ => None,
        }
    }
}

/// Whether a lower-case name is `kms:recipientattestation:pcr<n>` of an index that exists, written
/// as the request's key is: without leading zeros.
fn is_pcr(name: &str) -> bool {
    name.strip_prefix(&PCR_PREFIX.to_ascii_lowercase())
        .and_then(|digits| {
            digits
                .parse::<u8>()
                .ok()
                .filter(|index| index.to_string() == digits)
        })
        .is_some_and(|index| PcrIndex::new(index).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_look_like_a_pcr_are_none() {
        for name in [
            "kms:RecipientAttestation",
            "kms:RecipientAttestation:PCR",
            "kms:RecipientAttestation:PCR32",
            "kms:RecipientAttestation:PCR00",
            "kms:RecipientAttestation:PCR+1",
            "kms:RecipientAttestation:NitroTPMPCR4",
            "kms:RecipientAttestationX",
            "anchorhold:RecipientAttestation:PCR0",
            "kms:RecipientAttestation:UserData",
            "anchorhold:RecipientAttestation:UserData2",
            "anchorhold:RecipientAttestation:PriorRelease",
        ] {
            assert_eq!(KeyKind::of(name), KeyKind::OtherAttestation, "{name}");
        }
        assert_eq!(
            KeyKind::of("aws:RecipientAttestation:PCR0"),
            KeyKind::Unknown
        );
    }

    #[test]
    fn case_does_not_count() {
        assert_eq!(
            KeyKind::of("KMS:recipientattestation:pcr31"),
            KeyKind::Measurement
        );
        assert_eq!(
            KeyKind::of("kms:RecipientAttestation:imagesha384"),
            KeyKind::Measurement
        );
        assert_eq!(
            KeyKind::of("Anchorhold:RECIPIENTATTESTATION:rootsha256"),
            KeyKind::Root
        );
        assert_eq!(
            KeyKind::of("anchorhold:recipientattestation:USERDATA"),
            KeyKind::UserData
        );
        assert_eq!(
            KeyKind::of("Anchorhold:RecipientAttestation:priorreleases"),
            KeyKind::PriorReleases
        );
        assert_eq!(
            KeyKind::of("KMS:EncryptionContext:X"),
            KeyKind::EncryptionContext
        );
        assert_eq!(KeyKind::of("AWS:PrincipalArn"), KeyKind::Known);
    }
}
