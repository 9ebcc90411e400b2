//! The `KeyId` parameter of a request: an id, an ARN, an alias name or an alias ARN.

use std::fmt;

use super::{AliasArn, AliasName, KeyArn, KeyId, MAX_KEY_ID_PARAMETER, Region};
use crate::error::KmsError;

/// What a request names a key by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// `1234abcd-12ab-34cd-56ef-1234567890ab`, in the caller's account and region.
    Id(KeyId),
    /// A key ARN of this region; its account may be another one.
    Arn(KeyArn),
    /// `alias/<name>`, in the caller's account and region.
    Alias(AliasName),
    /// An alias ARN of this region; its account may be another one.
    AliasArn(AliasArn),
}

impl KeyRef {
    /// Reads the `KeyId` of an operation that takes all four forms: the cryptographic ones,
    /// DescribeKey.
    ///
    /// # Errors
    /// As AWS words them: `NotFoundException` "Invalid keyId '…'" for what is neither,
    /// `NotFoundException` "Invalid arn …" for an ARN of another region,
    /// `InvalidArnException` for what begins with `arn:` and is no KMS ARN,
    /// `ValidationException` beyond 2048 bytes or when empty.
    pub fn parse(value: &str, home: &Region) -> Result<Self, KmsError> {
        if value.is_empty() || value.len() > MAX_KEY_ID_PARAMETER {
            return Err(KmsError::validation(
                "request.key-id-length",
                "1 validation error detected: Value at 'keyId' failed to satisfy constraint: \
                 Member must have length between 1 and 2048",
            ));
        }
        if value.starts_with("arn:") {
            return Self::parse_arn(value, home);
        }
        if value.starts_with("alias/") {
            return match value.parse() {
                Ok(name) => Ok(Self::Alias(name)),
                Err(_) => Err(KmsError::InvalidKeyId {
                    given: value.to_owned(),
                }),
            };
        }
        match value.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Err(KmsError::InvalidKeyId {
                given: value.to_owned(),
            }),
        }
    }

    /// Reads the `KeyId` of an operation that takes a key id or key ARN only: the management ones.
    ///
    /// # Errors
    /// Those of [`KeyRef::parse`], and `NotFoundException` "Invalid keyId '…'" for an alias name,
    /// `InvalidArnException` for an alias ARN.
    pub fn parse_key(value: &str, home: &Region) -> Result<Self, KmsError> {
        match Self::parse(value, home)? {
            Self::Alias(_) => Err(KmsError::InvalidKeyId {
                given: value.to_owned(),
            }),
            Self::AliasArn(_) => Err(KmsError::InvalidArn {
                given: value.to_owned(),
            }),
            key => Ok(key),
        }
    }

    fn parse_arn(value: &str, home: &Region) -> Result<Self, KmsError> {
        let (region, reference) = if let Ok(arn) = value.parse::<KeyArn>() {
            (arn.region().clone(), Self::Arn(arn))
        } else if let Ok(arn) = value.parse::<AliasArn>() {
            (arn.region().clone(), Self::AliasArn(arn))
        } else {
            return Err(KmsError::InvalidArn {
                given: value.to_owned(),
            });
        };
        if region == *home {
            Ok(reference)
        } else {
            Err(KmsError::WrongRegion { region })
        }
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Arn(arn) => arn.fmt(f),
            Self::Alias(name) => name.fmt(f),
            Self::AliasArn(arn) => arn.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exception;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn home() -> Region {
        "eu-central-1".parse().unwrap()
    }

    #[test]
    fn each_refusal_has_the_exception_and_words_of_aws() {
        let elsewhere = format!("arn:aws:kms:us-east-1:111122223333:key/{ID}");
        let alias_elsewhere = "arn:aws:kms:us-east-1:111122223333:alias/x";
        let cases = [
            ("fakeid", Exception::NotFound, "Invalid keyId 'fakeid'"),
            (
                "alias/a b",
                Exception::NotFound,
                "Invalid keyId 'alias/a b'",
            ),
            (
                elsewhere.as_str(),
                Exception::NotFound,
                "Invalid arn us-east-1",
            ),
            (
                alias_elsewhere,
                Exception::NotFound,
                "Invalid arn us-east-1",
            ),
            (
                "arn:aws:kms",
                Exception::InvalidArn,
                "Invalid arn 'arn:aws:kms'",
            ),
            (
                "arn:aws:s3:::bucket",
                Exception::InvalidArn,
                "Invalid arn 'arn:aws:s3:::bucket'",
            ),
        ];
        for (value, exception, message) in cases {
            let error = KeyRef::parse(value, &home()).unwrap_err();
            assert_eq!(
                (error.exception(), error.to_string().as_str()),
                (exception, message)
            );
        }
        for value in ["", &"a".repeat(2049)] {
            assert_eq!(
                KeyRef::parse(value, &home()).unwrap_err().exception(),
                Exception::Validation
            );
        }
    }

    #[test]
    fn management_operations_take_no_alias() {
        let by_name = KeyRef::parse_key("alias/x", &home()).unwrap_err();
        assert_eq!(by_name.exception(), Exception::NotFound);
        let arn = "arn:aws:kms:eu-central-1:111122223333:alias/x";
        assert_eq!(
            KeyRef::parse_key(arn, &home()).unwrap_err().exception(),
            Exception::InvalidArn
        );
        assert!(KeyRef::parse_key(ID, &home()).is_ok());
    }

    #[test]
    fn the_four_forms_are_told_apart() {
        let key = format!("arn:aws:kms:eu-central-1:111122223333:key/{ID}");
        assert!(matches!(KeyRef::parse(ID, &home()), Ok(KeyRef::Id(_))));
        assert!(matches!(KeyRef::parse(&key, &home()), Ok(KeyRef::Arn(_))));
        assert!(matches!(
            KeyRef::parse("alias/x", &home()),
            Ok(KeyRef::Alias(_))
        ));
        let alias = "arn:aws:kms:eu-central-1:111122223333:alias/x";
        assert!(matches!(
            KeyRef::parse(alias, &home()),
            Ok(KeyRef::AliasArn(_))
        ));
    }
}
