//! Runs `oracle/verify.py`, the second opinion.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anchorhold_verifier::{RootSha256, Timestamp};
use serde_json::{Value, json};

/// One question to the oracle.
pub struct Case {
    pub name: String,
    pub document: Vec<u8>,
    pub root: RootSha256,
    pub at: Timestamp,
}

/// Asks about all cases at once: the interpreter takes longer to start than to answer.
pub fn judge(cases: &[Case]) -> Vec<Value> {
    let questions: Vec<Value> = cases
        .iter()
        .map(|case| {
            json!({
                "name": case.name,
                "document": hex::encode(&case.document),
                "root": case.root.to_string(),
                "at": case.at.as_millis(),
            })
        })
        .collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/verify.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(&questions).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), cases.len());
    answers
}

/// The interpreter with cbor2 and cryptography.
fn python() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(python) = from("ANCHORHOLD_PYTHON") {
        return PathBuf::from(python);
    }
    let cache = from("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            Path::new(&from("HOME").unwrap_or_else(|| OsString::from("/"))).join(".cache")
        });
    let python = cache.join("anchorhold/venv/bin/python");
    assert!(
        python.exists(),
        "no {}: run `cargo xtask setup`",
        python.display()
    );
    python
}
