//! `anchorhold-owner` as owners meet it: what it refuses, before anything is asked of a KMS.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use anchorhold_envelope::{DataKey, EncryptedDataKey, SealPlan, Suite};
use anchorhold_pii::contexts;
use serde_json::Value;

/// A folder with a job, records, the KMS's authority and credentials. No KMS runs.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.file("records.csv", "email,country\nann@example.org,DE\n");
        desk.file(
            "owner.json",
            r#"{"access_key_id":"AHIAAAAAAAAAAAAAAAAA","secret_access_key":"0123456789012345678901234567890123456789"}"#,
        );
        fs::write(desk.path("token-key.esdk"), token_key()).unwrap();
        let job = "pii job --records records.csv --data-set d --token-key token-key.esdk \
                   --output job.json";
        for words in ["tls --dir tls --host kms.anchorhold.internal", job] {
            let output = desk.run(words);
            assert!(output.status.success(), "{output:?}");
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn run(&self, words: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_anchorhold-owner"))
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// The rule and the message of a refusal: exit code 1 and one JSON object.
    fn refused(&self, words: &str) -> (String, String) {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words}: {output:?}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |name: &str| value["error"][name].as_str().unwrap().to_owned();
        (text("rule"), text("message"))
    }
}

/// A token key of the data set `d`, wrapped by nobody.
fn token_key() -> Vec<u8> {
    let context = contexts::token_key("d").unwrap();
    let plan = SealPlan::new(Suite::CommittedSigned, context).unwrap();
    let arn = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let wrapped = EncryptedDataKey::aws_kms(arn, vec![0]).unwrap();
    let key = DataKey::generate().unwrap();
    let mut sealer = plan.seal_to(Vec::new(), &key, vec![wrapped]).unwrap();
    sealer.write_all(&[9; 32]).unwrap();
    sealer.finish().unwrap().0
}

/// Nothing listens on port 1: a call that reached for the KMS would say so.
const KMS: &str = "--kms 127.0.0.1:1 --kms-ca tls/ca.pem --credentials owner.json \
                   --key arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";

#[test]
fn sealing_overwrites_nothing() {
    let desk = Desk::new();
    desk.file("kept", "what a day's work depends on");
    for words in [
        "pii token-key --data-set d --output kept",
        "pii seal --job job.json --records records.csv --output kept --receipt receipt.json",
        "pii seal --job job.json --records records.csv --output new.esdk --receipt kept",
    ] {
        let (rule, message) = desk.refused(&format!("{words} {KMS}"));
        assert_eq!(rule, "seal.exists", "{words}: {message}");
        assert!(message.contains("kept"), "{message}");
    }
    let kept = fs::read_to_string(desk.path("kept")).unwrap();
    assert_eq!(kept, "what a day's work depends on");
    assert!(!desk.path("new.esdk").exists() && !desk.path("receipt.json").exists());
    let left = fs::read_dir(desk.0.path()).unwrap().count();
    assert_eq!(left, 6, "no temporary file is left");
}

#[test]
fn a_kms_that_does_not_answer_leaves_no_file() {
    let desk = Desk::new();
    let (rule, message) = desk.refused(&format!(
        "pii token-key --data-set d --output new.esdk {KMS}"
    ));
    assert!(!desk.path("new.esdk").exists());
    assert_ne!(rule, "seal.exists", "{message}");
}

#[test]
fn an_image_is_named_by_its_three_measurements() {
    let desk = Desk::new();
    desk.file("receipt.json", r#"{"format":"anchorhold-pii-receipt/1","job_sha384":"","message_id":"","header_sha384":"","plaintext_bytes":0}"#);
    let pcr = |index: u8| format!("--pcr {index}={}", "a1".repeat(48));
    let open = "pii open --answer . --job job.json --receipt receipt.json --challenge 00 \
                --output rows.csv --root tls/ca.pem";
    let create = format!(
        "key create --owner arn:aws:iam::000000000000:user/o --enclave arn:aws:iam::000000000000:user/e \
         --root tls/ca.pem {}",
        KMS.split_once(" --key").unwrap().0
    );
    for (pcrs, part) in [
        (vec![0], "--pcr 1="),
        (vec![8], "--pcr 0="),
        (vec![0, 1, 8], "--pcr 2="),
        (vec![0, 1, 2, 0], "twice"),
    ] {
        let pcrs: Vec<String> = pcrs.into_iter().map(pcr).collect();
        for command in [open, &create] {
            let (rule, message) = desk.refused(&format!("{command} {}", pcrs.join(" ")));
            assert_eq!(rule, "owner.usage");
            assert!(message.contains(part), "{message}");
        }
    }
    assert!(!desk.path("rows.csv").exists());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let desk = Desk::new();
    for (words, part) in [
        (
            "pii job --records absent.csv --data-set d --token-key token-key.esdk --output j.json",
            "absent.csv",
        ),
        (
            "pii job --draft /dev/zero --token-key token-key.esdk --output j.json",
            "/dev/zero",
        ),
        (
            "pii job --records records.csv --data-set d --token-key token-key.esdk --output job.json",
            "job.json",
        ),
    ] {
        let (_, message) = desk.refused(words);
        assert!(message.contains(part), "{message}");
    }
    assert!(!desk.path("j.json").exists());
}

#[test]
fn a_job_names_the_receivers_of_its_answer() {
    let desk = Desk::new();
    let made = desk.run("pii receiver --output receiver.pem");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["public_key"].as_str().unwrap();
    assert!(
        desk.run("pii receiver --output receiver.pem")
            .stdout
            .starts_with(b"{\"error\"")
    );
    let job = |receiver: &str, output: &str| {
        format!(
            "pii job --records records.csv --data-set d --token-key token-key.esdk \
             --receiver {receiver} --output {output}"
        )
    };
    let receiver = format!("ann={key}");
    assert!(desk.run(&job(&receiver, "to-ann.json")).status.success());
    let written: Value =
        serde_json::from_slice(&fs::read(desk.path("to-ann.json")).unwrap()).unwrap();
    assert_eq!(
        written["answer_to"],
        serde_json::json!([{"name": "ann", "public_key": key}])
    );
    // Without one, whoever carries the answer reads it.
    let written: Value = serde_json::from_slice(&fs::read(desk.path("job.json")).unwrap()).unwrap();
    assert_eq!(written["answer_to"], "anyone");
    for wrong in ["ann=AAAA", "=x"] {
        let (rule, message) = desk.refused(&job(wrong, "none.json"));
        assert_eq!(rule, "job.field", "{message}");
        assert!(message.contains("answer_to"), "{message}");
    }
    let unnamed = desk.run(&job(key.trim_end_matches('='), "none.json"));
    assert_eq!(unnamed.status.code(), Some(2), "{unnamed:?}");
    assert!(!desk.path("none.json").exists());
}
