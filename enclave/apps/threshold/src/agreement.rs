//! What the owners agreed on.

use std::collections::BTreeMap;

use anchorhold_channel::SessionContext;
use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_threshold::{Group, Participant};
use anchorhold_verifier::{RootSha256, TrustRoots};
use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// Bytes of an agreement: some members with two certificates each.
pub const MAX_AGREEMENT: usize = 128 * 1024;

/// The agreement as it is written: JSON. Its hash is over the bytes of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Version of the layout: 1.
    pub version: u8,
    /// What this group is for, for people.
    pub purpose: String,
    /// How many sign.
    pub threshold: u16,
    /// Participant 1, 2, and so on.
    pub members: Vec<Member>,
}

/// One owner's part.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The owner's name, for people.
    pub name: String,
    /// The root of the platform that the owner's enclave runs on, in PEM; its hash counts.
    pub platform_root_pem: String,
    /// The owner's KMS.
    pub kms: Kms,
    /// The Ed25519 public key that signs the owner's approvals, in hex.
    pub approval_key: String,
    /// Registers that the owner's enclave must have, by choice, beside PCR0 to PCR2, which are one
    /// image's for all: PCR8 for the signer of its image, PCR3 or PCR4 for its parent instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registers: Vec<Register>,
}

/// A register's one value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Its number, 3 to 15: the platform's, which no application extends.
    pub pcr: u8,
    /// Its value in hex, 48 bytes that are not all zero.
    pub value: String,
}

/// An owner's KMS.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kms {
    /// The name that its certificate must have.
    pub host: String,
    /// The authority that its certificate must come from, in PEM.
    pub ca_pem: String,
    /// The key that wraps the data keys of the owner's shares.
    pub key_arn: String,
    /// Whether it gives nonces for documents: Anchorhold's does, AWS's does not.
    pub gives_nonces: bool,
}

/// An agreement that was read.
#[derive(Clone, Debug)]
pub struct Agreement {
    document: Document,
    group: Group,
    approval_keys: Vec<[u8; 32]>,
    registers: Vec<BTreeMap<PcrIndex, Pcr>>,
}

impl Agreement {
    /// Reads an agreement.
    ///
    /// # Errors
    /// `agreement.length`, `agreement.encoding`, or the rule of the member's field that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_AGREEMENT {
            let message = format!(
                "expected at most {MAX_AGREEMENT} bytes, got {}",
                bytes.len()
            );
            return Err(Refusal::new("agreement.length", message));
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| Refusal::new("agreement.encoding", error))?;
        if document.version != 1 {
            let message = format!("expected version 1, got {}", document.version);
            return Err(Refusal::new("agreement.version", message));
        }
        let members = u16::try_from(document.members.len()).unwrap_or(u16::MAX);
        let group = Group::new(document.threshold, members, hash(bytes))?;
        let (mut approval_keys, mut pinned) = (Vec::new(), Vec::new());
        for member in &document.members {
            let mut key = [0; 32];
            hex::decode_to_slice(&member.approval_key, &mut key)
                .map_err(|error| Refusal::new("agreement.approval-key", error))?;
            if approval_keys.contains(&key) {
                let message = format!("{} has another member's approval key", member.name);
                return Err(Refusal::new("agreement.approval-key", message));
            }
            approval_keys.push(key);
            pinned.push(registers(member)?);
            roots(member)?;
        }
        Ok(Self {
            document,
            group,
            approval_keys,
            registers: pinned,
        })
    }

    /// The group, under the agreement's hash.
    pub const fn group(&self) -> Group {
        self.group
    }

    /// The context of all channels: the agreement's hash.
    pub const fn context(&self) -> SessionContext {
        SessionContext::from_sha384(*self.group.context())
    }

    /// A participant's part.
    ///
    /// # Errors
    /// `participant.member`.
    pub fn member(&self, participant: Participant) -> Result<&Member, Refusal> {
        let member = self.document.members.get(index(participant));
        member.ok_or_else(|| stranger(participant))
    }

    /// A participant's approval key.
    ///
    /// # Errors
    /// `participant.member`.
    pub fn approval_key(&self, participant: Participant) -> Result<&[u8; 32], Refusal> {
        let key = self.approval_keys.get(index(participant));
        key.ok_or_else(|| stranger(participant))
    }

    /// The registers that a participant's enclave must have beside the image's.
    ///
    /// # Errors
    /// `participant.member`.
    pub fn registers(&self, participant: Participant) -> Result<&BTreeMap<PcrIndex, Pcr>, Refusal> {
        let registers = self.registers.get(index(participant));
        registers.ok_or_else(|| stranger(participant))
    }

    /// The root of a participant's platform.
    ///
    /// # Errors
    /// `participant.member`.
    pub fn roots(&self, participant: Participant) -> Result<TrustRoots, Refusal> {
        roots(self.member(participant)?)
    }

    /// Whether a platform is a participant's.
    pub fn is_root_of(&self, participant: Participant, root: &RootSha256) -> bool {
        self.roots(participant)
            .is_ok_and(|roots| roots.contains(root))
    }
}

/// SHA-384 over a domain and the file's bytes.
pub fn hash(bytes: &[u8]) -> [u8; 48] {
    use aws_lc_rs::digest::{Context, SHA384};
    let mut hash = Context::new(&SHA384);
    hash.update(b"anchorhold-threshold agreement v1");
    hash.update(&(bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
    let mut out = [0; 48];
    for (out, byte) in out.iter_mut().zip(hash.finish().as_ref()) {
        *out = *byte;
    }
    out
}

fn index(participant: Participant) -> usize {
    usize::from(participant.number()).wrapping_sub(1)
}

fn stranger(participant: Participant) -> Refusal {
    let message = format!("participant {participant} is not in the agreement");
    Refusal::new("participant.member", message)
}

fn roots(member: &Member) -> Result<TrustRoots, Refusal> {
    let refused = |message: String| Refusal::new("agreement.platform-root", message);
    let roots = TrustRoots::from_pem(&member.platform_root_pem)
        .map_err(|error| refused(error.to_string()))?;
    match roots.len() {
        1 => Ok(roots),
        got => Err(refused(format!(
            "{}: expected one root, got {got}",
            member.name
        ))),
    }
}

fn registers(member: &Member) -> Result<BTreeMap<PcrIndex, Pcr>, Refusal> {
    let refused = |message: String| Refusal::new("agreement.register", message);
    let mut registers = BTreeMap::new();
    for Register { pcr, value } in &member.registers {
        let index = match pcr {
            3..=15 => PcrIndex::new(*pcr).map_err(|error| refused(error.to_string()))?,
            _ => return Err(refused(format!("expected PCR3 to PCR15, got PCR{pcr}"))),
        };
        let value: Pcr = value
            .parse()
            .map_err(|error| refused(format!("PCR{pcr}: {error}")))?;
        if value.is_zero() {
            return Err(refused(format!("PCR{pcr}: expected a value, got zeros")));
        }
        if registers.insert(index, value).is_some() {
            return Err(refused(format!("PCR{pcr} is named twice")));
        }
    }
    Ok(registers)
}
