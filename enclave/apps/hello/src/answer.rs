//! What a line is answered with. No I/O, so that every answer can be tested.

use std::error::Error;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longest line in bytes, its end not counted: room for a nonce of 508 bytes.
pub const LINE_LIMIT: usize = 1024;

/// The word that asks for a document.
const ATTEST: &str = "attest";

/// Answers `line`, given without its end. `attest` makes a document over a nonce.
pub fn to<E: Error>(line: &[u8], attest: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> String {
    let Ok(text) = str::from_utf8(line) else {
        return refusal("line.text", "UTF-8 expected");
    };
    if text.chars().any(char::is_control) {
        return refusal("line.text", "text without control characters expected");
    }
    match text.split_once(' ') {
        Some((ATTEST, nonce)) => document(nonce, attest),
        None if text == ATTEST => document("", attest),
        _ => format!("hello from the enclave, you said: {text}"),
    }
}

/// The answer to a line that is too long.
pub fn to_long_line() -> String {
    refusal(
        "line.length",
        &format!("at most {LINE_LIMIT} bytes expected"),
    )
}

fn document<E: Error>(nonce: &str, attest: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> String {
    let nonce = match hex::decode(nonce) {
        Ok(nonce) if !nonce.is_empty() => nonce,
        _ => {
            return refusal(
                "attest.nonce",
                "a nonce of at least one byte, in hex, expected",
            );
        }
    };
    match attest(&nonce) {
        Ok(document) => STANDARD.encode(document),
        Err(error) => refusal("attest.module", &error.to_string()),
    }
}

fn refusal(rule: &str, message: &str) -> String {
    format!("error {rule}: {message}")
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use proptest::prelude::*;

    use super::*;

    fn echo(nonce: &[u8]) -> Result<Vec<u8>, fmt::Error> {
        Ok(nonce.to_vec())
    }

    fn unasked(_: &[u8]) -> Result<Vec<u8>, fmt::Error> {
        panic!("asked")
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert!(to(b"\xff\xfe", unasked).starts_with("error line.text: UTF-8"));
        for line in ["\x1b[2J", "tab\there", "cr\r", "\u{9b}2J"] {
            assert!(to(line.as_bytes(), unasked).starts_with("error line.text: text without"));
        }
    }

    #[test]
    fn what_is_no_nonce_is_refused() {
        for line in [
            "attest",
            "attest ",
            "attest 0",
            "attest xx",
            "attest  00",
            "attest 00 ",
        ] {
            let answer = to(line.as_bytes(), unasked);
            assert!(
                answer.starts_with("error attest.nonce: "),
                "{line:?}: {answer}"
            );
        }
    }

    #[test]
    fn a_module_that_refuses_is_named() {
        let answer = to(b"attest 00", |_| Err::<Vec<u8>, _>(fmt::Error));
        assert!(answer.starts_with("error attest.module: "), "{answer}");
    }

    #[test]
    fn documents_are_base64_and_lines_come_back() {
        assert_eq!(to(b"attest 00FFfe", echo), "AP/+");
        assert_eq!(
            to(b"hi there", unasked),
            "hello from the enclave, you said: hi there"
        );
        assert_eq!(
            to(b"attested", unasked),
            "hello from the enclave, you said: attested"
        );
        assert_eq!(to(b"", unasked), "hello from the enclave, you said: ");
    }

    proptest! {
        #[test]
        fn every_answer_is_one_line(line in proptest::collection::vec(any::<u8>(), 0..=LINE_LIMIT)) {
            let answer = to(&line, echo);
            prop_assert!(!answer.is_empty() && !answer.contains(char::is_control));
            prop_assert!(answer.len() <= 3 * LINE_LIMIT);
        }
    }
}
