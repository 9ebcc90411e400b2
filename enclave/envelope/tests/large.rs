//! 100 MB as a stream, both ways with the Python SDK, in memory that does not grow with it.

mod common;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use anchorhold_envelope::keyring::Keyrings;
use anchorhold_envelope::materials::EncryptionMaterials;
use anchorhold_envelope::{ContextRule, Suite, UnreleasedSink, UnverifiedMessage};
use common::owners::{all, keyrings, owners, text};
use common::python::Python;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Bytes of the plaintext.
const LARGE: u64 = 100_000_000;

/// The SDKs' default frame, and a long one.
const FRAMES: [u32; 2] = [4096, 65_536];

/// Most memory that this process may ever have had, in bytes: a third of the plaintext.
const MEMORY: u64 = 32 << 20;

/// Writes the plaintext piece by piece and gives its hash. No two of its frames are alike.
fn write_plaintext(path: &Path) -> String {
    let mut output = BufWriter::new(File::create(path).unwrap());
    let mut hash = Sha256::new();
    let mut piece = [0; 1000];
    for number in 0..LARGE / 1000 {
        for (at, byte) in piece.iter_mut().enumerate() {
            *byte = (at ^ (at >> 7)) as u8;
        }
        piece[..8].copy_from_slice(&number.to_be_bytes());
        hash.update(piece);
        output.write_all(&piece).unwrap();
    }
    output.into_inner().unwrap();
    hex::encode(hash.finalize())
}

/// Hashes what it takes, which is never more than a frame.
struct Hashing {
    hash: Sha256,
    frame: u32,
}

impl UnreleasedSink for Hashing {
    fn write_unreleased(&mut self, plaintext: &[u8]) -> io::Result<()> {
        assert!(plaintext.len() <= self.frame as usize);
        self.hash.update(plaintext);
        Ok(())
    }
}

fn seal(keyrings: &Keyrings, suite: Suite, frame: u32, from: &Path, to: &Path) {
    let now = Instant::now();
    let made = EncryptionMaterials::generate(keyrings, suite, all(), now).unwrap();
    let plan = made.plan().unwrap().with_frame_length(frame).unwrap();
    let keys = made.encrypted_data_keys().to_vec();
    let output = BufWriter::with_capacity(1 << 17, File::create(to).unwrap());
    let mut sealer = plan.seal_to(output, made.data_key(), keys).unwrap();
    let mut input = BufReader::with_capacity(1 << 17, File::open(from).unwrap());
    assert_eq!(io::copy(&mut input, &mut sealer).unwrap(), LARGE);
    let (output, sealed) = sealer.finish().unwrap();
    output.into_inner().unwrap();
    assert_eq!(sealed.plaintext_length(), LARGE);
}

fn open(keyrings: &Keyrings, suite: Suite, frame: u32, path: &Path) -> String {
    let input = BufReader::with_capacity(1 << 17, File::open(path).unwrap());
    let begun = UnverifiedMessage::begin(input).unwrap();
    assert_eq!(begun.suite(), suite);
    let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
    let key = keyrings.release(keys, context, Instant::now()).unwrap();
    let opener = begun
        .authenticate(&key, &ContextRule::Exactly(all()))
        .unwrap();
    let hash = Sha256::new();
    let mut out = Hashing { hash, frame };
    let verified = opener.open_into(&mut out).unwrap();
    assert_eq!(verified.plaintext_length(), LARGE);
    hex::encode(out.hash.finalize())
}

/// The most memory that this process ever had, in bytes (`VmHWM`, proc_pid_status(5)).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

fn both_ways(suite: Suite) {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let [one, two] = owners.each_ref();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let expected = write_plaintext(&at("plain"));
    for frame in FRAMES {
        // Only public halves are needed to seal.
        let to_both = keyrings(&[one, two], false);
        seal(&to_both, suite, frame, &at("plain"), &at("message"));
        let answer = python.ask(&json!({
            "op": "decrypt_file",
            "keys": [two.for_python("both")],
            "from": at("message"),
            "to": "/dev/null",
        }));
        assert_eq!(text(&answer, "sha256"), expected, "frames of {frame}");
        let answer = python.ask(&json!({
            "op": "encrypt_file",
            "keys": [one.for_python("both"), two.for_python("public")],
            "suite": suite.id(),
            "context": all().as_map(),
            "frame_length": frame,
            "from": at("plain"),
            "to": at("message"),
        }));
        text(&answer, "sha256");
        let opened = open(&keyrings(&[two], true), suite, frame, &at("message"));
        assert_eq!(opened, expected, "frames of {frame}");
    }
    let peak = peak_memory();
    assert!(peak <= MEMORY, "{peak} bytes of memory");
}

#[test]
fn a_hundred_megabytes_stream_both_ways_with_a_signature() {
    both_ways(Suite::CommittedSigned);
}

#[test]
fn a_hundred_megabytes_stream_both_ways_without_a_signature() {
    both_ways(Suite::Committed);
}
