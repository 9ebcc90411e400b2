//! Ceremonies of three participants in one process: what is refused first, then what is done.

mod common;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::net::Fault;
use common::{AMPLE, Owners, SOON, all_do, bytes, rule, run, signed, stopped, together};
use serde_json::{Value, json};

const MESSAGE: &[u8] = b"pay 5 to cyd";

/// Room above a ceremony's patience, for a machine that is busy.
const SLACK: Duration = Duration::from_secs(20);

fn bounded(run: impl FnOnce()) {
    let start = Instant::now();
    run();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(SOON) + SLACK, "it took {took:?}");
}

#[test]
fn nothing_is_done_before_it_can_be() {
    let owners = Owners::new();
    let mut enclave = owners.boot(1, |_| {});
    let sign = json!({ "op": "sign", "message": "", "signers": [1, 2], "approval": "" });
    let repair = json!({ "op": "repair", "lost": 1, "helpers": [2, 3], "key": "", "epoch": 1 });
    let challenge = "ab".repeat(32);
    for (command, expected) in [
        (json!({ "op": "dkg" }), "configure.first"),
        (
            json!({ "op": "status", "challenge": challenge }),
            "configure.first",
        ),
        (
            json!({ "op": "intake", "challenge": challenge }),
            "configure.first",
        ),
        (sign.clone(), "share.none"),
        (json!({ "op": "refresh" }), "share.none"),
        (json!({ "op": "seal" }), "share.none"),
        (repair, "command.key"),
    ] {
        assert_eq!(rule(&run(&mut enclave, &command)), expected, "{command}");
    }
    run(&mut enclave, &owners.configure(1, &owners.agreement())).unwrap();
    let again = owners.configure(1, &owners.agreement());
    for (command, expected) in [
        (again, "configure.twice"),
        (sign, "share.none"),
        (
            json!({ "op": "status", "challenge": "ab" }),
            "command.challenge",
        ),
        (
            json!({ "op": "status", "challenge": "ab".repeat(65) }),
            "command.challenge",
        ),
        (json!({ "op": "status", "challenge": "x" }), "command.hex"),
        (
            json!({ "op": "sum", "label": "s", "values": 1, "pieces": {} }),
            "sum.intake",
        ),
        (
            json!({ "op": "sum", "label": "s".repeat(257), "values": 1, "pieces": {} }),
            "sum.label",
        ),
    ] {
        assert_eq!(rule(&run(&mut enclave, &command)), expected, "{command}");
    }
}

#[test]
fn a_peer_that_never_comes_ends_key_generation_in_time() {
    let owners = Owners::new();
    let mut enclaves = owners.all();
    bounded(|| {
        let answers = together(
            &mut enclaves[..2],
            &[json!({ "op": "dkg", "patience": SOON })],
        );
        assert!(answers.iter().all(stopped), "{answers:?}");
    });
    // What is left of it, a call that nobody took, does not stand in the way of the next.
    all_do(&mut enclaves, &[json!({ "op": "dkg" })]);
}

#[test]
fn a_peer_that_stops_in_any_round_ends_key_generation_in_time() {
    let owners = Owners::new();
    // Of the 4,000 bytes and more that 1 sends 2, most are evidence; then come the rounds.
    let whole = {
        let mut enclaves = owners.all();
        all_do(&mut enclaves, &[json!({ "op": "dkg" })]);
        owners.net.sent(1, 2)
    };
    for before_the_end in [900, 500, 300, 100] {
        let mut enclaves = owners.all();
        let fault = Fault::Swallow(whole - before_the_end);
        owners.net.break_way(1, 2, fault);
        bounded(|| {
            let answers = together(&mut enclaves, &[json!({ "op": "dkg", "patience": SOON })]);
            assert!(stopped(&answers[1]), "{before_the_end}: {answers:?}");
        });
        owners.net.mend();
    }
}

