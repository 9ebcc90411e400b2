//! Submissions as honest and as hostile hosts make them, with KMSs that keep to contexts.

mod common;

use anchorhold_enclave::frame;
use anchorhold_envelope::UnverifiedMessage;
use anchorhold_joint::contract::{Column, Computation, Contract, Histogram, Output, Role, Terms};
use anchorhold_joint::outputs::{PartyOutput, longest};
use anchorhold_joint_enclave::answer::{PADDED_TO, open, seal, statement_from_json};
use anchorhold_joint_enclave::wire;
use common::{Case, FILES, Frame, NAMES, contract, keys};
use serde_json::json;
use sha2::{Digest, Sha384};
use time::OffsetDateTime;

/// Refused, and no KMS was asked.
fn unasked(rule: &str, change: impl FnOnce(&mut Case)) {
    let mut case = Case::new();
    change(&mut case);
    let (got, world) = case.refused();
    assert_eq!(got, rule);
    assert!(world.asked.is_empty(), "{rule}: a KMS was asked in vain");
    assert!(world.attested.is_empty(), "{rule}");
}

#[test]
fn refused_before_the_contract_is_believed() {
    unasked("contract.json", |c| c.contract = b"{}".to_vec());
    unasked("contract.canonical", |c| c.contract.push(b' '));
    unasked("wire.size", |c| {
        c.contract = vec![b' '; frame::MAX_PAYLOAD + 1]
    });
    unasked("contract.expired", |c| {
        c.world.now = OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
    });
    for place in 0..3 {
        unasked(&format!("image.pcr{place}"), |c| {
            c.world.measured.pcrs[place].0[0] ^= 1;
        });
    }
    // An enclave in debug mode measures as zero.
    unasked("image.pcr0", |c| c.world.measured.pcrs[0].0 = [0; 48]);
    unasked("image.pcr8", |c| {
        *c = Case::of(contract(|terms| terms.image.pcr8 = Some("08".repeat(48))));
    });
}

#[test]
fn refused_because_not_all_approve_just_this() {
    unasked("approval.missing", |c| {
        c.parts.pop();
    });
    unasked("approval.missing", |c| c.parts.clear());
    unasked("approval.duplicate", |c| {
        let again = c.parts[0].clone();
        c.parts.push(again);
    });
    unasked("approval.other-contract", |c| {
        let changed = contract(|terms| terms.cohorts.minimum = 3);
        c.contract = changed.canonical().to_vec();
    });
    unasked("approval.signature", |c| {
        let text = String::from_utf8(c.parts[0].approval.clone()).unwrap();
        c.parts[0].approval = text.replace("\"ann\"", "\"bob\"").into_bytes();
    });
    unasked("approval.json", |c| c.parts[1].approval = b"{}".to_vec());
    unasked("challenge.length", |c| {
        c.parts[1].challenge.pop();
    });
    unasked("submission.parties", |c| {
        while c.parts.len() < 17 {
            let again = c.parts[0].clone();
            c.parts.push(again);
        }
    });
}

#[test]
fn refused_because_a_file_is_another() {
    unasked("approval.other-message", |c| {
        let (one, other) = c.parts.split_at_mut(1);
        std::mem::swap(&mut one[0].message, &mut other[0].message);
    });
    unasked("approval.no-message", |c| c.parts[2].message.clear());
    unasked("records.message.truncated", |c| {
        c.parts[2].message.truncate(100)
    });
    // An older file of the same party, sealed under another contract, with its approval.
    unasked("approval.other-contract", |c| {
        let mut other = Case::of(contract(|terms| terms.nonce = "0e".repeat(32)));
        c.parts[0] = other.parts.swap_remove(0);
    });
    // The same file, signed for this contract by somebody who has the approval key.
    unasked("records.context.mismatch", |c| {
        let other = Case::of(contract(|terms| terms.nonce = "0e".repeat(32)));
        c.parts[0].message = other.parts[0].message.clone();
        c.sign(0);
    });
    // A file of the right context under a key of the host's own.
    unasked("records.key-arn", |c| {
        let own = "arn:aws:kms:eu-central-1:999999999999:key/9";
        c.parts[0].message = c.seal(0, own, FILES[0]);
        c.sign(0);
    });
}

#[test]
fn refused_by_a_kms_or_in_the_file_itself() {
    let late = |rule: &str, change: &dyn Fn(&mut Case)| {
        let mut case = Case::new();
        change(&mut case);
        let (got, world) = case.refused();
        assert_eq!(got, rule);
        assert!(world.attested.is_empty(), "{rule}");
    };
    late("kms.DisabledException", &|c| c.world.disabled = Some("bob"));
    // The header is approved, and behind it something was changed, cut or added.
    late("records.frame.tag", &|c| {
        let end = c.parts[1].message.len() - 170;
        c.parts[1].message[end] ^= 1;
    });
    late("records.message.truncated", &|c| {
        let half = c.parts[2].message.len() - 1;
        c.parts[2].message.truncate(half);
    });
    late("records.message.trailing", &|c| c.parts[0].message.push(0));
    late("csv.header", &|c| c.replace(0, "mail,amount\na@x,1\n"));
    late("csv.text-after-quote", &|c| {
        c.replace(2, "email,amount\n\"a\"x,1\n")
    });
    late("memory.rows", &|c| c.world.memory = 100);
}

