//! What a party signs before the enclave may use its file.
//!
//! A party seals its file under the contract's hash and then signs the hash together with the
//! header of that very message, so that a host can neither put in a file that the party did not
//! sign for nor the file of another party.
//!
//! The contract does not name a file. A party that signs a second approval under the same contract
//! leaves the first one valid, and the host the choice between both files: the
//! [statement](crate::statement) over the answers says which one it took.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::contract::{ApprovalKey, Contract, ContractHash};

/// The value of an approval's `format` field, and the domain of its signature.
pub const FORMAT: &str = "anchorhold-joint-approval/1";
/// The largest approval in bytes: it holds three hashes' worth of text.
pub const MAX_APPROVAL: usize = 2048;

/// A party's signature over a contract and its own message. That it verifies,
/// [`check`] establishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    contract: ContractHash,
    header_sha384: [u8; 48],
    party: String,
    signature: [u8; 96],
}

/// Field order is alphabetical: it is the canonical order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalFile {
    contract_sha384: String,
    format: String,
    header_sha384: String,
    party: String,
    signature: String,
}

/// All parties have approved this contract and these messages. Only [`check`] makes one.
#[derive(Clone, Debug)]
pub struct Approved<'a> {
    contract: &'a Contract,
    inputs: Vec<(String, [u8; 48])>,
}

impl<'a> Approved<'a> {
    /// The contract.
    pub fn contract(&self) -> &'a Contract {
        self.contract
    }

    /// The approved messages, for every party in the contract's order: its name and SHA-384 of the
    /// message's header.
    pub fn inputs(&self) -> &[(String, [u8; 48])] {
        &self.inputs
    }
}

/// Why approvals are refused. Safe to log.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Larger than [`MAX_APPROVAL`].
    #[error("the approval has {got} bytes, at most {MAX_APPROVAL} are allowed")]
    TooLarge {
        /// Its size in bytes.
        got: usize,
    },
    /// Not the JSON of an approval.
    #[error("the approval is not the JSON of an approval")]
    Json(#[from] serde_json::Error),
    /// A field is not what it must be.
    #[error("the approval's {field} must be {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Written in another way than the canonical one.
    #[error("the approval is not in its canonical form")]
    NotCanonical,
    /// A party has not approved.
    #[error("{party} has not approved the contract")]
    Missing {
        /// The party.
        party: String,
    },
    /// An approval by somebody else.
    #[error("{party:?} is no party of the contract")]
    UnknownParty {
        /// The name.
        party: String,
    },
    /// Two approvals by one party.
    #[error("{party} has approved twice")]
    Duplicate {
        /// The party.
        party: String,
    },
    /// An approval of another contract.
    #[error("{party} approved the contract {got}, and this is {expected}")]
    OtherContract {
        /// The party.
        party: String,
        /// The contract at hand.
        expected: ContractHash,
        /// The one approved.
        got: ContractHash,
    },
    /// An approval of another message than the one at hand.
    #[error("{party} approved another message than the one at hand")]
    OtherMessage {
        /// The party.
        party: String,
    },
    /// No message of the party is at hand.
    #[error("no message of {party} is at hand")]
    NoMessage {
        /// The party.
        party: String,
    },
    /// A message of somebody else is at hand.
    #[error("a message of {party:?} is at hand, who is no party of the contract")]
    UnknownMessage {
        /// The name.
        party: String,
    },
    /// The signature is not by the party's approval key.
    #[error("the signature is not by {party}'s approval key")]
    Signature {
        /// The party.
        party: String,
    },
    /// The private key is no P-384 key in PKCS#8, or not the contract's.
    #[error("the private key is not that of {party}'s approval key")]
    PrivateKey {
        /// The party.
        party: String,
    },
}

impl ApprovalError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "approval.size",
            Self::Json(_) => "approval.json",
            Self::Field { .. } => "approval.field",
            Self::NotCanonical => "approval.canonical",
            Self::Missing { .. } => "approval.missing",
            Self::UnknownParty { .. } => "approval.unknown-party",
            Self::Duplicate { .. } => "approval.duplicate",
            Self::OtherContract { .. } => "approval.other-contract",
            Self::OtherMessage { .. } => "approval.other-message",
            Self::NoMessage { .. } => "approval.no-message",
            Self::UnknownMessage { .. } => "approval.unknown-message",
            Self::Signature { .. } => "approval.signature",
            Self::PrivateKey { .. } => "approval.private-key",
        }
    }
}

