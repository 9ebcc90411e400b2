//! Identifiers as types: whoever holds one knows that it is well formed.
//!
//! Shapes: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>. Only the
//! partition `aws` is known.

mod alias;
mod key;
mod principal;
mod reference;

use std::fmt;
use std::str::FromStr;

pub use alias::{AliasArn, AliasName};
pub use key::{KeyArn, KeyId};
pub use principal::{PrincipalArn, PrincipalKind};
pub use reference::KeyRef;

/// Longest KeyId parameter, in bytes (API model, `KeyIdType`).
pub const MAX_KEY_ID_PARAMETER: usize = 2048;

/// Longest ARN of a principal that is taken, in bytes (IAM: a path of 512 and a name of 64).
pub const MAX_PRINCIPAL_ARN: usize = 2048;

/// Longest region name that is taken, in bytes; AWS's longest has 14.
pub const MAX_REGION: usize = 32;

/// Why a string is not the identifier it is taken for. The offending text is kept out: it may be
/// anything, of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// An account is 12 decimal digits.
    #[error("an account id must be exactly 12 decimal digits")]
    Account,
    /// A region is lower-case letters and digits in groups joined by `-`, e.g. `eu-central-1`.
    #[error(
        "a region must be lower-case letters and digits in groups joined by '-', at most 32 characters"
    )]
    Region,
    /// A key id is a lower-case, hyphenated UUID.
    #[error("a key id must be a lower-case hyphenated UUID")]
    KeyId,
    /// An alias name is `alias/` and `[a-zA-Z0-9/_-]`.
    #[error(
        "an alias name must be 'alias/' followed by letters, digits, '/', '_' or '-', at most 256 characters"
    )]
    Alias,
    /// Six parts joined by `:`, of partition `aws` and service `kms`.
    #[error(
        "expected an ARN of the form arn:aws:kms:<region>:<account>:key/<id> or …:alias/<name>"
    )]
    Kms,
    /// `arn:aws:iam::<account>:root`, `:user/…`, `:role/…`, or an STS session.
    #[error(
        "expected arn:aws:iam::<account>:root, :user/<name> or :role/<name>, or arn:aws:sts::<account>:assumed-role/<role>/<session>"
    )]
    Principal,
}

impl ArnError {
    /// A stable name of the broken rule.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Account => "arn.account",
            Self::Region => "arn.region",
            Self::KeyId => "arn.key-id",
            Self::Alias => "arn.alias",
            Self::Kms => "arn.kms",
            Self::Principal => "arn.principal",
        }
    }
}

/// An account: 12 decimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ArnError::Account)
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A region's name, e.g. `eu-central-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let group = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if text.len() <= MAX_REGION && text.split('-').all(group) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ArnError::Region)
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits `arn:aws:kms:<region>:<account>:<resource>`.
fn split_kms(text: &str) -> Result<(Region, AccountId, &str), ArnError> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().ok_or(ArnError::Kms);
    if next()? != "arn" || next()? != "aws" || next()? != "kms" {
        return Err(ArnError::Kms);
    }
    Ok((next()?.parse()?, next()?.parse()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_are_not_twelve_digits_are_refused() {
        for text in [
            "",
            "11112222333",
            "1111222233334",
            "11112222333a",
            "１１１１２２２２３３３３",
        ] {
            assert_eq!(
                text.parse::<AccountId>(),
                Err(ArnError::Account),
                "{text:?}"
            );
        }
        assert_eq!(
            "111122223333".parse::<AccountId>().unwrap().to_string(),
            "111122223333"
        );
    }

    #[test]
    fn regions_with_other_characters_are_refused() {
        for text in [
            "",
            "-",
            "eu-",
            "EU-central-1",
            "eu central",
            "eu--1",
            &"a".repeat(33),
        ] {
            assert_eq!(text.parse::<Region>(), Err(ArnError::Region), "{text:?}");
        }
        for text in ["eu-central-1", "us-gov-west-1", "local"] {
            assert_eq!(text.parse::<Region>().unwrap().as_str(), text);
        }
    }
}
