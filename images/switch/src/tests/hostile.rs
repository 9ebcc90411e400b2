//! Guests and clients that break the rules: each is refused, and the next one is served.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use proptest::prelude::*;

use super::model::{GUEST_CID, Part, World, client, data, hear, packet};
use crate::config::Limits;
use crate::protocol::{HEADER_SIZE, Header, MAX_PAYLOAD, Op};

const PORT: u32 = 5000;
const GUEST_PORT: u32 = 77;

/// The switch with one open stream from the guest.
fn open_stream() -> (World, UnixListener, UnixStream) {
    let mut world = World::new();
    world.offer_buffers();
    let listener = world.listener(PORT);
    let host = world.open(&listener, packet(Op::Request, GUEST_PORT, PORT));
    (world, listener, host)
}

#[test]
fn a_packet_that_breaks_a_rule_resets_its_stream() {
    let window = Limits::default().window as usize;
    let breaks: [(&str, Header, usize); 8] = [
        (
            "unknown operation",
            Header {
                op: 8,
                ..packet(Op::Data, GUEST_PORT, PORT)
            },
            0,
        ),
        (
            "no operation",
            Header {
                op: 0,
                ..packet(Op::Data, GUEST_PORT, PORT)
            },
            0,
        ),
        (
            "oversized",
            Header {
                len: MAX_PAYLOAD + 1,
                ..data(GUEST_PORT, PORT, 0)
            },
            100,
        ),
        (
            "endless",
            Header {
                len: u32::MAX,
                ..data(GUEST_PORT, PORT, 0)
            },
            100,
        ),
        (
            "shorter than it says",
            Header {
                len: 1000,
                ..data(GUEST_PORT, PORT, 0)
            },
            999,
        ),
        (
            "payload where none belongs",
            Header {
                len: 5,
                ..packet(Op::CreditUpdate, GUEST_PORT, PORT)
            },
            5,
        ),
        (
            "a response to nothing",
            packet(Op::Response, GUEST_PORT, PORT),
            0,
        ),
        (
            "a request on an open stream",
            packet(Op::Request, GUEST_PORT, PORT),
            0,
        ),
    ];
    for (name, header, len) in breaks {
        let (mut world, _listener, mut host) = open_stream();
        assert!(world.send(&header, &vec![0; len]), "{name}");
        world.settle();
        let (reset, _) = world.expect(Op::Reset);
        assert_eq!(
            (reset.src_port, reset.dst_port),
            (PORT, GUEST_PORT),
            "{name}"
        );
        assert!(hear(&mut host).1, "{name}: the host sees the end");
        assert_eq!(world.hub.table.len(), 0, "{name}");
    }

    let (mut world, _listener, _host) = open_stream();
    // The host does not read: its socket fills, then the buffer, and then the window is used up.
    let chunk = vec![0; 4096];
    let mut sent = 0;
    while world
        .inbox
        .iter()
        .all(|(header, _)| header.op != Op::Reset as u16)
    {
        assert!(
            sent < 10 * window,
            "a guest that ignores its credit is not reset"
        );
        world.send(&data(GUEST_PORT, PORT, chunk.len()), &chunk);
        sent += chunk.len();
        world.settle();
        world.offer_buffers();
    }
    assert_eq!(world.hub.table.len(), 0, "overrun");
}

#[test]
fn packets_for_nothing_are_answered_and_those_from_nowhere_are_not() {
    let mut world = World::new();
    world.offer_buffers();
    let base = packet(Op::Request, GUEST_PORT, PORT);
    let refused = [
        ("nobody listens", base),
        (
            "another enclave's CID",
            Header {
                dst_cid: 17,
                ..base
            },
        ),
        (
            "its own CID",
            Header {
                dst_cid: GUEST_CID.into(),
                ..base
            },
        ),
        (
            "a CID beyond 32 bits",
            Header {
                dst_cid: 3 | 1 << 32,
                ..base
            },
        ),
        ("the hypervisor", Header { dst_cid: 0, ..base }),
        ("another socket type", Header { kind: 2, ..base }),
        ("no such stream", data(GUEST_PORT, PORT, 0)),
        (
            "no such stream to end",
            packet(Op::Shutdown, GUEST_PORT, PORT),
        ),
        ("unknown operation", Header { op: 99, ..base }),
    ];
    for (name, header) in refused {
        assert!(world.send(&header, &[]));
        world.settle();
        let (reset, _) = world.expect(Op::Reset);
        assert_eq!(reset.src_cid, header.dst_cid, "{name}");
        assert_eq!(reset.kind, header.kind, "{name}");
        assert_eq!(
            (reset.src_port, reset.dst_port),
            (PORT, GUEST_PORT),
            "{name}"
        );
    }
    let ignored = [
        Header { src_cid: 3, ..base },
        Header {
            src_cid: u64::from(GUEST_CID) | 1 << 32,
            ..base
        },
        packet(Op::Reset, GUEST_PORT, PORT),
    ];
    for header in ignored {
        assert!(world.send(&header, &[]));
        world.settle();
        assert!(world.inbox.is_empty(), "{header:?}");
    }
    assert_eq!(world.hub.table.len(), 0);
}

