//! Body and end: every bit, every length, order and belonging.

use anchorhold_envelope::Suite;

use crate::common::{PROVIDERS, Parts, SUITES, open, seal};
use crate::{FRAME, PLAINTEXT};

#[test]
fn every_flipped_bit_is_refused() {
    for provider in PROVIDERS {
        for suite in SUITES {
            let message = seal(provider, suite, FRAME as u32, PLAINTEXT);
            // Signatures take the second implementation milliseconds: there, one bit of each byte.
            let step = if provider.name() == "RustCrypto" {
                7
            } else {
                1
            };
            for bit in (0..message.len() * 8).step_by(step) {
                let mut changed = message.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let opening = open(provider, &changed);
                assert!(
                    opening.outcome.is_err(),
                    "bit {bit} of {suite}, {}",
                    provider.name()
                );
                assert!(PLAINTEXT.starts_with(&opening.seen), "bit {bit} of {suite}");
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for provider in PROVIDERS {
        for suite in SUITES {
            let message = seal(provider, suite, FRAME as u32, PLAINTEXT);
            for length in 0..message.len() {
                let opening = open(provider, &message[..length]);
                assert_eq!(
                    opening.rule(),
                    "message.truncated",
                    "{length} bytes of {suite}"
                );
                assert!(PLAINTEXT.starts_with(&opening.seen));
                assert_ne!(opening.seen, PLAINTEXT, "{length} bytes of {suite}");
            }
        }
    }
}

#[test]
fn a_message_of_one_frame_shows_nothing_unless_it_verifies() {
    for suite in SUITES {
        let message = seal(PROVIDERS[0], suite, 4096, PLAINTEXT);
        for bit in 0..message.len() * 8 {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(PROVIDERS[0], &changed).seen,
                b"",
                "bit {bit} of {suite}"
            );
        }
        let longer = [&message[..], b"x"].concat();
        assert_eq!(open(PROVIDERS[0], &longer).seen, b"");
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    for suite in SUITES {
        let message = seal(PROVIDERS[0], suite, FRAME as u32, PLAINTEXT);
        for tail in [&b"\0"[..], &message[..]] {
            let longer = [&message[..], tail].concat();
            assert_eq!(
                open(PROVIDERS[0], &longer).rule(),
                "message.trailing",
                "{suite}"
            );
        }
    }
}

#[test]
fn frames_must_come_in_their_order() {
    for suite in SUITES {
        let message = seal(PROVIDERS[0], suite, FRAME as u32, PLAINTEXT);
        let parts = Parts::of(&message, suite, FRAME);
        assert_eq!(parts.frames.len(), 3);
        let with = |order: &[usize]| {
            let frames = order.iter().map(|at| parts.frames[*at].clone()).collect();
            let (header, footer) = (parts.header.clone(), parts.footer.clone());
            open(
                PROVIDERS[0],
                &Parts {
                    header,
                    frames,
                    footer,
                }
                .join(),
            )
        };
        assert!(with(&[0, 1, 2]).outcome.is_ok());
        for order in [
            &[1, 0, 2][..],
            &[0, 0, 1, 2],
            &[0, 2],
            &[1, 2],
            &[2],
            &[2, 0, 1],
        ] {
            assert_eq!(with(order).rule(), "frame.number", "{suite}: {order:?}");
        }
        // Without the final frame the footer is read as a frame, or nothing is left to read.
        let cut = with(&[0, 1]);
        assert!(
            ["frame.number", "message.truncated"].contains(&cut.rule()),
            "{}",
            cut.rule()
        );
    }
}

#[test]
fn a_frame_of_another_message_is_refused() {
    for suite in SUITES {
        let [first, second] =
            [(); 2].map(|()| Parts::of(&seal(PROVIDERS[0], suite, 8, PLAINTEXT), suite, FRAME));
        for at in 0..3 {
            let mut mixed = Parts {
                header: first.header.clone(),
                frames: first.frames.clone(),
                footer: first.footer.clone(),
            };
            mixed.frames[at] = second.frames[at].clone();
            let opening = open(PROVIDERS[0], &mixed.join());
            assert_eq!(opening.rule(), "frame.tag", "{suite}, frame {at}");
            assert_eq!(opening.seen.len(), at * FRAME);
        }
        let mixed = Parts {
            header: second.header,
            ..first
        };
        assert_eq!(open(PROVIDERS[0], &mixed.join()).rule(), "frame.tag");
    }
}

#[test]
fn a_footer_of_another_message_is_refused() {
    let suite = Suite::CommittedSigned;
    for provider in PROVIDERS {
        let [first, second] =
            [(); 2].map(|()| Parts::of(&seal(provider, suite, 8, PLAINTEXT), suite, FRAME));
        let mixed = Parts {
            footer: second.footer,
            ..first
        };
        assert_eq!(open(provider, &mixed.join()).rule(), "footer.signature");
    }
}

#[test]
fn footers_have_a_length_that_signatures_have() {
    let suite = Suite::CommittedSigned;
    let message = seal(PROVIDERS[0], suite, 8, PLAINTEXT);
    let parts = Parts::of(&message, suite, FRAME);
    for length in [0u16, 105, 0xffff] {
        let footer = [&length.to_be_bytes()[..], &vec![0x30; usize::from(length)]].concat();
        let changed = Parts {
            footer,
            header: parts.header.clone(),
            frames: parts.frames.clone(),
        };
        assert_eq!(
            open(PROVIDERS[0], &changed.join()).rule(),
            "footer.length",
            "{length}"
        );
    }
}

#[test]
fn a_final_frame_longer_than_a_frame_is_refused() {
    let suite = Suite::Committed;
    let mut parts = Parts::of(&seal(PROVIDERS[0], suite, 8, b"short"), suite, FRAME);
    for length in [9u32, u32::MAX] {
        parts.frames[0][20..24].copy_from_slice(&length.to_be_bytes());
        assert_eq!(open(PROVIDERS[0], &parts.join()).rule(), "frame.length");
    }
}
