//! What hosts and participants may try, and the rule that refuses it.

mod common;

use std::collections::BTreeMap;

use anchorhold_threshold::repair::{Helping, Lost};
use anchorhold_threshold::sign::{Committed, Proposing, Request};
use anchorhold_threshold::{
    Epoch, Group, Outgoing, Participant, Session, SessionId, Share, ThresholdError, dkg, refresh,
};
use common::*;

type Begun = BTreeMap<Participant, (dkg::Committing, Vec<Outgoing>)>;

fn begun(sessions: BTreeMap<Participant, Session>) -> Begun {
    let begin = |session| dkg::begin(session, &mut rng()).unwrap();
    sessions.into_iter().map(|(me, s)| (me, begin(s))).collect()
}

fn outbox(begun: &mut Begun) -> Mail {
    let mut mail = Mail::new();
    for (me, (_, send)) in begun {
        post(&mut mail, *me, std::mem::take(send));
    }
    mail
}

fn rule(result: Result<impl Sized, ThresholdError>) -> &'static str {
    result.map(drop).expect_err("it is refused").rule()
}

#[test]
fn groups_and_participants_that_cannot_be() {
    for (t, n) in [(0, 3), (1, 3), (4, 3), (2, 33), (2, 1)] {
        assert_eq!(rule(Group::new(t, n, CONTEXT)), "group.size", "{t} of {n}");
    }
    assert_eq!(rule(Participant::new(0)), "participant.number");
    assert_eq!(rule(Participant::new(33)), "participant.number");
    let id = SessionId::generate(&mut rng());
    let stranger = Session::new(group(), id, Epoch::NONE, None, who(4));
    assert_eq!(rule(stranger), "participant.member");
}

#[test]
fn a_message_counts_once_from_its_sender_to_its_recipient_in_its_round() {
    let mut begun = begun(fresh(group()));
    let mail = outbox(&mut begun);
    let state = &mut begun.get_mut(&who(1)).unwrap().0;
    let good = one(&mail, 2, 1).to_vec();
    // Participant 3's channel brings what participant 2 wrote.
    assert_eq!(rule(state.receive(who(3), &good)), "message.sender");
    // A message to participant 3.
    assert_eq!(
        rule(state.receive(who(2), one(&mail, 2, 3))),
        "message.recipient"
    );
    // From outside of the group, and from oneself.
    assert_eq!(rule(state.receive(who(4), &good)), "participant.member");
    assert_eq!(rule(state.receive(who(1), &good)), "participant.member");
    assert!(!state.is_complete());
    // What was refused changed nothing: the good one is taken, and then not again.
    state.receive(who(2), &good).unwrap();
    assert_eq!(rule(state.receive(who(2), &good)), "message.duplicate");
    assert!(!state.is_complete());
    let state = begun.remove(&who(1)).unwrap().0;
    assert_eq!(rule(state.deal()), "round.incomplete");
}

#[test]
fn messages_of_another_run_group_or_epoch_are_refused() {
    let mut first = begun(fresh(group()));
    let mut second = begun(fresh(group()));
    let (replayed, _) = (outbox(&mut first), outbox(&mut second));
    let state = &mut second.get_mut(&who(1)).unwrap().0;
    let refused = state.receive(who(2), one(&replayed, 2, 1));
    assert_eq!(rule(refused), "message.session");

    let other = Group::two_of_three([8; 48]);
    let mut third = begun(fresh(other));
    let mail = outbox(&mut third);
    assert_eq!(
        rule(state.receive(who(2), one(&mail, 2, 1))),
        "message.group"
    );
    // Key generation says nothing to a refresh, nor a refresh to key generation.
    let shares = generate(group());
    let id = SessionId::generate(&mut rng());
    let mut refreshes = BTreeMap::new();
    for (me, share) in shares {
        let begun = refresh::begin(about(&share, id), share, &mut rng()).unwrap();
        refreshes.insert(me, begun);
    }
    let mail = outbox(&mut refreshes);
    assert_eq!(
        rule(state.receive(who(2), one(&mail, 2, 1))),
        "message.group"
    );
}

