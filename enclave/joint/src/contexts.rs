//! The encryption contexts of what parties seal and of what they are answered.
//!
//! The KMS releases a data key only with the context that it was made with, so a message opens
//! under no other contract and as no other party's.

use anchorhold_envelope::{ContextError, EncryptionContext};

use crate::contract::Contract;

/// Names the contract by its hash, in hex.
pub const CONTRACT: &str = "anchorhold:contract-sha384";
/// Names the party.
pub const PARTY: &str = "anchorhold:party";
/// Keeps what is put in and what comes out apart.
pub const PURPOSE: &str = "anchorhold:purpose";
/// Names the content's format.
pub const FORMAT: &str = "anchorhold:format";
/// [`PURPOSE`] of a party's file.
pub const INPUT: &str = "joint-input";
/// [`FORMAT`] of a party's file.
pub const CSV: &str = "csv";
/// [`PURPOSE`] of a party's answer.
pub const ANSWER: &str = "joint-answer";
/// [`FORMAT`] of a party's answer.
pub const JSON: &str = "json";

/// What a party seals its file under.
///
/// # Errors
/// Never for a party of a contract.
pub fn input(contract: &Contract, party: &str) -> Result<EncryptionContext, ContextError> {
    of(contract, party, INPUT, CSV)
}

/// What a party's answer is sealed under.
///
/// # Errors
/// Never for a party of a contract.
pub fn answer(contract: &Contract, party: &str) -> Result<EncryptionContext, ContextError> {
    of(contract, party, ANSWER, JSON)
}

fn of(
    contract: &Contract,
    party: &str,
    purpose: &str,
    format: &str,
) -> Result<EncryptionContext, ContextError> {
    let hash = contract.hash().to_string();
    EncryptionContext::from_pairs([
        (CONTRACT, hash.as_str()),
        (PARTY, party),
        (PURPOSE, purpose),
        (FORMAT, format),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn everything_is_named() {
        let one = testing::contract(|_| {});
        let two = testing::contract(|terms| terms.cohorts.minimum = 7);
        let mut contexts = Vec::new();
        for contract in [&one, &two] {
            for party in ["ann", "bob"] {
                contexts.push(input(contract, party).unwrap());
                contexts.push(answer(contract, party).unwrap());
            }
        }
        for (i, context) in contexts.iter().enumerate() {
            assert!(contexts.iter().skip(i + 1).all(|other| other != context));
        }
        let hash = one.hash().to_string();
        assert_eq!(contexts[0].get(CONTRACT), Some(hash.as_str()));
        assert_eq!(contexts[0].get(PARTY), Some("ann"));
    }
}
