//! Algorithm suites: the two that are spoken, and the names of those that are not.

use core::fmt;

/// An algorithm suite that commits to its data key. Both are AES-256-GCM with a 12-byte nonce and a
/// 16-byte tag, keys derived by HKDF with SHA-512.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `0x0478`, `AES_256_GCM_HKDF_SHA512_COMMIT_KEY`: no signature.
    Committed,
    /// `0x0578`, `AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384`: header and body are signed with a
    /// key made for the one message. The default of all AWS Encryption SDKs.
    CommittedSigned,
}

impl Suite {
    /// The suite's id in the header.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Committed => 0x0478,
            Self::CommittedSigned => 0x0578,
        }
    }

    /// The suite's name in the format reference.
    #[must_use]
    pub const fn name(self) -> &'static str {
        name_of(self.id())
    }

    /// Whether messages of this suite end with a signature.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::CommittedSigned)
    }

    /// The suite with this id, if it is one of the two.
    pub(crate) const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0478 => Some(Self::Committed),
            0x0578 => Some(Self::CommittedSigned),
            _ => None,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name that the format reference gives to a suite id, for refusals.
pub(crate) const fn name_of(id: u16) -> &'static str {
    match id {
        0x0014 => "AES_128_GCM_IV12_TAG16_NO_KDF",
        0x0046 => "AES_192_GCM_IV12_TAG16_NO_KDF",
        0x0078 => "AES_256_GCM_IV12_TAG16_NO_KDF",
        0x0114 => "AES_128_GCM_IV12_TAG16_HKDF_SHA256",
        0x0146 => "AES_192_GCM_IV12_TAG16_HKDF_SHA256",
        0x0178 => "AES_256_GCM_IV12_TAG16_HKDF_SHA256",
        0x0214 => "AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256",
        0x0346 => "AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384",
        0x0378 => "AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384",
        0x0478 => "AES_256_GCM_HKDF_SHA512_COMMIT_KEY",
        0x0578 => "AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_committing_suites_have_a_value() {
        let known: Vec<u16> = (0..=u16::MAX)
            .filter(|id| Suite::from_id(*id).is_some())
            .collect();
        assert_eq!(known, [0x0478, 0x0578]);
        for id in known {
            assert_eq!(Suite::from_id(id).map(Suite::id), Some(id));
        }
    }
}
