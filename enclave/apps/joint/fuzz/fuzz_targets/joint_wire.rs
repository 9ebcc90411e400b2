//! Reads arbitrary bytes as what a host sends: frames, the parts of a submission, a file in pieces,
//! pages that were asked for.
//!
//! Whatever comes, nothing panics; frames that are read are those that would be written, a payload
//! keeps its bound, and a file is the concatenation of its records.
#![no_main]

use std::io::Read;

use anchorhold_enclave::frame::{self, MAX_PAYLOAD, Pieces};
use anchorhold_joint::pages::{MAX_PAGE, PageStore};
use anchorhold_joint_enclave::pages::{HostPages, Incoming};
use anchorhold_joint_enclave::submission;
use anchorhold_joint_enclave::wire::{RECORD_FRAMES, RECORDS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let records = frames(bytes);
    let _ = submission::contract(&mut &bytes[..]);
    let _ = submission::parts(&mut &bytes[..]);
    file(bytes, &records);
    page(bytes);
});

/// Reads all frames; gives the records up to the first frame that is none.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let (mut from, mut payload) = (bytes, Vec::new());
    let (mut records, mut in_file) = (Vec::new(), true);
    loop {
        let before = from;
        let Ok(frame) = frame::read(&mut from, &mut payload, MAX_PAYLOAD) else {
            return records;
        };
        assert!(payload.len() <= MAX_PAYLOAD, "a payload beyond its bound");
        let mut written = Vec::new();
        frame::write(&mut written, frame, &payload).expect("memory takes all");
        let read = before.len() - from.len();
        assert_eq!(Some(written.as_slice()), before.get(..read), "another spelling");
        in_file = in_file && frame == RECORDS && !payload.is_empty();
        if in_file {
            records.extend_from_slice(&payload);
        }
    }
}

fn file(bytes: &[u8], records: &[u8]) {
    let (mut from, mut got) = (bytes, Vec::new());
    let start = b"start".to_vec();
    let read = Pieces::after(start.clone(), &mut from, RECORD_FRAMES).read_to_end(&mut got);
    let expected = [start.as_slice(), records].concat();
    assert!(expected.starts_with(&got), "bytes that are in no record");
    assert!(read.is_err() || got == expected, "a file without its end");
}

fn page(bytes: &[u8]) {
    let from = Incoming::new(bytes);
    let (mut to, mut page) = (Vec::new(), Vec::new());
    let mut pages = HostPages::new(&from, &mut to);
    while pages.get(7, &mut page).is_ok() {
        assert!(page.len() <= MAX_PAGE, "a page beyond its bound");
    }
}
