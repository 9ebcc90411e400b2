//! Channels over byte streams: whatever a relay does to them ends in a refusal or in the messages.

mod common;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anchorhold_channel::{Channel, Role, SessionContext, Terms, Timed};
use common::wire::{self, MESSAGES};
use common::{Silent, World, random, timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use zeroize::Zeroizing;

fn flip_every_bit(role: Role) {
    let mut world = World::new();
    let recording = wire::record(&mut world);
    let mut input = recording.to(role).to_vec();
    for bit in 0..input.len() * 8 {
        input[bit / 8] ^= 1 << (bit % 8);
        wire::refused(&mut world, role, &input);
        input[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_flipped_bit_of_what_the_initiator_sends_is_refused() {
    flip_every_bit(Role::Responder);
}

#[test]
fn every_flipped_bit_of_what_the_responder_sends_is_refused() {
    flip_every_bit(Role::Initiator);
}

#[test]
fn a_stream_cut_anywhere_is_refused() {
    let mut world = World::new();
    let recording = wire::record(&mut world);
    for role in [Role::Initiator, Role::Responder] {
        let input = recording.to(role);
        for length in 0..input.len() {
            let rule = wire::refused(&mut world, role, &input[..length]);
            assert_eq!(rule, "stream.truncated", "after {length} bytes");
        }
    }
}

#[test]
fn a_relay_that_repeats_drops_or_swaps_frames_is_refused() {
    let mut world = World::new();
    let recording = wire::record(&mut world);
    for role in [Role::Initiator, Role::Responder] {
        let frames: Vec<_> = common::bodies(recording.to(role))
            .into_iter()
            .map(|body| [&(body.len() as u16).to_be_bytes(), body].concat())
            .collect();
        assert_eq!(frames.len(), 2 + MESSAGES.len() + 1);
        for at in 0..frames.len() {
            let mut repeated = frames.clone();
            repeated.insert(at, frames[at].clone());
            // After the close record nothing is read any more.
            if at + 1 < frames.len() {
                wire::refused(&mut world, role, &repeated.concat());
            }
            let mut dropped = frames.clone();
            dropped.remove(at);
            wire::refused(&mut world, role, &dropped.concat());
            for other in at + 1..frames.len() {
                let mut swapped = frames.clone();
                swapped.swap(at, other);
                wire::refused(&mut world, role, &swapped.concat());
            }
        }
    }
}

#[test]
fn a_stream_of_the_other_direction_is_refused() {
    let mut world = World::new();
    let recording = wire::record(&mut world);
    for role in [Role::Initiator, Role::Responder] {
        let rule = wire::refused(&mut world, role, recording.to(role.peer()));
        assert_eq!(rule, "frame.length");
    }
}

/// Gives what a relay gives: pieces of any size, now and then an interruption.
struct Chopped<'a> {
    rest: &'a [u8],
    sizes: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl Read for Chopped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = match self.sizes.next().unwrap_or(1) {
            0 => return Err(io::ErrorKind::Interrupted.into()),
            size => size.min(self.rest.len()).min(buffer.len()),
        };
        let (now, later) = self.rest.split_at(size);
        buffer[..size].copy_from_slice(now);
        self.rest = later;
        Ok(size)
    }
}

#[test]
fn chopping_the_stream_changes_nothing() {
    let mut world = World::new();
    let recording = wire::record(&mut world);
    let cell = RefCell::new(world);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 200,
        ..ProptestConfig::default()
    });
    let sizes = prop::collection::vec(prop_oneof![0..4usize, 0..6000usize], 1..20)
        .prop_filter("something must come", |sizes| {
            sizes.iter().any(|size| *size > 0)
        });
    let strategy = (sizes, any::<bool>());
    let outcome = runner.run(&strategy, |(sizes, initiator)| {
        let role = if initiator {
            Role::Initiator
        } else {
            Role::Responder
        };
        let input = Chopped {
            rest: recording.to(role),
            sizes: sizes.into_iter().cycle(),
        };
        let (accepted, end) = wire::feed(&mut cell.borrow_mut(), role, input);
        prop_assert!(end.is_ok());
        prop_assert_eq!(accepted, MESSAGES.map(<[u8]>::to_vec));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn arbitrary_bytes_are_refused() {
    let mut world = World::new();
    let recording = wire::record(&mut world);
    let cell = RefCell::new(world);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 500,
        ..ProptestConfig::default()
    });
    let bytes = prop::collection::vec(any::<u8>(), 0..400);
    let outcome = runner.run(
        &(bytes, any::<bool>(), 0..8usize),
        |(bytes, initiator, kept)| {
            let role = if initiator {
                Role::Initiator
            } else {
                Role::Responder
            };
            // After any number of genuine frames.
            let genuine: usize = common::bodies(recording.to(role))
                .iter()
                .take(kept.min(5))
                .map(|body| body.len() + 2)
                .sum();
            let input = [&recording.to(role)[..genuine], &bytes].concat();
            wire::refused(&mut cell.borrow_mut(), role, &input);
            Ok(())
        },
    );
    outcome.unwrap();
}

#[test]
fn another_context_ends_both_sides() {
    let World { host, mut a, mut b } = World::new();
    let (here, there) = UnixStream::pair().unwrap();
    let other = Terms::new(SessionContext::of("test", &[]), host.policy());
    let terms = host.terms();
    thread::scope(|scope| {
        scope.spawn(move || {
            let refused = Channel::respond(&there, &there, other, &mut b, timestamp, &mut random());
            assert_eq!(refused.err().unwrap().rule(), "stream.truncated");
        });
        let refused = Channel::initiate(&here, &here, terms, &mut a, timestamp, &mut random());
        assert_eq!(refused.err().unwrap().rule(), "handshake.authentication");
        drop(here);
    });
}

#[test]
fn a_silent_relay_ends_at_the_deadline() {
    let world = World::new();
    let (here, _there) = UnixStream::pair().unwrap();
    here.set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let terms = world.host.terms();
    let ended = Channel::initiate(&here, &here, terms, &mut Silent, timestamp, &mut random());
    let error = ended.err().unwrap();
    assert_eq!(error.rule(), "stream.deadline");
    assert!(
        error
            .to_string()
            .contains("the responder's part of the handshake")
    );
}

/// Each byte comes within a single read's timeout, and the handshake ends in time all the same: the
/// 36 of the message would take 7 seconds.
#[test]
fn a_relay_that_lets_bytes_through_slowly_ends_at_the_deadline() {
    let world = World::new();
    let (here, mut there) = UnixStream::pair().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = there.write_all(&[0, 36]);
            while !done.load(Ordering::Relaxed) {
                let _ = there.write_all(&[7]);
                thread::sleep(Duration::from_millis(200));
            }
        });
        let deadline = Instant::now() + Duration::from_secs(1);
        let remaining = || deadline.saturating_duration_since(Instant::now());
        let (reader, writer) = (Timed::new(&here, remaining), Timed::new(&here, remaining));
        let terms = world.host.terms();
        let ended = Channel::respond(reader, writer, terms, &mut Silent, timestamp, &mut random());
        done.store(true, Ordering::Relaxed);
        assert_eq!(ended.err().unwrap().rule(), "stream.deadline");
    });
}

