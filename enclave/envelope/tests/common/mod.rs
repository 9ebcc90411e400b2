//! What several test files of this crate share.
#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

use std::io::Write;

use anchorhold_envelope::crypto::{AwsLc, Provider, RustCrypto};
use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, EncryptionContext, OpenError, SealPlan, Suite,
    UnreleasedSink, UnverifiedMessage, Verified,
};

pub mod kms;
pub mod owners;
pub mod python;
pub mod unframed;
pub mod vector;

/// Both implementations of the primitives: every test runs over both.
pub const PROVIDERS: [&dyn Provider; 2] = [&AwsLc, &RustCrypto];

/// Both suites.
pub const SUITES: [Suite; 2] = [Suite::Committed, Suite::CommittedSigned];

/// The data key of messages made in tests.
pub fn data_key() -> DataKey {
    DataKey::from_bytes(&[0x5a; 32]).unwrap()
}

/// The context of messages made in tests.
pub fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("purpose", "records"), ("data-set", "7")]).unwrap()
}

/// A wrapped key that stands in for one of a KMS.
pub fn wrapped() -> EncryptedDataKey {
    EncryptedDataKey::aws_kms("arn:aws:kms:us-east-1:111122223333:key/k", *b"wrapped").unwrap()
}

/// Seals `plaintext` in frames of `frame_length` bytes.
pub fn seal(
    provider: &'static dyn Provider,
    suite: Suite,
    frame_length: u32,
    plaintext: &[u8],
) -> Vec<u8> {
    let plan = SealPlan::new_with(suite, context(), provider).unwrap();
    let plan = plan.with_frame_length(frame_length).unwrap();
    let mut sealer = plan
        .seal_to(Vec::new(), &data_key(), vec![wrapped()])
        .unwrap();
    sealer.write_all(plaintext).unwrap();
    sealer.finish().unwrap().0
}

/// What an opening came to: what reached the unreleased sink, and the outcome.
pub struct Opening {
    pub seen: Vec<u8>,
    pub outcome: Result<Verified, OpenError>,
}

impl Opening {
    /// The rule that refused the message.
    pub fn rule(&self) -> &'static str {
        self.outcome
            .as_ref()
            .expect_err("the message was to be refused")
            .rule()
    }
}

/// Opens a message with the tests' data key and exactly the tests' context.
pub fn open(provider: &'static dyn Provider, message: &[u8]) -> Opening {
    open_with(
        provider,
        message,
        &data_key(),
        &ContextRule::Exactly(context()),
    )
}

/// Opens a message.
pub fn open_with(
    provider: &'static dyn Provider,
    message: &[u8],
    data_key: &DataKey,
    rule: &ContextRule,
) -> Opening {
    let mut seen = Seen(Vec::new());
    let outcome = UnverifiedMessage::begin_with(message, Limits::default(), provider)
        .and_then(|begun| begun.authenticate(data_key, rule))
        .and_then(|opener| opener.open_into(&mut seen));
    Opening {
        seen: seen.0,
        outcome,
    }
}

struct Seen(Vec<u8>);

impl UnreleasedSink for Seen {
    fn write_unreleased(&mut self, plaintext: &[u8]) -> std::io::Result<()> {
        self.0.extend_from_slice(plaintext);
        Ok(())
    }
}

/// Where the parts of a framed message that was sealed here lie.
pub struct Parts {
    pub header: Vec<u8>,
    pub frames: Vec<Vec<u8>>,
    pub footer: Vec<u8>,
}

impl Parts {
    /// Cuts a message with the tests' wrapped key into its parts.
    pub fn of(message: &[u8], suite: Suite, frame_length: usize) -> Self {
        let u16_at = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
        let mut at = 35;
        at += 2 + u16_at(at);
        let count = u16_at(at);
        at += 2;
        for _ in 0..3 * count {
            at += 2 + u16_at(at);
        }
        at += 1 + 4 + 32 + 16;
        let header = message[..at].to_vec();
        let mut frames = Vec::new();
        loop {
            let is_final = message[at..at + 4] == [0xff; 4];
            let length = if is_final {
                let field: [u8; 4] = message[at + 20..at + 24].try_into().unwrap();
                24 + u32::from_be_bytes(field) as usize + 16
            } else {
                16 + frame_length + 16
            };
            frames.push(message[at..at + length].to_vec());
            at += length;
            if is_final {
                break;
            }
        }
        let footer = message[at..].to_vec();
        assert_eq!(footer.is_empty(), !suite.is_signed());
        Self {
            header,
            frames,
            footer,
        }
    }

    /// The message that has these parts.
    pub fn join(&self) -> Vec<u8> {
        [&self.header[..], &self.frames.concat(), &self.footer].concat()
    }
}
