//! Every message that differs from a good one in a single bit, or ends early, is refused.

mod common;

use anchorhold_envelope::Outline;
use anchorhold_envelope::limits::Limits;
use common::vector::Vector;
use common::{Opening, PROVIDERS, SUITES, open, seal};

/// Frames of 8 bytes: two whole ones and a final one.
const FRAME: u32 = 8;
const TEXT: &[u8] = b"twenty-one bytes here";

/// Nothing verified, so nothing can be released; and what was seen unreleased is whole frames of
/// the true plaintext.
fn assert_refused(opening: &Opening, what: &str) {
    assert!(opening.outcome.is_err(), "{what} was verified");
    assert!(
        TEXT.starts_with(&opening.seen),
        "{what} gave other plaintext"
    );
    assert_eq!(
        opening.seen.len() % FRAME as usize,
        0,
        "{what} gave its last frame"
    );
}

#[test]
fn every_single_bit_flip_is_refused() {
    for provider in PROVIDERS {
        for suite in SUITES {
            let good = seal(provider, suite, FRAME, TEXT);
            assert!(open(provider, &good).outcome.is_ok());
            let mut message = good.clone();
            for bit in 0..8 * good.len() {
                message[bit / 8] ^= 1 << (bit % 8);
                let opening = open(provider, &message);
                assert_refused(&opening, &format!("{suite}, bit {bit}"));
                message[bit / 8] ^= 1 << (bit % 8);
            }
            assert!(message == good);
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for provider in PROVIDERS {
        for suite in SUITES {
            let good = seal(provider, suite, FRAME, TEXT);
            for length in 0..good.len() {
                let opening = open(provider, &good[..length]);
                assert_refused(&opening, &format!("{suite}, {length} bytes"));
                assert_eq!(opening.rule(), "message.truncated");
                let outline = Outline::read(&good[..length], Limits::default());
                assert_eq!(outline.unwrap_err().rule(), "message.truncated");
            }
        }
    }
}

#[test]
fn a_message_of_one_frame_gives_no_plaintext_before_its_end() {
    for suite in SUITES {
        let good = seal(PROVIDERS[0], suite, 64, TEXT);
        let mut message = good.clone();
        for bit in 0..8 * good.len() {
            message[bit / 8] ^= 1 << (bit % 8);
            let opening = open(PROVIDERS[0], &message);
            assert!(
                opening.outcome.is_err() && opening.seen.is_empty(),
                "bit {bit}"
            );
            message[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..good.len() {
            let opening = open(PROVIDERS[0], &good[..length]);
            assert!(
                opening.outcome.is_err() && opening.seen.is_empty(),
                "{length} bytes"
            );
        }
    }
}

/// The Python SDK's unframed messages, one of each suite.
const UNFRAMED: [&str; 2] = ["ok-unsigned-unframed-body", "ok-signed-unframed-body"];

/// Where the parts of an unframed message begin.
struct UnframedParts {
    nonce: usize,
    length: usize,
    content: usize,
    footer: usize,
}

impl UnframedParts {
    fn of(message: &[u8]) -> Self {
        let outline = Outline::read(message, Limits::default()).unwrap();
        assert_eq!(outline.frame_length(), None);
        let text = usize::try_from(outline.plaintext_length()).unwrap();
        let footer = message.len() - outline.signature_length().map_or(0, |length| 2 + length);
        let content = footer - 16 - text;
        let length = content - 8;
        Self {
            nonce: length - 12,
            length,
            content,
            footer,
        }
    }

    /// The rules that may refuse a message whose byte `at` was changed.
    fn rules(&self, at: usize) -> &'static [&'static str] {
        if at < self.nonce {
            &["header.", "context.", "edk.", "message.truncated"]
        } else if at < self.length {
            &["frame.nonce"]
        } else if at < self.content {
            // Too long to be read, longer than what is there, or another length than was sealed.
            &["frame.length", "message.truncated", "frame.tag"]
        } else if at < self.footer {
            &["frame.tag"]
        } else {
            &["footer.length", "footer.signature", "message.truncated"]
        }
    }
}

#[test]
fn every_single_bit_flip_of_an_unframed_message_is_refused_before_its_plaintext() {
    for provider in PROVIDERS {
        for name in UNFRAMED {
            let vector = Vector::named(name);
            let good = vector.bytes("message");
            let parts = UnframedParts::of(&good);
            let mut message = good.clone();
            for bit in 0..8 * good.len() {
                message[bit / 8] ^= 1 << (bit % 8);
                let opening = vector.open(provider, &message);
                assert_eq!(opening.seen, b"", "{name}, bit {bit}");
                let (rule, rules) = (opening.rule(), parts.rules(bit / 8));
                assert!(
                    rules.iter().any(|expected| rule.starts_with(expected)),
                    "{name}, bit {bit}: {rule}, expected {rules:?}"
                );
                message[bit / 8] ^= 1 << (bit % 8);
            }
            assert!(message == good);
            assert_eq!(vector.open(provider, &good).seen, vector.bytes("plaintext"));
        }
    }
}

#[test]
fn every_truncation_of_an_unframed_message_is_refused_before_its_plaintext() {
    for provider in PROVIDERS {
        for name in UNFRAMED {
            let vector = Vector::named(name);
            let good = vector.bytes("message");
            for length in 0..good.len() {
                let opening = vector.open(provider, &good[..length]);
                assert_eq!(opening.seen, b"", "{name}, {length} bytes");
                assert_eq!(
                    opening.rule(),
                    "message.truncated",
                    "{name}, {length} bytes"
                );
                let outline = Outline::read(&good[..length], Limits::default());
                assert_eq!(outline.unwrap_err().rule(), "message.truncated");
            }
            let longer = [&good[..], b"x"].concat();
            let opening = vector.open(provider, &longer);
            assert_eq!(opening.seen, b"", "{name}");
            assert_eq!(opening.rule(), "message.trailing", "{name}");
            let outline = Outline::read(&longer[..], Limits::default());
            assert_eq!(outline.unwrap_err().rule(), "message.trailing");
        }
    }
}

#[test]
fn an_outline_counts_what_was_sealed() {
    for suite in SUITES {
        for length in [0, 1, 7, 8, 9, 16, TEXT.len()] {
            let message = seal(PROVIDERS[0], suite, FRAME, &TEXT[..length]);
            let outline = Outline::read(&message[..], Limits::default()).unwrap();
            assert_eq!(outline.suite(), suite);
            assert_eq!(outline.plaintext_length(), length as u64);
            assert_eq!(outline.frames(), length.div_ceil(8).max(1) as u64);
            assert_eq!(outline.frame_length(), Some(FRAME));
            assert_eq!(outline.signature_length().is_some(), suite.is_signed());
            assert_eq!(outline.encrypted_data_keys(), [common::wrapped()]);
            let longer = [&message[..], b"x"].concat();
            let refusal = Outline::read(&longer[..], Limits::default()).unwrap_err();
            assert_eq!(refusal.rule(), "message.trailing");
        }
    }
}

#[test]
fn more_plaintext_than_the_caller_takes_is_refused_before_it_is_decrypted() {
    use anchorhold_envelope::{ContextRule, SealPlan, UnverifiedMessage};
    use std::io::Write;
    for suite in SUITES {
        let message = seal(PROVIDERS[0], suite, FRAME, TEXT);
        let opened = |plaintext_length| {
            let limits = Limits {
                plaintext_length,
                ..Limits::default()
            };
            let begun = UnverifiedMessage::begin_with(&message[..], limits, PROVIDERS[0]).unwrap();
            let rule = ContextRule::Exactly(common::context());
            let opener = begun.authenticate(&common::data_key(), &rule).unwrap();
            let mut seen = opener.unreleased(Vec::new());
            let outcome = opener.open_into(&mut seen);
            (seen.peek().len(), outcome.err().map(|error| error.rule()))
        };
        assert_eq!(opened(21), (21, None));
        assert_eq!(opened(20), (16, Some("message.length")));
        assert_eq!(opened(8), (8, Some("message.length")));
        assert_eq!(opened(7), (0, Some("message.length")));
        let limits = Limits {
            plaintext_length: 20,
            ..Limits::default()
        };
        let outline = Outline::read(&message[..], limits);
        assert_eq!(outline.unwrap_err().rule(), "message.length");

        let plan = SealPlan::new(suite, common::context()).unwrap();
        let plan = plan.with_plaintext_limit(5);
        let keys = vec![common::wrapped()];
        let mut sealer = plan.seal_to(Vec::new(), &common::data_key(), keys).unwrap();
        sealer.write_all(b"five!").unwrap();
        assert!(sealer.write_all(b"x").is_err());
        assert_eq!(sealer.finish().err().unwrap().rule(), "message.failed");
    }
}

proptest::proptest! {
    #[test]
    fn an_outline_of_anything_never_panics_and_agrees_with_what_opens(
        signed in proptest::prelude::any::<bool>(),
        length in 0..40usize,
        cut in 0..600usize,
        insert in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
    ) {
        let text = vec![1; length];
        let good = seal(PROVIDERS[0], SUITES[usize::from(signed)], FRAME, &text);
        let outline = Outline::read(&good[..], Limits::default()).unwrap();
        let verified = open(PROVIDERS[0], &good).outcome.unwrap();
        proptest::prop_assert_eq!(outline.plaintext_length(), verified.plaintext_length());
        proptest::prop_assert_eq!(outline.message_id(), verified.message_id());
        proptest::prop_assert_eq!(outline.encryption_context(), verified.encryption_context());

        let at = cut.min(good.len());
        let changed = [&good[..at], &insert, &good[at..]].concat();
        if let Ok(outline) = Outline::read(&changed[..], Limits::default()) {
            proptest::prop_assert!(outline.plaintext_length() < changed.len() as u64);
        }
        proptest::prop_assert!(Outline::read(&insert[..], Limits::default()).is_err());
    }
}
