//! Key ids and key ARNs.

use std::fmt;
use std::str::FromStr;

use super::{AccountId, ArnError, Region, split_kms};

/// A key's id: a lower-case, hyphenated UUID, as AWS gives single-Region keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(uuid::Uuid);

impl KeyId {
    /// A random id (UUID version 4) from 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The id's 16 bytes, as they stand in a ciphertext.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id from the 16 bytes of a ciphertext; every value is an id, few name a key.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl FromStr for KeyId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
        if text.len() != 36 || !text.bytes().all(lower) {
            return Err(ArnError::KeyId);
        }
        uuid::Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| ArnError::KeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

/// A key's ARN: `arn:aws:kms:<region>:<account>:key/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyArn {
    region: Region,
    account: AccountId,
    id: KeyId,
}

impl KeyArn {
    /// The ARN of key `id` of `account` in `region`.
    pub fn new(region: Region, account: AccountId, id: KeyId) -> Self {
        Self {
            region,
            account,
            id,
        }
    }

    /// The region the key lives in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The account that owns the key.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl FromStr for KeyArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (region, account, resource) = split_kms(text)?;
        let id = resource
            .strip_prefix("key/")
            .ok_or(ArnError::Kms)?
            .parse()?;
        Ok(Self {
            region,
            account,
            id,
        })
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:aws:kms:{}:{}:key/{}",
            self.region, self.account, self.id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_another_shape_are_refused() {
        for text in [
            "",
            "1234abcd12ab34cd56ef1234567890ab",
            "1234ABCD-12ab-34cd-56ef-1234567890ab",
            "{1234abcd-12ab-34cd-56ef-1234567890}",
            "1234abcd-12ab-34cd-56ef-1234567890a",
            "1234abcd-12ab-34cd-56ef-1234567890abc",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
        ] {
            assert_eq!(text.parse::<KeyId>(), Err(ArnError::KeyId), "{text:?}");
        }
    }

    #[test]
    fn an_arn_of_another_service_partition_or_resource_is_refused() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        for text in [
            format!("arn:aws-cn:kms:eu-central-1:111122223333:key/{id}"),
            format!("arn:aws:s3:eu-central-1:111122223333:key/{id}"),
            format!("arn:aws:kms:eu-central-1:111122223333:alias/{id}"),
            format!("arn:aws:kms::111122223333:key/{id}"),
            format!("arn:aws:kms:eu-central-1::key/{id}"),
            format!("arn:aws:kms:eu-central-1:111122223333:key/{id}:x"),
            "arn:aws:kms".to_owned(),
        ] {
            assert!(text.parse::<KeyArn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_arn_round_trips() {
        let text = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let arn: KeyArn = text.parse().unwrap();
        assert_eq!(arn.to_string(), text);
        assert_eq!(KeyId::from_bytes(*arn.id().as_bytes()), arn.id());
    }

    #[test]
    fn random_ids_are_version_4() {
        let id = KeyId::from_random([0xff; 16]).to_string();
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