#[test]
fn a_connection_that_breaks_off_gives_no_answer() {
    let count = Case::new().frames().len();
    for keep in 0..count {
        let mut case = Case::new();
        case.keep = keep;
        let (rule, world) = case.refused();
        assert!(!rule.is_empty() && world.attested.is_empty());
    }
}

/// The payloads of the frames of a kind, and the answers by party.
fn answers(got: &[Frame]) -> Vec<(String, Vec<u8>)> {
    let mut answers: Vec<(String, Vec<u8>)> = Vec::new();
    for (frame, payload) in got {
        match *frame {
            wire::ANSWER_TO => {
                answers.push((String::from_utf8(payload.clone()).unwrap(), Vec::new()))
            }
            wire::ANSWER => answers.last_mut().unwrap().1.extend_from_slice(payload),
            _ => {}
        }
    }
    answers
}

#[test]
fn each_party_opens_its_own_answer_and_no_other() {
    let mut case = Case::new();
    // The host may give the parties in any order.
    case.parts.reverse();
    let (result, got) = case.run();
    assert_eq!(result.unwrap().parties, 3);
    assert_eq!(case.world.asked, ["cyd", "bob", "ann"]);
    let contract = Contract::parse(&case.contract).unwrap();
    let answers = answers(&got);
    assert_eq!(answers.len(), 3);
    for (place, (party, sealed)) in answers.iter().enumerate() {
        assert_eq!(party, NAMES[place]);
        let opened = open(&contract, party, sealed, &keys()[place].answer_private).unwrap();
        let output = PartyOutput::parse(&opened).unwrap();
        assert_eq!(output.party, *party);
        assert_eq!(output.intersection_size.unwrap().shown(), Some(&2));
        let sums = output.sums.unwrap();
        let sum = sums["ann"]["amount"].shown().unwrap();
        assert_eq!(sum, "30.5");
        assert_eq!(output.rows.counts.without_key, u64::from(place == 0));
        for (other, key) in keys().iter().enumerate().filter(|(i, _)| *i != place) {
            let refused = open(&contract, party, sealed, &key.answer_private).unwrap_err();
            assert_eq!(refused.rule(), "answer.key", "{other}");
            let as_own = open(&contract, NAMES[other], sealed, &key.answer_private);
            assert_eq!(as_own.unwrap_err().rule(), "answer.open");
        }
    }
}

#[test]
fn the_length_of_an_answer_tells_nothing_of_it() {
    for contract in [Case::new().agreed().clone(), contract(noisy)] {
        let longest = longest(&contract, "ann").unwrap();
        let sealed = |plaintext: &[u8]| seal(&contract, "ann", plaintext);
        let short = sealed(br#"{"size":{"suppressed":true}}"#).unwrap();
        let long = sealed(&vec![b'1'; longest]).unwrap();
        assert_eq!(short.len(), long.len());
        assert!(short.len() > longest.next_multiple_of(PADDED_TO));
        let too_long = sealed(&vec![b'1'; longest + 1]).unwrap_err();
        assert_eq!(too_long.rule(), "answer.length");
        let opened = open(&contract, "ann", &short, &keys()[0].answer_private).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&opened).unwrap();
        assert_eq!(json["size"]["suppressed"], true);
    }
    // Rounding up alone would not do.
    assert!(longest(&contract(noisy), "ann").unwrap() > PADDED_TO);
}

/// The most figures that a contract may have, all with noise.
fn noisy(terms: &mut Terms) {
    crowded(terms, 8, &NAMES[..2]);
    let columns = terms.parties.iter().flat_map(|party| {
        let values = party.columns.iter().filter(|c| c.role == Role::Value);
        values.map(|c| json!({"column": c.name, "lower": "0", "party": party.name, "upper": "9"}))
    });
    let bounds: Vec<_> = columns.collect();
    let privacy = json!({"bounds": bounds, "delta": "0", "epsilon": "1", "mechanism": "laplace"});
    terms.privacy = serde_json::from_value(privacy).unwrap();
}

/// The most bins that a contract without noise may have of each party.
fn binned_terms(terms: &mut Terms) {
    crowded(terms, 1, &NAMES);
}

