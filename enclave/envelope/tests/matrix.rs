//! The Python SDK with the Material Providers Library, both ways: several keyrings, required
//! context, all lengths around a frame, and 100 MB as a stream.

mod common;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anchorhold_envelope::keyring::{Keyrings, SharedKeyring};
use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::materials::EncryptionMaterials;
use anchorhold_envelope::raw_rsa::{KeyName, RsaKeyring, UnwrappingKey, WrappingKey};
use anchorhold_envelope::{
    ContextRule, EncryptionContext, Outline, Suite, UnreleasedSink, UnverifiedMessage,
};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::SUITES;
use common::python::Python;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bytes of the streamed message.
const LARGE: u64 = 100_000_000;

/// One owner's raw key.
struct Owner {
    name: &'static str,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl Owner {
    fn new(name: &'static str) -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        Self {
            name,
            pkcs8: pkcs8.as_ref().to_vec(),
            public: public.as_ref().to_vec(),
        }
    }

    /// The keyring here, with both halves or the public one.
    fn keyring(&self, both: bool) -> RsaKeyring {
        let name = KeyName::new("owners", self.name).unwrap();
        let wrapping = WrappingKey::from_public_key_der(name.clone(), &self.public).unwrap();
        let unwrapping = UnwrappingKey::from_pkcs8_der(name.clone(), &self.pkcs8).unwrap();
        let both = both.then_some(unwrapping);
        RsaKeyring::new(name, Some(wrapping), both)
    }

    fn for_python(&self, half: &str) -> Value {
        let pem = |label: &str, der: &[u8]| {
            let body = STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        json!({
            "namespace": "owners",
            "name": self.name,
            "private_key": pem("PRIVATE KEY", &self.pkcs8),
            "public_key": pem("PUBLIC KEY", &self.public),
            "half": half,
        })
    }
}

/// All halves to make data keys for two owners, and each owner alone.
fn owners() -> [Owner; 2] {
    [Owner::new("one"), Owner::new("two")]
}

fn keyrings(owners: &[&Owner], both: bool) -> Keyrings {
    let shared = |owner: &&Owner| Arc::new(owner.keyring(both)) as SharedKeyring;
    Keyrings::new(owners.iter().map(shared).collect()).unwrap()
}

const PAIRS: [(&str, &str); 4] = [
    ("stored", "1"),
    ("\u{ff5e}", "fullwidth"),
    ("\u{1f511}", "key"),
    ("tenant", "blue"),
];

/// Left out of the header. In UTF-8 they sort otherwise than in UTF-16.
const REQUIRED: [&str; 3] = ["\u{1f511}", "tenant", "\u{ff5e}"];

fn all() -> EncryptionContext {
    EncryptionContext::from_pairs(PAIRS).unwrap()
}

fn required() -> EncryptionContext {
    let pairs = PAIRS.into_iter().filter(|(key, _)| REQUIRED.contains(key));
    EncryptionContext::from_pairs(pairs).unwrap()
}

fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 7)) as u8).collect()
}

fn seal(
    keyrings: &Keyrings,
    suite: Suite,
    (context, required): (&EncryptionContext, &[&str]),
    frame: u32,
    text: &[u8],
) -> Vec<u8> {
    let context = context.clone();
    let made = EncryptionMaterials::generate(keyrings, suite, context, Instant::now()).unwrap();
    let plan = made.plan().unwrap().with_frame_length(frame).unwrap();
    let plan = plan.with_required_context(required).unwrap();
    let keys = made.encrypted_data_keys().to_vec();
    let mut sealer = plan.seal_to(Vec::new(), made.data_key(), keys).unwrap();
    sealer.write_all(text).unwrap();
    sealer.finish().unwrap().0
}

