//! What the program refuses.

use anchorhold_enclave::keyring::KmsKeyring;
use anchorhold_envelope::EncryptedDataKey;

use crate::files::{CONTEXT, Files, json, owner, program, refused};

#[test]
fn another_context_is_refused_before_the_kms_is_asked() {
    let files = Files::new(b"text");
    files.seal(&[]);
    let rule = |more: &[&str]| files.refused(&files.open(&[more, &["--json"]].concat()));
    assert_eq!(rule(&[]), refused("context.unexpected", 1));
    assert_eq!(rule(&CONTEXT[..2]), refused("context.unexpected", 1));
    let other = ["--context", "purpose=records", "--context", "tenant=red"];
    assert_eq!(rule(&other), refused("context.mismatch", 1));
    let more = [&CONTEXT[..], &["--context", "a=b"]].concat();
    assert_eq!(rule(&more), refused("context.missing", 1));
    let output = files.open(&["--context", "tenant=blue", "--allow-more-context"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn nothing_stands_after_a_changed_or_shortened_message() {
    let files = Files::new(&[7; 3000]);
    files.seal(&["--frame-length", "1000"]);
    let good = std::fs::read(files.at("sealed")).unwrap();
    let more = [&CONTEXT[..], &["--json"]].concat();
    for (from_end, rule) in [
        (10, "footer.signature"),
        (120, "frame.tag"),
        (2500, "frame.tag"),
    ] {
        let mut changed = good.clone();
        let at = changed.len() - from_end;
        changed[at] ^= 1;
        std::fs::write(files.at("sealed"), &changed).unwrap();
        assert_eq!(files.refused(&files.open(&more)), refused(rule, 1));
        let output = files.run("open", owner(), &CONTEXT, ["sealed", "-"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            output.stdout.is_empty(),
            "plaintext before the end was verified"
        );
    }
    for length in [0, 10, good.len() / 2, good.len() - 1] {
        std::fs::write(files.at("sealed"), &good[..length]).unwrap();
        assert_eq!(
            files.refused(&files.open(&more)),
            refused("message.truncated", 1)
        );
    }
    std::fs::write(files.at("sealed"), [&good[..], b"x"].concat()).unwrap();
    assert_eq!(
        files.refused(&files.open(&more)),
        refused("message.trailing", 1)
    );
    std::fs::write(files.at("sealed"), &good).unwrap();
    json(&files.open(&more));
}

#[test]
fn claims_reach_no_terminal_as_control_characters() {
    use anchorhold_envelope::{DataKey, EncryptionContext, SealPlan, Suite};
    let files = Files::new(b"");
    let context = EncryptionContext::from_pairs([("a\u{1b}[2J", "b\u{7}\nfake = line")]).unwrap();
    let plan = SealPlan::new(Suite::Committed, context).unwrap();
    let key = EncryptedDataKey::new("p\u{1b}", *b"i\x1b\xff", *b"w").unwrap();
    let data_key = DataKey::generate().unwrap();
    let sealer = plan.seal_to(Vec::new(), &data_key, vec![key]).unwrap();
    std::fs::write(files.at("sealed"), sealer.finish().unwrap().0).unwrap();
    let output = program()
        .arg("inspect")
        .arg(files.at("sealed"))
        .output()
        .unwrap();
    assert!(
        !output
            .stdout
            .iter()
            .any(|byte| *byte < 0x20 && *byte != b'\n')
    );
    assert!(!String::from_utf8(output.stdout).unwrap().contains("\nfake"));
    // Nor in the words of a refusal, which name the pair.
    let refusal = files.open(&CONTEXT[..2]);
    assert_eq!(refusal.status.code(), Some(1));
    let refusal = files.open(&[]);
    let said = String::from_utf8(refusal.stderr).unwrap();
    assert!(said.contains("(context.unexpected)"), "{said}");
    assert!(said.trim_end().chars().all(|c| !c.is_control()), "{said:?}");
}

#[test]
fn bad_command_lines_and_files_are_refused() {
    let files = Files::new(b"text");
    for arguments in [
        &["seal", "--json", "in", "out"][..],
        &["seal", "--json", "--key", "arn", "in", "out"],
        &["open", "--json", "--suite", "0x0578"],
        &[
            "seal", "--json", "--suite", "0x0178", "--owner", "x", "in", "out",
        ],
        &[
            "seal",
            "--json",
            "--frame-length",
            "0",
            "--owner",
            "x",
            "in",
            "out",
        ],
        &[
            "seal",
            "--json",
            "--context",
            "novalue",
            "--owner",
            "x",
            "in",
            "out",
        ],
    ] {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(files.refused(&output), refused("usage", 2), "{arguments:?}");
    }
    // Whoever pipes messages on gets no JSON among them.
    let piped = program()
        .args(["seal", "--json", "in", "-"])
        .output()
        .unwrap();
    assert!(piped.stdout.is_empty() && piped.status.code() == Some(2));
    let said: serde_json::Value = serde_json::from_slice(&piped.stderr).unwrap();
    assert_eq!(said["error"]["rule"], "usage");
    let text = program().args(["seal", "in", "out"]).output().unwrap();
    assert_eq!(text.status.code(), Some(2));
    assert!(text.stdout.is_empty());

    let run = |more: &[&str], paths| {
        let more = [more, &["--json"]].concat();
        files.refused(&files.run("seal", owner(), &more, paths))
    };
    assert_eq!(run(&[], ["absent", "opened"]), refused("file.io", 2));
    assert_eq!(run(&[], [".", "opened"]), refused("file.io", 2));
    assert_eq!(run(&[], ["plain", "absent/opened"]), refused("file.io", 2));
    let reserved = ["--context", "aws-crypto-x=1"];
    assert_eq!(
        run(&reserved, ["plain", "opened"]),
        refused("context.reserved", 1)
    );
    let absent = ["--required-context", "absent"];
    assert_eq!(
        run(&absent, ["plain", "opened"]),
        refused("context.missing", 1)
    );
    let limit = ["--plaintext-limit", "3"];
    assert_eq!(
        run(&limit, ["plain", "opened"]),
        refused("message.length", 1)
    );
    let owner_file = ["--owner", "plain"];
    assert_eq!(
        run(&owner_file, ["plain", "opened"]),
        refused("file.form", 2)
    );
}

#[test]
fn refusals_of_the_kms_are_named() {
    let files = Files::new(b"text");
    // A key of the same form that is nobody's.
    let arn = &owner().key_arn;
    let last = if arn.ends_with('0') { "1" } else { "0" };
    let other = format!("{}{last}", &arn[..arn.len() - 1]);
    let client = owner().client();
    let keyring = KmsKeyring::new(client, other.clone());
    let keyrings = anchorhold_envelope::keyring::Keyrings::of(keyring);
    let context = anchorhold_envelope::EncryptionContext::empty();
    let refusal = keyrings
        .generate(&context, std::time::Instant::now())
        .err()
        .unwrap();
    assert_eq!(refusal.rule(), "kms.refused");
    let output = files.run(
        "seal",
        owner(),
        &["--key", &other, "--json"],
        ["plain", "opened"],
    );
    assert_eq!(files.refused(&output), refused("kms.NotFoundException", 1));
    let wrong_name = ["--kms-host", "other.example", "--json"];
    let output = files.run("seal", owner(), &wrong_name, ["plain", "opened"]);
    assert_eq!(files.refused(&output), refused("kms.tls", 1));
}
