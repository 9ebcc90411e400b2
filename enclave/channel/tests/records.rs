//! Records and messages of a session.

mod common;

use anchorhold_channel::limits::{BATCH, MAX_FRAGMENT, RECORDS_PER_KEY};
use anchorhold_channel::{Opened, RecordError, Role, Session};
use common::puppet::{self, CLOSE, EVIDENCE, LAST, MORE, Puppet, Scene, evidence, user_data};
use common::{World, bodies, context, open_message, record_rule};

fn refused(session: &mut Session, frame: &[u8]) -> &'static str {
    let rule = record_rule(session.open(&frame[2..]));
    // And nothing is accepted afterwards.
    assert!(matches!(session.open(&frame[2..]), Err(RecordError::Ended)));
    rule
}

#[test]
fn a_replayed_record_is_refused() {
    let (mut a, mut b) = World::new().sessions();
    let frame = a.seal(b"pay 10").unwrap();
    assert_eq!(open_message(&mut b, &frame), b"pay 10");
    assert_eq!(refused(&mut b, &frame), "record.authentication");
}

#[test]
fn a_reordered_record_is_refused() {
    let (mut a, mut b) = World::new().sessions();
    let (_first, second) = (a.seal(b"first").unwrap(), a.seal(b"second").unwrap());
    assert_eq!(refused(&mut b, &second), "record.authentication");
}

#[test]
fn a_dropped_record_is_refused() {
    let (mut a, mut b) = World::new().sessions();
    let frames = [b"one", b"two", b"six"].map(|message| a.seal(message).unwrap());
    assert_eq!(open_message(&mut b, &frames[0]), b"one");
    let Err(error) = b.open(&frames[2][2..]) else {
        panic!("accepted");
    };
    // Evidence was number 0.
    assert_eq!(error, RecordError::Authentication { number: 2 });
    assert_eq!(error.rule(), "record.authentication");
}

#[test]
fn a_record_sent_back_or_of_another_session_is_refused() {
    let mut world = World::new();
    let (mut a, _) = world.sessions();
    let own = a.seal(b"mine").unwrap();
    assert_eq!(refused(&mut a, &own), "record.authentication");
    let (_, mut b) = world.sessions();
    let terms = world.host.terms();
    let mut other = world.pair_with(terms.clone(), terms, 1, 3).unwrap();
    let frame = other.initiator.session.seal(b"mine").unwrap();
    assert_eq!(refused(&mut b, &frame), "record.authentication");
}

#[test]
fn every_flipped_bit_of_a_record_is_refused() {
    let mut world = World::new();
    let frame = world.sessions().0.seal(b"data").unwrap();
    for bit in 16..frame.len() * 8 {
        let mut altered = frame.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let (_, mut b) = world.sessions();
        assert_eq!(
            refused(&mut b, &altered),
            "record.authentication",
            "bit {bit}"
        );
    }
}

#[test]
fn every_part_of_a_record_is_too_little() {
    let mut world = World::new();
    let frame = world.sessions().0.seal(b"data").unwrap();
    for length in 2..frame.len() {
        let (_, mut b) = world.sessions();
        let expected = match length - 2 {
            0..17 => "frame.length",
            _ => "record.authentication",
        };
        assert_eq!(refused(&mut b, &frame[..length]), expected);
    }
    let (_, mut b) = world.sessions();
    assert_eq!(refused(&mut b, &[0; 65_538]), "frame.length");
}

