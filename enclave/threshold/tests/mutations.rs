//! Genuine messages with one bit changed: no ceremony comes to its end with one.

mod common;

use std::collections::BTreeMap;

use anchorhold_threshold::dkg;
use common::{complete_with, fresh, generate, group, rng, sign_with, who};
use proptest::prelude::*;
use proptest::sample::Index;

/// Key generation, one bit of what 2 tells 1 in a round changed.
fn generated_with(round: usize, at: Index, bit: u32) -> bool {
    let begin = |session| dkg::begin(session, &mut rng()).unwrap();
    let begun: BTreeMap<_, _> = fresh(group())
        .into_iter()
        .map(|(me, session)| (me, begin(session)))
        .collect();
    let done = complete_with(begun, |now, mail| {
        let mut told = mail
            .iter_mut()
            .filter(|(f, t, _)| (f.number(), t.number()) == (2, 1));
        let (_, _, bytes) = told.next().expect("2 tells 1 something in each round");
        if now == round {
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8.rotate_left(bit);
        }
    });
    done.is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn key_generation_does_not_end_with_a_changed_message(
        round in 0_usize..3, at in any::<Index>(), bit in 0_u32..8,
    ) {
        prop_assert!(!generated_with(round, at, bit));
    }

    #[test]
    fn a_changed_signature_share_makes_no_signature(at in any::<Index>(), bit in 0_u32..8) {
        thread_local! {
            static SHARES: BTreeMap<anchorhold_threshold::Participant, anchorhold_threshold::Share> =
                generate(group());
        }
        let done = SHARES.with(|shares| {
            sign_with(shares, &[1, 2], b"pay", |from, mut bytes| {
                assert_eq!(from, who(2));
                let at = at.index(bytes.len());
                bytes[at] ^= 1_u8.rotate_left(bit);
                bytes
            })
        });
        prop_assert!(done.is_err());
    }
}