#[test]
fn reordered_rounds_are_refused() {
    let mut begun = begun(fresh(group()));
    let mail = outbox(&mut begun);
    let mut states: BTreeMap<_, _> = begun.into_iter().map(|(me, (s, _))| (me, s)).collect();
    for (from, to, bytes) in &mail {
        states.get_mut(to).unwrap().receive(*from, bytes).unwrap();
    }
    let second = states.remove(&who(2)).unwrap();
    let (_, dealt) = second.deal().unwrap();
    let mut parts = Mail::new();
    post(&mut parts, who(2), dealt);
    // A part before the commitments are dealt with; a commitment where parts are waited for.
    let first = states.get_mut(&who(1)).unwrap();
    assert_eq!(
        rule(first.receive(who(2), one(&parts, 2, 1))),
        "message.order"
    );
    let (mut first, _) = states.remove(&who(1)).unwrap().deal().unwrap();
    assert_eq!(
        rule(first.receive(who(2), one(&mail, 2, 1))),
        "message.order"
    );
    first.receive(who(2), one(&parts, 2, 1)).unwrap();
    assert_eq!(
        rule(first.receive(who(2), one(&parts, 2, 1))),
        "message.duplicate"
    );
}

#[test]
fn a_proof_of_somebody_else_s_secret_names_the_culprit() {
    let mut begun = begun(fresh(group()));
    let mail = outbox(&mut begun);
    // Participant 2 sends participant 1's commitment and proof as its own: it does not know the
    // secret, and the proof is bound to the number of the one who made it.
    let stolen = patched(one(&mail, 1, 3), b"from", &[1], &[2]);
    let mut state = begun.remove(&who(3)).unwrap().0;
    state.receive(who(1), one(&mail, 1, 3)).unwrap();
    state.receive(who(2), &stolen).unwrap();
    let refused = state.deal().map(drop).unwrap_err();
    assert_eq!(refused.rule(), "dkg.proof");
    assert_eq!(refused.culprits(), [who(2)]);
}

#[test]
fn commitments_of_another_degree_or_no_points_name_the_culprit() {
    let three = Group::new(3, 3, CONTEXT).unwrap();
    let sessions = fresh(group());
    let id = sessions[&who(1)].id();
    let mut honest = begun(sessions);
    let mail = outbox(&mut honest);
    // The same run with a threshold of three.
    let session = Session::new(three, id, Epoch::NONE, None, who(2)).unwrap();
    let (_, send) = dkg::begin(session, &mut rng()).unwrap();
    let mut longer = Mail::new();
    post(&mut longer, who(2), send);
    let mut state = honest.remove(&who(1)).unwrap().0;
    state.receive(who(2), one(&longer, 2, 1)).unwrap();
    state.receive(who(3), one(&mail, 3, 1)).unwrap();
    let refused = state.deal().map(drop).unwrap_err();
    assert_eq!(refused.rule(), "dkg.commitment");
    assert_eq!(refused.culprits(), [who(2)]);
}

/// Runs round 1 and gives all states of round 2 with their mail.
fn dealing(begun: Begun) -> (BTreeMap<Participant, dkg::Dealing>, Mail) {
    let mut begun = begun;
    let mail = outbox(&mut begun);
    for (from, to, bytes) in &mail {
        begun.get_mut(to).unwrap().0.receive(*from, bytes).unwrap();
    }
    let (mut states, mut parts) = (BTreeMap::new(), Mail::new());
    for (me, (state, _)) in begun {
        let (state, send) = state.deal().unwrap();
        post(&mut parts, me, send);
        states.insert(me, state);
    }
    (states, parts)
}

#[test]
fn a_wrong_part_names_the_culprit() {
    let (mut states, parts) = dealing(begun(fresh(group())));
    let mut state = states.remove(&who(1)).unwrap();
    // Participant 2 deals the part that is participant 3's.
    let wrong = patched(one(&parts, 2, 3), b"to", &[3], &[1]);
    state.receive(who(2), &wrong).unwrap();
    state.receive(who(3), one(&parts, 3, 1)).unwrap();
    let refused = state.confirm().map(drop).unwrap_err();
    assert_eq!(refused.rule(), "dkg.share");
    assert_eq!(refused.culprits(), [who(2)]);
}

