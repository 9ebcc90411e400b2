//! What parties do with programs and their answers.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{self, SHA384};
use serde_json::Value;

use crate::demo::Refusal;
use crate::scene::Scene;
use crate::stage::Pcrs;

/// An answer as a refusal that was tried.
pub fn refusal(case: &str, answer: &Value) -> Refusal {
    let rule = answer.pointer("/error/rule").and_then(Value::as_str);
    Refusal {
        case: case.to_owned(),
        refused: rule.is_some(),
        rule: rule.unwrap_or_default().to_owned(),
    }
}

/// A fresh challenge of 32 bytes, in hex.
///
/// # Errors
/// No randomness.
pub fn challenge() -> Result<String> {
    let mut challenge = [0_u8; 32];
    getrandom::fill(&mut challenge).context("no random numbers")?;
    Ok(hex::encode(challenge))
}

/// Text in a JSON value.
///
/// # Errors
/// It is not there.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("expected {pointer} in {value}"))
}

/// One of the project's programs, with its state and platform in an owner's directory.
pub fn program(scene: &Scene, dir: &Path, name: &str) -> Command {
    let mut program = scene.program(name);
    program
        .env("ANCHORHOLD_STATE_DIR", dir.join("state"))
        .env("ANCHORHOLD_PLATFORM_DIR", dir.join("platform"));
    program
}

/// PCR4 of every enclave on an instance: SHA-384 over 48 zero bytes and the instance's id.
pub fn pcr4(instance: &str) -> String {
    let mut hash = digest::Context::new(&SHA384);
    hash.update(&[0; 48]);
    hash.update(instance.as_bytes());
    hex::encode(hash.finish())
}

/// Adds the image's measurements.
pub fn measured(command: &mut Command, pcrs: &Pcrs) {
    for (index, pcr) in [&pcrs.pcr0, &pcrs.pcr1, &pcrs.pcr2].iter().enumerate() {
        command.args(["--pcr", &format!("{index}={pcr}")]);
    }
}

/// Writes a file that only its owner reads.
///
/// # Errors
/// It is there already, or cannot be written.
pub fn private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}
