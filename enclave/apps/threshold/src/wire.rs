//! What a parent says to its enclave, and hears: one line of JSON each way per connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

use anchorhold_channel::Timed;
use anchorhold_enclave::AccessKey;
use anchorhold_threshold::Participant;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Refusal;
use crate::world::Link;

/// The vsock port of commands.
pub const COMMAND_PORT: u32 = 5005;

/// Bytes of a command: an agreement in JSON once more, or pieces of the largest sum.
pub const MAX_COMMAND: u64 = 512 * 1024;

/// A command of the parent's. Byte strings are hex, but where base64 is said.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Says what this enclave is part of. Once.
    Configure {
        /// The agreement's text.
        agreement: String,
        /// Which participant this is.
        participant: u16,
        /// The vsock port of the parent that leads to each peer, by its number.
        peers: BTreeMap<String, u32>,
        /// The KMS credentials of the owner's enclave principal.
        credentials: AccessKey,
    },
    /// What this enclave is, attested over the caller's challenge.
    Status {
        /// 16 to 64 bytes.
        challenge: String,
    },
    /// Key generation among all.
    Dkg {
        /// How long it may take, in seconds.
        #[serde(default = "patience")]
        patience: u64,
    },
    /// A signature.
    Sign {
        /// What to sign, base64.
        message: String,
        /// Who signs.
        signers: BTreeSet<u16>,
        /// This enclave's owner's approval.
        approval: String,
        /// How long it may take, in seconds.
        #[serde(default = "patience")]
        patience: u64,
    },
    /// New shares of the same key among all.
    Refresh {
        /// How long it may take, in seconds.
        #[serde(default = "patience")]
        patience: u64,
    },
    /// A lost share comes back.
    Repair {
        /// Who lost it.
        lost: u16,
        /// Who helps.
        helpers: BTreeSet<u16>,
        /// The group key, which the loser's owner knows.
        key: String,
        /// The epoch of the helpers' shares.
        epoch: u64,
        /// How long it may take, in seconds.
        #[serde(default = "patience")]
        patience: u64,
    },
    /// Seals the share again.
    Seal {},
    /// Opens a sealed share.
    Open {
        /// The sealed share, base64.
        sealed: String,
        /// The group key that it is of.
        key: String,
        /// The epoch that it is of.
        epoch: u64,
        /// The sharing that it is of.
        sharing: String,
    },
    /// Makes a key for pieces of a sum, attested over the owner's challenge.
    Intake {
        /// 16 to 64 bytes.
        challenge: String,
    },
    /// A sum of all owners' values.
    Sum {
        /// What the sum is; every piece names it.
        label: String,
        /// How many values stand side by side.
        values: usize,
        /// Each owner's piece for this enclave, by the owner's number.
        pieces: BTreeMap<String, Piece>,
        /// How long it may take, in seconds.
        #[serde(default = "patience")]
        patience: u64,
    },
}

const fn patience() -> u64 {
    60
}

/// An owner's piece of its values for one enclave.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Which splitting of the owner's values it is of, 32 bytes.
    pub split: String,
    /// The sealed piece, base64.
    pub message: String,
    /// The owner's signature over it.
    pub signature: String,
}

/// The participant that a key of a map names, in decimal.
///
/// # Errors
/// `command.participant` or `participant.number`.
pub fn participant(key: &str) -> Result<Participant, Refusal> {
    let number: u16 = key
        .parse()
        .map_err(|error| Refusal::new("command.participant", error))?;
    // One participant has one name, so that a map names nobody twice.
    if number.to_string() != key {
        let message = format!("expected {number}, got {key:?}");
        return Err(Refusal::new("command.participant", message));
    }
    Ok(Participant::new(number)?)
}

/// Serves one connection of the parent's: reads a command, has it run, and answers. Reading may take
/// so long in all, and so may answering. A parent that has gone misses its answer.
pub fn serve(
    link: Link,
    patience: Duration,
    run: impl FnOnce(Command) -> Result<Value, Refusal>,
) -> Result<(), Refusal> {
    let answer = read(timed(&link, patience)).and_then(run);
    // The parent may have gone: its loss.
    let _ = write(timed(&link, patience), &answer);
    link.end();
    answer.map(drop)
}

fn timed(link: &Link, patience: Duration) -> Timed<Link, impl Fn() -> Duration> {
    let deadline = Instant::now() + patience;
    let remaining = move || deadline.saturating_duration_since(Instant::now());
    Timed::new(link.clone(), remaining)
}

/// Reads a command.
///
/// # Errors
/// `command.length` or `command.encoding`.
pub fn read(stream: impl Read) -> Result<Command, Refusal> {
    let mut line = zeroize::Zeroizing::new(Vec::new());
    let mut bounded = BufReader::new(stream.take(MAX_COMMAND));
    bounded
        .read_until(b'\n', &mut line)
        .map_err(|error| Refusal::new("command.read", error))?;
    if line.last() != Some(&b'\n') {
        let message = format!("expected a line of at most {MAX_COMMAND} bytes");
        return Err(Refusal::new("command.length", message));
    }
    serde_json::from_slice(&line).map_err(|error| Refusal::new("command.encoding", error))
}

/// Answers a command: `{"done": …}` or `{"error": {"rule", "message"}}`.
pub fn write(mut stream: impl Write, answer: &Result<Value, Refusal>) -> std::io::Result<()> {
    let line = match answer {
        Ok(done) => serde_json::json!({ "done": done }),
        Err(refusal) => serde_json::json!({ "error": refusal }),
    };
    writeln!(stream, "{line}")?;
    stream.flush()
}
