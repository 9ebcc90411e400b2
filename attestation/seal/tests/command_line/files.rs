//! Files of a test, and the program that works on them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anchorhold_envelope::Outline;
use anchorhold_envelope::limits::Limits;
use serde_json::Value;

use crate::common::Owner;

pub const CONTEXT: [&str; 4] = ["--context", "purpose=records", "--context", "tenant=blue"];

/// One KMS for all tests here: each has files of its own.
pub fn owner() -> &'static Owner {
    static OWNER: OnceLock<Owner> = OnceLock::new();
    OWNER.get_or_init(Owner::new)
}

pub struct Files(pub tempfile::TempDir);

impl Files {
    pub fn new(plaintext: &[u8]) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::write(files.at("plain"), plaintext).unwrap();
        files
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Names in the directory: nothing temporary is left there.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The program with an owner's key, in the directory.
    pub fn program(&self, command: &str, owner: &Owner) -> Command {
        let mut program = program();
        program.arg(command).current_dir(self.0.path());
        program.args(owner_flags(owner));
        program
    }

    pub fn run(&self, command: &str, owner: &Owner, more: &[&str], paths: [&str; 2]) -> Output {
        let mut program = self.program(command, owner);
        program.args(more).args(paths).output().unwrap()
    }

    pub fn seal(&self, more: &[&str]) {
        let output = self.run(
            "seal",
            owner(),
            &[&CONTEXT, more].concat(),
            ["plain", "sealed"],
        );
        assert!(output.status.success(), "{output:?}");
    }

    pub fn open(&self, more: &[&str]) -> Output {
        self.run("open", owner(), more, ["sealed", "opened"])
    }

    /// The rule, the exit code, and that nothing was left behind.
    pub fn refused(&self, output: &Output) -> (String, i32) {
        let said: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert!(said["error"]["message"].is_string(), "{said}");
        assert!(!self.at("opened").exists());
        assert!(
            self.names()
                .iter()
                .all(|name| ["plain", "sealed"].contains(&name.as_str()))
        );
        let rule = said["error"]["rule"].as_str().unwrap().to_owned();
        (rule, output.status.code().unwrap())
    }
}

/// Flags for an owner's key.
pub fn owner_flags(owner: &Owner) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec![];
    for (flag, value) in [
        ("--key", owner.key_arn.clone().into()),
        ("--kms", owner.address.to_string().into()),
        ("--kms-ca", owner.file("ca.pem").into_os_string()),
        ("--credentials", owner.file("credentials.json").into()),
    ] {
        flags.extend([flag.into(), value]);
    }
    flags
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_anchorhold-seal"))
}

pub fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn outline(path: &Path) -> Outline {
    Outline::read(&std::fs::read(path).unwrap()[..], Limits::default()).unwrap()
}

pub fn refused(rule: &str, code: i32) -> (String, i32) {
    (rule.to_owned(), code)
}
