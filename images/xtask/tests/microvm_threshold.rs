//! The demo of threshold signing, as its user runs it, and what it prints read as a program would.

use std::process::Command;

use serde_json::Value;

/// Every case of the demo, and the rule by which it must be refused.
const REFUSALS: &[(&str, &str)] = &[
    (
        "a relay flips one bit of the evidence",
        "evidence.authentication",
    ),
    (
        "a relay flips one bit of the last message",
        "record.authentication",
    ),
    ("a relay swallows what follows", "stream.deadline"),
    (
        "a relay sends two messages in each other's place",
        "record.authentication",
    ),
    (
        "a relay replays an earlier session",
        "evidence.authentication",
    ),
    (
        "a parent has a message signed that its owner did not approve",
        "sign.approval",
    ),
    (
        "an enclave of another image is called by a peer",
        "pcr.mismatch",
    ),
    ("an enclave of another image calls a peer", "pcr.mismatch"),
    (
        "an enclave of another image asks for its owner's sealed share",
        "kms.AccessDeniedException",
    ),
    (
        "a parent swaps a platform root in the agreement and asks for repair",
        "handshake.authentication",
    ),
    (
        "the same enclave asks for its owner's sealed share",
        "context.mismatch",
    ),
    (
        "a parent hands its enclave a second agreement",
        "configure.twice",
    ),
    (
        "a sealed share of the old epoch, at the owner's KMS",
        "kms.AccessDeniedException",
    ),
    (
        "a sealed share of the old epoch, said to be of the present one",
        "context.mismatch",
    ),
    ("another owner's sealed share", "context.mismatch"),
];

#[test]
fn microvm_three_owners_sign_lose_one_refresh_and_add_up() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_xtask"));
    demo.args(["demo", "threshold", "--json"]);
    demo.env("ANCHORHOLD_BINS", xtask::stage::bins());
    let done = demo.output().unwrap();
    let stdout = String::from_utf8(done.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{stdout}\n{stderr}");
    assert_eq!(stdout.lines().count(), 1, "one object: {stdout}");
    let shown: Value = serde_json::from_str(&stdout).unwrap();

    let signatures = shown["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 7);
    assert!(signatures.iter().all(|signed| signed["verified"] == true));
    let epochs: Vec<_> = signatures.iter().map(|signed| &signed["epoch"]).collect();
    assert_eq!(epochs, [1, 1, 1, 1, 1, 2, 2]);
    assert_eq!(shown["sums"], shown["plain_sums"]);

    // The search finds what is there, and the key is not.
    let memory = &shown["memory"];
    assert!(memory["own_share"].as_u64().unwrap() > 0, "{memory}");
    assert_eq!(memory["group_key"], 0, "{memory}");
    assert_eq!(memory["other_shares"], 0, "{memory}");
    assert_eq!(memory["bytes"], 256 << 20, "{memory}");

    // The relays search what they carried for what the enclaves told each other.
    assert!(
        shown["relayed_bytes"].as_u64().unwrap() > 100_000,
        "{shown}"
    );
    assert_eq!(shown["relayed_secrets"], serde_json::json!([]));

    let refusals = shown["refusals"].as_array().unwrap();
    let told: Vec<_> = refusals
        .iter()
        .map(|refusal| {
            assert_eq!(refusal["refused"], true, "{refusal}");
            let text = |name: &str| refusal[name].as_str().unwrap();
            (text("case"), text("rule"))
        })
        .collect();
    assert_eq!(told, REFUSALS);
}