fn open(
    keyrings: &Keyrings,
    message: &[u8],
    reproduced: &EncryptionContext,
) -> Result<Vec<u8>, &'static str> {
    let begun = UnverifiedMessage::begin(message).map_err(|error| error.rule())?;
    let begun = begun
        .with_reproduced_context(reproduced)
        .map_err(|error| error.rule())?;
    let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
    let data_key = keyrings
        .release(keys, context, Instant::now())
        .map_err(|error| error.rule())?;
    let rule = ContextRule::Exactly(all());
    let opener = begun
        .authenticate(&data_key, &rule)
        .map_err(|error| error.rule())?;
    let mut out = opener.unreleased(Vec::new());
    let verified = opener.open_into(&mut out).map_err(|error| error.rule())?;
    Ok(out.release(&verified).unwrap())
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn both_ways_around_every_frame_length() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let [one, two] = owners.each_ref();
    let empty = EncryptionContext::empty();
    for suite in SUITES {
        for frame in [0usize, 128, 4096, 65_536] {
            // Python's frames have multiples of 128 bytes; 0 is an unframed message.
            for length in [0, 1, frame.max(2) - 1, frame.max(2), frame + 1] {
                let expected = plaintext(length);
                let answer = python.ask(&json!({
                    "op": "encrypt",
                    "keys": [one.for_python("both"), two.for_python("public")],
                    "suite": suite.id(),
                    "context": all().as_map(),
                    "frame_length": frame,
                    "plaintext": STANDARD.encode(&expected),
                }));
                let message = STANDARD.decode(text(&answer, "message")).unwrap();
                for owner in [one, two] {
                    let opened = open(&keyrings(&[owner], true), &message, &empty);
                    assert!(opened.unwrap() == expected, "{suite}, {frame}, {length}");
                }
                let outline = Outline::read(&message[..], Limits::default()).unwrap();
                assert_eq!(outline.plaintext_length(), length as u64);
                assert_eq!(
                    outline.frame_length(),
                    u32::try_from(frame).ok().filter(|f| *f > 0)
                );

                let Ok(frame @ 1..) = u32::try_from(frame) else {
                    continue;
                };
                // Only public halves are needed to seal.
                let both = keyrings(&[one, two], false);
                let message = seal(&both, suite, (&all(), &[]), frame, &expected);
                for owner in [one, two] {
                    let answer = python.ask(&json!({
                        "op": "decrypt",
                        "keys": [owner.for_python("both")],
                        "message": STANDARD.encode(&message),
                    }));
                    let opened = STANDARD.decode(text(&answer, "plaintext")).unwrap();
                    assert!(opened == expected, "{suite}, {frame}, {length}");
                }
            }
        }
    }
}

#[test]
fn a_third_owner_opens_nothing() {
    let owners = owners();
    let [one, two] = owners.each_ref();
    let third = Owner::new("three");
    let message = seal(
        &keyrings(&[one, two], false),
        Suite::Committed,
        (&all(), &[]),
        64,
        b"x",
    );
    let empty = EncryptionContext::empty();
    assert_eq!(
        open(&keyrings(&[&third], true), &message, &empty),
        Err("keyring.none")
    );
    // A key of the same name that is another.
    let same_name = Owner::new("one");
    assert_eq!(
        open(&keyrings(&[&same_name], true), &message, &empty),
        Err("raw-rsa.unwrap")
    );
    assert_eq!(
        open(&keyrings(&[one], false), &message, &empty),
        Err("keyring.half")
    );
    assert!(open(&keyrings(&[one, two], true), &message, &empty).is_ok());
}

#[test]
fn required_context_both_ways() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let [one, two] = owners.each_ref();
    for suite in SUITES {
        let answer = python.ask(&json!({
            "op": "encrypt",
            "keys": [one.for_python("both"), two.for_python("public")],
            "suite": suite.id(),
            "context": all().as_map(),
            "required": REQUIRED,
            "frame_length": 128,
            "plaintext": STANDARD.encode(b"known to both"),
        }));
        let theirs = STANDARD.decode(text(&answer, "message")).unwrap();
        let both = keyrings(&[one, two], false);
        let ours = seal(&both, suite, (&all(), &REQUIRED), 128, b"known to both");
        for message in [&theirs, &ours] {
            for needle in ["blue", "fullwidth", "tenant"] {
                assert!(
                    !message
                        .windows(needle.len())
                        .any(|w| w == needle.as_bytes())
                );
            }
            let opener = keyrings(&[two], true);
            assert_eq!(
                open(&opener, message, &required()).unwrap(),
                b"known to both"
            );
            let without = EncryptionContext::empty();
            assert_eq!(open(&opener, message, &without), Err("context.missing"));
            let wrong: Vec<_> = required()
                .iter()
                .map(|(key, value)| (key.to_owned(), format!("{value}!")))
                .collect();
            let wrong = EncryptionContext::from_pairs(wrong).unwrap();
            assert_eq!(open(&opener, message, &wrong), Err("context.mismatch"));

            let mut ask = |reproduced: &EncryptionContext| {
                python.ask(&json!({
                    "op": "decrypt",
                    "keys": [one.for_python("both")],
                    "required": REQUIRED,
                    "reproduced": reproduced.as_map(),
                    "message": STANDARD.encode(message),
                }))
            };
            let answer = ask(&required());
            let opened = STANDARD.decode(text(&answer, "plaintext")).unwrap();
            assert_eq!(opened, b"known to both");
            for refused in [&without, &wrong] {
                let answer = ask(refused);
                assert!(answer["error"].is_string(), "{answer}");
            }
        }
    }
}

