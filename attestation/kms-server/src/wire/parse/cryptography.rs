//! Encrypt, Decrypt, data keys, random bytes.

use std::ops::RangeInclusive;

use anchorhold_kms_core::arn::KeyRef;
use anchorhold_kms_core::key::DataKeySpec;
use anchorhold_kms_core::material::{MAX_CIPHERTEXT_BLOB, MAX_PLAINTEXT};
use anchorhold_kms_core::{Exception, KmsError};

use super::super::reader::Reader;
use super::super::{DataKeySize, Decrypt, Encrypt, GenerateDataKey, Input};
use super::Parsed;
use super::members::{KEY_ID, context, no_grant_tokens, recipient, unsupported};

/// `NumberOfBytesType`.
const NUMBER_OF_BYTES: RangeInclusive<i64> = 1..=1024;
/// `EncryptionAlgorithmSpec`.
const ENCRYPTION_ALGORITHMS: [&str; 4] = [
    "SYMMETRIC_DEFAULT",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "SM2PKE",
];

pub(super) fn encrypt(r: &mut Reader) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    let plaintext = r.required_blob("Plaintext", 1..=MAX_PLAINTEXT)?;
    let context = context(r)?;
    let algorithm = r.choice("EncryptionAlgorithm", &ENCRYPTION_ALGORITHMS)?;
    let dry_run = r.boolean("DryRun")?;
    no_grant_tokens(r)?;
    Ok(Parsed::then(move |region| {
        symmetric(algorithm)?;
        Ok(Input::Encrypt(Encrypt {
            key: KeyRef::parse(&key, region)?,
            plaintext,
            context,
            dry_run,
        }))
    }))
}

pub(super) fn decrypt(r: &mut Reader) -> Result<Parsed, KmsError> {
    let ciphertext = r.required_blob("CiphertextBlob", 1..=MAX_CIPHERTEXT_BLOB)?;
    let context = context(r)?;
    let key = r.string("KeyId", KEY_ID)?;
    let algorithm = r.choice("EncryptionAlgorithm", &ENCRYPTION_ALGORITHMS)?;
    let recipient = recipient(r)?;
    let dry_run = r.boolean("DryRun")?;
    let modifiers = r.is_given("DryRunModifiers");
    no_grant_tokens(r)?;
    Ok(Parsed::then(move |region| {
        symmetric(algorithm)?;
        if modifiers {
            return Err(unsupported("DryRunModifiers"));
        }
        Ok(Input::Decrypt(Box::new(Decrypt {
            ciphertext: ciphertext.to_vec(),
            context,
            key: key.map(|key| KeyRef::parse(&key, region)).transpose()?,
            recipient,
            dry_run,
        })))
    }))
}

pub(super) fn generate_data_key(r: &mut Reader, with_plaintext: bool) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    let context = context(r)?;
    let bytes = r.integer("NumberOfBytes", NUMBER_OF_BYTES)?;
    let spec = r.choice("KeySpec", &["AES_256", "AES_128"])?;
    let recipient = if with_plaintext { recipient(r)? } else { None };
    let dry_run = r.boolean("DryRun")?;
    no_grant_tokens(r)?;
    Ok(Parsed::then(move |region| {
        let input = Box::new(GenerateDataKey {
            key: KeyRef::parse(&key, region)?,
            size: data_key_size(bytes, spec)?,
            context,
            recipient,
            dry_run,
        });
        Ok(if with_plaintext {
            Input::GenerateDataKey(input)
        } else {
            Input::GenerateDataKeyWithoutPlaintext(input)
        })
    }))
}

fn data_key_size(bytes: Option<i64>, spec: Option<&str>) -> Result<DataKeySize, KmsError> {
    let spec = spec.and_then(|spec| spec.parse::<DataKeySpec>().ok());
    match (bytes.map(usize::try_from), spec) {
        (Some(Ok(bytes)), None) => Ok(DataKeySize::Bytes(bytes)),
        (None, Some(spec)) => Ok(DataKeySize::Spec(spec)),
        _ => Err(KmsError::validation(
            "request.data-key-size",
            "Please specify either number of bytes or key spec.",
        )),
    }
}

pub(super) fn generate_random(r: &mut Reader) -> Result<Parsed, KmsError> {
    let bytes = r.integer("NumberOfBytes", NUMBER_OF_BYTES)?;
    if bytes.is_none() {
        r.absent("NumberOfBytes");
    }
    let recipient = recipient(r)?;
    let store = r.is_given("CustomKeyStoreId");
    Ok(Parsed::then(move |_| {
        if store {
            return Err(unsupported("CustomKeyStoreId"));
        }
        // finish() has refused an absent number and one out of 1 to 1024.
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(Input::GenerateRandom {
            bytes: bytes.unwrap_or_default(),
            recipient,
        })
    }))
}

fn symmetric(algorithm: Option<&str>) -> Result<(), KmsError> {
    match algorithm {
        None | Some("SYMMETRIC_DEFAULT") => Ok(()),
        Some(other) => Err(KmsError::other(
            Exception::InvalidKeyUsage,
            "request.encryption-algorithm",
            format!("Algorithm {other} is incompatible with key spec SYMMETRIC_DEFAULT."),
        )),
    }
}
