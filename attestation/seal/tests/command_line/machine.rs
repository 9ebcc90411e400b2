//! Outputs that are there, full disks, kills, and two at once: nothing is lost, nothing left behind.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use crate::files::{CONTEXT, Files, json, owner, owner_flags, refused};

/// More than pipes and buffers hold, so that whoever has written it knows that it is being read.
const LONG: usize = 6 << 20;

impl Files {
    /// The program at work on its standard input, of which this much has come.
    fn begun(&self, command: &str, more: &[&str], output: &str, input: &[u8]) -> Child {
        let mut program = self.program(command, owner());
        program.args(CONTEXT).args(more).args(["-", output]);
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(input).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it waits for more");
        child
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.at(name)).unwrap()
    }
}

#[test]
fn outputs_that_are_there_are_kept() {
    let files = Files::new(b"text");
    files.seal(&[]);
    let sealed = files.read("sealed");
    let more = [&CONTEXT[..], &["--json"]].concat();
    let again = files.run("seal", owner(), &more, ["plain", "sealed"]);
    assert_eq!(files.refused(&again), refused("file.exists", 2));
    assert_eq!(files.read("sealed"), sealed);
    files.seal(&["--force"]);
    assert_ne!(files.read("sealed"), sealed);
    // What is no file is not replaced, by force or not.
    let forced = [&more[..], &["--force"]].concat();
    for path in ["/dev/null", "."] {
        let output = files.run("seal", owner(), &forced, ["plain", path]);
        assert_eq!(files.refused(&output), refused("file.kind", 2), "{path}");
    }
    // A message that does not open replaces nothing.
    std::fs::write(files.at("plain"), "kept").unwrap();
    std::fs::write(files.at("sealed"), &sealed[..sealed.len() - 1]).unwrap();
    let output = files.run("open", owner(), &forced, ["sealed", "plain"]);
    assert_eq!(files.refused(&output), refused("message.truncated", 1));
    assert_eq!(files.read("plain"), b"kept");
}

#[test]
fn a_killed_program_leaves_nothing() {
    let files = Files::new(b"text");
    let plaintext = vec![7; LONG];
    let mut sealing = files.begun("seal", &[], "message", &plaintext);
    drop(sealing.stdin.take());
    assert!(sealing.wait().unwrap().success());
    let message = files.read("message");
    std::fs::remove_file(files.at("message")).unwrap();
    for signal in ["KILL", "TERM", "INT"] {
        for (command, input) in [("seal", &plaintext), ("open", &message)] {
            let mut child = files.begun(command, &[], "out", &input[..LONG]);
            assert_eq!(files.names(), ["plain"], "{command} holds it back");
            let id = child.id().to_string();
            let killed = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(killed.unwrap().success());
            assert!(!child.wait().unwrap().success());
            assert_eq!(files.names(), ["plain"], "{command}, {signal}");
        }
    }
}

#[test]
fn of_two_at_once_one_is_refused_and_one_stands_whole() {
    let files = Files::new(b"");
    let texts = [vec![1; LONG], vec![2; LONG]];
    let mut both = texts
        .each_ref()
        .map(|text| files.begun("seal", &["--json"], "out", text));
    let codes = both.each_mut().map(|child| {
        drop(child.stdin.take());
        child.wait().unwrap().code().unwrap()
    });
    assert_eq!(codes, [0, 2], "the first to end stands");
    assert_eq!(files.names(), ["out", "plain"]);
    let opened = |name| {
        let output = files.run("open", owner(), &CONTEXT, ["out", name]);
        assert!(output.status.success(), "{output:?}");
        files.read(name)
    };
    assert!(opened("first") == texts[0]);
    // By force the last to end stands.
    let more = ["--force"];
    let mut both = texts
        .each_ref()
        .map(|text| files.begun("seal", &more, "out", text));
    for child in &mut both {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    assert!(opened("second") == texts[1]);
    assert_eq!(files.names(), ["first", "out", "plain", "second"]);
}

/// A small file system of its own, in a mount namespace.
#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let files = Files::new(&vec![7; 1 << 20]);
    std::fs::create_dir(files.at("small")).unwrap();
    let more = [&CONTEXT[..], &["--json"]].concat();
    files.seal(&[]);
    for (command, from) in [("seal", "plain"), ("open", "sealed")] {
        let script = r#"mount -t tmpfs -o size=300k tmpfs small && echo kept > small/other || exit 90
            "$@"; code=$?; test "$(ls -A small)" = other && grep -q kept small/other || exit 91
            exit $code"#;
        let mut program = Command::new("unshare");
        program.args(namespaces()).current_dir(files.0.path());
        program.args([
            "sh",
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_anchorhold-seal"),
        ]);
        program.arg(command).args(owner_flags(owner())).args(&more);
        let output = program.args([from, "small/out"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["error"]["rule"], "file.io");
        let message = said["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("small/out") && message.contains("No space"),
            "{message}"
        );
    }
}

/// By way of a user namespace, or as root without one.
fn namespaces() -> &'static [&'static str] {
    let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare").args(**way).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    };
    ways.iter().find(works).expect(
        "unshare makes no mount namespace here: allow unprivileged user namespaces, or run this \
         test as root",
    )
}

#[test]
fn who_stops_listening_is_told_on_standard_error() {
    let files = Files::new(&vec![7; 1 << 20]);
    files.seal(&[]);
    for (command, from) in [("seal", "plain"), ("open", "sealed")] {
        let mut program = files.program(command, owner());
        program.args(CONTEXT).args([from, "-"]);
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("cannot write standard input or output"),
            "{said}"
        );
    }
}

#[test]
fn a_kms_that_is_not_there_has_refused_nothing() {
    let files = Files::new(b"text");
    files.seal(&[]);
    // Nothing listens on port 1.
    let mut flags = owner_flags(owner());
    flags[3] = "127.0.0.1:1".into();
    for (command, paths) in [
        ("seal", ["plain", "opened"]),
        ("open", ["sealed", "opened"]),
    ] {
        let mut program = crate::files::program();
        program
            .arg(command)
            .current_dir(files.0.path())
            .args(&flags);
        let output = program.args(CONTEXT).arg("--json").args(paths).output();
        assert_eq!(files.refused(&output.unwrap()), refused("kms.connect", 2));
    }
    json(&files.open(&[&CONTEXT[..], &["--json"]].concat()));
}
