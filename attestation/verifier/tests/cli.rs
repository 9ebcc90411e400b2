//! `anchorhold-verify` as its users meet it.

mod common;

use anchorhold_document::nsm::AttestationRequest;
use anchorhold_verifier::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use common::desk::{Desk, code, misused, refused, run, stderr, stdout};
use common::{Genuine, NOW, forge};
use serde_json::Value;

#[test]
fn misuse_exits_with_2_and_says_what_is_missing() {
    let desk = Desk::new();
    for (words, part) in [
        ("", "Usage"),
        ("document", "<FILE>"),
        ("document document.cose", "--root"),
        ("document absent.cose --aws-root", "absent.cose"),
        ("document . --aws-root", "could not read ."),
        ("document document.cose --root absent.pem", "absent.pem"),
        (
            "document document.cose --root document.cose",
            "--root document.cose",
        ),
        ("document document.cose --root /dev/zero", "larger than"),
        ("document document.cose --unknown", "--unknown"),
        ("document document.cose --aws-root --pcr 0", "N=HEX"),
        ("document document.cose --aws-root --pcr 32=00", "0 to 31"),
        (
            "document document.cose --aws-root --pcr 0=00",
            "96 hex digits",
        ),
        ("document document.cose --aws-root --nonce xyz", "--nonce"),
        (
            "document document.cose --aws-root --at yesterday",
            "RFC 3339",
        ),
        (
            "document document.cose --aws-root --max-age soon",
            "--max-age",
        ),
        (
            "document document.cose --aws-root --at 2025-01-01T00:00:00Z --at-document-time",
            "--at-document-time",
        ),
    ] {
        let message = misused(&desk.run(words));
        assert!(message.contains(part), "{words}: {message}");
    }
}

/// Neither the first nor the last of two values is silently the one that counts.
#[test]
fn a_register_demanded_twice_is_misuse() {
    let desk = Desk::new();
    let (good, bad) = ("a0".repeat(48), "a1".repeat(48));
    for words in [
        format!("--pcr 0={bad} --pcr 0={good}"),
        format!("--pcr 0={good} --pcr 0={bad}"),
        format!("--pcr 0={good} --pcr 0={good}"),
    ] {
        let message = misused(&desk.verify(&words));
        assert!(message.contains("--pcr 0 is given twice"), "{message}");
    }
    assert_eq!(code(&desk.verify(&format!("--pcr 0={good}"))), 0);
}

#[test]
fn refusals_exit_with_1_and_name_the_rule() {
    let desk = Desk::new();
    let pcr = |digits: &str| digits.repeat(48);
    for (words, rule) in [
        (format!("--pcr 0={}", pcr("a1")), "pcr.mismatch"),
        (format!("--pcr 16={}", pcr("00")), "pcr.missing"),
        (
            format!("--pcr 0={} --pcr 1={}", pcr("A0"), pcr("00")),
            "pcr.mismatch",
        ),
        ("--nonce 0a0c".to_owned(), "nonce.mismatch"),
        (
            "--at 2020-01-01T00:00:00Z".to_owned(),
            "chain.not-yet-valid",
        ),
        ("--at 2075-01-01T00:00:00Z".to_owned(), "chain.expired"),
    ] {
        assert_eq!(refused(&desk.verify(&words)), rule, "{words}");
        assert_eq!(refused(&desk.verify(&format!("{words} --json"))), rule);
    }
    assert_eq!(
        refused(&desk.run("document document.cose --aws-root")),
        "root.untrusted"
    );
    desk.file("cut.cose", &desk.bytes[..1000]);
    assert_eq!(
        refused(&desk.run("document cut.cose --aws-root")),
        "cbor.truncated"
    );
    desk.file("empty.cose", b"");
    assert_eq!(
        refused(&desk.run("document empty.cose --aws-root")),
        "cbor.truncated"
    );
    desk.file("text.cose", b"this is no document");
    assert_eq!(
        refused(&desk.run("document text.cose --aws-root")),
        "cbor.type"
    );
    // An endless file is read up to the limit.
    assert_eq!(
        refused(&desk.run("document /dev/zero --aws-root")),
        "input.size"
    );
}

