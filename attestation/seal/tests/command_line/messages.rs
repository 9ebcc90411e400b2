//! What the program does.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::common::Owner;
use crate::files::{CONTEXT, Files, json, outline, owner, program, refused};

#[test]
fn what_is_sealed_opens() {
    for (suite, length) in [
        ("0x0578", 0),
        ("0x0578", 10_000),
        ("0x0478", 4096),
        ("0x0478", 1),
    ] {
        let plaintext: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let files = Files::new(&plaintext);
        files.seal(&["--suite", suite, "--frame-length", "1000"]);
        assert_eq!(files.names(), ["plain", "sealed"]);
        let output = files.open(&[&CONTEXT[..], &["--json"]].concat());
        let said = json(&output);
        assert_eq!(said["verified"], true);
        assert_eq!(said["plaintext_bytes"], length);
        assert_eq!(std::fs::read(files.at("opened")).unwrap(), plaintext);
        assert_eq!(files.names(), ["opened", "plain", "sealed"]);
    }
}

#[test]
fn required_context_is_not_in_the_file_and_must_be_known() {
    let files = Files::new(b"text");
    files.seal(&["--required-context", "tenant"]);
    let bytes = std::fs::read(files.at("sealed")).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"blue"));
    let required = ["--required-context", "tenant", "--json"];
    let rule = |more: &[&str]| files.refused(&files.open(&[more, &required].concat()));
    assert_eq!(rule(&CONTEXT[..2]), refused("context.missing", 1));
    let wrong = ["--context", "purpose=records", "--context", "tenant=red"];
    assert_eq!(rule(&wrong), refused("kms.InvalidCiphertextException", 1));
    let not_named = files.open(&[&CONTEXT[..], &["--json"]].concat());
    assert_eq!(files.refused(&not_named), refused("context.missing", 1));
    json(&files.open(&[&CONTEXT[..], &required].concat()));
}

#[test]
fn any_one_of_several_owners_opens() {
    let (files, other) = (Files::new(b"for two"), Owner::new());
    let settings = other.file("owner.json");
    files.seal(&["--owner", settings.to_str().unwrap()]);
    assert_eq!(outline(&files.at("sealed")).encrypted_data_keys().len(), 2);
    for (owner, name) in [(owner(), "one"), (&other, "two")] {
        let output = files.run("open", owner, &CONTEXT, ["sealed", name]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read(files.at(name)).unwrap(), b"for two");
    }
    let third = Owner::new();
    let more = [&CONTEXT[..], &["--json"]].concat();
    let output = files.run("open", &third, &more, ["sealed", "three"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["error"]["rule"], "keyring.none");
    // An owner file alone is enough.
    let mut program = program();
    program
        .current_dir(files.0.path())
        .arg("open")
        .arg("--owner")
        .arg(&settings);
    let output = program
        .args(CONTEXT)
        .args(["sealed", "alone"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn bucket_keys_are_opened_by_their_owner() {
    let files = Files::new(b"in a bucket");
    files.seal(&["--bucket-by", "tenant"]);
    let more = [&CONTEXT[..], &["--json"]].concat();
    let output = files.open(&more);
    assert_eq!(files.refused(&output), refused("keyring.none", 1));
    let by = |key| [&more[..], &["--bucket-by", key]].concat();
    let output = files.open(&by("purpose"));
    assert_eq!(
        files.refused(&output),
        refused("kms.InvalidCiphertextException", 1)
    );
    let output = files.open(&by("absent"));
    assert_eq!(files.refused(&output), refused("context.missing", 1));
    json(&files.open(&by("tenant")));
    assert_eq!(std::fs::read(files.at("opened")).unwrap(), b"in a bucket");
    let said = json(
        &program()
            .arg("inspect")
            .arg(files.at("sealed"))
            .arg("--json")
            .output()
            .unwrap(),
    );
    let key = &said["encrypted_data_keys"][0];
    assert_eq!(key["provider_id"], "anchorhold-bucket");
    assert_eq!(key["bucket_key_arn"], owner().key_arn.as_str());
}

#[test]
fn streams_are_files_too() {
    let files = Files::new(b"");
    let pipe = |command: &str, input: &[u8]| {
        let mut program = files.program(command, owner());
        program.args(CONTEXT).args(["--json", "-", "-"]);
        let pipes = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        // With data on standard output, the JSON is on standard error.
        let said: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(said["message_id"].is_string());
        output.stdout
    };
    let message = pipe("seal", b"through pipes");
    assert_eq!(pipe("open", &message), b"through pipes");
    std::fs::write(files.at("sealed"), &message).unwrap();
    let output = program()
        .arg("inspect")
        .arg(files.at("sealed"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "0x0578",
        "purpose = records",
        "13 bytes",
        "Nothing of this is verified",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn inspect_counts_and_refuses_without_a_key() {
    let files = Files::new(&[1; 2500]);
    files.seal(&["--frame-length", "1000", "--suite", "0x0478"]);
    let inspect = || {
        program()
            .args(["inspect", "--json"])
            .arg(files.at("sealed"))
            .output()
            .unwrap()
    };
    let said = json(&inspect());
    assert_eq!(said["frames"], 3);
    assert_eq!(said["frame_length"], 1000);
    assert_eq!(said["plaintext_bytes"], 2500);
    assert_eq!(said["suite"]["id"], "0x0478");
    assert_eq!(said["signature_bytes"], Value::Null);
    assert_eq!(said["context"]["tenant"], "blue");
    assert_eq!(said["verified"], false);
    assert_eq!(
        said["encrypted_data_keys"][0]["provider_info"],
        owner().key_arn.as_str()
    );
    let good = std::fs::read(files.at("sealed")).unwrap();
    std::fs::write(files.at("sealed"), &good[..good.len() - 1]).unwrap();
    assert_eq!(files.refused(&inspect()), refused("message.truncated", 1));
    std::fs::remove_file(files.at("sealed")).unwrap();
    assert_eq!(files.refused(&inspect()), refused("file.io", 2));
}
