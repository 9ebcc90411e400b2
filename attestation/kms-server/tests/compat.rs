//! AWS's own clients against the real server: boto3, botocore's signer, the aws command
//! line, and the AWS Encryption SDK for Python.

mod support;

use std::process::Command;

use serde_json::Value;
use support::{Kms, Server, aws_environment, python, run_script, stderr};

#[test]
fn boto3_sees_aws_behaviour_in_every_operation() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    run_script("lifecycle.py", &server, &kms, &[]);
    assert!(server.stop().success());
    kms.verify();
}

#[test]
fn what_botocore_signs_is_taken_and_every_mutation_refused() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    run_script("signatures.py", &server, &kms, &[]);
}

#[test]
fn the_aws_encryption_sdk_works_unchanged() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    run_script("encryption_sdk.py", &server, &kms, &[]);
}

#[test]
fn the_aws_command_line_works_unchanged() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let refused = aws(&kms, &server, &["describe-key", "--key-id", "alias/none"]);
    assert!(!refused.0);
    assert!(refused.1.contains("(NotFoundException)"), "{}", refused.1);

    let made = json(&aws(
        &kms,
        &server,
        &["create-key", "--description", "from the command line"],
    ));
    let arn = made["KeyMetadata"]["Arn"].as_str().expect("an ARN");
    let plaintext = kms.file("plaintext", "line\n");
    let plaintext = format!("fileb://{}", plaintext.display());
    let context = ["--encryption-context", "purpose=records"];
    let mut encrypt = vec!["encrypt", "--key-id", arn, "--plaintext", &plaintext];
    encrypt.extend(context);
    let sealed = json(&aws(&kms, &server, &encrypt));
    let blob = kms.file("sealed", sealed["CiphertextBlob"].as_str().expect("a blob"));
    let decoded = Command::new("base64")
        .arg("-d")
        .arg(&blob)
        .output()
        .expect("base64 runs");
    let blob = format!(
        "fileb://{}",
        kms.file("sealed.bin", decoded.stdout).display()
    );
    let mut decrypt = vec!["decrypt", "--ciphertext-blob", &blob];
    decrypt.extend(context);
    let opened = json(&aws(&kms, &server, &decrypt));
    assert_eq!(opened["Plaintext"], "bGluZQo=");
    assert_eq!(opened["KeyId"], arn);
}

fn aws(kms: &Kms, server: &Server, arguments: &[&str]) -> (bool, String) {
    let tool = python().with_file_name("aws");
    let mut command = Command::new(python());
    command
        .arg(tool)
        .args(["--output", "json", "kms"])
        .args(arguments);
    let command = aws_environment(&mut command, server, &kms.administrator);
    let output = command.output().expect("the aws command line runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    (output.status.success(), text)
}

fn json((success, text): &(bool, String)) -> Value {
    assert!(success, "{text}");
    serde_json::from_str(text).expect("JSON")
}