#[test]
fn malformed_chains_are_given_back_and_the_next_packet_is_served() {
    let (mut world, _listener, mut host) = open_stream();
    const OUTSIDE: u64 = 1 << 40;
    let chains: [&[Part]; 8] = [
        &[Part::readable(0x20_0000, HEADER_SIZE as u32 - 1)],
        &[Part::readable(0x20_0000, 0)],
        &[Part::writable(0x20_0000, 4096)],
        &[Part::readable(OUTSIDE, 4096)],
        &[Part::readable(u64::MAX - 8, 4096)],
        &[Part::readable(0x20_0000, u32::MAX)],
        &[Part::indirect(OUTSIDE, 32)],
        &[Part::indirect(0x20_0000, 15)],
    ];
    for parts in chains {
        world.transmit(parts);
        world.settle();
    }
    assert!(world.send(&data(GUEST_PORT, PORT, 5), b"still"));
    world.settle();
    assert_eq!(hear(&mut host), (b"still".to_vec(), false));
}

#[test]
fn a_header_whose_payload_lies_outside_resets_its_stream() {
    let (mut world, _listener, mut host) = open_stream();
    let header = data(GUEST_PORT, PORT, 100);
    world.write_at(0x20_0000, &header.to_bytes());
    world.transmit(&[
        Part::readable(0x20_0000, HEADER_SIZE as u32),
        Part::readable(1 << 40, 100),
    ]);
    world.settle();
    world.expect(Op::Reset);
    assert!(hear(&mut host).1);
}

#[test]
fn a_loop_of_descriptors_ends() {
    let (mut world, _listener, _host) = open_stream();
    world.loop_in_table(10);
    world.publish(10);
    world.publish(u16::MAX);
    assert!(
        !world.round().0,
        "a head outside of the table breaks the queue"
    );
}

#[test]
fn an_index_out_of_range_breaks_the_queue_only() {
    let (mut world, _listener, _host) = open_stream();
    world.jump(1000);
    assert_eq!(world.round(), (false, true));
}

#[test]
fn receive_buffers_that_hold_nothing_are_given_back() {
    let mut world = World::new();
    world.offer(&[Part::writable(0x20_0000, 10)]);
    world.offer(&[Part::readable(0x20_0000, 4096)]);
    world.offer(&[Part::writable(1 << 40, 4096)]);
    assert!(world.send(&packet(Op::Request, GUEST_PORT, PORT), &[]));
    world.settle();
    assert!(world.inbox.is_empty());
    world.offer_buffers();
    world.settle();
    world.expect(Op::Reset);
}

#[test]
fn a_guest_that_takes_no_answers_is_not_listened_to() {
    let limits = Limits {
        pending_resets: 8,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    for port in 0..50 {
        world.send(&packet(Op::Request, port, PORT), &[]);
        world.settle();
    }
    world.offer_buffers();
    world.settle();
    let resets: Vec<u32> = world
        .inbox
        .drain(..)
        .map(|(header, _)| header.dst_port)
        .collect();
    assert_eq!(
        resets,
        (0..50).collect::<Vec<_>>(),
        "nothing is lost, it only waits"
    );
}

#[test]
fn streams_beyond_the_limit_are_refused_until_one_ends() {
    let limits = Limits {
        streams: 3,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.offer_buffers();
    let listener = world.listener(PORT);
    let hosts: Vec<_> = (0..3)
        .map(|port| world.open(&listener, packet(Op::Request, port, PORT)))
        .collect();
    assert!(world.send(&packet(Op::Request, 9, PORT), &[]));
    world.settle();
    world.expect(Op::Reset);
    let mut refused = client(&world, 1);
    world.settle();
    assert_eq!(hear(&mut refused), (Vec::new(), true));

    drop(hosts);
    world.settle();
    for _ in 0..3 {
        let (end, _) = world.expect(Op::Shutdown);
        assert!(world.send(&packet(Op::Reset, end.dst_port, PORT), &[]));
    }
    world.settle();
    world.open(&listener, packet(Op::Request, 9, PORT));
}

#[test]
fn clients_that_dawdle_are_dropped_and_do_not_keep_others_out() {
    let limits = Limits {
        handshakes: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.offer_buffers();
    let mut idle: Vec<_> = (0..2)
        .map(|_| {
            let mut client = UnixStream::connect(world.listen_path()).unwrap();
            client.set_nonblocking(true).unwrap();
            client.write_all(b"CONN").unwrap();
            client
        })
        .collect();
    world.settle();
    let _waiting = client(&world, 7);
    world.settle();
    assert!(
        world.inbox.is_empty(),
        "there is no place for a further one"
    );
    world.pass(Duration::from_secs(6));
    assert!(
        idle.iter_mut().all(|client| hear(client).1),
        "dropped after the deadline"
    );
    world.settle();
    world.expect(Op::Request);
}

#[test]
fn requests_that_the_guest_does_not_answer_end() {
    let mut world = World::new();
    world.offer_buffers();
    let mut waiting = client(&world, 7);
    world.settle();
    world.expect(Op::Request);
    assert!(!hear(&mut waiting).1);
    world.pass(Duration::from_secs(11));
    assert_eq!(hear(&mut waiting), (Vec::new(), true));
    world.expect(Op::Reset);
    assert!(world.hub.table.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever stands in the rings and the memory behind them, the switch comes to an end with
    /// it, and stays within its limits.
    #[test]
    fn arbitrary_descriptors_never_panic(
        table in prop::collection::vec(
            (prop_oneof![0u64..0x80_1000, any::<u64>()], prop_oneof![0u32..70_000, any::<u32>()], any::<u16>(), 0u16..80),
            64,
        ),
        heads in prop::collection::vec(0u16..70, 1..32),
        bytes in prop::collection::vec(any::<u8>(), 256),
    ) {
        let (mut world, _listener, _host) = open_stream();
        world.write_at(0x10_0000, &bytes);
        world.fill_tables(&table);
        for head in heads {
            world.publish(head);
        }
        let _ = world.round();
        let _ = world.round();
        world.hub.table.assert_consistent();
    }
}
