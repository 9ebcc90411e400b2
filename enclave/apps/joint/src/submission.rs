//! What the host hands over before any key is asked for, and the checks on it.

use std::collections::BTreeMap;
use std::io::Read;

use anchorhold_document::Pcr;
use anchorhold_enclave::frame::{self, FrameError, PIECE};
use anchorhold_enclave::refusal::{Refusal, chain};
use anchorhold_envelope::{ContextRule, EncryptedDataKey, EncryptionContext, UnverifiedMessage};
use anchorhold_joint::approval::{self, Approval, Approved, MAX_APPROVAL};
use anchorhold_joint::contexts;
use anchorhold_joint::contract::{Contract, Image, MAX_CONTRACT, PARTIES};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::answer::CHALLENGE_LEN;
use crate::wire;

/// The largest credentials in bytes: a session token may have 4 KiB.
const MAX_CREDENTIALS: usize = 16 * 1024;

/// A party's part of a submission, without the rest of its file.
pub struct Part {
    /// The party, by its approval's word.
    pub party: String,
    /// Its approval.
    pub approval: Approval,
    /// Its challenge, [`CHALLENGE_LEN`] bytes.
    pub challenge: Vec<u8>,
    /// JSON of the enclave's credentials for its KMS.
    pub credentials: Zeroizing<Vec<u8>>,
    /// The first bytes of its sealed file; empty when there is none.
    pub start: Vec<u8>,
}

/// A data key that is to be released: what the header of an approved message says of it.
#[derive(Clone, Debug)]
pub struct SealedKey {
    /// The wrapped data key.
    pub wrapped: Vec<u8>,
    /// What it was wrapped under.
    pub context: EncryptionContext,
}

/// This enclave's own registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// PCR0 to PCR2.
    pub pcrs: [Pcr; 3],
    /// PCR8, all zero where the image is not signed.
    pub pcr8: Pcr,
}

/// Reads the contract.
///
/// # Errors
/// It is none.
pub fn contract(from: &mut impl Read) -> Result<Contract, Refusal> {
    let bytes = expect(from, wire::CONTRACT, MAX_CONTRACT)?;
    Contract::parse(&bytes).map_err(|e| Refusal::because(e.rule(), &e))
}

/// Checks that the contract is still running and is about this very image.
///
/// # Errors
/// `contract.expired`, or `image.pcr0`, `.pcr1`, `.pcr2`, `.pcr8`.
pub fn check_here(
    contract: &Contract,
    now: OffsetDateTime,
    measured: &Measured,
) -> Result<(), Refusal> {
    contract
        .check_running(now)
        .map_err(|e| Refusal::because(e.rule(), &e))?;
    let Image {
        pcr0,
        pcr1,
        pcr2,
        pcr8,
    } = &contract.terms().image;
    let [own0, own1, own2] = &measured.pcrs;
    let agreed = [
        ("image.pcr0", Some(pcr0), own0),
        ("image.pcr1", Some(pcr1), own1),
        ("image.pcr2", Some(pcr2), own2),
        ("image.pcr8", pcr8.as_ref(), &measured.pcr8),
    ];
    for (rule, agreed, own) in agreed {
        let Some(agreed) = agreed else { continue };
        let own = hex::encode(own.0);
        if *agreed != own {
            let message = format!("the contract is about {agreed}, this enclave measures {own}");
            return Err(Refusal::new(rule, message));
        }
    }
    Ok(())
}

/// Reads the parts of all parties, up to [`wire::READY`].
///
/// # Errors
/// A frame that does not belong there, an approval that is none, or more than 16 parties.
pub fn parts(from: &mut impl Read) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::new();
    let mut payload = Vec::new();
    loop {
        match frame::read(from, &mut payload, MAX_APPROVAL)? {
            wire::APPROVAL => {}
            wire::READY if payload.is_empty() => return Ok(parts),
            got => {
                let expected = wire::APPROVAL;
                return Err(FrameError::Unexpected { expected, got }.into());
            }
        }
        if parts.len() >= *PARTIES.end() {
            let message = format_args!("at most {} parties can submit", PARTIES.end());
            return Err(Refusal::new("submission.parties", message));
        }
        parts.push(part(&payload, from)?);
    }
}

