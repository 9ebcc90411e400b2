//! Plays arbitrary bytes as a peer's message, in every round of every ceremony.
//!
//! The first byte says which round is fed. The second says whether what follows is the message
//! itself, or is laid over the genuine one at an offset, which gets past group, session and sender
//! to what the body says. Whatever comes, no round panics, one peer's message counts once, and a
//! round that refused it takes the genuine one still.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use anchorhold_threshold::repair::{Helping, Lost};
use anchorhold_threshold::seal::{Identity, Wanted};
use anchorhold_threshold::sign::{Proposal, Proposing, Request};
use anchorhold_threshold::sum::{self, Gathering, Piece};
use anchorhold_threshold::{
    Epoch, Group, Outgoing, Participant, Session, SessionId, Share, ThresholdError, dkg,
};
use libfuzzer_sys::fuzz_target;
use rand_core::{TryCryptoRng, TryRng};

/// A generator that is no good, and the same in every run.
struct Counting(u64);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| (word >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        // SplitMix64's step.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Ok(word ^ (word >> 31))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for part in target.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

fn who(number: u16) -> Participant {
    Participant::new(number).expect("a participant")
}

fn set(numbers: &[u16]) -> BTreeSet<Participant> {
    numbers.iter().copied().map(who).collect()
}

fn group() -> Group {
    Group::two_of_three([7; 48])
}

fn rng(number: u16) -> Counting {
    Counting(u64::from(number))
}

fn fresh(number: u16) -> Session {
    let id = SessionId::from_bytes([5; 32]);
    Session::new(group(), id, Epoch::NONE, None, who(number)).expect("a member")
}

fn about(share: &Share) -> Session {
    let id = SessionId::from_bytes([6; 32]);
    let key = Some(share.key().0);
    Session::new(group(), id, share.epoch(), key, share.participant()).expect("a member")
}

fn to(messages: &[Outgoing], number: u16) -> &[u8] {
    let message = messages.iter().find(|message| message.to == who(number));
    &message.expect("a message to each").bytes
}

/// All messages of a key generation, and its shares.
struct Made {
    rounds: [BTreeMap<u16, Vec<Outgoing>>; 3],
    shares: BTreeMap<u16, Share>,
}

fn make() -> Made {
    let mut rounds = [const { BTreeMap::new() }; 3];
    let mut committing = BTreeMap::new();
    for number in 1..=3 {
        let (state, send) = dkg::begin(fresh(number), &mut rng(number)).expect("begun");
        rounds[0].insert(number, send);
        committing.insert(number, state);
    }
    let mut dealing = BTreeMap::new();
    for (number, mut state) in committing {
        for (from, send) in rounds[0].iter().filter(|(from, _)| **from != number) {
            state
                .receive(who(*from), to(send, number))
                .expect("genuine");
        }
        dealing.insert(number, state.deal().expect("genuine"));
    }
    let mut confirming = BTreeMap::new();
    for (number, (state, send)) in dealing {
        rounds[1].insert(number, send);
        confirming.insert(number, state);
    }
    let mut last = BTreeMap::new();
    for (number, mut state) in confirming {
        for (from, send) in rounds[1].iter().filter(|(from, _)| **from != number) {
            state
                .receive(who(*from), to(send, number))
                .expect("genuine");
        }
        last.insert(number, state.confirm().expect("genuine"));
    }
    let mut shares = BTreeMap::new();
    let mut waiting = BTreeMap::new();
    for (number, (state, send)) in last {
        rounds[2].insert(number, send);
        waiting.insert(number, state);
    }
    for (number, mut state) in waiting {
        for (from, send) in rounds[2].iter().filter(|(from, _)| **from != number) {
            state
                .receive(who(*from), to(send, number))
                .expect("genuine");
        }
        shares.insert(number, state.finish().expect("genuine"));
    }
    Made { rounds, shares }
}

thread_local! {
    static MADE: Made = make();
}

/// The message that the input stands for, given the genuine one.
fn message(input: &[u8], genuine: &[u8]) -> Vec<u8> {
    match input {
        [mode, high, low, over @ ..] if mode & 1 == 1 => {
            let mut bytes = genuine.to_vec();
            let at = usize::from(u16::from_be_bytes([*high, *low]));
            let rest = bytes.iter_mut().skip(at);
            rest.zip(over).for_each(|(byte, over)| *byte = *over);
            bytes
        }
        [_, bytes @ ..] => bytes.to_vec(),
        [] => Vec::new(),
    }
}

/// Feeds a round the input, and after a refusal the genuine message. Says which it took.
fn feed(
    input: &[u8],
    genuine: &[u8],
    mut receive: impl FnMut(&[u8]) -> Result<(), ThresholdError>,
) -> bool {
    let forged = message(input, genuine);
    let taken = receive(&forged).is_ok();
    assert_eq!(
        receive(genuine).is_ok(),
        !taken,
        "once, and after a refusal still"
    );
    taken && forged != genuine
}

fn generation(made: &Made, round: usize, input: &[u8]) {
    let [first, second, third] = &made.rounds;
    let (mut state, _) = dkg::begin(fresh(1), &mut rng(1)).expect("begun");
    state.receive(who(3), to(&first[&3], 1)).expect("genuine");
    if round == 0 {
        feed(input, to(&first[&2], 1), |bytes| {
            state.receive(who(2), bytes)
        });
        let _ = state.deal();
        return;
    }
    state.receive(who(2), to(&first[&2], 1)).expect("genuine");
    let (mut state, _) = state.deal().expect("genuine");
    state.receive(who(3), to(&second[&3], 1)).expect("genuine");
    if round == 1 {
        let forged = feed(input, to(&second[&2], 1), |bytes| {
            state.receive(who(2), bytes)
        });
        assert!(!forged || state.confirm().is_err(), "a wrong part is used");
        return;
    }
    state.receive(who(2), to(&second[&2], 1)).expect("genuine");
    let (mut state, _) = state.confirm().expect("genuine");
    state.receive(who(3), to(&third[&3], 1)).expect("genuine");
    let forged = feed(input, to(&third[&2], 1), |bytes| {
        state.receive(who(2), bytes)
    });
    assert!(
        !forged || state.finish().is_err(),
        "a wrong confirmation counts"
    );
}

fn proposal() -> Proposal {
    Proposal {
        message: b"pay".to_vec(),
        signers: set(&[1, 2]),
        approvals: BTreeMap::new(),
    }
}

fn signing(made: &Made, round: usize, input: &[u8]) {
    let (one, two) = (&made.shares[&1], &made.shares[&2]);
    let begun = Proposing::begin(about(one), one, proposal(), &mut rng(11));
    let (mut proposing, requests) = begun.expect("begun");
    let request = to(&requests, 2);
    if round == 0 {
        let asked = Request::read(about(two), who(1), &message(input, request));
        let _ = asked.map(|asked| asked.commit(two, &mut rng(12)));
        return;
    }
    let asked = Request::read(about(two), who(1), request).expect("genuine");
    let (committed, answer) = asked.commit(two, &mut rng(12)).expect("genuine");
    if round == 1 {
        let receive = |bytes: &[u8]| proposing.receive(who(2), bytes);
        feed(input, &answer.bytes, receive);
        let _ = proposing.package(one);
        return;
    }
    proposing.receive(who(2), &answer.bytes).expect("genuine");
    let (mut aggregating, packages) = proposing.package(one).expect("genuine");
    let package = to(&packages, 2);
    if round == 2 {
        let _ = committed.sign(who(1), &message(input, package), two);
        return;
    }
    let share = committed.sign(who(1), package, two).expect("genuine");
    let forged = feed(input, &share.bytes, |bytes| {
        aggregating.receive(who(2), bytes)
    });
    let signature = aggregating.finish(one);
    assert_eq!(
        signature.is_err(),
        forged,
        "a wrong share makes no signature"
    );
}

fn repairing(made: &Made, round: usize, input: &[u8]) {
    let helpers = set(&[1, 3]);
    let begin = |number: u16| {
        let share = &made.shares[&number];
        let random = &mut rng(20 + number);
        Helping::begin(about(share), share, &helpers, who(2), random).expect("begun")
    };
    let ((mut one, to_three), (mut three, to_one)) = (begin(1), begin(3));
    if round == 0 {
        feed(input, to(&to_one, 1), |bytes| one.receive(who(3), bytes));
        let _ = one.finish();
        return;
    }
    one.receive(who(3), to(&to_one, 1)).expect("genuine");
    three.receive(who(1), to(&to_three, 3)).expect("genuine");
    let (one, three) = (
        one.finish().expect("genuine"),
        three.finish().expect("genuine"),
    );
    let mut lost = Lost::begin(about(&made.shares[&2]), &helpers).expect("begun");
    lost.receive(who(3), &three.bytes).expect("genuine");
    let forged = feed(input, &one.bytes, |bytes| lost.receive(who(1), bytes));
    assert!(!forged || lost.finish().is_err(), "a wrong share is taken");
}

fn adding(input: &[u8]) {
    let pieces = sum::split(&group(), &[5, 6], &mut rng(30)).expect("split");
    let exchange = |number: u16| {
        let mut gathering = Gathering::begin(fresh(number), 2).expect("begun");
        for owner in 1..=3 {
            gathering
                .add(who(owner), &pieces[&who(number)])
                .expect("one each");
        }
        gathering.exchange().expect("all are there")
    };
    let ((mut one, _), (_, two), (_, three)) = (exchange(1), exchange(2), exchange(3));
    one.receive(who(3), to(&three, 1)).expect("genuine");
    feed(input, to(&two, 1), |bytes| one.receive(who(2), bytes));
    let _ = one.finish();
}

fuzz_target!(|input: &[u8]| {
    let Some((round, input)) = input.split_first() else {
        return;
    };
    MADE.with(|made| match round % 12 {
        round @ 0..=2 => generation(made, round.into(), input),
        round @ 3..=6 => signing(made, usize::from(round) - 3, input),
        round @ 7..=8 => repairing(made, usize::from(round) - 7, input),
        9 => adding(input),
        10 => drop(Wanted::begin(input, Identity::of(&made.shares[&1]))),
        _ => {
            if let Ok(piece) = Piece::from_bytes(input) {
                assert_eq!(*piece.to_bytes(), input);
            }
        }
    });
});