/// Takes what it is given once it lets through, and says `WouldBlock` when asked to flush.
struct Stuck<'a>(&'a UnixStream, &'a AtomicBool);

impl Write for Stuck<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.1.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }
}

#[test]
fn a_message_that_was_not_flushed_ends_the_direction() {
    let World { host, mut a, mut b } = World::new();
    let (here, there) = UnixStream::pair().unwrap();
    let terms = host.terms();
    let theirs = terms.clone();
    thread::scope(|scope| {
        // Keeps its socket open: what ends the direction must be the flush, not a peer that is gone.
        let there = &there;
        scope.spawn(move || {
            let mut rng = random();
            let end = Channel::respond(there, there, theirs, &mut b, timestamp, &mut rng);
            assert!(end.is_ok());
        });
        let stuck = AtomicBool::new(false);
        let writer = Stuck(&here, &stuck);
        let end = Channel::initiate(&here, writer, terms, &mut a, timestamp, &mut random());
        let mut end = end.unwrap();
        stuck.store(true, Ordering::Relaxed);
        assert_eq!(end.send(b"one").unwrap_err().rule(), "stream.deadline");
        stuck.store(false, Ordering::Relaxed);
        assert_eq!(end.send(b"two").unwrap_err().rule(), "session.ended");
        assert_eq!(end.close().unwrap_err().rule(), "session.ended");
    });
}

