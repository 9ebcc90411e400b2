//! Answers as a party gets them from a hostile host: each believed only as the contract's image
//! stated it, to this party, for its challenge.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::desk::{CHALLENGES, Desk, INPUTS, NAMES, Said};
use anchorhold_joint::approval::Approval;
use anchorhold_joint::contract::ContractHash;
use anchorhold_joint_enclave::answer::{seal, statement_from_json, statement_to_json};
use anchorhold_party::answer::{Expected, VerifiedAnswer};
use anchorhold_party::keys::Keys;
use anchorhold_verifier::{AppraisalPolicy, Timestamp, TrustRoots};
use sha2::{Digest, Sha384};

fn open_as(desk: &Desk, place: usize, keys: &str) -> Result<VerifiedAnswer, &'static str> {
    let now = Timestamp::try_from(SystemTime::now()).unwrap();
    let private_key = Keys::at(desk.path(keys)).answer_key().unwrap();
    let expected = Expected {
        contract: &desk.contract,
        party: NAMES[place],
        challenge: &CHALLENGES[place],
        input: &INPUTS[place],
        roots: &desk.roots,
        appraisal: AppraisalPolicy::fresh(now, Duration::from_secs(300)),
        private_key: &private_key,
    };
    expected.open(&desk.path("answers")).map_err(|e| e.rule())
}

fn refused(change: impl FnOnce(&mut Desk, &mut Said)) -> &'static str {
    let mut desk = Desk::new(1);
    let mut said = desk.said();
    change(&mut desk, &mut said);
    desk.lay_out(&said);
    open_as(&desk, 0, "keys-ann").unwrap_err()
}

#[test]
fn what_no_party_believes() {
    assert_eq!(
        refused(|_, s| s.statement.contract = ContractHash([1; 48])),
        "statement.contract"
    );
    assert_eq!(
        refused(|_, s| s.statement.challenge[0] ^= 1),
        "statement.challenge"
    );
    // Another run's: the other party's challenge alone is not enough.
    assert_eq!(
        refused(|_, s| s.statement.challenge.truncate(32)),
        "statement.challenge"
    );
    assert_eq!(
        refused(|_, s| s.statement.challenge.rotate_left(32)),
        "statement.challenge"
    );
    assert_eq!(
        refused(|_, s| s.statement.answers.swap(0, 1)),
        "statement.parties"
    );
    assert_eq!(
        refused(|_, s| s.statement.inputs.swap(0, 1)),
        "statement.parties"
    );
    assert_eq!(
        refused(|_, s| drop(s.statement.inputs.pop())),
        "statement.parties"
    );
    assert_eq!(
        refused(|_, s| s.statement.inputs[0].1[0] ^= 1),
        "statement.input"
    );
    assert_eq!(refused(|_, s| s.answers.swap(0, 1)), "statement.answer");
    assert_eq!(refused(|_, s| s.nonce[0] ^= 1), "nonce.mismatch");
    assert_eq!(
        refused(|desk, _| desk.roots = TrustRoots::aws_nitro_g1()),
        "answer.root"
    );
}

#[test]
fn a_document_of_another_platform() {
    let (mut desk, mut other) = (Desk::new(1), Desk::new(1));
    let said = desk.said();
    desk.lay_out(&said);
    other.lay_out(&said);
    let document = "answers/document.cose";
    fs::copy(other.path(document), desk.path(document)).unwrap();
    assert_eq!(open_as(&desk, 0, "keys-ann").unwrap_err(), "root.untrusted");
}

#[test]
fn a_statement_that_nobody_signed() {
    let mut desk = Desk::new(1);
    let said = desk.said();
    desk.lay_out(&said);
    let path = desk.path("answers/statement.json");
    let text = fs::read_to_string(&path).unwrap();
    // The host's own answer to ann, and a statement that names it.
    let output = desk.output("ann").to_bytes().unwrap();
    let own = seal(&desk.contract, "ann", &output).unwrap();
    let hash = |sealed: &[u8]| hex::encode(Sha384::digest(sealed));
    fs::write(desk.path("answers/ann.esdk"), &own).unwrap();
    let forged = text.replace(&hash(&said.answers[0]), &hash(&own));
    fs::write(&path, forged).unwrap();
    assert_eq!(
        open_as(&desk, 0, "keys-ann").unwrap_err(),
        "user-data.mismatch"
    );
    fs::write(&path, "{}").unwrap();
    assert_eq!(
        open_as(&desk, 0, "keys-ann").unwrap_err(),
        "answer.statement"
    );
}

/// A host that says of the other party's file what the enclave did not say.
#[test]
fn a_header_that_nobody_signed() {
    let mut desk = Desk::new(1);
    let said = desk.said();
    desk.lay_out(&said);
    let path = desk.path("answers/statement.json");
    let text = fs::read_to_string(&path).unwrap();
    let [own, other] = INPUTS.map(hex::encode);
    for (header, rule) in [(own, "statement.input"), (other, "user-data.mismatch")] {
        let forged = text.replace(&header, &"c1".repeat(48));
        assert_ne!(forged, text);
        fs::write(&path, forged).unwrap();
        assert_eq!(open_as(&desk, 0, "keys-ann").unwrap_err(), rule);
    }
}