#[test]
fn a_dealer_that_tells_two_things_is_caught() {
    let sessions = fresh(group());
    // Participant 2 runs twice under one number and shows each peer another run.
    let mut honest = begun(sessions.clone());
    let mut double = begun(sessions);
    let (mail, other) = (outbox(&mut honest), outbox(&mut double));
    let mut first = honest.remove(&who(1)).unwrap().0;
    let mut third = honest.remove(&who(3)).unwrap().0;
    first.receive(who(2), one(&mail, 2, 1)).unwrap();
    first.receive(who(3), one(&mail, 3, 1)).unwrap();
    third.receive(who(2), one(&other, 2, 3)).unwrap();
    third.receive(who(1), one(&mail, 1, 3)).unwrap();
    let (mut first, _) = first.deal().unwrap();
    let (_, send) = third.deal().unwrap();
    let mut parts = Mail::new();
    post(&mut parts, who(3), send);
    first.receive(who(3), one(&parts, 3, 1)).unwrap();
    let mut second = honest.remove(&who(2)).unwrap().0;
    second.receive(who(1), one(&mail, 1, 2)).unwrap();
    second.receive(who(3), one(&mail, 3, 2)).unwrap();
    let (_, send) = second.deal().unwrap();
    post(&mut parts, who(2), send);
    first.receive(who(2), one(&parts, 2, 1)).unwrap();
    assert_eq!(rule(first.confirm()), "dkg.broadcast");
}

#[test]
fn no_share_without_every_confirmation() {
    let (mut states, parts) = dealing(begun(fresh(group())));
    for (from, to, bytes) in &parts {
        states.get_mut(to).unwrap().receive(*from, bytes).unwrap();
    }
    let (mut confirming, mut mail) = (BTreeMap::new(), Mail::new());
    for (me, state) in states {
        let (state, send) = state.confirm().unwrap();
        post(&mut mail, me, send);
        confirming.insert(me, state);
    }
    let mut first = confirming.remove(&who(1)).unwrap();
    first.receive(who(2), one(&mail, 2, 1)).unwrap();
    assert_eq!(rule(first.finish()), "round.incomplete");
    let mut second = confirming.remove(&who(2)).unwrap();
    second.receive(who(1), one(&mail, 1, 2)).unwrap();
    // Participant 3 confirms something else: one byte of the hash.
    let good = one(&mail, 3, 2).to_vec();
    let at = good.len() - 1;
    let mut other = good;
    other[at] ^= 1;
    second.receive(who(3), &other).unwrap();
    assert_eq!(rule(second.finish()), "dkg.confirmation");
}

/// Two shares of one group: of an epoch, and of the next.
fn two_epochs() -> (BTreeMap<Participant, Share>, BTreeMap<Participant, Share>) {
    let (mut old, mut kept) = (BTreeMap::new(), BTreeMap::new());
    for (who, share) in generate(group()) {
        let (data_key, bytes) = seal(&share);
        kept.insert(who, open(&share, &bytes, &data_key));
        old.insert(who, share);
    }
    (old, refreshed(kept))
}

#[test]
fn a_share_of_an_old_epoch_does_not_sign_with_new_ones() {
    let (old, mut new) = two_epochs();
    let id = SessionId::generate(&mut rng());
    // The session is the new epoch's; the share is not.
    let (one, two) = (&new[&who(1)], &old[&who(2)]);
    let (_, requests) =
        Proposing::begin(about(one, id), one, proposal(b"m", &[1, 2]), &mut rng()).unwrap();
    let read = Request::read(about(&new[&who(2)], id), who(1), &requests[0].bytes).unwrap();
    assert_eq!(rule(read.commit(two, &mut rng())), "share.epoch");
    // The old participant's own session does not take the new epoch's request.
    let read = Request::read(about(two, id), who(1), &requests[0].bytes);
    assert_eq!(rule(read), "message.epoch");
    // A refresh of an old share is refused as well.
    let session = about(&new.remove(&who(2)).unwrap(), id);
    let mut old = old;
    let stale = old.remove(&who(2)).unwrap();
    let refused = refresh::begin(session, stale, &mut rng());
    assert_eq!(rule(refused), "share.epoch");
}

