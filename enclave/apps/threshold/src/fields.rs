//! The fields of commands, out of their text. Each refusal names its rule, `command.…`.

use std::collections::BTreeSet;

use anchorhold_threshold::{GroupKey, Participant};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::Refusal;
use crate::intake::Split;

/// Participants by their numbers.
pub fn participants(numbers: &BTreeSet<u16>) -> Result<BTreeSet<Participant>, Refusal> {
    let numbers = numbers.iter().map(|number| Participant::new(*number));
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// A group key: 32 bytes in hex.
pub fn group_key(text: &str) -> Result<GroupKey, Refusal> {
    let key = hex_of(text)?.try_into();
    let key = key.map_err(|_| Refusal::new("command.key", "expected 32 bytes in hex"))?;
    Ok(GroupKey(key))
}

/// What names a sharing: 48 bytes in hex.
pub fn sharing_of(text: &str) -> Result<[u8; 48], Refusal> {
    let sharing = hex_of(text)?.try_into();
    sharing.map_err(|_| Refusal::new("command.sharing", "expected 48 bytes in hex"))
}

/// What names a splitting: 32 bytes in hex.
pub fn split_of(text: &str) -> Result<Split, Refusal> {
    let split = hex_of(text)?.try_into();
    split.map_err(|_| Refusal::new("command.split", "expected 32 bytes in hex"))
}

/// A challenge: 16 to 64 bytes in hex.
pub fn challenge_of(text: &str) -> Result<Vec<u8>, Refusal> {
    let challenge = hex_of(text)?;
    match challenge.len() {
        16..=64 => Ok(challenge),
        got => {
            let message = format!("expected 16 to 64 bytes, got {got}");
            Err(Refusal::new("command.challenge", message))
        }
    }
}

/// Bytes in hex.
pub fn hex_of(text: &str) -> Result<Vec<u8>, Refusal> {
    hex::decode(text).map_err(|error| Refusal::new("command.hex", error))
}

/// Bytes in base64.
pub fn base64_of(text: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = STANDARD.decode(text);
    bytes.map_err(|error| Refusal::new("command.base64", error))
}
