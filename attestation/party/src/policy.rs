//! The key policy that releases a party's key to one image, for one contract, for so many runs, until
//! the contract is over.

use std::collections::BTreeMap;

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_joint::contract::{Contract, Party};
use anchorhold_owner::policy::{KeyRules, owner_statement};
use anchorhold_verifier::RootSha256;
use serde_json::{Value, json};

use crate::image::{ImageError, registers};

/// The document's user data, in hex.
const USER_DATA: &str = "anchorhold:RecipientAttestation:UserData";
/// When the KMS decides, by its own clock.
const CURRENT_TIME: &str = "aws:CurrentTime";
/// How many other documents the key was released to before under the same user data.
const PRIOR_RELEASES: &str = "anchorhold:RecipientAttestation:PriorReleases";

/// The policy of a key before any contract: its owner manages it and encrypts under it, and nobody
/// decrypts.
pub fn before_contract(owner: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [owner_statement(owner)]})
}

/// The policy of a key for a contract: the enclave's principal decrypts with a document of the
/// contract's image, signed by the party's root, that names the contract, as often as the party's
/// terms allow, and until the contract is over. The enclave checks that too; but its clock is only as
/// right as the platform, and the KMS's is the party's own.
///
/// `signer` is the PCR8 that this party demands where the contract leaves the signer open.
///
/// # Errors
/// The contract names another signer, or the policy has no place for the contract.
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
    let user_data = hex::encode(contract.user_data());
    bind(
        &mut policy,
        &user_data,
        &contract.terms().expires,
        party.runs,
    )?;
    Ok(policy)
}

/// Adds a contract to the conditions under which a policy releases the key.
fn bind(policy: &mut Value, user_data: &str, expires: &str, runs: u32) -> Result<(), ImageError> {
    let missing = |place| ImageError::Policy { place };
    let conditions = policy.pointer_mut("/Statement/1/Condition");
    let conditions = conditions.and_then(Value::as_object_mut);
    let conditions = conditions.ok_or_else(|| missing("a Condition"))?;
    let equal = conditions.get_mut("StringEqualsIgnoreCase");
    let equal = equal.and_then(Value::as_object_mut);
    let equal = equal.ok_or_else(|| missing("a StringEqualsIgnoreCase"))?;
    equal.insert(USER_DATA.to_owned(), json!(user_data));
    let expires = json!({CURRENT_TIME: expires});
    conditions.insert("DateLessThan".to_owned(), expires);
    let runs = json!({PRIOR_RELEASES: runs.to_string()});
    conditions.insert("NumericLessThan".to_owned(), runs);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy without the contract would release the key for every contract.
    #[test]
    fn a_policy_that_has_no_place_for_the_contract_is_refused() {
        for policy in [
            json!({"Statement": []}),
            json!({"Statement": [{}, {}]}),
            json!({"Statement": [{}, {"Condition": {"StringEquals": {}}}]}),
            json!({"Statement": [{}, {"Condition": {"StringEqualsIgnoreCase": "x"}}]}),
        ] {
            let bound = bind(&mut policy.clone(), "00", "2030-01-31T00:00:00Z", 1);
            let refused = bound.unwrap_err();
            assert_eq!(refused.rule(), "policy.conditions", "{policy}");
        }
    }
}
