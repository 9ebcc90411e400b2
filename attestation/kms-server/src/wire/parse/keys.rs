//! Keys and their policies.

use std::ops::RangeInclusive;

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::{KeyId, KeyRef};
use anchorhold_kms_core::key::{DeletionWindow, MAX_DESCRIPTION};

use super::super::reader::Reader;
use super::super::{CreateKey, Input, PutKeyPolicy};
use super::Parsed;
use super::members::{KEY_ID, only, page, unsupported};

/// `PolicyType`, in characters. The quota of 32 KiB is a `LimitExceededException` later.
const POLICY: RangeInclusive<usize> = 1..=131_072;
/// `PolicyType`'s pattern.
const POLICY_PATTERN: &str = "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+";
/// `KeyUsageType`.
const KEY_USAGES: [&str; 5] = [
    "SIGN_VERIFY",
    "ENCRYPT_DECRYPT",
    "GENERATE_VERIFY_MAC",
    "KEY_AGREEMENT",
    "ENCAPSULATE_DECAPSULATE",
];
/// `KeySpec`; `CustomerMasterKeySpec` is its deprecated name.
const KEY_SPECS: [&str; 20] = [
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];
/// `OriginType`.
const ORIGINS: [&str; 4] = ["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];
/// Default and largest number of entries that ListKeys gives (KMS API reference).
const KEYS_PAGE: (usize, i64) = (100, 1000);

pub(super) fn create_key(r: &mut Reader) -> Result<Parsed, KmsError> {
    let policy = policy_text(r, false)?;
    let description = r.string("Description", 0..=MAX_DESCRIPTION)?;
    let usage = r.choice("KeyUsage", &KEY_USAGES)?;
    let spec = r.choice("KeySpec", &KEY_SPECS)?;
    let old_spec = r.choice("CustomerMasterKeySpec", &KEY_SPECS)?;
    let origin = r.choice("Origin", &ORIGINS)?;
    let bypass_lockout_check = r.boolean("BypassPolicyLockoutSafetyCheck")?;
    let multi_region = r.boolean("MultiRegion")?;
    let elsewhere = ["CustomKeyStoreId", "XksKeyId", "Tags"].map(|name| (name, r.is_given(name)));
    Ok(Parsed::then(move |_| {
        if spec.is_some() && old_spec.is_some() {
            return Err(KmsError::validation(
                "request.key-spec",
                "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. \
                 CustomerMasterKeySpec is deprecated.",
            ));
        }
        only("KeySpec", spec.or(old_spec), "SYMMETRIC_DEFAULT")?;
        only("KeyUsage", usage, "ENCRYPT_DECRYPT")?;
        only("Origin", origin, "AWS_KMS")?;
        if multi_region {
            return Err(unsupported("MultiRegion"));
        }
        if let Some((name, _)) = elsewhere.into_iter().find(|(_, given)| *given) {
            return Err(unsupported(name));
        }
        Ok(Input::CreateKey(CreateKey {
            policy,
            description: description.unwrap_or_default(),
            bypass_lockout_check,
        }))
    }))
}

pub(super) fn schedule_key_deletion(r: &mut Reader) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    // `PendingWindowInDaysType` allows 1 to 365, the service 7 to 30.
    let days = r.integer("PendingWindowInDays", 1..=365)?;
    Ok(Parsed::then(move |region| {
        let window = days.map(DeletionWindow::from_days).transpose()?;
        Ok(Input::ScheduleKeyDeletion {
            key: KeyRef::parse_key(&key, region)?,
            window: window.unwrap_or_default(),
        })
    }))
}

pub(super) fn get_key_policy(r: &mut Reader) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    let name = policy_name(r)?;
    Ok(Parsed::then(move |region| {
        default_policy(name.as_deref())?;
        Ok(Input::GetKeyPolicy(KeyRef::parse_key(&key, region)?))
    }))
}

pub(super) fn put_key_policy(r: &mut Reader) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    let name = policy_name(r)?;
    let policy = policy_text(r, true)?;
    let bypass_lockout_check = r.boolean("BypassPolicyLockoutSafetyCheck")?;
    Ok(Parsed::then(move |region| {
        default_policy(name.as_deref())?;
        Ok(Input::PutKeyPolicy(PutKeyPolicy {
            key: KeyRef::parse_key(&key, region)?,
            policy: policy.unwrap_or_default(),
            bypass_lockout_check,
        }))
    }))
}

pub(super) fn list_key_policies(r: &mut Reader) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    let page = page(r, KEYS_PAGE)?;
    Ok(Parsed::then(move |region| {
        // There is one policy, so no listing ever goes on.
        page.decide(|_| false)?;
        Ok(Input::ListKeyPolicies(KeyRef::parse_key(&key, region)?))
    }))
}

pub(super) fn list_keys(r: &mut Reader) -> Result<Parsed, KmsError> {
    let page = page(r, KEYS_PAGE)?;
    let owners = r.string_list("ResourceOwners", 0..=2, 1..=64)?;
    Ok(Parsed::then(move |_| {
        if owners.iter().any(|owner| owner != "SELF") {
            return Err(unsupported("ResourceOwners"));
        }
        let page = page.decide(|name| name.parse::<KeyId>().is_ok())?;
        Ok(Input::ListKeys(page))
    }))
}

fn policy_text(r: &mut Reader, required: bool) -> Result<Option<String>, KmsError> {
    let policy = r.string("Policy", POLICY)?;
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}');
    match &policy {
        Some(text) if !text.chars().all(allowed) => {
            r.violate_pattern("Policy", None, POLICY_PATTERN);
        }
        None if required => r.absent("Policy"),
        _ => {}
    }
    Ok(policy)
}

fn policy_name(r: &mut Reader) -> Result<Option<String>, KmsError> {
    r.string("PolicyName", 1..=128)
}

fn default_policy(name: Option<&str>) -> Result<(), KmsError> {
    match name {
        None | Some("default") => Ok(()),
        Some(_) => Err(KmsError::PolicyNameNotFound),
    }
}
