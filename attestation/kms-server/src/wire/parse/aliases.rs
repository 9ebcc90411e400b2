//! Aliases.

use std::ops::RangeInclusive;

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::{AliasName, KeyRef};

use super::super::reader::Reader;
use super::super::{AliasTarget, Input};
use super::Parsed;
use super::members::{KEY_ID, page};

/// `AliasNameType`, in characters.
const ALIAS: RangeInclusive<usize> = 1..=256;
/// `AliasNameType`'s pattern.
const ALIAS_PATTERN: &str = "^[a-zA-Z0-9:/_-]+$";
/// Default and largest number of entries that ListAliases gives (KMS API reference).
const ALIASES_PAGE: (usize, i64) = (50, 100);

pub(super) fn alias_target(
    r: &mut Reader,
    input: fn(AliasTarget) -> Input,
) -> Result<Parsed, KmsError> {
    let name = alias_text(r)?;
    let target = r.required_string("TargetKeyId", KEY_ID)?;
    Ok(Parsed::then(move |region| {
        Ok(input(AliasTarget {
            name: own_alias(&name)?,
            target: KeyRef::parse_key(&target, region)?,
        }))
    }))
}

pub(super) fn delete_alias(r: &mut Reader) -> Result<Parsed, KmsError> {
    let name = alias_text(r)?;
    Ok(Parsed::then(move |_| {
        Ok(Input::DeleteAlias(own_alias(&name)?))
    }))
}

pub(super) fn list_aliases(r: &mut Reader) -> Result<Parsed, KmsError> {
    let key = r.string("KeyId", KEY_ID)?;
    let page = page(r, ALIASES_PAGE)?;
    Ok(Parsed::then(move |region| {
        let key = key.map(|key| KeyRef::parse_key(&key, region));
        Ok(Input::ListAliases {
            key: key.transpose()?,
            page: page.decide(|name| name.parse::<AliasName>().is_ok())?,
        })
    }))
}

fn alias_text(r: &mut Reader) -> Result<String, KmsError> {
    let name = r.required_string("AliasName", ALIAS)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '_' | '-');
    if !name.chars().all(allowed) {
        r.violate_pattern("AliasName", Some(&name), ALIAS_PATTERN);
    }
    Ok(name)
}

/// An alias that a caller may make, point and remove.
fn own_alias(name: &str) -> Result<AliasName, KmsError> {
    let invalid = |reserved| KmsError::InvalidAliasName { reserved };
    let name: AliasName = name.parse().map_err(|_| invalid(false))?;
    if name.is_reserved() {
        return Err(invalid(true));
    }
    Ok(name)
}