#[test]
fn an_old_share_that_lies_about_its_epoch_is_named() {
    let (old, mut new) = two_epochs();
    // A broken enclave signs with its old share in the new epoch's session: the mathematics
    // refuses, and names it.
    let id = SessionId::generate(&mut rng());
    let coordinator = new.remove(&who(1)).unwrap();
    let stale = &old[&who(2)];
    let (mut proposing, requests) = Proposing::begin(
        about(&coordinator, id),
        &coordinator,
        proposal(b"m", &[1, 2]),
        &mut rng(),
    )
    .unwrap();
    let lie = |bytes: &[u8], from: u8, to: u8| patched(bytes, b"epoch", &[from], &[to]);
    let request = lie(&requests[0].bytes, 2, 1);
    let read = Request::read(about(stale, id), who(1), &request).unwrap();
    let (committed, answer) = read.commit(stale, &mut rng()).unwrap();
    proposing
        .receive(who(2), &lie(&answer.bytes, 1, 2))
        .unwrap();
    let (mut aggregating, packages) = proposing.package(&coordinator).unwrap();
    let package = lie(&packages[0].bytes, 2, 1);
    let answer = committed.sign(who(1), &package, stale).unwrap();
    aggregating
        .receive(who(2), &lie(&answer.bytes, 1, 2))
        .unwrap();
    let refused = aggregating.finish(&coordinator).unwrap_err();
    assert_eq!(refused.rule(), "sign.share");
    assert_eq!(refused.culprits(), [who(2)]);
}

#[test]
fn a_signer_that_signs_wrongly_is_named() {
    let shares = generate(group());
    for culprit in [2, 3] {
        let refused = sign_with(&shares, &[1, 2, 3], b"m", |signer, mut bytes| {
            if signer == who(culprit) {
                // The share is the message's last field: another canonical scalar.
                let at = bytes.len() - 32;
                bytes[at] ^= 1;
            }
            bytes
        });
        let refused = refused.unwrap_err();
        assert_eq!(refused.rule(), "sign.share");
        assert_eq!(refused.culprits(), [who(culprit)]);
    }
}

/// A signer's state and the coordinator's, after commitments.
fn committed(
    shares: &BTreeMap<Participant, Share>,
    message: &[u8],
) -> (Committed, Vec<u8>, SessionId) {
    let id = SessionId::generate(&mut rng());
    let one = &shares[&who(1)];
    let (mut proposing, requests) =
        Proposing::begin(about(one, id), one, proposal(message, &[1, 2]), &mut rng()).unwrap();
    let two = &shares[&who(2)];
    let read = Request::read(about(two, id), who(1), &requests[0].bytes).unwrap();
    let (committed, answer) = read.commit(two, &mut rng()).unwrap();
    proposing.receive(who(2), &answer.bytes).unwrap();
    let (_, packages) = proposing.package(one).unwrap();
    (committed, packages[0].bytes.to_vec(), id)
}

#[test]
fn a_signer_signs_its_own_commitment_in_its_own_session_only() {
    let shares = generate(group());
    let two = &shares[&who(2)];
    let (state, _, _) = committed(&shares, b"one");
    let (other, package, _) = committed(&shares, b"one");
    // The package of another run of the same message: other nonces, another session.
    assert_eq!(rule(state.sign(who(1), &package, two)), "message.session");
    assert_eq!(
        rule(other.sign(who(3), &package, two)),
        "participant.member"
    );
    // Its own session, but its own commitment replaced.
    let (state, package, _) = committed(&shares, b"one");
    let mut replaced = package.clone();
    let at = package.len() - 1;
    replaced[at] ^= 1;
    assert_eq!(rule(state.sign(who(1), &replaced, two)), "sign.commitments");
}

#[test]
fn signers_that_cannot_sign_are_not_asked() {
    let shares = generate(group());
    let one = &shares[&who(1)];
    let id = SessionId::generate(&mut rng());
    for signers in [&[1][..], &[2, 3], &[1, 4], &[]] {
        let proposal = proposal(b"m", signers);
        let refused = Proposing::begin(about(one, id), one, proposal, &mut rng());
        assert_eq!(rule(refused), "sign.signers", "{signers:?}");
    }
    let long = proposal(
        &vec![0; anchorhold_threshold::limits::MAX_SIGNED + 1],
        &[1, 2],
    );
    let refused = Proposing::begin(about(one, id), one, long, &mut rng());
    assert_eq!(rule(refused), "sign.length");
    // A request that leaves its reader out.
    let (_, requests) =
        Proposing::begin(about(one, id), one, proposal(b"m", &[1, 3]), &mut rng()).unwrap();
    let bytes = patched(&requests[0].bytes, b"to", &[3], &[2]);
    let read = Request::read(about(&shares[&who(2)], id), who(1), &bytes);
    assert_eq!(rule(read), "sign.signers");
}

