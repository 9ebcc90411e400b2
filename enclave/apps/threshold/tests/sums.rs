//! Sums over values that no enclave sees: what is refused first, then the sum.

mod common;

use anchorhold_document::{AttestationDocument, SignedDocument};
use anchorhold_threshold::{Group, sum};
use anchorhold_threshold_app::agreement::Agreement;
use anchorhold_threshold_app::intake::{self, Slot};
use anchorhold_threshold_app::server::Enclave;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{AMPLE, Owners, all_do, random, rule, run, together, who};
use serde_json::{Value, json};

const VALUES: [[u128; 2]; 3] = [[1200, 7], [3400, 11], [560, u128::MAX]];

fn group(owners: &Owners) -> Group {
    let agreement = Agreement::parse(owners.agreement().as_bytes());
    agreement.unwrap().group()
}

/// Has each enclave make a key for pieces: each public key, from its document.
fn intakes(owners: &Owners, enclaves: &mut [Enclave]) -> Vec<Vec<u8>> {
    let command = json!({ "op": "intake", "challenge": "ab".repeat(32) });
    let documents = all_do(enclaves, &[command]);
    let read = (1..).zip(documents).map(|(number, told)| {
        let document = STANDARD.decode(told["document"].as_str().unwrap()).unwrap();
        let signed = SignedDocument::from_bytes(&document).unwrap();
        let document = AttestationDocument::from_payload(signed.payload()).unwrap();
        let expected = intake::user_data(&group(owners), who(number));
        assert_eq!(
            document.user_data.unwrap(),
            expected,
            "it says whose key it is"
        );
        document.public_key.unwrap()
    });
    read.collect()
}

/// An owner's pieces for enclaves 1, 2 and 3.
fn split(owners: &Owners, owner: u16, label: &str, keys: &[Vec<u8>]) -> Vec<Value> {
    let group = group(owners);
    let values = &VALUES[usize::from(owner) - 1];
    let pieces = sum::split(&group, values, &mut random()).unwrap();
    let mut of_all = [0; 32];
    getrandom::fill(&mut of_all).unwrap();
    let sealed = pieces.iter().zip(keys).map(|((enclave, piece), key)| {
        let slot = Slot {
            group: &group,
            label,
            split: &of_all,
            owner: who(owner),
            enclave: *enclave,
        };
        let message = intake::seal(slot, piece, key).unwrap();
        let signature = owners.owner(owner).approval.sign(&message);
        json!({
            "split": hex::encode(of_all), "message": STANDARD.encode(&message),
            "signature": hex::encode(signature),
        })
    });
    sealed.collect()
}

/// The commands of a sum, by enclave, out of the owners' pieces.
fn commands(label: &str, pieces: &[Vec<Value>]) -> Vec<Value> {
    let command = |at: usize| {
        let owners = (1..).zip(pieces);
        let given: serde_json::Map<_, _> = owners
            .map(|(owner, pieces): (u16, _)| (owner.to_string(), pieces[at].clone()))
            .collect();
        json!({ "op": "sum", "label": label, "values": 2, "pieces": given, "patience": AMPLE })
    };
    (0..3).map(command).collect()
}

fn all_split(owners: &Owners, label: &str, keys: &[Vec<u8>]) -> Vec<Vec<Value>> {
    let each = (1..=3).map(|owner| split(owners, owner, label, keys));
    each.collect()
}

#[test]
fn pieces_that_do_not_belong_together_are_not_added() {
    let owners = Owners::new();
    let mut enclaves = owners.all();
    let keys = intakes(&owners, &mut enclaves);
    let mut pieces = all_split(&owners, "exposure", &keys);
    // A host mixes two splittings of one owner's values: 1 gets one's piece, 2 and 3 the other's.
    let again = split(&owners, 1, "exposure", &keys);
    pieces[0][0] = again[0].clone();
    let answers = together(&mut enclaves, &commands("exposure", &pieces));
    assert!(answers[0].is_err());
    assert_eq!(rule(&answers[1]), "session.opening");
    assert_eq!(rule(&answers[2]), "session.opening");
}

#[test]
fn a_piece_of_another_sum_owner_or_enclave_is_refused_by_its_context() {
    let owners = Owners::new();
    let mut enclaves = owners.all();
    let keys = intakes(&owners, &mut enclaves);
    let pieces = all_split(&owners, "exposure", &keys);
    let good = commands("exposure", &pieces);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut command = good[0].clone();
        change(&mut command);
        command
    };
    let elsewhere = pieces[0][1].clone();
    let of_another = pieces[1][0].clone();
    let refused: [(Value, &str); 7] = [
        (with(&|c| c["label"] = json!("others")), "context.mismatch"),
        (
            with(&|c| c["pieces"]["1"]["split"] = json!("00".repeat(32))),
            "context.mismatch",
        ),
        (
            with(&|c| c["pieces"]["1"]["split"] = json!("00")),
            "command.split",
        ),
        (
            with(&|c| c["pieces"]["1"] = elsewhere.clone()),
            "context.mismatch",
        ),
        (
            with(&|c| c["pieces"]["1"] = of_another.clone()),
            "sum.signature",
        ),
        (
            with(&|c| c["pieces"] = json!({ "4": of_another })),
            "participant.member",
        ),
        (
            with(&|c| c["pieces"]["1"]["message"] = json!(STANDARD.encode(vec![0; 70_000]))),
            "sum.length",
        ),
    ];
    for (command, expected) in refused {
        let mut enclave = owners.join(1);
        // Its key is a fresh one: what is looked at before the key is refused all the same.
        intakes(&owners, std::slice::from_mut(&mut enclave));
        assert_eq!(rule(&run(&mut enclave, &command)), expected);
        // And its key is gone with the attempt.
        assert_eq!(rule(&run(&mut enclave, &command)), "sum.intake");
    }
    let mut fresh = owners.join(1);
    intakes(&owners, std::slice::from_mut(&mut fresh));
    assert_eq!(rule(&run(&mut fresh, &good[0])), "sum.key");
}

#[test]
fn a_sum_without_an_owner_or_with_other_counts_is_refused() {
    let owners = Owners::new();
    for change in [
        (|command: &mut Value| drop(command["pieces"].as_object_mut().unwrap().remove("3")))
            as fn(&mut Value),
        |command| command["values"] = json!(3),
        |command| command["values"] = json!(0),
        |command| command["values"] = json!(2000),
    ] {
        let mut enclaves = owners.all();
        let keys = intakes(&owners, &mut enclaves);
        let pieces = all_split(&owners, "exposure", &keys);
        let mut commands = commands("exposure", &pieces);
        commands.iter_mut().for_each(change);
        let answers = together(&mut enclaves, &commands);
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
    }
}

#[test]
fn the_sum_is_the_plain_one_and_is_told_once() {
    let owners = Owners::new();
    let mut enclaves = owners.all();
    let keys = intakes(&owners, &mut enclaves);
    let commands = commands("exposure", &all_split(&owners, "exposure", &keys));
    let done = all_do(&mut enclaves, &commands);
    let plain = (0..2).map(|column| {
        let column = VALUES.iter().map(|row| row[column]);
        column.fold(0_u128, u128::wrapping_add).to_string()
    });
    let plain: Vec<_> = plain.collect();
    for done in &done {
        assert_eq!(done["sums"], json!(plain));
    }
    for answer in together(&mut enclaves, &commands) {
        assert_eq!(rule(&answer), "sum.intake");
    }
}
