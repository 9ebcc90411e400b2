//! Shares at rest: what opens, and for whom.

mod common;

use anchorhold_threshold_app::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::net::Fault;
use common::{AMPLE, Owners, all_do, rule, run, signed, stopped, together};
use serde_json::{Value, json};

/// The command that opens what an enclave gave out.
fn open(sealed: &Value) -> Value {
    json!({
        "op": "open", "sealed": sealed["sealed"], "key": sealed["key"],
        "epoch": sealed["epoch"], "sharing": sealed["sharing"],
    })
}

/// What a fresh enclave of the participant's says to it.
fn opened(owners: &Owners, number: u16, sealed: &Value) -> Result<Value, Refusal> {
    run(&mut owners.join(number), &open(sealed))
}

fn seal() -> Value {
    json!({ "op": "seal" })
}

#[test]
fn a_sealed_share_with_one_bit_changed_or_a_byte_missing_does_not_open() {
    let owners = Owners::new();
    let (mut enclaves, _) = owners.with_key();
    let sealed = run(&mut enclaves[0], &seal()).unwrap();
    let whole = STANDARD.decode(sealed["sealed"].as_str().unwrap()).unwrap();
    let mut fresh = owners.join(1);
    let mut refused = |bytes: &[u8]| {
        let mut changed = sealed.clone();
        changed["sealed"] = json!(STANDARD.encode(bytes));
        assert!(run(&mut fresh, &open(&changed)).is_err());
    };
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        refused(&damaged);
    }
    for length in (0..whole.len()).step_by(7) {
        refused(&whole[..length]);
    }
    refused(&[&whole[..], b"x"].concat());
    run(&mut fresh, &open(&sealed)).expect("the whole one opens");
}

#[test]
fn a_sealed_share_opens_as_what_it_is_only() {
    let owners = Owners::new();
    let (mut enclaves, _) = owners.with_key();
    let sealed = run(&mut enclaves[0], &seal()).unwrap();
    let swapped = |field: &str, value: Value| {
        let mut other = sealed.clone();
        other[field] = value;
        opened(&owners, 1, &other)
    };
    assert_eq!(rule(&swapped("epoch", json!(2))), "context.mismatch");
    assert_eq!(
        rule(&swapped("key", json!("11".repeat(32)))),
        "context.mismatch"
    );
    assert_eq!(
        rule(&swapped("sharing", json!("11".repeat(48)))),
        "context.mismatch"
    );
    assert_eq!(rule(&swapped("sharing", json!("11"))), "command.sharing");
    assert_eq!(rule(&swapped("sealed", json!("!"))), "command.base64");
    assert_eq!(rule(&opened(&owners, 2, &sealed)), "context.mismatch");
    // An enclave that was told another agreement has another group.
    let mut other = owners.document.clone();
    other["purpose"] = json!("another");
    let mut stranger = owners.boot(1, |_| {});
    run(&mut stranger, &owners.configure(1, &other.to_string())).unwrap();
    assert_eq!(
        rule(&run(&mut stranger, &open(&sealed))),
        "context.mismatch"
    );
}

#[test]
fn the_owners_kms_refuses_an_old_epoch_and_another_agreement() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    let old = run(&mut enclaves[1], &seal()).unwrap();
    let new = all_do(&mut enclaves, &[json!({ "op": "refresh" })]);
    owners.set_epoch(2);
    assert_eq!(rule(&opened(&owners, 2, &old)), "kms.AccessDeniedException");
    enclaves[1] = owners.join(2);
    run(&mut enclaves[1], &open(&new[1])).unwrap();
    let commands = [1, 2].map(|n| owners.signing(n, &key, b"m", &[1, 2], 60));
    assert!(signed(&key, b"m", &all_do(&mut enclaves[..2], &commands)));
    // Nor does it seal for an agreement that its policy does not name.
    let mut other = owners.document.clone();
    other["purpose"] = json!("another");
    let mut strangers: Vec<_> = (1..=3)
        .map(|number| {
            let mut enclave = owners.boot(number, |_| {});
            run(&mut enclave, &owners.configure(number, &other.to_string())).unwrap();
            enclave
        })
        .collect();
    for answer in together(&mut strangers, &[json!({ "op": "dkg" })]) {
        assert_eq!(rule(&answer), "kms.AccessDeniedException");
    }
}

