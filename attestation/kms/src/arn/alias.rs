//! Alias names and alias ARNs.

use std::fmt;
use std::str::FromStr;

use super::{AccountId, ArnError, Region, split_kms};

/// Longest alias name, prefix included, in bytes (API model, `AliasNameType`).
pub const MAX_ALIAS_NAME: usize = 256;

/// Prefix of every alias name.
const PREFIX: &str = "alias/";

/// Prefix of the names that AWS keeps for itself.
const RESERVED: &str = "alias/aws/";

/// An alias name, prefix included: `alias/` and one or more of `[a-zA-Z0-9/_-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AliasName(String);

impl AliasName {
    /// The name with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name begins with `alias/aws/`: such names can be looked up, never made.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }
}

impl FromStr for AliasName {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
        match text.strip_prefix(PREFIX) {
            Some(name)
                if !name.is_empty()
                    && text.len() <= MAX_ALIAS_NAME
                    && name.bytes().all(allowed) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ArnError::Alias),
        }
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An alias's ARN: `arn:aws:kms:<region>:<account>:alias/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AliasArn {
    region: Region,
    account: AccountId,
    name: AliasName,
}

impl AliasArn {
    /// The ARN of alias `name` of `account` in `region`.
    pub fn new(region: Region, account: AccountId, name: AliasName) -> Self {
        Self {
            region,
            account,
            name,
        }
    }

    /// The region the alias lives in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The account that owns the alias.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The alias's name, prefix included.
    pub fn name(&self) -> &AliasName {
        &self.name
    }
}

impl FromStr for AliasArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (region, account, resource) = split_kms(text)?;
        Ok(Self {
            region,
            account,
            name: resource.parse()?,
        })
    }
}

impl fmt::Display for AliasArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:aws:kms:{}:{}:{}",
            self.region, self.account, self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        let long = format!("alias/{}", "a".repeat(251));
        for text in [
            "",
            "alias/",
            "alias",
            "records",
            "ALIAS/x",
            "alias/a b",
            "alias/a:b",
            "alias/é",
            &long,
        ] {
            assert_eq!(text.parse::<AliasName>(), Err(ArnError::Alias), "{text:?}");
        }
        assert!(long[..256].parse::<AliasName>().is_ok());
    }

    #[test]
    fn reserved_names_are_known() {
        assert!("alias/aws/s3".parse::<AliasName>().unwrap().is_reserved());
        assert!(!"alias/awsome".parse::<AliasName>().unwrap().is_reserved());
    }

    #[test]
    fn an_arn_round_trips() {
        let text = "arn:aws:kms:eu-central-1:111122223333:alias/pii/records";
        assert_eq!(text.parse::<AliasArn>().unwrap().to_string(), text);
    }
}
