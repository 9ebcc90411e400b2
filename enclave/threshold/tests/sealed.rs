//! Shares at rest.

mod common;

use anchorhold_envelope::{
    DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};
use anchorhold_threshold::seal::{Identity, Wanted};
use anchorhold_threshold::{Epoch, Group, GroupKey, ThresholdError};
use common::*;
use proptest::prelude::*;
use std::io::Write;

fn refused(bytes: &[u8], identity: Identity, key: &DataKey) -> &'static str {
    let opened = Wanted::begin(bytes, identity).and_then(|wanted| wanted.open(key));
    opened.map(drop).expect_err("it is refused").rule()
}

#[test]
fn a_share_opens_as_what_it_is_and_as_nothing_else() {
    let mut shares = generate(group());
    let share = shares.remove(&who(2)).unwrap();
    let (key, bytes) = seal(&share);
    let identity = Identity::of(&share);
    let again = open(&share, &bytes, &key);
    assert_eq!(again.key(), share.key());
    shares.insert(who(2), again);
    let signature = sign(&shares, &[2, 3], b"m");
    assert!(verifies(&share.key().0, b"m", &signature));

    let others = [
        Identity {
            epoch: Epoch(2),
            ..identity
        },
        Identity {
            participant: who(1),
            ..identity
        },
        Identity {
            key: GroupKey([1; 32]),
            ..identity
        },
        Identity {
            group: Group::two_of_three([8; 48]),
            ..identity
        },
        Identity {
            sharing: [8; 48],
            ..identity
        },
    ];
    for other in others {
        assert_eq!(refused(&bytes, other, &key), "context.mismatch");
    }
    let other = DataKey::generate().unwrap();
    assert_eq!(refused(&bytes, identity, &other), "header.commitment");
}

#[test]
fn what_is_inside_must_be_what_the_context_says() {
    let shares = generate(group());
    let (one, two) = (&shares[&who(1)], &shares[&who(2)]);
    let identity = Identity::of(one);
    let key = DataKey::generate().unwrap();
    let wrapped = || vec![EncryptedDataKey::new("test", b"k".to_vec(), b"w".to_vec()).unwrap()];
    let message = |suite, context: EncryptionContext, plaintext: &[u8]| {
        let plan = SealPlan::new(suite, context).unwrap();
        let mut sealer = plan.seal_to(Vec::new(), &key, wrapped()).unwrap();
        sealer.write_all(plaintext).unwrap();
        sealer.finish().unwrap().0
    };
    // Participant 2's plaintext under participant 1's context.
    let (two_key, two_bytes) = seal(two);
    let begun = UnverifiedMessage::begin(&two_bytes[..]).unwrap();
    let rule = anchorhold_envelope::ContextRule::AtLeast(EncryptionContext::empty());
    let opener = begun.authenticate(&two_key, &rule).unwrap();
    let mut sink = opener.unreleased(Vec::new());
    let verified = opener.open_into(&mut sink).unwrap();
    let plaintext = sink.release(&verified).unwrap();
    let context = identity.context().unwrap();
    let swapped = message(Suite::Committed, context.clone(), &plaintext);
    assert_eq!(refused(&swapped, identity, &key), "share.encoding");
    // Not a share; a share with something behind it; the other suite; a pair more.
    let junk = message(Suite::Committed, context.clone(), b"junk");
    assert_eq!(refused(&junk, identity, &key), "share.encoding");
    let longer = message(
        Suite::Committed,
        context.clone(),
        &[&plaintext[..], &[0]].concat(),
    );
    assert_eq!(refused(&longer, identity, &key), "share.encoding");
    let signed = message(Suite::CommittedSigned, context.clone(), &plaintext);
    assert_eq!(refused(&signed, identity, &key), "share.encoding");
    let mut pairs: Vec<_> = context.iter().collect();
    pairs.push(("more", "pairs"));
    let more = EncryptionContext::from_pairs(pairs).unwrap();
    let more = message(Suite::Committed, more, &plaintext);
    assert_eq!(refused(&more, identity, &key), "context.unexpected");
    let long = vec![0; anchorhold_threshold::limits::MAX_SEALED + 1];
    assert_eq!(refused(&long, identity, &key), "message.length");
}

#[test]
fn every_flipped_bit_is_refused() {
    let share = generate(group()).remove(&who(1)).unwrap();
    let (key, bytes) = seal(&share);
    let identity = Identity::of(&share);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let opened = Wanted::begin(&flipped, identity).and_then(|wanted| wanted.open(&key));
        assert!(opened.is_err(), "byte {at}");
    }
    for length in 0..bytes.len() {
        let opened = Wanted::begin(&bytes[..length], identity).and_then(|w| w.open(&key));
        assert!(opened.is_err(), "length {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Bytes from anywhere never panic: neither as a sealed share nor as a message of a round.
    #[test]
    fn hostile_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let identity = Identity {
            group: group(),
            key: GroupKey([1; 32]),
            participant: who(1),
            epoch: Epoch(1),
            sharing: [2; 48],
        };
        prop_assert!(Wanted::begin(&bytes, identity).is_err());
        let session = fresh(group()).remove(&who(1)).unwrap();
        let (mut state, send) = anchorhold_threshold::dkg::begin(session, &mut rng()).unwrap();
        let refused: Result<(), ThresholdError> = state.receive(who(2), &bytes);
        prop_assert!(refused.is_err());
        // Nor do genuine bytes with a piece of the hostile ones in them.
        let mut changed = send[0].bytes.to_vec();
        let at = bytes.len() % changed.len();
        for (old, new) in changed.iter_mut().skip(at).zip(&bytes) {
            *old = *new;
        }
        let _ = state.receive(who(2), &changed);
    }
}

#[test]
fn two_refreshes_of_one_epoch_are_two_sharings() {
    let shares = generate(group());
    let sealed: Vec<_> = shares.values().map(|share| (share, seal(share))).collect();
    let again = || {
        let opened = sealed.iter().map(|(share, (key, bytes))| {
            let share = open(share, bytes, key);
            (share.participant(), share)
        });
        refreshed(opened.collect())
    };
    let (broken, retried) = (again(), again());
    let (one, other) = (&broken[&who(1)], &retried[&who(1)]);
    assert_eq!((one.epoch(), one.key()), (other.epoch(), other.key()));
    assert_ne!(one.public().fingerprint(), other.public().fingerprint());
    let two = broken[&who(2)].public().fingerprint();
    assert_eq!(
        one.public().fingerprint(),
        two,
        "all of one sharing name it alike"
    );
    let (_, bytes) = seal(one);
    let wanted = Wanted::begin(&bytes, Identity::of(other));
    assert_eq!(
        wanted.err().expect("it is refused").rule(),
        "context.mismatch"
    );
}