#[test]
fn required_keys_that_cannot_be_left_out_are_refused() {
    let plan = || anchorhold_envelope::SealPlan::new(Suite::CommittedSigned, all()).unwrap();
    let rule = |key: &str| plan().with_required_context([key]).err().map(|e| e.rule());
    assert_eq!(rule("tenant"), None);
    assert_eq!(rule("absent"), Some("context.missing"));
    assert_eq!(rule("aws-crypto-public-key"), Some("context.reserved"));
}

/// A stream of bytes that is hashed and never in memory as a whole.
struct Source(u64, u64);

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.1 - self.0).unwrap().min(out.len());
        for (at, byte) in (self.0..).zip(&mut out[..length]) {
            *byte = (at ^ (at >> 9) ^ (at >> 19)) as u8;
        }
        self.0 += length as u64;
        Ok(length)
    }
}

/// Hashes what it takes.
struct Hashing(Sha256);

impl UnreleasedSink for Hashing {
    fn write_unreleased(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.0.update(plaintext);
        Ok(())
    }
}

fn seal_large(keyrings: &Keyrings, path: &Path) -> String {
    let (suite, now) = (Suite::CommittedSigned, Instant::now());
    let made = EncryptionMaterials::generate(keyrings, suite, all(), now).unwrap();
    let plan = made.plan().unwrap().with_frame_length(65_536).unwrap();
    let keys = made.encrypted_data_keys().to_vec();
    let output = BufWriter::new(File::create(path).unwrap());
    let mut sealer = plan.seal_to(output, made.data_key(), keys).unwrap();
    let (mut source, mut piece) = (Source(0, LARGE), vec![0; 1 << 16]);
    let mut hash = Sha256::new();
    loop {
        let length = source.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        hash.update(&piece[..length]);
        sealer.write_all(&piece[..length]).unwrap();
    }
    let (output, sealed) = sealer.finish().unwrap();
    output.into_inner().unwrap();
    assert_eq!(sealed.plaintext_length(), LARGE);
    hex::encode(hash.finalize())
}

fn open_large(keyrings: &Keyrings, path: &Path) -> String {
    let input = BufReader::with_capacity(1 << 17, File::open(path).unwrap());
    let begun = UnverifiedMessage::begin(input).unwrap();
    let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
    let key = keyrings.release(keys, context, Instant::now()).unwrap();
    let opener = begun
        .authenticate(&key, &ContextRule::Exactly(all()))
        .unwrap();
    let mut out = Hashing(Sha256::new());
    let verified = opener.open_into(&mut out).unwrap();
    assert_eq!(verified.plaintext_length(), LARGE);
    hex::encode(out.0.finalize())
}

#[test]
fn a_hundred_megabytes_stream_both_ways() {
    let mut python = Python::start("esdk_providers.py");
    let owners = owners();
    let [one, two] = owners.each_ref();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let expected = seal_large(&keyrings(&[one, two], false), &at("ours"));
    let answer = python.ask(&json!({
        "op": "decrypt_file",
        "keys": [two.for_python("both")],
        "from": at("ours"),
        "to": at("plain"),
    }));
    assert_eq!(text(&answer, "sha256"), expected);
    let answer = python.ask(&json!({
        "op": "encrypt_file",
        "keys": [one.for_python("both"), two.for_python("public")],
        "suite": Suite::CommittedSigned.id(),
        "context": all().as_map(),
        "frame_length": 65_536,
        "from": at("plain"),
        "to": at("theirs"),
    }));
    text(&answer, "sha256");
    assert_eq!(open_large(&keyrings(&[two], true), &at("theirs")), expected);
}