/// As many histograms of the largest size of each party.
fn crowded(terms: &mut Terms, histograms: usize, of: &[&str]) {
    let columns: Vec<_> = (0..8).map(|i| format!("v{i}")).collect();
    for party in &mut terms.parties {
        let values = columns.iter().map(|name| Column {
            name: name.clone(),
            role: Role::Value,
        });
        party.columns.truncate(1);
        party.columns.extend(values);
        party.outputs = vec![Output::Count, Output::Histograms];
    }
    let edges: Vec<_> = (1..=64).map(|edge: u32| edge.to_string()).collect();
    let histogram = |party: &str, column: &String| -> Histogram {
        serde_json::from_value(json!({"column": column, "edges": edges, "party": party})).unwrap()
    };
    let all = of.iter().flat_map(|party| {
        let columns = columns.iter().take(histograms);
        columns.map(|column| histogram(party, column))
    });
    terms.computation = Computation::Statistics {
        histograms: all.collect(),
        regression: None,
    };
}

/// A file of so many keys, each two in a bin of their own.
fn binned(keys: u32) -> String {
    let mut file = String::from("email,v0,v1,v2,v3,v4,v5,v6,v7\n");
    for key in 0..keys {
        file.push_str(&format!("k{key}"));
        file.push_str(&format!(",{}", key / 2).repeat(8));
        file.push('\n');
    }
    file
}

#[test]
fn an_answer_with_every_bin_withheld_is_as_long_as_one_with_every_bin_shown() {
    let mut lengths = Vec::new();
    for (last, withheld) in [(130, false), (1, true)] {
        let mut case = Case::of(contract(binned_terms));
        for (place, keys) in [130, 130, last].into_iter().enumerate() {
            case.replace(place, &binned(keys));
        }
        let (result, got) = case.run();
        result.unwrap();
        let answers = answers(&got);
        for ((name, sealed), keys) in answers.iter().zip(keys()) {
            let opened = open(case.agreed(), name, sealed, &keys.answer_private).unwrap();
            let output = PartyOutput::parse(&opened).unwrap();
            let histograms = output.histograms.unwrap();
            let counts: Vec<_> = histograms.iter().flat_map(|h| &h.counts).collect();
            assert_eq!(counts.len(), 3 * 65);
            assert!(
                counts
                    .iter()
                    .all(|count| count.shown().is_none() == withheld)
            );
        }
        let all = answers.iter().map(|(_, sealed)| sealed.len());
        lengths.push(all.collect::<Vec<_>>());
    }
    assert_eq!(lengths[0], lengths[1]);
}

/// SHA-384 of a message's header, as an approval names it.
fn header(message: &[u8]) -> [u8; 48] {
    let message = UnverifiedMessage::begin(message).unwrap();
    message.header_sha384()
}

/// A party corrected its file and approved it again under the same contract: the enclave cannot
/// know which of both it stands by, and says which one it took.
#[test]
fn of_two_approved_files_the_statement_names_the_one_that_was_used() {
    let mut case = Case::new();
    let old = case.parts[0].clone();
    case.replace(0, "email,amount\na@x,11\nb@x,0\n");
    let new = case.parts[0].clone();
    let mut stated = Vec::new();
    for part in [old, new] {
        let expected = header(&part.message);
        case.parts[0] = part;
        let (result, got) = case.run();
        result.unwrap();
        let statement = got.iter().find(|(frame, _)| *frame == wire::STATEMENT);
        let statement = statement_from_json(&statement.unwrap().1).unwrap();
        assert_eq!(statement.input_of("ann"), Some(&expected));
        stated.push(statement);
    }
    assert_ne!(stated[0].inputs[0], stated[1].inputs[0]);
    assert_eq!(stated[0].inputs[1..], stated[1].inputs[1..]);
    let (user_data, _) = &case.world.attested[0];
    assert_ne!(*user_data, stated[1].user_data());
}

#[test]
fn the_document_binds_contract_challenges_files_and_answers() {
    let mut case = Case::new();
    let (result, got) = case.run();
    result.unwrap();
    let part = |kind: u8| got.iter().find(|(frame, _)| *frame == kind).unwrap();
    assert_eq!(got.last().unwrap().0, wire::DONE);
    assert_eq!(part(wire::DOCUMENT).1, b"document");
    let statement = statement_from_json(&part(wire::STATEMENT).1).unwrap();
    let contract = Contract::parse(&case.contract).unwrap();
    assert_eq!(statement.contract, contract.hash());
    let challenges: Vec<_> = case
        .parts
        .iter()
        .flat_map(|p| p.challenge.clone())
        .collect();
    assert_eq!(statement.challenge, challenges);
    for (party, sealed) in answers(&got) {
        let hash: [u8; 48] = Sha384::digest(&sealed).into();
        assert_eq!(statement.answer_of(&party), Some(&hash));
    }
    let names = |hashes: &[(String, [u8; 48])]| -> Vec<String> {
        hashes.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&statement.inputs), NAMES);
    assert_eq!(names(&statement.answers), NAMES);
    for (name, part) in NAMES.iter().zip(&case.parts) {
        assert_eq!(statement.input_of(name), Some(&header(&part.message)));
    }
    let (user_data, nonce) = case.world.attested.first().unwrap();
    assert_eq!(user_data, &statement.user_data());
    assert_eq!(hex::encode(nonce), contract.terms().nonce);
}
