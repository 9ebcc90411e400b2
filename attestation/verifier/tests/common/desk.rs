//! The program `anchorhold-verify` in a folder with a document.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use anchorhold_document::nsm::AttestationRequest;
use anchorhold_verifier::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::Genuine;

/// A folder with a document of the present and its root.
pub struct Desk {
    pub folder: TempDir,
    pub genuine: Genuine,
    pub bytes: Vec<u8>,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(Genuine::boot(false))
    }

    pub fn with(mut genuine: Genuine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let request = AttestationRequest {
            nonce: Some(vec![0x0A, 0x0B]),
            public_key: Some(vec![7; 500]),
            user_data: None,
        };
        let now = Timestamp::try_from(SystemTime::now()).unwrap();
        let bytes = genuine.document_with(request, now);
        fs::write(folder.path().join("document.cose"), &bytes).unwrap();
        fs::write(folder.path().join("platform-root.pem"), genuine.root_pem()).unwrap();
        Self {
            folder,
            genuine,
            bytes,
        }
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs `anchorhold-verify` with these words.
    pub fn run(&self, words: &str) -> Output {
        run(
            self.folder.path(),
            &words.split_whitespace().collect::<Vec<_>>(),
            b"",
        )
    }

    /// Runs `anchorhold-verify document document.cose --root platform-root.pem` and these words.
    pub fn verify(&self, words: &str) -> Output {
        self.run(&format!(
            "document document.cose --root platform-root.pem {words}"
        ))
    }
}

pub fn run(folder: &Path, words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_anchorhold-verify"))
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The program may have ended without reading everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The rule of a refusal: exit code 1 and one JSON object with nothing else on standard output.
pub fn refused(output: &Output) -> String {
    assert_eq!(code(output), 1, "{output:?}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = value["error"].as_object().unwrap();
    assert_eq!(error.len(), 2, "{value}");
    assert!(!error["message"].as_str().unwrap().is_empty());
    error["rule"].as_str().unwrap().to_owned()
}

/// The message of a misuse: exit code 2 and nothing on standard output.
pub fn misused(output: &Output) -> String {
    assert_eq!(code(output), 2, "{output:?}");
    assert!(output.stdout.is_empty());
    stderr(output)
}