impl Approval {
    /// Signs with the party's private approval key (PKCS#8, DER), which must be the contract's.
    ///
    /// # Errors
    /// [`ApprovalError::UnknownParty`] or [`ApprovalError::PrivateKey`].
    pub fn sign(
        contract: &Contract,
        party: &str,
        header_sha384: &[u8; 48],
        private_key: &[u8],
    ) -> Result<Self, ApprovalError> {
        let name = || party.to_owned();
        let not_theirs = || ApprovalError::PrivateKey { party: name() };
        if contract.party(party).is_none() {
            return Err(ApprovalError::UnknownParty { party: name() });
        }
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, private_key)
            .map_err(|_| not_theirs())?;
        let message = signed_bytes(&contract.hash(), party, header_sha384);
        let signature = key.sign(&SystemRandom::new(), &message);
        let signature = signature.map_err(|_| not_theirs())?;
        let approval = Self {
            contract: contract.hash(),
            header_sha384: *header_sha384,
            party: name(),
            signature: signature.as_ref().try_into().map_err(|_| not_theirs())?,
        };
        approval.verify(contract).map_err(|_| not_theirs())?;
        Ok(approval)
    }

    /// Reads an approval in its canonical form. It does not establish that the signature verifies.
    ///
    /// # Errors
    /// [`ApprovalError`] with the rule that it breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApprovalError> {
        if bytes.len() > MAX_APPROVAL {
            return Err(ApprovalError::TooLarge { got: bytes.len() });
        }
        let file: ApprovalFile = serde_json::from_slice(bytes)?;
        let field = |field, expected| ApprovalError::Field { field, expected };
        if file.format != FORMAT {
            return Err(field("format", FORMAT));
        }
        let hash = |name, text: &str| {
            let mut out = [0; 48];
            hex::decode_to_slice(text, &mut out).map_err(|_| field(name, "96 hex digits"))?;
            Ok::<_, ApprovalError>(out)
        };
        let signature = STANDARD.decode(&file.signature).ok();
        let signature = signature.and_then(|bytes| bytes.try_into().ok());
        let approval = Self {
            contract: ContractHash(hash("contract_sha384", &file.contract_sha384)?),
            header_sha384: hash("header_sha384", &file.header_sha384)?,
            signature: signature.ok_or_else(|| field("signature", "96 bytes in base64"))?,
            party: file.party,
        };
        if approval.to_bytes()? != bytes {
            return Err(ApprovalError::NotCanonical);
        }
        Ok(approval)
    }

    /// The canonical form: compact JSON, fields in alphabetical order.
    ///
    /// # Errors
    /// Never.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ApprovalError> {
        Ok(serde_json::to_vec(&ApprovalFile {
            contract_sha384: self.contract.to_string(),
            format: FORMAT.to_owned(),
            header_sha384: hex::encode(self.header_sha384),
            party: self.party.clone(),
            signature: STANDARD.encode(self.signature),
        })?)
    }

    /// Who approves, by its own word.
    pub fn party(&self) -> &str {
        &self.party
    }

    /// SHA-384 of the header of the approved message.
    pub fn header_sha384(&self) -> &[u8; 48] {
        &self.header_sha384
    }

    /// Checks one approval: party, contract and signature. It does not establish that the message
    /// is at hand, nor that the others approve.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub fn verify(&self, contract: &Contract) -> Result<(), ApprovalError> {
        let party = || self.party.clone();
        let Some((_, terms)) = contract.party(&self.party) else {
            return Err(ApprovalError::UnknownParty { party: party() });
        };
        if self.contract != contract.hash() {
            return Err(ApprovalError::OtherContract {
                party: party(),
                expected: contract.hash(),
                got: self.contract,
            });
        }
        let message = signed_bytes(&self.contract, &self.party, &self.header_sha384);
        let key = ApprovalKey::from_base64(&terms.approval_key);
        if key.is_some_and(|key| key.verifies(&message, &self.signature)) {
            return Ok(());
        }
        Err(ApprovalError::Signature { party: party() })
    }
}

/// Checks that exactly the contract's parties approve it, each with the message at hand: `headers`
/// has for every party SHA-384 of its message's header, as the envelope's opener gives it.
///
/// It does not establish that a message is whole (opening it to its end does), nor that the
/// contract is still running ([`Contract::check_running`]).
///
/// # Errors
/// [`ApprovalError`] with the rule that is broken first.
pub fn check<'a>(
    contract: &'a Contract,
    approvals: &[Approval],
    headers: &BTreeMap<String, [u8; 48]>,
) -> Result<Approved<'a>, ApprovalError> {
    let mut seen = BTreeSet::new();
    for approval in approvals {
        approval.verify(contract)?;
        let party = approval.party.clone();
        if !seen.insert(approval.party.as_str()) {
            return Err(ApprovalError::Duplicate { party });
        }
        match headers.get(&party) {
            None => return Err(ApprovalError::NoMessage { party }),
            Some(header) if *header != approval.header_sha384 => {
                return Err(ApprovalError::OtherMessage { party });
            }
            Some(_) => {}
        }
    }
    let mut inputs = Vec::with_capacity(contract.parties().len());
    for party in contract.parties().iter().map(|p| p.name.clone()) {
        match headers.get(&party) {
            Some(header) if seen.contains(party.as_str()) => inputs.push((party, *header)),
            _ => return Err(ApprovalError::Missing { party }),
        }
    }
    if let Some(party) = headers.keys().find(|name| contract.party(name).is_none()) {
        let party = party.clone();
        return Err(ApprovalError::UnknownMessage { party });
    }
    Ok(Approved { contract, inputs })
}

/// [`FORMAT`], a zero byte, the contract's hash, the length of the name in one byte, the name, and
/// the header's hash: nothing in it can be read as another part.
fn signed_bytes(contract: &ContractHash, party: &str, header_sha384: &[u8; 48]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(FORMAT.as_bytes());
    out.push(0);
    out.extend_from_slice(&contract.0);
    // A contract's names have at most 32 bytes; a longer one belongs to no party.
    out.push(u8::try_from(party.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(party.as_bytes());
    out.extend_from_slice(header_sha384);
    out
}

#[cfg(test)]
mod tests;
