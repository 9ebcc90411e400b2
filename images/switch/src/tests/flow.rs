//! Streams as they should be: every byte, in order, both ways, with any credit and any cut.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;

use super::model::{World, client, data, hear, packet};
use crate::config::Limits;
use crate::protocol::{HEADER_SIZE, Header, Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

const PORT: u32 = 5000;
const GUEST_PORT: u32 = 77;

fn shutdown(flags: u32) -> Header {
    Header {
        flags,
        ..packet(Op::Shutdown, GUEST_PORT, PORT)
    }
}

fn open_stream(world: &mut World) -> UnixStream {
    let listener = world.listener(PORT);
    world.open(&listener, packet(Op::Request, GUEST_PORT, PORT))
}

#[test]
fn answers_carry_the_cid_that_the_guest_dialled() {
    let mut world = World::new();
    world.offer_buffers();
    let listener = world.listener(PORT);
    let mut hosts = Vec::new();
    for (guest_port, cid) in [(1, 3), (2, 2)] {
        let request = Header {
            dst_cid: cid,
            ..packet(Op::Request, guest_port, PORT)
        };
        let mut host = world.open(&listener, request);
        host.write_all(b"answer").unwrap();
        world.settle();
        let (answer, payload) = world.expect(Op::Data);
        assert_eq!((answer.src_cid, payload), (cid, b"answer".to_vec()));
        hosts.push(host);
    }
    assert_eq!(world.hub.table.len(), 2, "the CIDs are two addresses");
}

#[test]
fn packets_arrive_however_they_are_cut() {
    let cuts: [&[usize]; 6] = [
        &[],
        &[HEADER_SIZE],
        &[1, 2, 3, 5, 8, 13, 21],
        &[HEADER_SIZE - 1, 2],
        &[HEADER_SIZE, 0, 1, 0],
        &[
            HEADER_SIZE,
            4096,
            4096,
            4096,
            4096,
            4096,
            4096,
            4096,
            4096,
            4096,
            4096,
            4096,
            4096,
        ],
    ];
    for use_indirect in [false, true] {
        let mut world = World::new();
        world.offer_buffers();
        world.use_indirect = use_indirect;
        let mut host = open_stream(&mut world);
        let payload: Vec<u8> = (0..65_536u32).map(|index| (index % 251) as u8).collect();
        for cut in cuts {
            world.cuts = cut.to_vec();
            let mut header = data(GUEST_PORT, PORT, payload.len());
            header.fwd_cnt = 0;
            assert!(world.send(&header, &payload));
            world.settle();
            assert!(hear(&mut host).0 == payload, "cut at {cut:?}");
        }
    }
}

#[test]
fn the_guest_ends_one_direction_after_the_other() {
    let mut world = World::new();
    world.offer_buffers();
    let mut host = open_stream(&mut world);
    assert!(world.send(&data(GUEST_PORT, PORT, 4), b"last"));
    assert!(world.send(&shutdown(SHUTDOWN_SEND), &[]));
    world.settle();
    assert_eq!(hear(&mut host), (b"last".to_vec(), true));
    assert!(world.inbox.is_empty(), "the other direction goes on");

    host.write_all(b"answer").unwrap();
    world.settle();
    assert_eq!(world.expect(Op::Data).1, b"answer");
    assert!(world.send(&shutdown(SHUTDOWN_RECEIVE), &[]));
    world.settle();
    world.expect(Op::Reset);
    assert!(world.hub.table.is_empty());
    assert_eq!(host.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_guest_that_receives_no_more_is_not_sent_to() {
    let mut world = World::new();
    world.offer_buffers();
    let mut host = open_stream(&mut world);
    assert!(world.send(&shutdown(SHUTDOWN_RECEIVE), &[]));
    world.settle();
    assert_eq!(host.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(world.send(&data(GUEST_PORT, PORT, 5), b"still"));
    world.settle();
    assert_eq!(hear(&mut host).0, b"still");
}

#[test]
fn the_host_ends_one_direction_after_the_other() {
    let mut world = World::new();
    world.offer_buffers();
    let mut host = open_stream(&mut world);
    host.write_all(b"last").unwrap();
    host.shutdown(Shutdown::Write).unwrap();
    world.settle();
    assert_eq!(world.expect(Op::Data).1, b"last");
    assert_eq!(world.expect(Op::Shutdown).0.flags, SHUTDOWN_SEND);

    assert!(world.send(&data(GUEST_PORT, PORT, 6), b"answer"));
    world.settle();
    assert_eq!(hear(&mut host).0, b"answer");
    drop(host);
    world.settle();
    assert_eq!(world.expect(Op::Shutdown).0.flags, SHUTDOWN_BOTH);
    assert!(world.send(&packet(Op::Reset, GUEST_PORT, PORT), &[]));
    world.settle();
    assert!(world.hub.table.is_empty());
}

#[test]
fn a_guest_that_does_not_confirm_the_end_is_reset() {
    let mut world = World::new();
    world.offer_buffers();
    drop(open_stream(&mut world));
    world.settle();
    assert_eq!(world.expect(Op::Shutdown).0.flags, SHUTDOWN_BOTH);
    // What it sends meanwhile is nobody's.
    assert!(world.send(&data(GUEST_PORT, PORT, 4), b"lost"));
    world.settle();
    world.pass(Duration::from_secs(9));
    world.expect(Op::Reset);
    assert!(world.hub.table.is_empty());
}

#[test]
fn what_the_guest_sent_before_it_left_still_goes_out() {
    for leave in [packet(Op::Reset, GUEST_PORT, PORT), shutdown(SHUTDOWN_BOTH)] {
        let mut world = World::new();
        world.offer_buffers();
        let mut host = open_stream(&mut world);
        let sent = overfill(&mut world);
        assert!(world.send(&leave, &[]));
        world.settle();
        assert!(
            !world.hub.table.is_empty(),
            "there is something left for the host"
        );
        let mut got = 0;
        loop {
            let (bytes, end) = hear(&mut host);
            got += bytes.len();
            if end {
                break;
            }
            assert!(!bytes.is_empty(), "the host hears of the end");
            world.settle();
        }
        assert_eq!(got, sent);
        world.settle();
        assert!(world.hub.table.is_empty());
    }
}

/// Sends until the window is used up; the number of bytes comes back.
fn overfill(world: &mut World) -> usize {
    let window = Limits::default().window;
    let (mut sent, mut forwarded) = (0u32, 0u32);
    let block = [7; 4096];
    while sent - forwarded + 4096 <= window {
        assert!(world.send(&data(GUEST_PORT, PORT, 4096), &block));
        sent += 4096;
        world.settle();
        for (header, _) in world.inbox.drain(..) {
            assert_eq!(header.op, Op::CreditUpdate as u16);
            forwarded = header.fwd_cnt;
        }
    }
    sent as usize
}

#[test]
fn a_slow_reader_stalls_its_own_stream_only() {
    let mut world = World::new();
    world.offer_buffers();
    let _slow = open_stream(&mut world);
    overfill(&mut world);
    let listener = world.listener(PORT + 1);
    let mut quick = world.open(&listener, packet(Op::Request, 1, PORT + 1));
    for _ in 0..100 {
        assert!(world.send(&data(1, PORT + 1, 5), b"quick"));
        world.settle();
        assert_eq!(hear(&mut quick).0, b"quick");
    }
}

#[test]
fn credit_is_told_on_request_and_asked_for_when_it_is_missing() {
    let mut world = World::new();
    world.offer_buffers();
    let mut host = open_stream(&mut world);
    assert!(world.send(&packet(Op::CreditRequest, GUEST_PORT, PORT), &[]));
    world.settle();
    assert_eq!(
        world.expect(Op::CreditUpdate).0.buf_alloc,
        Limits::default().window
    );

    let none = Header {
        buf_alloc: 0,
        ..packet(Op::CreditUpdate, GUEST_PORT, PORT)
    };
    assert!(world.send(&none, &[]));
    host.write_all(b"wanted").unwrap();
    world.settle();
    assert!(world.inbox.is_empty(), "nothing without credit");
    world.hub.set_timer(None, world.now);
    world.pass(Duration::from_secs(1));
    world.expect(Op::CreditRequest);
    let some = Header {
        buf_alloc: 4,
        ..none
    };
    assert!(world.send(&some, &[]));
    world.settle();
    assert_eq!(world.expect(Op::Data).1, b"want");
    assert!(world.inbox.is_empty());
}

/// Linux's guests have no more on the way than their own buffer holds, however large the window.
#[test]
fn a_guest_with_a_small_buffer_hears_of_room() {
    let small = |op| Header {
        buf_alloc: 65536,
        ..packet(op, GUEST_PORT, PORT)
    };
    let mut world = World::new();
    world.offer_buffers();
    let listener = world.listener(PORT);
    let mut host = world.open(&listener, small(Op::Request));
    for _ in 0..16 {
        let header = Header {
            len: 4096,
            ..small(Op::Data)
        };
        assert!(world.send(&header, &[7; 4096]));
        world.settle();
        assert_eq!(hear(&mut host).0.len(), 4096);
    }
    let (update, _) = world.inbox.pop_back().expect("the guest hears of room");
    assert_eq!(update.op, Op::CreditUpdate as u16);
    assert!(update.fwd_cnt >= 32768, "{}", update.fwd_cnt);
}

/// A guest that makes its buffer smaller than what it believes to be on the way.
#[test]
fn a_guest_whose_buffer_shrinks_hears_of_room() {
    let mut world = World::new();
    world.offer_buffers();
    let mut host = open_stream(&mut world);
    for _ in 0..24 {
        assert!(world.send(&data(GUEST_PORT, PORT, 4096), &[7; 4096]));
        world.settle();
        assert_eq!(hear(&mut host).0.len(), 4096);
    }
    assert!(world.inbox.is_empty(), "most of the window is left");
    let shrunk = Header {
        buf_alloc: 65536,
        ..packet(Op::CreditUpdate, GUEST_PORT, PORT)
    };
    assert!(world.send(&shrunk, &[]));
    world.settle();
    assert_eq!(world.expect(Op::CreditUpdate).0.fwd_cnt, 24 * 4096);
}

/// A read of a socket stops behind bytes that came with descriptors, though more are there.
#[test]
fn bytes_behind_a_descriptor_are_not_forgotten() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::os::fd::AsRawFd;

    let mut world = World::new();
    world.offer_buffers();
    let mut host = open_stream(&mut world);
    let (fds, bytes) = ([host.as_raw_fd()], [std::io::IoSlice::new(b"with ")]);
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(host.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None).unwrap();
    host.write_all(b"without").unwrap();
    world.settle();
    let got: Vec<u8> = world.inbox.drain(..).flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(got, b"with without");
}

#[test]
fn a_client_is_connected_to_the_port_it_asked_for() {
    let mut world = World::new();
    world.offer_buffers();
    let mut host = client(&world, GUEST_PORT);
    host.write_all(b"early").unwrap();
    world.settle();
    let (request, _) = world.expect(Op::Request);
    assert_eq!((request.src_cid, request.dst_port), (3, GUEST_PORT));
    assert!(world.inbox.is_empty(), "no data before the answer");

    let response = packet(Op::Response, GUEST_PORT, request.src_port);
    assert!(world.send(&response, &[]));
    world.settle();
    assert_eq!(
        hear(&mut host).0,
        format!("OK {}\n", request.src_port).as_bytes()
    );
    assert_eq!(world.expect(Op::Data).1, b"early");
}

#[test]
fn a_client_learns_at_once_that_nobody_listens() {
    let mut world = World::new();
    world.offer_buffers();
    let mut host = client(&world, GUEST_PORT);
    world.settle();
    let (request, _) = world.expect(Op::Request);
    assert!(world.send(&packet(Op::Reset, GUEST_PORT, request.src_port), &[]));
    world.settle();
    assert_eq!(hear(&mut host), (Vec::new(), true));
    assert!(world.hub.table.is_empty());
}

#[test]
fn windows_shrink_as_the_budget_runs_out_and_every_stream_gets_one() {
    let limits = Limits {
        streams: 64,
        window: 65536,
        small_window: 4096,
        buffer_budget: 512 * 1024,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let listener = world.listener(PORT);
    let (mut windows, mut hosts) = (Vec::new(), Vec::new());
    for port in 0..64 {
        world.offer_buffers();
        assert!(world.send(&packet(Op::Request, port, PORT), &[]));
        world.settle();
        windows.push(world.expect(Op::Response).0.buf_alloc);
        hosts.push(listener.accept().unwrap());
    }
    assert_eq!((windows[0], windows[63]), (16384, 4096));
    assert!(windows.is_sorted_by(|earlier, later| earlier >= later));
    assert!(windows.iter().map(|window| *window as usize).sum::<usize>() <= limits.buffer_budget);
}

/// A guest that keeps to its credit, with a small buffer of its own.
struct Peer {
    buffer: u32,
    /// Bytes that it has received and taken.
    received: u32,
    taken: u32,
    /// Bytes that it has sent, and the host's word on them.
    sent: u32,
    told: (u32, u32),
    got: Vec<u8>,
    ended: bool,
}

impl Peer {
    fn header(&self, op: Op, len: usize) -> Header {
        Header {
            buf_alloc: self.buffer,
            fwd_cnt: self.taken,
            len: len as u32,
            ..packet(op, GUEST_PORT, PORT)
        }
    }

    fn hear(&mut self, inbox: &mut VecDeque<(Header, Vec<u8>)>) {
        for (header, payload) in inbox.drain(..) {
            self.told = (header.buf_alloc, header.fwd_cnt);
            self.received += payload.len() as u32;
            assert!(
                self.received - self.taken <= self.buffer,
                "the guest's credit is kept"
            );
            self.got.extend(payload);
            self.ended |= header.op == Op::Shutdown as u16;
            assert_ne!(header.op, Op::Reset as u16, "an honest guest is not reset");
        }
    }

    fn credit(&self) -> usize {
        (self.told.0 - (self.sent - self.told.1)) as usize
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Both directions at once, with small windows on both sides, any sizes, any cuts, and a host
    /// that reads now and then: every byte arrives in order, and nobody waits for ever.
    #[test]
    fn every_byte_arrives(
        window in prop::sample::select(vec![4096u32, 16384, 131_072]),
        buffer in prop_oneof![1u32..200, 1000u32..70_000],
        cuts in prop::collection::vec(0usize..2000, 0..6),
        use_indirect: bool,
        steps in prop::collection::vec((1usize..20_000, 1usize..20_000, 0u8..4), 1..30),
    ) {
        let limits = Limits { window, small_window: 4096, ..Limits::default() };
        let mut world = World::with(limits);
        world.cuts = cuts;
        world.use_indirect = use_indirect;
        world.offer_buffers();
        let listener = world.listener(PORT);
        let mut peer = Peer {
            buffer, received: 0, taken: 0, sent: 0, told: (window, 0), got: Vec::new(), ended: false,
        };
        let mut host = world.open(&listener, peer.header(Op::Request, 0));
        let (mut from_guest, mut from_host, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        let mut byte = 0u8;
        let mut bytes = |len: usize| -> Vec<u8> {
            (0..len).map(|_| { byte = byte.wrapping_mul(5).wrapping_add(17); byte }).collect()
        };
        for (guest_len, host_len, quiet) in steps {
            let payload = bytes(guest_len.min(peer.credit()));
            if !payload.is_empty() && world.send(&peer.header(Op::Data, payload.len()), &payload) {
                peer.sent += payload.len() as u32;
                from_guest.extend(payload);
            }
            // A guest that takes a few bytes at a time is not sent many.
            let payload = bytes(host_len.min(10 * buffer as usize));
            if let Ok(len) = host.write(&payload) {
                from_host.extend_from_slice(&payload[..len]);
            }
            world.settle();
            peer.hear(&mut world.inbox);
            if quiet > 0 {
                peer.taken = peer.received;
                let update = peer.header(Op::CreditUpdate, 0);
                world.send(&update, &[]);
                let mut part = vec![0; host_len];
                if let Ok(len) = host.read(&mut part) {
                    heard.extend_from_slice(&part[..len]);
                }
            }
            world.offer_buffers();
        }
        host.shutdown(Shutdown::Write).unwrap();
        let mut rounds = 0;
        while !peer.ended || heard.len() < from_guest.len() {
            rounds += 1;
            prop_assert!(rounds < 100_000, "a stream stands still");
            peer.taken = peer.received;
            let update = peer.header(Op::CreditUpdate, 0);
            world.send(&update, &[]);
            world.settle();
            world.offer_buffers();
            peer.hear(&mut world.inbox);
            heard.extend(hear(&mut host).0);
        }
        prop_assert!(peer.got == from_host, "host to guest");
        prop_assert!(heard == from_guest, "guest to host");
        world.hub.table.assert_consistent();
    }
}