#[test]
fn shares_of_two_epochs_do_not_sign_together() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    // A host keeps an enclave of the old epoch running beside the one that refreshed.
    let old = run(&mut enclaves[1], &seal()).unwrap();
    let mut kept = owners.join(2);
    run(&mut kept, &open(&old)).unwrap();
    all_do(&mut enclaves, &[json!({ "op": "refresh" })]);
    let mut pair = vec![enclaves.remove(0), kept];
    let commands = [1, 2].map(|n| owners.signing(n, &key, b"m", &[1, 2], AMPLE));
    let answers = together(&mut pair, &commands);
    assert_eq!(rule(&answers[1]), "session.opening");
    assert!(answers[0].is_err());
}

#[test]
fn a_refresh_that_not_all_finished_leaves_no_second_way_into_its_epoch() {
    let owners = Owners::new();
    let (mut enclaves, key) = owners.with_key();
    let before: Vec<_> = all_do(&mut enclaves, &[seal()]);
    // 3 hears nothing of the last round from 1: it has no new share, 1 and 2 have.
    all_do(&mut enclaves, &[json!({ "op": "refresh" })]);
    let whole = owners.net.sent(1, 3);
    for (number, sealed) in (1..).zip(&before) {
        enclaves[number - 1] = owners.join(u16::try_from(number).unwrap());
        run(&mut enclaves[number - 1], &open(sealed)).unwrap();
    }
    // It waits until 1, which lacks nothing, hangs up.
    owners.net.break_way(1, 3, Fault::Swallow(whole - 250));
    let broken = together(
        &mut enclaves,
        &[json!({ "op": "refresh", "patience": AMPLE })],
    );
    owners.net.mend();
    let kept = broken[0].as_ref().expect("1 has finished").clone();
    assert!(stopped(&broken[2]), "{broken:?}");
    assert_eq!(rule(&run(&mut enclaves[2], &seal())), "share.none");
    // All go back to what they had, which opens still, and refresh again.
    for (number, sealed) in (1..).zip(&before) {
        enclaves[number - 1] = owners.join(u16::try_from(number).unwrap());
        run(&mut enclaves[number - 1], &open(sealed)).unwrap();
    }
    let new = all_do(&mut enclaves, &[json!({ "op": "refresh" })]);
    assert_eq!(
        (&kept["epoch"], &kept["key"]),
        (&new[0]["epoch"], &new[0]["key"])
    );
    assert_ne!(kept["sharing"], new[0]["sharing"]);
    let group = hex::encode(anchorhold_threshold_app::agreement::hash(
        owners.agreement().as_bytes(),
    ));
    let sharing = new[0]["sharing"].as_str();
    for owner in &owners.owners {
        owner.key.set(&group, 2, sharing);
    }
    assert_eq!(
        rule(&opened(&owners, 1, &kept)),
        "kms.AccessDeniedException"
    );
    opened(&owners, 1, &new[0]).expect("the one that all finished opens");
    let commands = [1, 3].map(|n| owners.signing(n, &key, b"m", &[1, 3], 60));
    let mut pair = vec![enclaves.remove(0), enclaves.remove(1)];
    assert!(signed(&key, b"m", &all_do(&mut pair, &commands)));
}

#[test]
fn a_share_that_could_not_be_sealed_is_kept_and_sealed_later() {
    let owners = Owners::new();
    let mut enclaves = owners.all();
    owners.owner(2).key.set("none", 0, None);
    let answers = together(&mut enclaves, &[json!({ "op": "dkg" })]);
    assert_eq!(rule(&answers[1]), "kms.AccessDeniedException");
    owners.set_epoch(0);
    let sealed = run(&mut enclaves[1], &seal()).expect("it has its share still");
    owners.set_epoch(1);
    opened(&owners, 2, &sealed).unwrap();
}
