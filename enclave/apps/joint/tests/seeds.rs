//! What a host sends, for the fuzz target of the wire to start from: the contract and the approvals
//! that the fuzz targets of those start from, in frames; a file in pieces; pages.

use std::io::Read;
use std::path::{Path, PathBuf};

use anchorhold_enclave::frame::{self, Pieces};
use anchorhold_joint::pages::PageStore;
use anchorhold_joint_enclave::pages::{HostPages, Incoming};
use anchorhold_joint_enclave::submission;
use anchorhold_joint_enclave::wire::{
    APPROVAL, CHALLENGE, CONTRACT, CREDENTIALS, END, PAGE, READY, RECORD_FRAMES, RECORDS, START,
};

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// A seed of the contract's or the approval's target.
fn part(name: &str) -> Vec<u8> {
    std::fs::read(folder("../../joint/fuzz/seeds").join(name)).unwrap()
}

fn framed(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (frame, payload) in frames {
        frame::write(&mut bytes, *frame, payload).unwrap();
    }
    bytes
}

/// Holds a seed against what is made now. One that differs is written anew, and the test fails once.
fn hold(name: &str, made: &[u8]) {
    let seed = folder("fuzz/seeds/joint_wire").join(name);
    if !std::fs::read(&seed).is_ok_and(|seed| seed == made) {
        std::fs::write(&seed, made).unwrap();
        panic!("{} was out of date and is written anew", seed.display());
    }
}

#[test]
fn every_seed_of_a_contract_is_one() {
    for name in ["intersection", "noise"] {
        let made = framed(&[(CONTRACT, &part(&format!("contract/{name}")))]);
        submission::contract(&mut &made[..]).unwrap();
        hold(name, &made);
    }
}

#[test]
fn the_seed_of_the_parts_is_those_of_two_parties() {
    let approvals = ["approval/ann", "approval/bob"].map(part);
    let mut frames: Vec<(u8, &[u8])> = Vec::new();
    for approval in &approvals {
        frames.push((APPROVAL, approval));
        frames.push((CHALLENGE, &[7; 32]));
        frames.push((CREDENTIALS, b"{}"));
        frames.push((START, b"start"));
    }
    frames.push((READY, b""));
    let made = framed(&frames);
    let parts = submission::parts(&mut &made[..]).unwrap();
    let parties: Vec<_> = parts.iter().map(|part| part.party.as_str()).collect();
    assert_eq!(parties, ["ann", "bob"]);
    hold("parts", &made);
}

#[test]
fn the_seed_of_a_file_is_read_to_its_end() {
    let made = framed(&[(RECORDS, b"two "), (RECORDS, b"pieces"), (END, b"")]);
    let (mut from, mut got) = (&made[..], Vec::new());
    let mut pieces = Pieces::after(b"start of ".to_vec(), &mut from, RECORD_FRAMES);
    pieces.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"start of two pieces");
    hold("file", &made);
}

#[test]
fn the_seed_of_pages_is_two() {
    let made = framed(&[(PAGE, &[1; 16]), (PAGE, b"")]);
    let from = Incoming::new(&made[..]);
    let (mut to, mut page) = (Vec::new(), Vec::new());
    let mut pages = HostPages::new(&from, &mut to);
    for length in [16, 0] {
        pages.get(7, &mut page).unwrap();
        assert_eq!(page.len(), length);
    }
    hold("pages", &made);
}
