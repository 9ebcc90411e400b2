//! Sums against the plain computation, and what an enclave sees of them.

mod common;

use std::collections::BTreeMap;

use anchorhold_threshold::sum::{Gathering, Piece, split};
use anchorhold_threshold::{Group, Participant, SessionId, ThresholdError};
use common::*;
use proptest::prelude::*;
use rand_core::{TryCryptoRng, TryRng};

/// What one enclave sees: the pieces that owners gave it, and the partial sums that peers told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    pieces: Vec<Vec<u8>>,
    partials: BTreeMap<Participant, Vec<u8>>,
}

type Pieces = BTreeMap<Participant, BTreeMap<Participant, Piece>>;

/// Runs a sum over pieces by owner, and gives the result and every enclave's view.
fn run(
    group: Group,
    session: SessionId,
    pieces: &Pieces,
    values: usize,
) -> Result<(Vec<u128>, BTreeMap<Participant, View>), ThresholdError> {
    let mut views = BTreeMap::new();
    let (mut exchanging, mut mail) = (BTreeMap::new(), Mail::new());
    for me in group.members() {
        let session = session_of(group, session, me);
        let mut gathering = Gathering::begin(session, values)?;
        for (owner, given) in pieces {
            gathering.add(*owner, &given[&me])?;
        }
        let seen = pieces.values().map(|given| given[&me].to_bytes().to_vec());
        let view = View {
            pieces: seen.collect(),
            partials: BTreeMap::new(),
        };
        views.insert(me, view);
        let (state, send) = gathering.exchange()?;
        post(&mut mail, me, send);
        exchanging.insert(me, state);
    }
    for (from, to, bytes) in mail {
        exchanging.get_mut(&to).unwrap().receive(from, &bytes)?;
        let view: &mut View = views.get_mut(&to).unwrap();
        view.partials.insert(from, bytes);
    }
    let results: Result<Vec<_>, _> = exchanging.into_values().map(|s| s.finish()).collect();
    let results = results?;
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    Ok((results[0].clone(), views))
}

fn session_of(group: Group, id: SessionId, me: Participant) -> anchorhold_threshold::Session {
    anchorhold_threshold::Session::new(group, id, Default::default(), None, me).unwrap()
}

/// Randomness that is written down beforehand: what re-simulation needs.
struct Script(Vec<u128>, usize);

