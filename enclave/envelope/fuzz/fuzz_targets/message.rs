//! Opens arbitrary bytes as a message: as they come, as frames behind an authentic header, and in
//! the middle of a good message.
//!
//! Whatever comes, the opener must neither panic nor hold more memory than its limits, and it can
//! verify nothing but a message that the harness itself sealed.
#![no_main]

use std::io::Write;
use std::sync::LazyLock;

use anchorhold_envelope::crypto::default_provider;
use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, EncryptionContext, OpenError, SealPlan, Suite,
    UnverifiedMessage, Verified,
};
use libfuzzer_sys::fuzz_target;

/// Length of a final frame without content.
const EMPTY_FINAL_FRAME: usize = 4 + 4 + 12 + 4 + 16;

static DATA_KEY: LazyLock<DataKey> =
    LazyLock::new(|| DataKey::from_bytes(&[7; 32]).expect("32 bytes"));

/// An authentic header, for frames of 16 bytes.
static HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let plan = SealPlan::new(Suite::Committed, EncryptionContext::empty()).expect("a plan");
    let plan = plan.with_frame_length(16).expect("frames of 16 bytes");
    let wrapped = EncryptedDataKey::new("p", [], [0]).expect("a wrapped key");
    let sealer = plan.seal_to(Vec::new(), &DATA_KEY, vec![wrapped]).expect("a header");
    let mut message = sealer.finish().expect("a message").0;
    message.truncate(message.len() - EMPTY_FINAL_FRAME);
    message
});

/// A message of two frames.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let plan = SealPlan::new(Suite::CommittedSigned, EncryptionContext::empty()).expect("a plan");
    let plan = plan.with_frame_length(16).expect("frames of 16 bytes");
    let wrapped = EncryptedDataKey::new("p", [], [0]).expect("a wrapped key");
    let mut sealer = plan.seal_to(Vec::new(), &DATA_KEY, vec![wrapped]).expect("a header");
    sealer.write_all(b"more than sixteen bytes").expect("two frames");
    let message = sealer.finish().expect("a message").0;
    assert!(open(&message).is_ok(), "the good message is good");
    message
});

fn open(message: &[u8]) -> Result<Verified, OpenError> {
    let limits = Limits { frame_length: 1 << 16, unframed_length: 1 << 16, ..Limits::default() };
    let begun = UnverifiedMessage::begin_with(message, limits, default_provider())?;
    let rule = ContextRule::AtLeast(EncryptionContext::empty());
    let opener = begun.authenticate(&DATA_KEY, &rule)?;
    let mut sink = opener.unreleased(std::io::sink());
    opener.open_into(&mut sink)
}

fuzz_target!(|bytes: &[u8]| {
    assert!(open(bytes).is_err(), "bytes of nobody's verified");
    let with_header = [&HEADER, bytes].concat();
    assert!(open(&with_header).is_err(), "frames of nobody's verified");
    // Where to cut, how much to leave out, and what to put there.
    if let [high, low, cut, insert @ ..] = bytes {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % GOOD.len();
        let rest = GOOD.get(at + usize::from(*cut)..).unwrap_or_default();
        let changed = [&GOOD[..at], insert, rest].concat();
        assert_eq!(open(&changed).is_ok(), changed == *GOOD, "another message verified");
    }
});
