//! `X-Amz-Target`.

use anchorhold_kms_core::operation::{Operation, TARGET_PREFIX};
use anchorhold_kms_core::{Exception, KmsError};

/// AWS's operations (API model `kms/2014-11-01`) that are not here.
const NOT_HERE: [&str; 37] = [
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "CreateGrant",
    "Decapsulate",
    "DeleteCustomKeyStore",
    "DeleteImportedKeyMaterial",
    "DeriveSharedSecret",
    "DescribeCustomKeyStores",
    "DisableKeyRotation",
    "DisconnectCustomKeyStore",
    "EnableKeyRotation",
    "Encapsulate",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "GetKeyLastUsage",
    "GetKeyRotationStatus",
    "GetParametersForImport",
    "GetPublicKey",
    "ImportKeyMaterial",
    "ListGrants",
    "ListKeyRotations",
    "ListResourceTags",
    "ListRetirableGrants",
    "ReEncrypt",
    "ReplicateKey",
    "RetireGrant",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "Sign",
    "TagResource",
    "UntagResource",
    "UpdateCustomKeyStore",
    "UpdateKeyDescription",
    "UpdatePrimaryRegion",
    "Verify",
    "VerifyMac",
];

/// What a request's `X-Amz-Target` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// An operation that this server does.
    Operation(Operation),
    /// An operation of AWS's that it does not.
    NotHere(&'static str),
    /// Anything else.
    Unknown,
}

impl Target {
    /// Reads the header's value.
    pub fn read(value: &str) -> Self {
        if let Some(operation) = Operation::from_target(value) {
            return Self::Operation(operation);
        }
        value
            .strip_prefix(TARGET_PREFIX)
            .and_then(|name| NOT_HERE.into_iter().find(|known| *known == name))
            .map_or(Self::Unknown, Self::NotHere)
    }

    /// The name for the audit event.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operation(operation) => operation.name(),
            Self::NotHere(name) => name,
            Self::Unknown => "UnknownOperation",
        }
    }

    /// The operation to do.
    ///
    /// # Errors
    /// `UnsupportedOperationException` or `UnknownOperationException`.
    pub fn operation(self) -> Result<Operation, KmsError> {
        match self {
            Self::Operation(operation) => Ok(operation),
            Self::NotHere(name) => Err(KmsError::Unsupported(
                format!("The operation {name} is not supported by this KMS.").into(),
            )),
            Self::Unknown => Err(KmsError::other(
                Exception::UnknownOperation,
                "request.operation",
                "",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_unsupported_are_told_apart() {
        for target in [
            "",
            "TrentService.",
            "TrentService.Frobnicate",
            "DynamoDB_20120810.ListTables",
        ] {
            assert_eq!(Target::read(target), Target::Unknown, "{target}");
        }
        let refused = Target::read("TrentService.CreateGrant").operation();
        let refused = refused.expect_err("not here");
        assert_eq!(refused.exception().name(), "UnsupportedOperationException");
        assert!(NOT_HERE.is_sorted());
    }

    #[test]
    fn every_operation_of_aws_is_known() {
        // 56 operations in the API model; one of ours, GetAttestationNonce, is not AWS's.
        assert_eq!(NOT_HERE.len() + Operation::ALL.len() - 1, 56);
        for operation in Operation::ALL {
            let target = format!("{}{}", operation.target_prefix(), operation.name());
            assert_eq!(Target::read(&target), Target::Operation(operation));
        }
    }
}