impl TryRng for Script {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("pieces are drawn as bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("pieces are drawn as bytes")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.copy_from_slice(&self.0[self.1].to_be_bytes());
        self.1 += 1;
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// Splits each owner's value with the randomness that is written down for it.
fn scripted(group: Group, values: &[u128], randomness: &[Vec<u128>]) -> Pieces {
    let owners = group.members().into_iter().zip(values).zip(randomness);
    owners
        .map(|((owner, value), random)| {
            let mut script = Script(random.clone(), 0);
            (owner, split(&group, &[*value], &mut script).unwrap())
        })
        .collect()
}

/// The randomness under which `other` looks, to everybody but `blind`, as `value` does under
/// `random`. Pieces 1 to n − 1 are the random numbers; the last is what is missing.
fn resimulated(random: &[u128], value: u128, other: u128, blind: usize) -> Vec<u128> {
    let mut random = random.to_vec();
    if let Some(piece) = random.get_mut(blind) {
        // The unseen piece takes the difference, so that the last stays what it was.
        *piece = piece.wrapping_add(other).wrapping_sub(value);
    }
    random
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_sum_is_the_plain_sum(
        inputs in proptest::collection::vec(
            proptest::collection::vec(any::<u128>(), 3), 2..6),
    ) {
        let group = Group::new(2, u16::try_from(inputs.len()).unwrap(), CONTEXT).unwrap();
        let owners = group.members().into_iter().zip(&inputs);
        let pieces: Pieces = owners
            .map(|(owner, values)| (owner, split(&group, values, &mut rng()).unwrap()))
            .collect();
        let id = SessionId::generate(&mut rng());
        let (sums, _) = run(group, id, &pieces, 3).unwrap();
        for (column, sum) in sums.iter().enumerate() {
            let plain = inputs.iter().fold(0_u128, |sum, row| sum.wrapping_add(row[column]));
            prop_assert_eq!(*sum, plain);
        }
    }

    /// Before the exchange, all enclaves but one see the same pieces whatever the inputs are: for
    /// any other inputs there is randomness, found by a bijection, under which they see just this.
    #[test]
    fn all_pieces_but_one_are_independent_of_the_inputs(
        values in proptest::array::uniform3(any::<u128>()),
        others in proptest::array::uniform3(any::<u128>()),
        randomness in proptest::array::uniform3(proptest::collection::vec(any::<u128>(), 2)),
        blind in 0_usize..3,
    ) {
        let group = group();
        let again: Vec<_> = (0..3)
            .map(|owner| resimulated(&randomness[owner], values[owner], others[owner], blind))
            .collect();
        let first = scripted(group, &values, &randomness);
        let second = scripted(group, &others, &again);
        for owner in group.members() {
            for enclave in group.members().into_iter().filter(|e| e.number() != blind as u16 + 1) {
                prop_assert!(first[&owner][&enclave] == second[&owner][&enclave]);
            }
        }
    }

    /// With the exchange, an enclave's whole view is the same for all inputs of one sum.
    #[test]
    fn a_whole_view_tells_the_sum_and_no_more(
        values in proptest::array::uniform3(any::<u128>()),
        shift in proptest::array::uniform2(any::<u128>()),
        randomness in proptest::array::uniform3(proptest::collection::vec(any::<u128>(), 2)),
        watcher in 0_usize..3,
    ) {
        let group = group();
        // Other inputs with the same sum.
        let others = [
            values[0].wrapping_add(shift[0]),
            values[1].wrapping_add(shift[1]),
            values[2].wrapping_sub(shift[0]).wrapping_sub(shift[1]),
        ];
        // The difference goes into a piece that the watcher does not see; over all owners the
        // differences cancel, so that this enclave's partial sum is the same too.
        let blind = (watcher + 1) % 3;
        let again: Vec<_> = (0..3)
            .map(|owner| resimulated(&randomness[owner], values[owner], others[owner], blind))
            .collect();
        let id = SessionId::from_bytes([9; 32]);
        let (sum, first) = run(group, id, &scripted(group, &values, &randomness), 1).unwrap();
        let (same, second) = run(group, id, &scripted(group, &others, &again), 1).unwrap();
        let watcher = who(watcher as u16 + 1);
        prop_assert_eq!(sum, same);
        prop_assert_eq!(&first[&watcher], &second[&watcher]);
    }
}

#[test]
fn every_owner_counts_exactly_once() {
    let group = group();
    let id = SessionId::generate(&mut rng());
    let pieces = split(&group, &[5, 6], &mut rng()).unwrap();
    let mut gathering = Gathering::begin(session_of(group, id, who(1)), 2).unwrap();
    let piece = &pieces[&who(1)];
    gathering.add(who(1), piece).unwrap();
    let again = gathering.add(who(1), piece).unwrap_err();
    assert_eq!(again.rule(), "message.duplicate");
    let stranger = gathering.add(who(4), piece).unwrap_err();
    assert_eq!(stranger.rule(), "participant.member");
    let short = Piece::from_bytes(&[0; 16]).unwrap();
    assert_eq!(
        gathering.add(who(2), &short).unwrap_err().rule(),
        "sum.values"
    );
    gathering.add(who(2), piece).unwrap();
    let early = gathering.exchange().map(drop).unwrap_err();
    assert_eq!(early.rule(), "round.incomplete");
}

#[test]
fn vectors_have_a_length() {
    assert_eq!(
        split(&group(), &[], &mut rng())
            .map(drop)
            .unwrap_err()
            .rule(),
        "sum.values"
    );
    let many = vec![0; anchorhold_threshold::limits::MAX_VALUES + 1];
    assert_eq!(
        split(&group(), &many, &mut rng())
            .map(drop)
            .unwrap_err()
            .rule(),
        "sum.values"
    );
    for length in [0, 15, 17] {
        let refused = Piece::from_bytes(&vec![0; length]).map(drop).unwrap_err();
        assert_eq!(refused.rule(), "sum.values");
    }
    let most = vec![u128::MAX; anchorhold_threshold::limits::MAX_VALUES];
    let group = group();
    let owners = group.members().into_iter();
    let pieces = owners.map(|owner| (owner, split(&group, &most, &mut rng()).unwrap()));
    let id = SessionId::generate(&mut rng());
    let (sums, _) = run(group, id, &pieces.collect(), most.len()).unwrap();
    assert!(sums.iter().all(|sum| *sum == u128::MAX - 2));
}
