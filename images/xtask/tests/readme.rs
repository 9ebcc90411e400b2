//! Every command in the README is run: what a newcomer types does what the text says.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use xtask::paths;
use xtask::stage;

/// The lines of the README's shell blocks, block by block.
fn blocks(readme: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<String>> = None;
    for line in readme.lines() {
        match (&mut open, line) {
            (None, "```sh") => open = Some(Vec::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), line) => block.push(line.split('#').next().unwrap().trim().to_owned()),
            (None, _) => {}
        }
    }
    blocks
}

/// A folder that looks like the checkout, where commands may write. Enclaves in it end with it.
struct Session(tempfile::TempDir);

impl Session {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(paths::root()).unwrap().flatten() {
            if entry.file_name() != "target" {
                symlink(entry.path(), dir.path().join(entry.file_name())).unwrap();
            }
        }
        Self(dir)
    }

    /// Runs lines as one shell session, with the project's programs.
    fn run(&self, lines: &[String]) {
        let script = format!("set -eu\n{}", lines.join("\n"));
        let done = self.shell(&script);
        let said = String::from_utf8_lossy(&done.stderr);
        let printed = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{script}\n{printed}{said}");
    }

    fn shell(&self, script: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).current_dir(&self.0);
        shell.env("PATH", format!("{}:{path}", stage::bins().display()));
        shell.env("ANCHORHOLD_STATE_DIR", self.0.path().join("state"));
        shell.env("ANCHORHOLD_PLATFORM_DIR", self.0.path().join("platform"));
        shell.output().unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shell("anchorhold terminate-enclave --all; test -e servers && xargs kill < servers");
    }
}

#[test]
fn microvm_commands_of_the_readme() {
    let readme = fs::read_to_string(paths::root().join("README.md")).unwrap();
    let mut blocks = blocks(&readme).into_iter();

    // The two commands: the demo has a test of its own, and this is the test.
    let two = blocks.next().unwrap();
    assert_eq!(two, ["cargo xtask demo pii", "cargo xtask test"]);

    // Another test of the demo runs this one.
    let records = blocks.next().unwrap();
    assert_eq!(
        records,
        ["cargo xtask demo pii --records customers.csv --output answer.csv"]
    );

    let scene = Session::new();
    let own = blocks.next().unwrap();
    assert_eq!(own[0], "cargo build --workspace --bins");
    scene.run(&own[1..]);
    for mut block in blocks {
        let last = block.last().unwrap();
        // It serves until it is told to end.
        if ["anchorhold-kms serve ", "anchorhold vsock-proxy "]
            .iter()
            .any(|server| last.starts_with(server))
        {
            let server = block.pop().unwrap();
            block.push(format!("{server} > served 2> served.log & served=$!"));
            block.push("for _ in $(seq 600); do test -s served && break; sleep 0.1; done".into());
            block.push("grep listening served || { cat served.log >&2; false; }".into());
            // An owner's KMS is used by what comes after; the session ends it.
            block.push(match server.contains("--tls-cert") {
                true => "echo \"$served\" >> servers".into(),
                false => "kill \"$served\"; wait \"$served\"".into(),
            });
        }
        scene.run(&block);
    }
}

#[test]
fn programs_that_the_text_names_exist() {
    let readme = fs::read_to_string(paths::root().join("README.md")).unwrap();
    for program in [
        "anchorhold",
        "anchorhold-kms",
        "anchorhold-verify",
        "anchorhold-hypervisor",
        "anchorhold-owner",
        "anchorhold-party",
        "anchorhold-seal",
    ] {
        assert!(
            readme.contains(&format!("`{program} ")) || readme.contains(&format!("\n{program} "))
        );
        let help = Command::new(stage::bins().join(program))
            .arg("--help")
            .output()
            .unwrap();
        assert!(help.status.success(), "{program}");
    }
    for words in [
        ["demo", "hello"],
        ["demo", "pii"],
        ["demo", "mpc"],
        ["demo", "threshold"],
        ["test", "--help"],
        ["bench", "--help"],
        ["soak", "--help"],
    ] {
        let help = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(words)
            .arg("--help")
            .output()
            .unwrap();
        assert!(help.status.success(), "{words:?}");
    }
}
