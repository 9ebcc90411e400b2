//! From a body to an [`Input`], by the API model's shapes.

mod aliases;
mod cryptography;
mod keys;
mod members;
#[cfg(test)]
mod tests;

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::{KeyRef, Region};
use anchorhold_kms_core::operation::Operation;

use super::Input;
use super::reader::Reader;
use aliases::{alias_target, delete_alias, list_aliases};
use cryptography::{decrypt, encrypt, generate_data_key, generate_random};
use keys::{
    create_key, get_key_policy, list_key_policies, list_keys, put_key_policy, schedule_key_deletion,
};
use members::{KEY_ID, no_grant_tokens};

pub(super) fn input(operation: Operation, body: &[u8], region: &Region) -> Result<Input, KmsError> {
    let mut reader = Reader::from_body(body)?;
    let r = &mut reader;
    let read = match operation {
        Operation::CreateKey => create_key(r),
        Operation::DescribeKey => describe_key(r),
        Operation::ListKeys => list_keys(r),
        Operation::EnableKey => managed(r, Input::EnableKey),
        Operation::DisableKey => managed(r, Input::DisableKey),
        Operation::CancelKeyDeletion => managed(r, Input::CancelKeyDeletion),
        Operation::ListKeyPolicies => list_key_policies(r),
        Operation::ScheduleKeyDeletion => schedule_key_deletion(r),
        Operation::Encrypt => encrypt(r),
        Operation::Decrypt => decrypt(r),
        Operation::GenerateDataKey => generate_data_key(r, true),
        Operation::GenerateDataKeyWithoutPlaintext => generate_data_key(r, false),
        Operation::GenerateRandom => generate_random(r),
        Operation::GetKeyPolicy => get_key_policy(r),
        Operation::PutKeyPolicy => put_key_policy(r),
        Operation::CreateAlias => alias_target(r, Input::CreateAlias),
        Operation::UpdateAlias => alias_target(r, Input::UpdateAlias),
        Operation::DeleteAlias => delete_alias(r),
        Operation::ListAliases => list_aliases(r),
        Operation::GetAttestationNonce => Ok(Parsed::ready(Input::GetAttestationNonce)),
    }?;
    // Shapes first, all of them; then what the values mean.
    reader.finish()?;
    (read.0)(region)
}

/// A body whose members have been read; what they mean is decided after all
/// shapes have been checked.
struct Parsed(Box<Decide>);

type Decide = dyn FnOnce(&Region) -> Result<Input, KmsError>;

impl Parsed {
    fn ready(input: Input) -> Self {
        Self(Box::new(|_| Ok(input)))
    }

    fn then(decide: impl FnOnce(&Region) -> Result<Input, KmsError> + 'static) -> Self {
        Self(Box::new(decide))
    }
}

fn describe_key(r: &mut Reader) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    no_grant_tokens(r)?;
    Ok(Parsed::then(move |region| {
        Ok(Input::DescribeKey(KeyRef::parse(&key, region)?))
    }))
}

/// An operation whose one member is the key, by id or ARN.
fn managed(r: &mut Reader, input: fn(KeyRef) -> Input) -> Result<Parsed, KmsError> {
    let key = r.required_string("KeyId", KEY_ID)?;
    Ok(Parsed::then(move |region| {
        Ok(input(KeyRef::parse_key(&key, region)?))
    }))
}