#[test]
fn a_stream_that_is_cut_ends_a_signature_and_the_next_one_is_made() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    let commands =
        |patience| [1, 2].map(|number| owners.signing(number, &key, MESSAGE, &[1, 2], patience));
    all_do(&mut enclaves[..2], &commands(60));
    let whole = owners.net.sent(1, 2);
    for before_the_end in [700, 400, 100] {
        owners
            .net
            .break_way(1, 2, Fault::Cut(whole - before_the_end));
        bounded(|| {
            let answers = together(&mut enclaves[..2], &commands(SOON));
            assert!(answers.iter().all(Result::is_err), "{answers:?}");
        });
        owners.net.mend();
    }
    let done = all_do(&mut enclaves[..2], &commands(60));
    assert!(signed(&key, MESSAGE, &done));
}

#[test]
fn no_enclave_signs_without_its_own_owners_approval_of_the_very_message() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    let within = |patience, number: u16, message: &[u8]| {
        owners.signing(number, &key, message, &[1, 2], patience)
    };
    let good = |number: u16, message: &[u8]| within(AMPLE, number, message);
    let with = |approval: String| {
        let mut command = good(2, MESSAGE);
        command["approval"] = json!(approval);
        command
    };
    let refused = [
        with(String::new()),
        with("00".repeat(64)),
        with(owners.approve(1, &key, MESSAGE)),
        with(owners.approve(2, &key, b"pay 6 to cyd")),
        with(owners.approve(2, &"11".repeat(32), MESSAGE)),
    ];
    for command in refused {
        let calls = owners.net.calls();
        assert_eq!(rule(&run(&mut enclaves[1], &command)), "sign.approval");
        assert_eq!(
            owners.net.calls(),
            calls,
            "refused before anybody is called"
        );
    }
    // One owner approved one message and the other another: the coordinator's is not signed.
    let answers = together(
        &mut enclaves[..2],
        &[good(1, MESSAGE), good(2, b"pay 6 to cyd")],
    );
    assert_eq!(rule(&answers[1]), "sign.message");
    assert!(answers[0].is_err());
    // Nor is it if one parent only has its owner's approval and starts.
    bounded(|| {
        let answer = run(&mut enclaves[0], &within(SOON, 1, MESSAGE));
        assert!(stopped(&answer), "{answer:?}");
    });
    let done = all_do(&mut enclaves[..2], &[good(1, MESSAGE), good(2, MESSAGE)]);
    assert!(signed(&key, MESSAGE, &done));
}

#[test]
fn signers_must_be_enough_and_agree_on_who_signs() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    let alone = owners.signing(1, &key, MESSAGE, &[1], AMPLE);
    assert_eq!(rule(&run(&mut enclaves[0], &alone)), "sign.signers");
    let strangers = owners.signing(1, &key, MESSAGE, &[1, 4], AMPLE);
    assert_eq!(rule(&run(&mut enclaves[0], &strangers)), "configure.peer");
    let others = owners.signing(1, &key, MESSAGE, &[2, 3], AMPLE);
    assert_eq!(rule(&run(&mut enclaves[0], &others)), "participant.member");
    let differ = [
        owners.signing(1, &key, MESSAGE, &[1, 2], SOON),
        owners.signing(2, &key, MESSAGE, &[1, 2, 3], SOON),
    ];
    let answers = together(&mut enclaves[..2], &differ);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
}

#[test]
fn two_signatures_at_once_come_out_or_are_refused_and_never_mixed() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    let sign = |number, message: &[u8], signers: &[u16], patience| {
        owners.signing(number, &key, message, signers, patience)
    };
    // 1 and 2 were told to begin with different ones.
    let crossed = [sign(1, b"a", &[1, 2], AMPLE), sign(2, b"b", &[1, 2], AMPLE)];
    let answers = together(&mut enclaves[..2], &crossed);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(rule(&answers[1]), "sign.message");
    // 2 and 3 want 1 at the same time: it takes one after the other.
    let (one, others) = enclaves.split_at_mut(1);
    let (two, three) = others.split_at_mut(1);
    let answers = std::thread::scope(|scope| {
        let two = scope.spawn(|| run(&mut two[0], &sign(2, b"a", &[1, 2], 60)));
        let three = scope.spawn(|| run(&mut three[0], &sign(3, b"b", &[1, 3], 60)));
        let first = run(&mut one[0], &sign(1, b"a", &[1, 2], 60)).unwrap();
        let second = run(&mut one[0], &sign(1, b"b", &[1, 3], 60)).unwrap();
        two.join().unwrap().unwrap();
        three.join().unwrap().unwrap();
        [first, second]
    });
    assert!(signed(&key, b"a", &answers[..1]) && signed(&key, b"b", &answers[1..]));
    // The same approval again makes another signature with other nonces.
    let again = || [1, 2].map(|number| sign(number, b"a", &[1, 2], 60));
    let first = all_do(&mut enclaves[..2], &again());
    let second = all_do(&mut enclaves[..2], &again());
    let nonce = |done: &[Value]| done[0]["signature"].as_str().unwrap()[..64].to_owned();
    assert_ne!(nonce(&first), nonce(&second));
}

