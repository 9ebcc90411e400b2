//! The sealed answers and the statement that binds them together.
//!
//! An answer is one AWS Encryption SDK message, its data key wrapped to the party's answer key as
//! the SDKs' raw RSA keyrings do it (OAEP with SHA-256): any of them opens it with the private key,
//! the namespace [`NAMESPACE`] and the party's name. Who made it, only the document tells.

use std::io::{Read, Write};

use anchorhold_envelope::raw_rsa::{KeyName, RawRsaError, UnwrappingKey, WrappingKey};
use anchorhold_envelope::{
    ContextError, ContextRule, DataKey, OpenError, SealError, SealPlan, Suite, UnverifiedMessage,
};
use anchorhold_joint::contexts;
use anchorhold_joint::contract::{Contract, ContractHash};
use anchorhold_joint::outputs::longest;
use anchorhold_joint::statement::Statement;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The namespace of the answer keys.
pub const NAMESPACE: &str = "anchorhold-joint";
/// Bytes of a party's challenge.
pub const CHALLENGE_LEN: usize = 32;
/// Answers have a multiple of so many bytes before they are sealed.
pub const PADDED_TO: usize = 16 * 1024;
/// The value of a statement file's `format` field.
pub const STATEMENT_FORMAT: &str = "anchorhold-joint-statement/2";
/// The largest statement file in bytes: 16 parties with names of 32 bytes fit in half.
pub const MAX_STATEMENT: usize = 16 * 1024;
/// The largest answer that is opened, in bytes: a party's report has some KiB, and with the most and
/// longest names that a contract can hold some hundred.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Why an answer could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// No party of this name in the contract.
    #[error("{name:?} is no party of the contract")]
    Party {
        /// The name.
        name: String,
    },
    /// An answer that is longer than the contract lets it be: padding would not hide its length.
    #[error("the answer to {name} has {got} bytes, the contract makes it {expected} at most")]
    Length {
        /// The party.
        name: String,
        /// The most that it can have.
        expected: usize,
        /// What it has.
        got: usize,
    },
    /// The answer key cannot be used.
    #[error("the answer key of {name} cannot be used")]
    Key {
        /// The party.
        name: String,
        /// Why.
        source: RawRsaError,
    },
    /// The data key could not be made or the message not sealed.
    #[error("the answer could not be sealed")]
    Seal(#[from] SealError),
    /// No randomness.
    #[error("no random numbers")]
    Random(#[from] anchorhold_envelope::crypto::CryptoFailure),
    /// The context could not be made.
    #[error("the answer's context could not be made")]
    Context(#[from] ContextError),
    /// The sealed answer does not open.
    #[error("the answer does not open")]
    Open(#[from] OpenError),
    /// The sealed answer is longer than an answer may be.
    #[error("the answer has more than {MAX_ANSWER} bytes")]
    TooLarge,
    /// The statement is none.
    #[error("the statement's {field} must be {expected}")]
    Statement {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The statement is no JSON of one.
    #[error("the statement is not the JSON of a statement")]
    Json(#[from] serde_json::Error),
}

impl AnswerError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Party { .. } => "answer.party",
            Self::Length { .. } => "answer.length",
            Self::Key { .. } => "answer.key",
            Self::Seal(_) | Self::Context(_) => "answer.seal",
            Self::Random(_) => "machine.random",
            Self::Open(_) => "answer.open",
            Self::TooLarge => "answer.size",
            Self::Statement { .. } | Self::Json(_) => "answer.statement",
        }
    }
}

/// Seals what a party may see to its answer key. It is padded with spaces, as JSON may be, to the
/// length of the longest answer that the contract allows this party, rounded up to a multiple of
/// [`PADDED_TO`]: its own length would tell the host how many figures are withheld, how many digits
/// the others have, and how many rows were rejected.
///
/// # Errors
/// [`AnswerError`].
pub fn seal(contract: &Contract, party: &str, plaintext: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let (_, terms) = contract.party(party).ok_or_else(|| unknown(party))?;
    let unusable = |source| AnswerError::Key {
        name: party.to_owned(),
        source,
    };
    let der = STANDARD.decode(&terms.answer_key).unwrap_or_default();
    let name = KeyName::new(NAMESPACE, party).map_err(unusable)?;
    let key = WrappingKey::from_public_key_der(name, &der).map_err(unusable)?;
    let data_key = DataKey::generate()?;
    let wrapped = key.wrap(&data_key).map_err(unusable)?;
    let plan = SealPlan::new(Suite::Committed, contexts::answer(contract, party)?)?;
    let longest = longest(contract, party).ok_or_else(|| unknown(party))?;
    let got = plaintext.len();
    let padding = longest
        .checked_sub(got)
        .ok_or_else(|| AnswerError::Length {
            name: party.to_owned(),
            expected: longest,
            got,
        })?;
    let padding = padding + longest.next_multiple_of(PADDED_TO) - longest;
    let mut sealer = plan.seal_to(Vec::new(), &data_key, vec![wrapped])?;
    sealer.write_all(plaintext).map_err(SealError::Write)?;
    let spaces = vec![b' '; padding];
    sealer.write_all(&spaces).map_err(SealError::Write)?;
    Ok(sealer.finish()?.0)
}

/// Opens a party's answer with its private answer key (PKCS#8, DER).
///
/// It does not establish who made the answer: whoever knows the public key can. The document over
/// the statement that names the sealed answer does.
///
/// # Errors
/// [`AnswerError`].
pub fn open(
    contract: &Contract,
    party: &str,
    sealed: &[u8],
    private_key: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AnswerError> {
    if contract.party(party).is_none() {
        return Err(unknown(party));
    }
    if sealed.len() > MAX_ANSWER {
        return Err(AnswerError::TooLarge);
    }
    let unusable = |source| AnswerError::Key {
        name: party.to_owned(),
        source,
    };
    let name = KeyName::new(NAMESPACE, party).map_err(unusable)?;
    let key = UnwrappingKey::from_pkcs8_der(name, private_key).map_err(unusable)?;
    let rule = ContextRule::Exactly(contexts::answer(contract, party)?);
    let message = UnverifiedMessage::begin(sealed)?;
    message.check_context(&rule)?;
    let data_key = key
        .unwrap(message.encrypted_data_keys())
        .map_err(unusable)?;
    let mut opener = message.authenticate(&data_key, &rule)?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    opener
        .reader()
        .read_to_end(&mut plaintext)
        .map_err(OpenError::Read)?;
    opener.finish()?;
    Ok(plaintext)
}

fn unknown(party: &str) -> AnswerError {
    AnswerError::Party {
        name: party.to_owned(),
    }
}

/// The statement as a file. Field order is alphabetical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementFile {
    answers: Vec<AnswerHash>,
    challenge: String,
    contract_sha384: String,
    format: String,
    inputs: Vec<InputHash>,
}

/// A party's sealed answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerHash {
    party: String,
    sha384: String,
}

/// A party's sealed file, by its header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputHash {
    header_sha384: String,
    party: String,
}

