//! Whole ceremonies among honest participants, for several group sizes.

mod common;

use std::collections::BTreeMap;

use anchorhold_threshold::repair::{Helping, Lost};
use anchorhold_threshold::{Epoch, Group, Participant, SessionId, Share, ThresholdError};
use common::*;

#[test]
fn every_pair_signs_and_an_ordinary_verifier_takes_it() {
    let shares = generate(group());
    let key = shares[&who(1)].key().0;
    for pair in [[1, 2], [1, 3], [2, 3], [2, 1], [3, 1], [3, 2]] {
        let signature = sign(&shares, &pair, b"a transfer");
        assert!(verifies(&key, b"a transfer", &signature), "{pair:?}");
        assert!(!verifies(&key, b"another transfer", &signature));
    }
    let all = sign(&shares, &[2, 1, 3], b"");
    assert!(verifies(&key, b"", &all));
}

#[test]
fn groups_of_other_sizes_sign_too() {
    for (threshold, participants) in [(2, 2), (3, 3), (3, 5), (2, 4)] {
        let group = Group::new(threshold, participants, CONTEXT).unwrap();
        let shares = generate(group);
        let signers: Vec<_> = (1..=threshold).collect();
        let signature = sign(&shares, &signers, b"m");
        let key = shares[&who(1)].key().0;
        assert!(
            verifies(&key, b"m", &signature),
            "{threshold} of {participants}"
        );
    }
}

#[test]
fn a_refresh_keeps_the_key_and_changes_every_share() {
    let shares = generate(group());
    let key = shares[&who(1)].key();
    let points = |shares: &BTreeMap<Participant, Share>| {
        let public = shares[&who(1)].public();
        [1, 2, 3].map(|number| *public.point(who(number)).unwrap())
    };
    let old = points(&shares);
    let shares = refreshed(shares);
    let shares = refreshed(shares);
    let new = points(&shares);
    assert!(old.iter().zip(&new).all(|(old, new)| old != new));
    for share in shares.values() {
        assert_eq!((share.key(), share.epoch()), (key, Epoch(3)));
    }
    assert!(verifies(&key.0, b"m", &sign(&shares, &[1, 3], b"m")));
}

/// Repairs a share from helpers.
fn repaired(
    shares: &BTreeMap<Participant, Share>,
    helpers: &[u16],
    lost: u16,
) -> Result<Share, ThresholdError> {
    let id = SessionId::generate(&mut rng());
    let any = &shares[&who(helpers[0])];
    let (helpers, lost) = (set(helpers), who(lost));
    let session = anchorhold_threshold::Session::new(
        *any.public().group(),
        id,
        any.epoch(),
        Some(any.key().0),
        lost,
    )?;
    let mut waiting = Lost::begin(session, &helpers)?;
    let mut mail = Mail::new();
    let mut helping = BTreeMap::new();
    for helper in &helpers {
        let share = &shares[helper];
        let session = about(share, id);
        let (state, send) = Helping::begin(session, share, &helpers, lost, &mut rng())?;
        post(&mut mail, *helper, send);
        helping.insert(*helper, state);
    }
    for (from, to, bytes) in mail {
        helping.get_mut(&to).unwrap().receive(from, &bytes)?;
    }
    for (helper, state) in helping {
        assert!(state.is_complete());
        let sum = state.finish()?;
        assert_eq!(sum.to, lost);
        waiting.receive(helper, &sum.bytes)?;
    }
    assert!(waiting.is_complete());
    waiting.finish()
}

#[test]
fn a_lost_share_comes_back_and_signs() {
    let mut shares = refreshed(generate(group()));
    let lost = shares.remove(&who(2)).unwrap();
    let point = *lost.public().point(who(2)).unwrap();
    drop(lost);
    let share = repaired(&shares, &[1, 3], 2).unwrap();
    assert_eq!(share.epoch(), Epoch(2));
    assert_eq!(share.public().point(who(2)), Some(&point));
    let key = share.key().0;
    shares.insert(who(2), share);
    for pair in [[1, 2], [2, 3]] {
        assert!(verifies(&key, b"m", &sign(&shares, &pair, b"m")));
    }
    // And it can be refreshed with the others.
    let shares = refreshed(shares);
    assert!(verifies(&key, b"m", &sign(&shares, &[2, 1], b"m")));
}

#[test]
fn three_of_five_help_and_two_do_not_suffice() {
    let mut shares = generate(Group::new(3, 5, CONTEXT).unwrap());
    shares.remove(&who(4)).unwrap();
    let share = repaired(&shares, &[1, 2, 5], 4).unwrap();
    let key = share.key().0;
    shares.insert(who(4), share);
    assert!(verifies(&key, b"m", &sign(&shares, &[4, 3, 5], b"m")));
    let refused = repaired(&shares, &[1, 2], 4).map(drop).unwrap_err();
    assert_eq!(refused.rule(), "repair.helpers");
    let refused = repaired(&shares, &[1, 2, 4], 4).map(drop).unwrap_err();
    assert_eq!(refused.rule(), "repair.helpers");
}

#[test]
fn a_mixture_of_epochs_does_not_repair() {
    let first = generate(group());
    let sealed: Vec<_> = first.into_iter().collect();
    let (mut old, mut kept) = (BTreeMap::new(), BTreeMap::new());
    for (who, share) in sealed {
        let (data_key, bytes) = seal(&share);
        kept.insert(who, open(&share, &bytes, &data_key));
        old.insert(who, share);
    }
    let new = refreshed(kept);
    let mut mixed = new;
    mixed.insert(who(3), old.remove(&who(3)).unwrap());
    let refused = repaired(&mixed, &[1, 3], 2).map(drop).unwrap_err();
    assert_eq!(refused.rule(), "message.epoch");
}
