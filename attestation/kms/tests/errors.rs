//! What refusals look like on the wire.

mod common;

use anchorhold_kms_core::arn::AliasArn;
use anchorhold_kms_core::policy::PolicyError;
use anchorhold_kms_core::{Exception, KmsError};
use common::{KEY, key_arn};
use serde_json::{Value, json};

fn body(error: &KmsError) -> Value {
    serde_json::from_str(&error.body()).expect("JSON")
}

#[test]
fn messages_are_those_of_aws() {
    let alias: AliasArn = "arn:aws:kms:eu-central-1:111122223333:alias/x"
        .parse()
        .expect("an ARN");
    for (error, name, message) in [
        (
            KmsError::KeyNotFound { arn: key_arn() },
            "NotFoundException",
            format!("Key '{KEY}' does not exist"),
        ),
        (
            KmsError::AliasNotFound { arn: alias.clone() },
            "NotFoundException",
            format!("Alias {alias} is not found."),
        ),
        (
            KmsError::PolicyNameNotFound,
            "NotFoundException",
            "No such policy exists".to_owned(),
        ),
        (
            KmsError::AliasExists { arn: alias.clone() },
            "AlreadyExistsException",
            format!("An alias with the name {alias} already exists"),
        ),
        (
            KmsError::Disabled { arn: key_arn() },
            "DisabledException",
            format!("{KEY} is disabled."),
        ),
        (
            KmsError::IncorrectKey,
            "IncorrectKeyException",
            "The key ID in the request does not identify a CMK that can perform this operation."
                .to_owned(),
        ),
        (
            KmsError::PolicyLockout,
            "MalformedPolicyDocumentException",
            "The new key policy will not allow you to update the key policy in the future."
                .to_owned(),
        ),
        (
            KmsError::from(PolicyError::TooLarge {
                size: 32_769,
                max: 32_768,
            }),
            "LimitExceededException",
            "The policy has 32769 bytes; a key policy has at most 32768.".to_owned(),
        ),
        (
            KmsError::validation("x", "1 validation error detected"),
            "ValidationException",
            "1 validation error detected".to_owned(),
        ),
    ] {
        assert_eq!(body(&error), json!({"__type": name, "message": message}));
        assert_eq!(error.status(), 400);
        assert!(!error.rule().is_empty());
    }
}

#[test]
fn access_denied_alone_writes_its_message_with_a_capital() {
    let error = KmsError::CiphertextKeyInaccessible;
    let text = "The ciphertext refers to a customer master key that does not exist, does not exist \
                in this region, or you are not allowed to access.";
    assert_eq!(
        body(&error),
        json!({"__type": "AccessDeniedException", "Message": text})
    );
    assert_eq!(error.status(), 400);
}

#[test]
fn an_invalid_ciphertext_has_no_message() {
    assert_eq!(
        body(&KmsError::InvalidCiphertext),
        json!({"__type": "InvalidCiphertextException"})
    );
}

#[test]
fn only_the_machines_faults_are_500() {
    for (exception, status) in [
        (Exception::KmsInternal, 500),
        (Exception::RequestEntityTooLarge, 413),
        (Exception::Throttling, 400),
        (Exception::NotFound, 400),
        (Exception::AlreadyExists, 400),
        (Exception::KmsInvalidState, 400),
        (Exception::InvalidSignature, 400),
    ] {
        let error = KmsError::other(exception, "x", "y");
        assert_eq!((error.exception(), error.status()), (exception, status));
        assert!(exception.name().ends_with("Exception"));
    }
    let internal = KmsError::internal("store.read");
    assert_eq!((internal.status(), internal.rule()), (500, "store.read"));
}

#[test]
fn what_a_caller_gave_comes_back_short_and_on_one_line() {
    let given = format!("a\r\nb\u{1b}[2J\"{}", "x".repeat(5000));
    let error = KmsError::InvalidKeyId { given };
    let message = error.to_string();
    assert!(
        message.len() < 300 && !message.chars().any(char::is_control),
        "{message}"
    );
    assert_eq!(body(&error)["message"], json!(message));
}