#[test]
fn two_of_one_role_have_no_channel() {
    let World { host, mut a, mut b } = World::new();
    let (here, there) = UnixStream::pair().unwrap();
    let theirs = host.terms();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut rng = random();
            let refused = Channel::initiate(&there, &there, theirs, &mut b, timestamp, &mut rng);
            assert_eq!(refused.err().unwrap().rule(), "frame.length");
        });
        let terms = host.terms();
        let refused = Channel::initiate(&here, &here, terms, &mut a, timestamp, &mut random());
        assert_eq!(refused.err().unwrap().rule(), "frame.length");
    });
    // Two that wait for the first message wait for ever, or until their deadlines.
    let (here, there) = UnixStream::pair().unwrap();
    for socket in [&here, &there] {
        let short = Some(Duration::from_millis(20));
        socket.set_read_timeout(short).unwrap();
        let terms = host.terms();
        let ended = Channel::respond(socket, socket, terms, &mut Silent, timestamp, &mut random());
        assert_eq!(ended.err().unwrap().rule(), "stream.deadline");
    }
}

#[test]
fn a_receiver_goes_on_after_a_deadline() {
    let World { host, mut a, mut b } = World::new();
    let (here, there) = UnixStream::pair().unwrap();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let terms = host.terms();
    let theirs = terms.clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut rng = random();
            let end = Channel::respond(&there, &there, theirs, &mut b, timestamp, &mut rng);
            let mut end = end.unwrap();
            told.recv().unwrap();
            end.send(b"late").unwrap();
            end.close().unwrap();
        });
        let end = Channel::initiate(&here, &here, terms, &mut a, timestamp, &mut random());
        let mut end = end.unwrap();
        here.set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        assert_eq!(end.receive().unwrap_err().rule(), "stream.deadline");
        tell.send(()).unwrap();
        here.set_read_timeout(None).unwrap();
        assert_eq!(end.receive().unwrap().unwrap().as_slice(), b"late");
        assert!(end.receive().unwrap().is_none());
    });
}

#[test]
fn messages_are_received_into_one_place() {
    let mut world = World::new();
    let recording = wire::record(&mut world);
    let mut accepted = Vec::new();
    let mut message = Zeroizing::new(vec![7; 1000]);
    let World { host, a, .. } = &mut world;
    let input = recording.to(Role::Initiator);
    let mut seed = common::Fixed(1);
    let terms = host.terms();
    let mut end = Channel::initiate(input, io::sink(), terms, a, timestamp, &mut seed).unwrap();
    while end.receive_into(&mut message).unwrap() {
        assert!(message.capacity() >= 1000);
        accepted.push(message.to_vec());
    }
    assert_eq!(accepted, MESSAGES.map(<[u8]>::to_vec));
    assert!(message.is_empty());
    // A cut stream gives nothing either.
    let input = &input[..input.len() - 1];
    let (terms, mut seed) = (host.terms(), common::Fixed(1));
    let mut end = Channel::initiate(input, io::sink(), terms, a, timestamp, &mut seed).unwrap();
    for _ in MESSAGES {
        assert!(end.receive_into(&mut message).unwrap());
    }
    let cut = end.receive_into(&mut message);
    assert_eq!(cut.unwrap_err().rule(), "stream.truncated");
    assert!(message.is_empty());
}

#[test]
fn both_directions_carry_large_messages_at_once() {
    const SIZE: usize = 4 << 20;
    let World { host, mut a, mut b } = World::new();
    let (here, there) = UnixStream::pair().unwrap();
    let terms = host.terms().with_max_message(SIZE);
    let theirs = terms.clone();
    let exchange = |channel: Channel<UnixStream, UnixStream>, own: u8, peer: u8| {
        let (mut sender, mut receiver) = channel.split();
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..3 {
                    sender.send(&vec![own; SIZE]).unwrap();
                }
                sender.close().unwrap();
            });
            for _ in 0..3 {
                let message = receiver.receive().unwrap().unwrap();
                assert!(message.len() == SIZE && message.iter().all(|byte| *byte == peer));
            }
            assert!(receiver.receive().unwrap().is_none());
        });
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            let (r, w) = (there.try_clone().unwrap(), there);
            let end = Channel::respond(r, w, theirs, &mut b, timestamp, &mut random());
            exchange(end.unwrap(), 2, 1);
        });
        let (r, w) = (here.try_clone().unwrap(), here);
        let end = Channel::initiate(r, w, terms, &mut a, timestamp, &mut random()).unwrap();
        assert_eq!(end.peer().appraised().root_sha256(), host.root);
        exchange(end, 1, 2);
    });
}