#[test]
fn helpers_that_lie_do_not_repair() {
    let shares = generate(group());
    let others = generate(group());
    let id = SessionId::generate(&mut rng());
    let helpers = set(&[1, 3]);
    let begin = |shares: &BTreeMap<Participant, Share>| {
        let mut lost = Lost::begin(about(&shares[&who(2)], id), &helpers).unwrap();
        let help = |me| {
            let share: &Share = &shares[&who(me)];
            Helping::begin(about(share, id), share, &helpers, who(2), &mut rng()).unwrap()
        };
        let ((mut one, to_three), (mut three, to_one)) = (help(1), help(3));
        one.receive(who(3), &to_one[0].bytes).unwrap();
        three.receive(who(1), &to_three[0].bytes).unwrap();
        let (one, three) = (one.finish().unwrap(), three.finish().unwrap());
        lost.receive(who(1), &one.bytes).unwrap();
        (lost, three.bytes.to_vec())
    };
    // A sum that is off by a bit.
    let (mut lost, sum) = begin(&shares);
    let key = shares[&who(1)].key().0;
    let at = position(&sum, b"sum") + 2;
    let mut wrong = sum.clone();
    wrong[at] ^= 1;
    lost.receive(who(3), &wrong).unwrap();
    assert_eq!(rule(lost.finish()), "repair.share");
    // Public shares of another key, said to be this one's.
    let (mut lost, _) = begin(&shares);
    let (_, mut foreign) = begin(&others);
    let at = position(&foreign, b"key") + 2;
    foreign[at..at + 32].copy_from_slice(&key);
    lost.receive(who(3), &foreign).unwrap();
    assert_eq!(rule(lost.finish()), "repair.public-shares");
    // A helper's message under another helper's name, and one helper alone.
    let (mut lost, _) = begin(&shares);
    assert_eq!(rule(lost.receive(who(1), &foreign)), "message.sender");
    assert_eq!(rule(lost.finish()), "round.incomplete");
}

#[test]
fn bytes_that_are_no_message() {
    let mut begun = begun(fresh(group()));
    let mail = outbox(&mut begun);
    let state = &mut begun.get_mut(&who(1)).unwrap().0;
    let good = one(&mail, 2, 1).to_vec();
    let long = vec![0; anchorhold_threshold::limits::MAX_MESSAGE + 1];
    assert_eq!(rule(state.receive(who(2), &long)), "message.length");
    assert_eq!(rule(state.receive(who(2), &[])), "message.encoding");
    let trailing = [&good[..], &[0]].concat();
    assert_eq!(rule(state.receive(who(2), &trailing)), "message.encoding");
    // The same value in a longer form (RFC 8949 §4.2.1): version 1 in two bytes.
    let at = position(&good, b"version");
    let longer = [&good[..at], &[0x18, 1], &good[at + 1..]].concat();
    assert_eq!(rule(state.receive(who(2), &longer)), "message.encoding");
    let newer = patched(&good, b"version", &[1], &[2]);
    assert_eq!(rule(state.receive(who(2), &newer)), "message.version");
    for length in 0..good.len() {
        assert_eq!(
            rule(state.receive(who(2), &good[..length])),
            "message.encoding"
        );
    }
    state.receive(who(2), &good).unwrap();
}

/// Where the value of a field begins.
fn position(bytes: &[u8], field: &[u8]) -> usize {
    let head = [&[0x60 + u8::try_from(field.len()).unwrap()], field].concat();
    let found = bytes.windows(head.len()).position(|window| window == head);
    found.expect("the field is there") + head.len()
}

/// The message with another value in a field of one small number.
fn patched(bytes: &[u8], field: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = position(bytes, field);
    let mut patched = bytes.to_vec();
    assert_eq!(&patched[at..at + from.len()], from);
    patched[at..at + to.len()].copy_from_slice(to);
    patched
}
