//! The operations of the API and the IAM actions that permit them.

use std::fmt;

/// An operation that this KMS does. Each is AWS's operation of the same name, save the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Keeps a key that is pending deletion; it is then disabled.
    CancelKeyDeletion,
    /// Gives a key a further name.
    CreateAlias,
    /// Makes a key.
    CreateKey,
    /// Opens a ciphertext; takes a Recipient.
    Decrypt,
    /// Takes a name away.
    DeleteAlias,
    /// Says what is known about a key.
    DescribeKey,
    /// Makes a key unusable for now.
    DisableKey,
    /// Makes a disabled key usable.
    EnableKey,
    /// Makes a ciphertext of up to 4096 bytes.
    Encrypt,
    /// Makes a data key, in plaintext and encrypted; takes a Recipient.
    GenerateDataKey,
    /// Makes a data key, encrypted only.
    GenerateDataKeyWithoutPlaintext,
    /// Gives random bytes; takes a Recipient.
    GenerateRandom,
    /// Gives a key's policy as it was put.
    GetKeyPolicy,
    /// Lists names.
    ListAliases,
    /// Lists the names of a key's policies: `default`.
    ListKeyPolicies,
    /// Lists keys.
    ListKeys,
    /// Replaces a key's policy.
    PutKeyPolicy,
    /// Deletes a key after a waiting period.
    ScheduleKeyDeletion,
    /// Gives a name to another key.
    UpdateAlias,
    /// Anchorhold's own: a nonce of 32 bytes for one attestation document.
    GetAttestationNonce,
}

/// `X-Amz-Target` prefix of AWS's operations.
pub const TARGET_PREFIX: &str = "TrentService.";

/// `X-Amz-Target` prefix of Anchorhold's own operations.
pub const OWN_TARGET_PREFIX: &str = "AnchorholdService.";

impl Operation {
    /// Every operation, by name.
    pub const ALL: [Self; 20] = [
        Self::CancelKeyDeletion,
        Self::CreateAlias,
        Self::CreateKey,
        Self::Decrypt,
        Self::DeleteAlias,
        Self::DescribeKey,
        Self::DisableKey,
        Self::EnableKey,
        Self::Encrypt,
        Self::GenerateDataKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::GenerateRandom,
        Self::GetKeyPolicy,
        Self::ListAliases,
        Self::ListKeyPolicies,
        Self::ListKeys,
        Self::PutKeyPolicy,
        Self::ScheduleKeyDeletion,
        Self::UpdateAlias,
        Self::GetAttestationNonce,
    ];

    /// The operation that an `X-Amz-Target` header names, prefix included; `None` when there is
    /// no such operation, or it has the other prefix.
    pub fn from_target(target: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| {
            target.strip_prefix(operation.target_prefix()) == Some(operation.name())
        })
    }

    /// The `X-Amz-Target` prefix.
    pub fn target_prefix(self) -> &'static str {
        match self {
            Self::GetAttestationNonce => OWN_TARGET_PREFIX,
            _ => TARGET_PREFIX,
        }
    }

    /// The bare name, e.g. `Decrypt`: CloudTrail's `eventName`.
    pub fn name(self) -> &'static str {
        self.action().split_once(':').map_or("", |(_, name)| name)
    }

    /// The IAM action that permits it, e.g. `kms:Decrypt`; our own are `anchorhold:…`.
    pub fn action(self) -> &'static str {
        match self {
            Self::CancelKeyDeletion => "kms:CancelKeyDeletion",
            Self::CreateAlias => "kms:CreateAlias",
            Self::CreateKey => "kms:CreateKey",
            Self::Decrypt => "kms:Decrypt",
            Self::DeleteAlias => "kms:DeleteAlias",
            Self::DescribeKey => "kms:DescribeKey",
            Self::DisableKey => "kms:DisableKey",
            Self::EnableKey => "kms:EnableKey",
            Self::Encrypt => "kms:Encrypt",
            Self::GenerateDataKey => "kms:GenerateDataKey",
            Self::GenerateDataKeyWithoutPlaintext => "kms:GenerateDataKeyWithoutPlaintext",
            Self::GenerateRandom => "kms:GenerateRandom",
            Self::GetKeyPolicy => "kms:GetKeyPolicy",
            Self::ListAliases => "kms:ListAliases",
            Self::ListKeyPolicies => "kms:ListKeyPolicies",
            Self::ListKeys => "kms:ListKeys",
            Self::PutKeyPolicy => "kms:PutKeyPolicy",
            Self::ScheduleKeyDeletion => "kms:ScheduleKeyDeletion",
            Self::UpdateAlias => "kms:UpdateAlias",
            Self::GetAttestationNonce => "anchorhold:GetAttestationNonce",
        }
    }

    /// Whether the operation takes a `Recipient` with an attestation document.
    pub fn takes_recipient(self) -> bool {
        matches!(
            self,
            Self::Decrypt | Self::GenerateDataKey | Self::GenerateRandom
        )
    }

    /// Whether it changes nothing that is stored: CloudTrail's `readOnly`.
    pub fn is_read_only(self) -> bool {
        matches!(
            self,
            Self::Decrypt
                | Self::DescribeKey
                | Self::Encrypt
                | Self::GenerateDataKey
                | Self::GenerateDataKeyWithoutPlaintext
                | Self::GenerateRandom
                | Self::GetAttestationNonce
                | Self::GetKeyPolicy
                | Self::ListAliases
                | Self::ListKeyPolicies
                | Self::ListKeys
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_with_the_wrong_prefix_or_case_are_unknown() {
        for target in [
            "",
            "Decrypt",
            "TrentService.",
            "TrentService.decrypt",
            "TrentService.GetAttestationNonce",
            "AnchorholdService.Decrypt",
            "TrentService.Decrypt ",
        ] {
            assert_eq!(Operation::from_target(target), None, "{target:?}");
        }
    }

    #[test]
    fn every_operation_has_its_own_target_and_action() {
        let mut actions = std::collections::BTreeSet::new();
        for operation in Operation::ALL {
            let target = format!("{}{}", operation.target_prefix(), operation.name());
            assert_eq!(Operation::from_target(&target), Some(operation));
            assert!(actions.insert(operation.action()));
        }
    }
}