/// Writes a statement as JSON.
///
/// # Errors
/// Never.
pub fn statement_to_json(statement: &Statement) -> Result<Vec<u8>, AnswerError> {
    let answers = statement.answers.iter().map(|(party, hash)| AnswerHash {
        party: party.clone(),
        sha384: hex::encode(hash),
    });
    let inputs = statement.inputs.iter().map(|(party, hash)| InputHash {
        header_sha384: hex::encode(hash),
        party: party.clone(),
    });
    Ok(serde_json::to_vec(&StatementFile {
        answers: answers.collect(),
        challenge: hex::encode(&statement.challenge),
        contract_sha384: statement.contract.to_string(),
        format: STATEMENT_FORMAT.to_owned(),
        inputs: inputs.collect(),
    })?)
}

/// Reads a statement. It establishes nothing about who made it.
///
/// # Errors
/// [`AnswerError`].
pub fn statement_from_json(json: &[u8]) -> Result<Statement, AnswerError> {
    let refused = |field, expected| AnswerError::Statement { field, expected };
    if json.len() > MAX_STATEMENT {
        return Err(refused("length", "at most 16 KiB"));
    }
    let file: StatementFile = serde_json::from_slice(json)?;
    if file.format != STATEMENT_FORMAT {
        return Err(refused("format", STATEMENT_FORMAT));
    }
    let hash = |field, text: &str| -> Result<[u8; 48], AnswerError> {
        let mut out = [0; 48];
        hex::decode_to_slice(text, &mut out).map_err(|_| refused(field, "96 hex digits"))?;
        Ok(out)
    };
    let answers: Result<_, AnswerError> = file
        .answers
        .into_iter()
        .map(|answer| Ok((answer.party, hash("answers", &answer.sha384)?)))
        .collect();
    let inputs: Result<_, AnswerError> = file
        .inputs
        .into_iter()
        .map(|input| Ok((input.party, hash("inputs", &input.header_sha384)?)))
        .collect();
    Ok(Statement {
        contract: ContractHash(hash("contract_sha384", &file.contract_sha384)?),
        challenge: hex::decode(&file.challenge).map_err(|_| refused("challenge", "hex digits"))?,
        inputs: inputs?,
        answers: answers?,
    })
}

/// A party's challenge within a statement's: they stand there in the contract's order.
pub fn challenge_of<'s>(
    contract: &Contract,
    party: &str,
    statement: &'s Statement,
) -> Option<&'s [u8]> {
    let (place, _) = contract.party(party)?;
    let count = contract.parties().len();
    if statement.challenge.len() != count.checked_mul(CHALLENGE_LEN)? {
        return None;
    }
    statement.challenge.chunks(CHALLENGE_LEN).nth(place)
}