#[test]
fn people_are_told_why_on_standard_error_and_programs_are_not() {
    let desk = Desk::new();
    let output = desk.verify("--nonce 00");
    let expected = "refused: nonce: expected 00, got 0a0b (rule nonce.mismatch)\n";
    assert_eq!(stderr(&output), expected);
    assert_eq!(stderr(&desk.verify("--nonce 00 --json")), "");
}

#[test]
fn age_is_measured_against_the_given_time_or_the_clock() {
    let mut desk = Desk::new();
    assert_eq!(code(&desk.verify("--max-age 300")), 0);
    let old = desk
        .genuine
        .document_with(AttestationRequest::default(), NOW);
    desk.file("old.cose", old);
    let run = |words: &str| {
        desk.run(&format!(
            "document old.cose --root platform-root.pem {words}"
        ))
    };
    assert_eq!(refused(&run("")), "chain.expired");
    assert_eq!(code(&run("--at-document-time")), 0);
    assert_eq!(
        refused(&run("--at-document-time --max-age 300")),
        "freshness.too-old"
    );
    assert_eq!(code(&run("--at 2025-06-01T00:05:00Z --max-age 300")), 0);
    let late = run("--at 2025-06-01T00:05:01Z --max-age 300");
    assert_eq!(refused(&late), "freshness.too-old");
    assert_eq!(
        refused(&run("--at 2025-05-31T23:58:59Z")),
        "chain.not-yet-valid"
    );
}

#[test]
fn debug_mode_has_to_be_allowed() {
    let desk = Desk::with(Genuine::boot(true));
    assert_eq!(refused(&desk.verify("")), "debug.refused");
    let output = desk.verify("--allow-debug");
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("DEBUG"));
    let json: Value = serde_json::from_str(&stdout(&desk.verify("--allow-debug --json"))).unwrap();
    assert_eq!(json["debug"], true);
}

#[test]
fn raw_base64_and_hex_are_the_same_document() {
    let desk = Desk::new();
    let expected = stdout(&desk.verify("--json --at-document-time"));
    let lines = |text: String| {
        text.as_bytes()
            .chunks(64)
            .map(|line| [line, b"\r\n"].concat())
            .collect::<Vec<_>>()
            .concat()
    };
    let tagged = [&[0xD2], &desk.bytes[..]].concat();
    for (name, content) in [
        ("base64", STANDARD.encode(&desk.bytes).into_bytes()),
        (
            "base64 without padding",
            STANDARD_NO_PAD.encode(&desk.bytes).into_bytes(),
        ),
        ("base64 in lines", lines(STANDARD.encode(&desk.bytes))),
        ("hex", hex::encode(&desk.bytes).into_bytes()),
        (
            "upper-case hex",
            hex::encode_upper(&desk.bytes).into_bytes(),
        ),
        ("hex in lines", lines(hex::encode(&desk.bytes))),
        ("tagged", tagged.clone()),
        ("tagged base64", STANDARD.encode(&tagged).into_bytes()),
        ("tagged hex", hex::encode(&tagged).into_bytes()),
    ] {
        let words = [
            "document",
            "-",
            "--root",
            "platform-root.pem",
            "--at-document-time",
            "--json",
        ];
        let from_stdin = run(desk.folder.path(), &words, &content);
        assert_eq!(
            stdout(&from_stdin),
            expected,
            "{name}: {}",
            stderr(&from_stdin)
        );
        desk.file("other", &content);
        let words = "document other --root platform-root.pem --at-document-time --json";
        assert_eq!(stdout(&desk.run(words)), expected, "{name}");
    }
}

