//! Answers as a party gets them from a hostile host: each believed only as the contract's image
//! stated it, to this party, for its challenge.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::desk::{CHALLENGES, Desk, NAMES, Said};
use anchorhold_joint::contract::ContractHash;
use anchorhold_joint_enclave::answer::seal;
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
