//! What a message tells without its key, for people and programs.

use std::fmt::Write as _;

use anchorhold_envelope::bucket::WrappedBucketKey;
use anchorhold_envelope::{EncryptedDataKey, Outline};
use serde_json::{Value, json};

use crate::shown::printable;

/// An outline as JSON. `verified` is always false: no key was used.
#[must_use]
pub fn to_json(outline: &Outline) -> Value {
    let keys: Vec<_> = outline.encrypted_data_keys().iter().map(key).collect();
    json!({
        "version": 2,
        "suite": {
            "id": format!("{:#06x}", outline.suite().id()),
            "name": outline.suite().name(),
        },
        "message_id": outline.message_id().to_string(),
        "context": outline.encryption_context().as_map(),
        "encrypted_data_keys": keys,
        "frame_length": outline.frame_length(),
        "frames": outline.frames(),
        "plaintext_bytes": outline.plaintext_length(),
        "signature_bytes": outline.signature_length(),
        "verified": false,
    })
}

fn key(key: &EncryptedDataKey) -> Value {
    let mut said = json!({
        "provider_id": key.provider_id(),
        "ciphertext_bytes": key.ciphertext().len(),
    });
    match core::str::from_utf8(key.provider_info()) {
        Ok(text) => said["provider_info"] = json!(text),
        Err(_) => said["provider_info_hex"] = json!(hex::encode(key.provider_info())),
    }
    if let Ok(bucket) = WrappedBucketKey::parse(key) {
        said["bucket_key_arn"] = json!(bucket.key_arn());
    }
    said
}

/// An outline as lines of text. What is a claim of the message's is shown as
/// [`printable`] text: it goes to a terminal.
#[must_use]
pub fn to_text(outline: &Outline) -> String {
    let mut text = String::new();
    let mut say = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<13} {}", printable(&value));
    };
    let suite = outline.suite();
    say("suite", format!("{:#06x} {}", suite.id(), suite.name()));
    say("message id", outline.message_id().to_string());
    for (key, value) in outline.encryption_context().iter() {
        say("context", format!("{key} = {value}"));
    }
    for key in outline.encrypted_data_keys() {
        let info = String::from_utf8_lossy(key.provider_info());
        let length = key.ciphertext().len();
        say(
            "data key",
            format!("{} {info} ({length} bytes)", key.provider_id()),
        );
    }
    match outline.frame_length() {
        Some(length) => say("frames", format!("{} of {length} bytes", outline.frames())),
        None => say("frames", "none: an unframed body".to_owned()),
    }
    say("plaintext", format!("{} bytes", outline.plaintext_length()));
    match outline.signature_length() {
        Some(length) => say("signature", format!("{length} bytes, not checked")),
        None => say("signature", "none: the suite does not sign".to_owned()),
    }
    text.push_str("Nothing of this is verified: no key was used.\n");
    text
}