fn part(approval: &[u8], from: &mut impl Read) -> Result<Part, Refusal> {
    let approval = Approval::parse(approval).map_err(|e| Refusal::because(e.rule(), &e))?;
    let challenge = expect(from, wire::CHALLENGE, CHALLENGE_LEN)?;
    if challenge.len() != CHALLENGE_LEN {
        let got = challenge.len();
        let message = format!("expected {CHALLENGE_LEN} bytes of challenge, got {got}");
        return Err(Refusal::new("challenge.length", message));
    }
    Ok(Part {
        party: approval.party().to_owned(),
        approval,
        challenge,
        credentials: Zeroizing::new(expect(from, wire::CREDENTIALS, MAX_CREDENTIALS)?),
        start: expect(from, wire::START, PIECE)?,
    })
}

/// Checks that all parties approve the contract with the files at hand, and that each file is
/// sealed for exactly this contract and under the party's own key.
///
/// It does not establish that a file's header is authentic or the file whole: opening it does.
///
/// # Errors
/// The rule that is broken first.
pub fn check<'a>(
    contract: &'a Contract,
    parts: &[Part],
) -> Result<(Approved<'a>, Vec<SealedKey>), Refusal> {
    let mut headers = BTreeMap::new();
    let mut messages = Vec::new();
    for part in parts.iter().filter(|part| !part.start.is_empty()) {
        let message = UnverifiedMessage::begin(part.start.as_slice())
            .map_err(|e| Refusal::of(&part.party, format!("records.{}", e.rule()), chain(&e)))?;
        headers.insert(part.party.clone(), message.header_sha384());
        messages.push((&part.party, message));
    }
    let approvals: Vec<_> = parts.iter().map(|part| part.approval.clone()).collect();
    let approved = approval::check(contract, &approvals, &headers)
        .map_err(|e| Refusal::because(e.rule(), &e))?;
    let keys: Result<_, _> = messages
        .into_iter()
        .map(|(party, message)| sealed_key(contract, party, &message))
        .collect();
    Ok((approved, keys?))
}

/// What a party's file must be sealed under.
///
/// # Errors
/// Never for a party of the contract.
pub fn context_rule(contract: &Contract, party: &str) -> Result<ContextRule, Refusal> {
    let context = contexts::input(contract, party);
    context
        .map(ContextRule::Exactly)
        .map_err(|e| Refusal::of(party, "contract.context", chain(&e)))
}

fn sealed_key<R: Read>(
    contract: &Contract,
    party: &str,
    message: &UnverifiedMessage<R>,
) -> Result<SealedKey, Refusal> {
    let rule = context_rule(contract, party)?;
    message
        .check_context(&rule)
        .map_err(|e| Refusal::of(party, format!("records.{}", e.rule()), chain(&e)))?;
    let expected = contract.party(party).map(|(_, terms)| &terms.kms_key);
    match message.encrypted_data_keys() {
        [key] if key.kms_key_arn() == expected.map(String::as_str) => Ok(SealedKey {
            wrapped: key.ciphertext().to_vec(),
            context: message.encryption_context().clone(),
        }),
        keys => {
            let arns = keys.iter().filter_map(EncryptedDataKey::kms_key_arn);
            let got = arns.collect::<Vec<_>>().join(", ");
            let expected = expected.map_or("", String::as_str);
            let message = format!("expected one data key, of {expected}, got {got:?}");
            Err(Refusal::of(party, "records.key-arn", message))
        }
    }
}

fn expect(from: &mut impl Read, frame: u8, max: usize) -> Result<Vec<u8>, Refusal> {
    Ok(frame::expect(from, frame, max)?)
}