#[test]
fn a_ceremony_of_another_epoch_is_refused() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    enclaves[1] = owners.join(2);
    let repair = |epoch: u64, key: &str| {
        json!({
            "op": "repair", "lost": 2, "helpers": [1, 3], "key": key, "epoch": epoch,
            "patience": AMPLE,
        })
    };
    // 2's parent says another epoch, or another key, than the helpers'.
    let other = "22".repeat(32);
    for (epoch, named) in [(2, &key), (1, &other)] {
        let commands = [repair(1, &key), repair(epoch, named), repair(1, &key)];
        let answers = together(&mut enclaves, &commands);
        assert_eq!(rule(&answers[1]), "session.opening");
        let refusal = answers[1].as_ref().unwrap_err();
        assert!(refusal.message.contains("expected"), "{}", refusal.message);
    }
    // All parents say an epoch that the helpers' shares are not of.
    let answers = together(&mut enclaves, &[repair(2, &key)]);
    assert_eq!(rule(&answers[0]), "share.epoch");
    assert!(answers[1].is_err());
    assert_eq!(rule(&answers[2]), "share.epoch");
    // Fewer helpers than it takes to sign.
    let mut few = repair(1, &key);
    few["helpers"] = json!([1]);
    let answers = together(&mut enclaves[..2], &[few]);
    assert_eq!(rule(&answers[0]), "repair.helpers");
    assert!(answers[1].is_err());
    // And then it is repaired, and signs.
    all_do(&mut enclaves, &[repair(1, &key)]);
    let commands = [2, 3].map(|n| owners.signing(n, &key, MESSAGE, &[2, 3], 60));
    let done = all_do(&mut enclaves[1..], &commands);
    assert!(signed(&key, MESSAGE, &done));
}

#[test]
fn what_is_done_is_not_done_twice() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    assert_eq!(
        rule(&run(&mut enclaves[0], &json!({ "op": "dkg" }))),
        "dkg.twice"
    );
    let repair = json!({ "op": "repair", "lost": 1, "helpers": [2, 3], "key": key, "epoch": 1 });
    assert_eq!(rule(&run(&mut enclaves[0], &repair)), "repair.twice");
    let open = json!({
        "op": "open", "sealed": STANDARD.encode("none"), "key": key, "epoch": 1,
        "sharing": "00".repeat(48),
    });
    assert_eq!(rule(&run(&mut enclaves[0], &open)), "open.twice");
}

#[test]
fn a_status_says_group_key_and_epoch_under_a_document_over_the_challenge() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    let challenge = "5c".repeat(32);
    let command = json!({ "op": "status", "challenge": challenge });
    let told = run(&mut enclaves[2], &command).unwrap();
    let text = told["status"].as_str().unwrap();
    let status: Value = serde_json::from_str(text).unwrap();
    assert_eq!(status["key"], *key);
    assert_eq!(
        (&status["epoch"], &status["participant"]),
        (&json!(1), &json!(3))
    );
    let document = STANDARD.decode(told["document"].as_str().unwrap()).unwrap();
    let signed = anchorhold_document::SignedDocument::from_bytes(&document).unwrap();
    let payload = anchorhold_document::AttestationDocument::from_payload(signed.payload());
    let payload = payload.unwrap();
    assert_eq!(payload.nonce.unwrap(), bytes(&challenge));
    let expected = anchorhold_threshold_app::server::status_user_data(text);
    assert_eq!(payload.user_data.unwrap(), expected);
}
