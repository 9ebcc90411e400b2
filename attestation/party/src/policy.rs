//! The key policy that releases a party's key to one image, for one contract, for so many runs.

use std::collections::BTreeMap;

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_joint::contract::{Contract, Party};
use anchorhold_owner::policy::{KeyRules, owner_statement};
use anchorhold_verifier::RootSha256;
use serde_json::{Value, json};

use crate::image::{ImageError, registers};

/// The document's user data, in hex.
const USER_DATA: &str = "anchorhold:RecipientAttestation:UserData";
/// How many other documents the key was released to before under the same user data.
const PRIOR_RELEASES: &str = "anchorhold:RecipientAttestation:PriorReleases";

/// The policy of a key before any contract: its owner manages it and encrypts under it, and nobody
/// decrypts.
pub fn before_contract(owner: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [owner_statement(owner)]})
}

/// The policy of a key for a contract: the enclave's principal decrypts with a document of the
/// contract's image, signed by the party's root, that names the contract, as often as the party's
/// terms allow.
///
/// `signer` is the PCR8 that this party demands where the contract leaves the signer open.
///
/// # Errors
/// The contract names another signer.
pub fn for_contract(
    contract: &Contract,
    party: &Party,
    owner: &str,
    enclave: &str,
    signer: Option<&Pcr>,
) -> Result<Value, ImageError> {
    let mut root = [0; 32];
    hex::decode_to_slice(&party.platform_root, &mut root).map_err(|_| ImageError::Register)?;
    let rules = KeyRules {
        owner: owner.to_owned(),
        enclave: enclave.to_owned(),
        pcrs: with_signer(registers(contract)?, signer)?,
        root: RootSha256(root),
    };
    let mut policy = rules.policy();
    let conditions = policy.pointer_mut("/Statement/1/Condition");
    let conditions = conditions.and_then(Value::as_object_mut);
    let conditions = conditions.ok_or(ImageError::Register)?;
    let user_data = hex::encode(contract.user_data());
    if let Some(equal) = conditions.get_mut("StringEqualsIgnoreCase") {
        equal[USER_DATA] = json!(user_data);
    }
    let runs = json!({PRIOR_RELEASES: party.runs.to_string()});
    conditions.insert("NumericLessThan".to_owned(), runs);
    Ok(policy)
}

fn with_signer(
    mut registers: BTreeMap<PcrIndex, Pcr>,
    signer: Option<&Pcr>,
) -> Result<BTreeMap<PcrIndex, Pcr>, ImageError> {
    let Some(signer) = signer else {
        return Ok(registers);
    };
    let index = PcrIndex::new(8).map_err(|_| ImageError::Register)?;
    match registers.insert(index, *signer) {
        Some(named) if named != *signer => Err(ImageError::Signer {
            contract: named.to_string(),
            wanted: signer.to_string(),
        }),
        _ => Ok(registers),
    }
}