#[test]
fn json_holds_the_decoded_document() {
    let desk = Desk::new();
    let demands = format!(
        "--max-age 60 --nonce 0a0b --pcr 0={} --json",
        "a0".repeat(48)
    );
    let output = desk.verify(&demands);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 1);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let document = &json["document"];
    assert_eq!(document["module_id"], desk.genuine.module.module_id());
    assert_eq!(document["digest"], "SHA384");
    assert_eq!(document["pcrs"].as_object().unwrap().len(), 16);
    assert_eq!(document["pcrs"]["0"], "a0".repeat(48));
    assert_eq!(document["pcrs"]["15"], "00".repeat(48));
    assert_eq!(document["nonce"], "0a0b");
    assert_eq!(document["user_data"], Value::Null);
    assert_eq!(document["public_key"], "07".repeat(500));
    assert_eq!(document["cabundle"].as_array().unwrap().len(), 4);
    assert_eq!(json["debug"], false);
    assert_eq!(json["chain"].as_array().unwrap().len(), 5);
    let root = hex::encode(desk.genuine.module.platform().root_sha256());
    assert_eq!(json["root_sha256"], root);
    let signed_at: Timestamp = json["signed_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(document["timestamp"], signed_at.as_millis());
    let valid_until: Timestamp = json["valid_until"].as_str().unwrap().parse().unwrap();
    assert!(valid_until > signed_at);
}

#[test]
fn people_read_what_was_measured_who_signed_and_until_when() {
    let desk = Desk::new();
    let output = desk.verify(&format!("--pcr 0={}", "a0".repeat(48)));
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    let id = desk.genuine.module.module_id();
    for part in [
        format!("Authentic document of {id}\n"),
        format!("  PCR0  {}  as demanded\n", "a0".repeat(48)),
        format!("  PCR2  {}\n", "a2".repeat(48)),
        "  zero: PCR 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n".to_owned(),
        "  nonce      0a0b (2 bytes)\n".to_owned(),
        format!("  public_key {}… (500 bytes)\n", "07".repeat(48)),
        "CN=Anchorhold local platform root i-".to_owned(),
        "  valid until  2".to_owned(),
        "No age was demanded".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("No register was demanded"));
    assert!(stdout(&desk.verify("--max-age 60")).contains("No register was demanded"));
}

#[test]
fn nothing_in_a_document_moves_the_cursor() {
    let forged = forge::chain(&forge::links());
    let mut document = forged.document();
    document.module_id = "i-1\u{1b}[2J\u{7}\r\nPCR0 faked".to_owned();
    let desk = Desk::new();
    desk.file("odd.cose", forged.sign(&document));
    let root = pem::encode(&pem::Pem::new(
        "CERTIFICATE",
        forged.certificates[0].clone(),
    ));
    desk.file("odd.pem", root);
    let output = desk.run("document odd.cose --root odd.pem --at-document-time");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert!(text.contains("i-1\\u{1b}[2J\\u{7}\\u{d}\\u{a}PCR0 faked"));
}

#[test]
fn help_ends_with_an_example_that_runs() {
    let desk = Desk::new();
    for words in ["--help", "document --help", "document -h"] {
        let help = stdout(&desk.run(words));
        let example = help.trim_end().lines().next_back().unwrap().trim();
        let words = example.strip_prefix("anchorhold-verify ").unwrap();
        let output = desk.run(words);
        assert_eq!(code(&output), 0, "{example}: {}", stderr(&output));
    }
}

#[test]
fn several_roots_can_be_trusted() {
    let desk = Desk::new();
    desk.file("other.pem", Genuine::boot(false).root_pem());
    let other = desk.run("document document.cose --root other.pem");
    assert_eq!(refused(&other), "root.untrusted");
    let both = "document document.cose --root other.pem --root platform-root.pem --aws-root";
    assert_eq!(code(&desk.run(both)), 0);
}