#[test]
fn a_statement_is_read_as_it_was_written_and_no_other() {
    let desk = Desk::new(1);
    let statement = desk.said().statement;
    let json = String::from_utf8(statement_to_json(&statement).unwrap()).unwrap();
    assert_eq!(statement_from_json(json.as_bytes()).unwrap(), statement);
    let header = hex::encode(INPUTS[0]);
    for changed in [
        json.replace("statement/2", "statement/1"),
        json.replace(&header, &header[2..]),
        json.replace(&header, &"x".repeat(96)),
        json.replace("\"inputs\"", "\"files\""),
        json.replace("\"header_sha384\"", "\"sha384\""),
    ] {
        assert_ne!(changed, json);
        let refused = statement_from_json(changed.as_bytes()).unwrap_err();
        assert_eq!(refused.rule(), "answer.statement");
    }
}

/// A party approved one file, sealed a corrected one under the same contract, and approved that.
/// Both approvals hold; the host hands in the old one, with the challenge of the new submission.
#[test]
fn a_file_that_the_party_corrected() {
    let mut desk = Desk::new(1);
    let key = Keys::at(desk.path("keys-ann")).approval_key().unwrap();
    let corrected = [0xA2; 48];
    for (file, header) in [("old.json", INPUTS[0]), ("new.json", corrected)] {
        let approval = Approval::sign(&desk.contract, "ann", &header, &key).unwrap();
        approval.verify(&desk.contract).unwrap();
        fs::write(desk.path(file), approval.to_bytes().unwrap()).unwrap();
    }
    fs::write(desk.path("challenge"), CHALLENGES[0]).unwrap();
    let open = |desk: &Desk, approval: &str| -> (bool, serde_json::Value) {
        let mut open = Command::new(env!("CARGO_BIN_EXE_anchorhold-party"));
        open.args(["open", "--contract", "contract.json", "--party", "ann"]);
        open.args(["--keys", "keys-ann", "--answers", "answers"]);
        open.args(["--challenge", "challenge", "--root", "root.pem"]);
        open.args(["--approval", approval]);
        let done = open.current_dir(desk.dir.path()).output().unwrap();
        let printed = serde_json::from_slice(&done.stdout).unwrap();
        (done.status.success(), printed)
    };
    let old = desk.said();
    desk.lay_out(&old);
    let (opened, printed) = open(&desk, "new.json");
    let error = &printed["error"];
    assert!(!opened && error["rule"] == "statement.input", "{printed}");
    let message = error["message"].as_str().unwrap();
    for header in [INPUTS[0], corrected] {
        assert!(message.contains(&hex::encode(header)), "{message}");
    }

    let mut new = desk.said();
    new.statement.inputs[0].1 = corrected;
    desk.lay_out(&new);
    let (opened, printed) = open(&desk, "new.json");
    assert!(opened, "{printed}");
    // Which files the others had in it is shown, for a second run to be compared.
    let expected = [("ann", corrected), ("bob", INPUTS[1])];
    let expected = expected.map(|(name, header)| (name.to_owned(), hex::encode(header).into()));
    assert_eq!(
        printed["inputs"].as_object().unwrap().clone(),
        expected.into_iter().collect()
    );
}

#[test]
fn a_document_of_another_image() {
    let mut desk = Desk::new(9);
    let said = desk.said();
    desk.lay_out(&said);
    assert_eq!(open_as(&desk, 0, "keys-ann").unwrap_err(), "pcr.mismatch");
}

#[test]
fn an_answer_is_its_receiver_s() {
    let mut desk = Desk::new(1);
    let said = desk.said();
    desk.lay_out(&said);
    for (place, name) in NAMES.iter().enumerate() {
        let opened = open_as(&desk, place, &format!("keys-{name}")).unwrap();
        assert_eq!(opened.output, desk.output(name));
        assert!(opened.document.verified);
        let hash = hex::encode(Sha384::digest(&said.answers[place]));
        assert_eq!(opened.answer_sha384, hash);
        let inputs = NAMES
            .map(str::to_owned)
            .into_iter()
            .zip(INPUTS.map(hex::encode));
        assert_eq!(opened.inputs, inputs.collect());
    }
    assert_eq!(open_as(&desk, 0, "keys-bob").unwrap_err(), "answer.key");
    // An enclave that told ann what is bob's, or of another contract: the image's own fault.
    for output in [desk.output("bob"), {
        let mut output = desk.output("ann");
        output.contract_sha384 = "00".repeat(48);
        output
    }] {
        let mut wrong = desk.said();
        wrong.answers[0] = seal(&desk.contract, "ann", &output.to_bytes().unwrap()).unwrap();
        wrong.statement.answers[0].1 = Sha384::digest(&wrong.answers[0]).into();
        desk.lay_out(&wrong);
        assert_eq!(open_as(&desk, 0, "keys-ann").unwrap_err(), "answer.output");
    }
}
