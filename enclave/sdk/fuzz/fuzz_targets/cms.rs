//! Parses envelopes: arbitrary bytes, and a good envelope with arbitrary bytes in the middle. What
//! parses must have the shape that the parser promises.
#![no_main]

use std::sync::LazyLock;

use anchorhold_enclave::cms::{BLOCK_LENGTH, EnvelopedData, MAX_LENGTH};
use libfuzzer_sys::fuzz_target;

/// An envelope as KMS writes it, up to the identifier, the wrapped key, the IV and the ciphertext.
const HEAD: &[u8] = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80\x30\x80\
    \x02\x01\x02\x31\x82\x01\x6b\x30\x82\x01\x67\x02\x01\x02\x80\x20";
const KEY_ALGORITHM: &[u8] = b"\x30\x3c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07\x30\x2f\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\
    \x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\
    \x02\x01\x05\x00\x04\x82\x01\x00";
const CONTENT: &[u8] = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\x30\x1d\
    \x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a\x04\x10";
const CIPHERTEXT: &[u8] = b"\xa0\x80\x04\x10sixteen bytes ..\x04\x10sixteen bytes ..";

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (identifier, wrapped, iv) = (&[0; 32][..], &[0; 256][..], &[0; 16][..]);
    let ends = &[0; 10][..];
    let good =
        [HEAD, identifier, KEY_ALGORITHM, wrapped, CONTENT, iv, CIPHERTEXT, ends].concat();
    assert!(EnvelopedData::parse(&good).is_ok(), "the good envelope is good");
    good
});

fn check(bytes: &[u8]) {
    let Ok(envelope) = EnvelopedData::parse(bytes) else { return };
    assert!(bytes.len() <= MAX_LENGTH);
    assert!(bytes.starts_with(&[0x30, 0x80]) && bytes.ends_with(&[0; 8]));
    assert!(!envelope.ciphertext.is_empty());
    assert_eq!(envelope.ciphertext.len() % BLOCK_LENGTH, 0);
    let parts = envelope.identifier.len() + envelope.wrapped_key.len() + envelope.iv.len();
    assert!(parts + envelope.ciphertext.len() < bytes.len());
    // Nothing may follow, and no end may be missing.
    assert!(EnvelopedData::parse(&[bytes, &[0]].concat()).is_err());
    assert!(bytes.split_last().is_some_and(|(_, rest)| EnvelopedData::parse(rest).is_err()));
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Where to cut, how much to leave out, and what to put there.
    if let [high, low, cut, insert @ ..] = bytes {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % GOOD.len();
        let rest = GOOD.get(at + usize::from(*cut)..).unwrap_or_default();
        check(&[&GOOD[..at], insert, rest].concat());
    }
});