/// A session with a peer that seals what it likes.
fn with_puppet(world: &mut World, max_message: usize) -> (Session, Puppet) {
    let terms = world.host.terms().with_max_message(max_message);
    let truth = |scene: Scene<'_>| {
        let bound = user_data(scene.role, scene.hash, &context(), b"");
        evidence(b"", &world.b.document(Some(&bound)))
    };
    match puppet::play(Role::Responder, terms, &context(), &mut world.a, truth) {
        Ok((end, puppet)) => (end.session, puppet),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn records_of_another_kind_are_refused() {
    let mut world = World::new();
    let cases: [(&[u8], &str); 7] = [
        (&[EVIDENCE, 0, 0, 1], "record.type"),
        (&[0], "record.type"),
        (&[5, 1, 2, 3], "record.type"),
        (&[0xff], "record.type"),
        (&[MORE], "record.fragment"),
        (&[MORE, 1, 2, 3], "record.fragment"),
        (&[CLOSE, 0], "record.close"),
    ];
    for (plaintext, expected) in cases {
        let (mut session, mut puppet) = with_puppet(&mut world, 100);
        let frame = puppet.seal(plaintext);
        assert_eq!(refused(&mut session, &frame), expected, "{plaintext:?}");
    }
}

#[test]
fn a_close_record_within_a_message_is_refused() {
    let mut world = World::new();
    let (mut session, mut puppet) = with_puppet(&mut world, 1 << 20);
    let part = [&[MORE][..], &vec![7; MAX_FRAGMENT]].concat();
    let frame = puppet.seal(&part);
    assert!(matches!(session.open(&frame[2..]), Ok(Opened::Part)));
    let frame = puppet.seal(&[CLOSE]);
    assert_eq!(refused(&mut session, &frame), "record.close-within-message");
}

#[test]
fn a_message_over_the_limit_is_refused_with_the_record_that_passes_it() {
    let mut world = World::new();
    let (mut session, mut puppet) = with_puppet(&mut world, 4);
    let frame = puppet.seal(&[LAST, 1, 2, 3, 4]);
    assert_eq!(open_message(&mut session, &frame), [1, 2, 3, 4]);
    let frame = puppet.seal(&[LAST, 1, 2, 3, 4, 5]);
    assert_eq!(refused(&mut session, &frame), "message.too-long");

    let (mut session, mut puppet) = with_puppet(&mut world, 2 * MAX_FRAGMENT + 1);
    let part = [&[MORE][..], &vec![7; MAX_FRAGMENT]].concat();
    for _ in 0..2 {
        let frame = puppet.seal(&part);
        assert!(matches!(session.open(&frame[2..]), Ok(Opened::Part)));
    }
    let frame = puppet.seal(&[LAST, 1, 2]);
    let Err(RecordError::TooLong { limit, got }) = session.open(&frame[2..]) else {
        panic!("another end");
    };
    assert_eq!((limit, got), (2 * MAX_FRAGMENT + 1, 2 * MAX_FRAGMENT + 2));
}

#[test]
fn nothing_follows_a_close_record() {
    let (mut a, mut b) = World::new().sessions();
    let close = a.close().unwrap();
    assert!(matches!(a.seal(b"more"), Err(RecordError::Ended)));
    assert!(matches!(a.close(), Err(RecordError::Ended)));
    assert!(matches!(b.open(&close[2..]), Ok(Opened::Closed)));
    // The other direction is not over.
    let frame = b.seal(b"still here").unwrap();
    assert_eq!(open_message(&mut a, &frame), b"still here");
    assert_eq!(refused(&mut b, &close), "record.after-close");
}

#[test]
fn frames_are_handed_over_whole_and_several_at_once() {
    let (a, _) = World::new().sessions();
    let (mut sealer, _) = a.split();
    let cases: [(usize, &[usize]); 5] = [
        (0, &[1]),
        (MAX_FRAGMENT + 1, &[2]),
        (4 * MAX_FRAGMENT, &[4]),
        (4 * MAX_FRAGMENT + 1, &[4, 1]),
        (9 * MAX_FRAGMENT, &[4, 4, 1]),
    ];
    for (size, expected) in cases {
        let mut counts = Vec::new();
        let sealed = sealer.seal_with(&vec![7; size], |frames| {
            assert!(frames.len() <= BATCH);
            counts.push(bodies(frames).len());
            Ok::<(), RecordError>(())
        });
        assert_eq!((sealed, counts.as_slice()), (Ok(()), expected));
    }
}

#[test]
fn a_message_that_was_not_sent_whole_ends_the_direction() {
    let (a, _) = World::new().sessions();
    let (mut sealer, _) = a.split();
    let failed = sealer.seal_with(b"x", |_| Err(RecordError::Seal));
    assert_eq!(failed, Err(RecordError::Seal));
    assert_eq!(sealer.seal(b"x").unwrap_err().rule(), "session.ended");
}

#[test]
fn messages_of_every_size_pass() {
    let mut world = World::new();
    let terms = world.host.terms().with_max_message(3 << 20);
    let pair = world.pair_with(terms.clone(), terms, 1, 2).unwrap();
    let (mut a, mut b) = (pair.initiator.session, pair.responder.session);
    let sizes = [
        (0, 1),
        (1, 1),
        (MAX_FRAGMENT - 1, 1),
        (MAX_FRAGMENT, 1),
        (MAX_FRAGMENT + 1, 2),
        (3 * MAX_FRAGMENT, 3),
        (3 << 20, 49),
    ];
    for (size, records) in sizes {
        let message: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let frames = a.seal(&message).unwrap();
        assert_eq!(bodies(&frames).len(), records);
        assert_eq!(open_message(&mut b, &frames), message);
        let frames = b.seal(&message).unwrap();
        assert_eq!(open_message(&mut a, &frames), message);
    }
}

#[test]
fn the_memory_of_a_message_holds_the_next() {
    let (a, b) = World::new().sessions();
    let ((mut sealer, _), (_, mut opener)) = (a.split(), b.split());
    let mut next = |opener: &mut anchorhold_channel::Opener, message: &[u8]| {
        let mut whole = None;
        for body in bodies(&sealer.seal(message).unwrap()) {
            match opener.open(body).unwrap() {
                Opened::Part => {
                    // Not taken amid a message.
                    opener.reuse(vec![9; 1 << 20].into());
                }
                Opened::Message(message) => whole = Some(message),
                Opened::Closed => panic!("closed"),
            }
        }
        whole.unwrap()
    };
    let long = vec![7; 3 * MAX_FRAGMENT];
    let first = next(&mut opener, &long);
    assert_eq!(*first, long);
    let place = first.as_ptr();
    opener.reuse(first);
    let second = next(&mut opener, b"short");
    assert_eq!((second.as_slice(), second.as_ptr()), (&b"short"[..], place));
    opener.reuse(second);
    let third = next(&mut opener, &long);
    assert_eq!((&*third, third.as_ptr()), (&long, place));
    // Without it there is other memory.
    assert_eq!(*next(&mut opener, b"other"), b"other");
}

/// The key changes where the documentation says, as an independent peer counts it.
#[test]
fn keys_change_after_their_records() {
    let mut world = World::new();
    let (mut session, mut puppet) = with_puppet(&mut world, 100);
    // Number 0 was evidence.
    for number in 1..=RECORDS_PER_KEY + 2 {
        if number == RECORDS_PER_KEY {
            puppet.rekey();
        }
        let frame = session.seal(&number.to_be_bytes()).unwrap();
        assert_eq!(puppet.open(&frame)[1..], number.to_be_bytes());
        let frame = puppet.seal(&[&[LAST][..], &number.to_be_bytes()].concat());
        assert_eq!(open_message(&mut session, &frame), number.to_be_bytes());
    }
}
