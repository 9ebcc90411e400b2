//! A guest's driver, written from the specification: it lays rings and buffers out in guest memory
//! and may do so wrongly.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::config::{Limits, SwitchConfig};
use crate::hub::Hub;
use crate::listen::BoundSocket;
use crate::protocol::{HEADER_SIZE, Header, Op, TYPE_STREAM};
use crate::{receive, transmit};

pub(super) const GUEST_CID: u32 = 16;

/// Descriptors of each ring.
pub(super) const RING: u16 = 64;
const MEMORY: usize = 8 << 20;
const RECEIVE_RING: u64 = 0x1000;
const TRANSMIT_RING: u64 = 0x4000;
const INDIRECT_TABLES: u64 = 0x8000;
const BUFFERS: u64 = 0x10_0000;
/// Space for the buffers of one chain.
const CHAIN_SPACE: u64 = 0x1_4000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A ring as the driver sees it: descriptor table, then available ring, then used ring.
pub(super) struct Ring {
    pub(super) base: u64,
    available: u16,
    used: u16,
    free: VecDeque<u16>,
    /// The descriptors of the chain that begins at each index.
    chains: Vec<Vec<u16>>,
}

impl Ring {
    pub(super) fn new(base: u64) -> Self {
        Self {
            base,
            available: 0,
            used: 0,
            free: (0..RING).collect(),
            chains: vec![Vec::new(); RING.into()],
        }
    }

    pub(super) fn available_ring(&self) -> u64 {
        self.base + u64::from(RING) * 16
    }

    pub(super) fn used_ring(&self) -> u64 {
        self.available_ring() + u64::from(RING) * 2 + 6 + 2
    }

    /// The queue as the device sees it.
    pub(super) fn queue(&self) -> Queue {
        let mut queue = Queue::new(RING).unwrap();
        queue.set_size(RING);
        queue
            .try_set_desc_table_address(GuestAddress(self.base))
            .unwrap();
        queue
            .try_set_avail_ring_address(GuestAddress(self.available_ring()))
            .unwrap();
        queue
            .try_set_used_ring_address(GuestAddress(self.used_ring()))
            .unwrap();
        queue.set_event_idx(true);
        queue.set_ready(true);
        queue
    }

    fn write_descriptor(memory: &GuestMemoryMmap, at: u64, part: Part, next: Option<u16>) {
        let flags = part.flags | if next.is_some() { NEXT } else { 0 };
        memory.write_obj(part.address, GuestAddress(at)).unwrap();
        memory.write_obj(part.len, GuestAddress(at + 8)).unwrap();
        memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        memory
            .write_obj(next.unwrap_or(0), GuestAddress(at + 14))
            .unwrap();
    }

    /// Makes a chain of `parts` available; `false` when there are not enough descriptors.
    pub(super) fn add(&mut self, memory: &GuestMemoryMmap, parts: &[Part]) -> bool {
        if self.free.len() < parts.len() || parts.is_empty() {
            return false;
        }
        let chain: Vec<u16> = self.free.drain(..parts.len()).collect();
        for (position, part) in parts.iter().enumerate() {
            let at = self.base + u64::from(chain[position]) * 16;
            Self::write_descriptor(memory, at, *part, chain.get(position + 1).copied());
        }
        let head = chain[0];
        self.chains[usize::from(head)] = chain;
        self.publish(memory, head);
        true
    }

    fn publish(&mut self, memory: &GuestMemoryMmap, head: u16) {
        let slot = self.available_ring() + 4 + u64::from(self.available % RING) * 2;
        memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.available = self.available.wrapping_add(1);
        memory
            .write_obj(self.available, GuestAddress(self.available_ring() + 2))
            .unwrap();
    }

    /// The next chain that the device has used, and how many bytes it wrote there.
    pub(super) fn take_used(&mut self, memory: &GuestMemoryMmap) -> Option<(u16, u32)> {
        let index: u16 = memory.read_obj(GuestAddress(self.used_ring() + 2)).unwrap();
        if index == self.used {
            return None;
        }
        let slot = self.used_ring() + 4 + u64::from(self.used % RING) * 8;
        let head: u32 = memory.read_obj(GuestAddress(slot)).unwrap();
        let len = memory.read_obj(GuestAddress(slot + 4)).unwrap();
        self.used = self.used.wrapping_add(1);
        let head = u16::try_from(head).unwrap();
        let chain = std::mem::take(&mut self.chains[usize::from(head)]);
        assert!(!chain.is_empty(), "a chain that was not available is used");
        self.free.extend(chain);
        Some((head, len))
    }
}

/// One descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
}

impl Part {
    pub(super) fn readable(address: u64, len: u32) -> Self {
        Self {
            address,
            len,
            flags: 0,
        }
    }

    pub(super) fn writable(address: u64, len: u32) -> Self {
        Self {
            address,
            len,
            flags: WRITE,
        }
    }

    pub(super) fn indirect(address: u64, len: u32) -> Self {
        Self {
            address,
            len,
            flags: INDIRECT,
        }
    }
}

/// The switch and its guest.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) memory: GuestMemoryMmap,
    pub(super) now: Instant,
    directory: TempDir,
    receive: (Ring, Queue),
    transmit: (Ring, Queue),
    /// Packets that the guest got and the test has not looked at.
    pub(super) inbox: VecDeque<(Header, Vec<u8>)>,
    /// How the guest cuts packets into descriptors.
    pub(super) cuts: Vec<usize>,
    pub(super) use_indirect: bool,
    buffer_size: usize,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = directory.path().join("vsock.sock");
        let prefixes = vec![directory.path().join("own"), directory.path().join("vsock")];
        let config = SwitchConfig {
            limits,
            ..SwitchConfig::new(GUEST_CID, listen.clone(), prefixes)
        };
        let mut hub = Hub::new(config, BoundSocket::bind(&listen).unwrap()).unwrap();
        hub.guest_up = true;
        let receive = Ring::new(RECEIVE_RING);
        let transmit = Ring::new(TRANSMIT_RING);
        let queues = (receive.queue(), transmit.queue());
        Self {
            hub,
            // Two regions that meet in the middle of the buffers.
            memory: GuestMemoryMmap::from_ranges(&[
                (GuestAddress(0), MEMORY / 2),
                (GuestAddress(MEMORY as u64 / 2), MEMORY / 2),
            ])
            .unwrap(),
            now: Instant::now(),
            directory,
            receive: (receive, queues.0),
            transmit: (transmit, queues.1),
            inbox: VecDeque::new(),
            cuts: vec![HEADER_SIZE],
            use_indirect: false,
            buffer_size: 4096,
        }
    }

    pub(super) fn listen_path(&self) -> PathBuf {
        self.directory.path().join("vsock.sock")
    }

    /// A host's listener on `port`.
    pub(super) fn listener(&self, port: u32) -> UnixListener {
        let path = self.directory.path().join(format!("vsock_{port}"));
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    /// Gives the device receive buffers until the ring is full.
    pub(super) fn offer_buffers(&mut self) {
        loop {
            let Some(index) = self.receive.0.free.front() else {
                return;
            };
            let address = BUFFERS + u64::from(*index) * 8192;
            let part = Part::writable(address, self.buffer_size as u32);
            if !self.receive.0.add(&self.memory, &[part]) {
                return;
            }
        }
    }

    /// Gives the device one receive chain of these parts.
    pub(super) fn offer(&mut self, parts: &[Part]) {
        assert!(self.receive.0.add(&self.memory, parts));
    }

    /// Puts a chain of these parts into the transmit ring.
    pub(super) fn transmit(&mut self, parts: &[Part]) {
        assert!(self.transmit.0.add(&self.memory, parts));
    }

    /// Makes any number available in the transmit ring.
    pub(super) fn publish(&mut self, head: u16) {
        self.transmit.0.chains[usize::from(head % RING)] = vec![];
        self.transmit.0.publish(&self.memory, head);
    }

    /// Moves the transmit ring's index without any chain.
    pub(super) fn jump(&mut self, by: u16) {
        let ring = &mut self.transmit.0;
        ring.available = ring.available.wrapping_add(by);
        let at = GuestAddress(ring.available_ring() + 2);
        self.memory.write_obj(ring.available, at).unwrap();
    }

    /// Sends a packet, cut as `cuts` says; the last piece takes the rest. `false` when the ring
    /// is full.
    pub(super) fn send(&mut self, header: &Header, payload: &[u8]) -> bool {
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(payload);
        let Some(index) = self.transmit.0.free.front() else {
            return false;
        };
        let base = BUFFERS + 0x10_0000 + u64::from(*index) * CHAIN_SPACE;
        self.memory.write_slice(&bytes, GuestAddress(base)).unwrap();
        let mut parts = Vec::new();
        let mut position = 0;
        for cut in self.cuts.iter().copied().chain([usize::MAX]) {
            let len = cut.min(bytes.len() - position);
            if len > 0 || cut == 0 {
                parts.push(Part::readable(base + position as u64, len as u32));
            }
            position += len;
        }
        if self.use_indirect {
            let table = INDIRECT_TABLES + u64::from(*index) * 1024;
            for (position, part) in parts.iter().enumerate() {
                let next = (position + 1 < parts.len()).then_some(position as u16 + 1);
                Ring::write_descriptor(&self.memory, table + position as u64 * 16, *part, next);
            }
            parts = vec![Part::indirect(table, parts.len() as u32 * 16)];
        }
        self.transmit.0.add(&self.memory, &parts)
    }

    /// Has the switch do its work until nothing has moved for some rounds: what one round does on
    /// the host is an event for the next.
    pub(super) fn settle(&mut self) {
        let mut idle = 0;
        for _ in 0..1000 {
            let before = self.progress();
            if self.round() != (true, true) {
                return;
            }
            self.collect();
            idle = if self.progress() == before {
                idle + 1
            } else {
                0
            };
            if idle == 3 {
                return;
            }
        }
        panic!("the switch never comes to rest");
    }

    /// One round of the switch's work, with the errors of the two queues.
    pub(super) fn round(&mut self) -> (bool, bool) {
        self.hub.poll(self.now).unwrap();
        let sent = transmit::drain(
            &mut self.hub,
            &self.memory,
            &mut self.transmit.1,
            64,
            false,
            self.now,
        );
        let received = receive::fill(
            &mut self.hub,
            &self.memory,
            &mut self.receive.1,
            64,
            self.now,
        );
        (sent.is_ok(), received.is_ok())
    }

    /// Lets time pass on the switch's clock; its timers are called as if they had fired.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hub.time_passed(self.now);
        self.settle();
    }

    fn progress(&self) -> [u16; 4] {
        let queues = [&self.transmit.1, &self.receive.1];
        let [a, b] = queues.map(|queue| [queue.next_avail(), queue.next_used()]);
        [a[0], a[1], b[0], b[1]]
    }

    /// Takes what the device has used.
    fn collect(&mut self) {
        while self.transmit.0.take_used(&self.memory).is_some() {}
        loop {
            let Some((head, len)) = self.receive.0.take_used(&self.memory) else {
                return;
            };
            if len == 0 {
                continue;
            }
            let at = self.receive.0.base + u64::from(head) * 16;
            let address: u64 = self.memory.read_obj(GuestAddress(at)).unwrap();
            let mut bytes = vec![0; len as usize];
            self.memory
                .read_slice(&mut bytes, GuestAddress(address))
                .unwrap();
            let payload = bytes.split_off(HEADER_SIZE);
            let header = Header::from_bytes(bytes[..].try_into().unwrap());
            assert_eq!(header.len as usize, payload.len());
            assert_eq!(header.dst_cid, u64::from(GUEST_CID));
            self.inbox.push_back((header, payload));
        }
    }

    /// The next packet that the guest got, which has to be of this kind.
    pub(super) fn expect(&mut self, op: Op) -> (Header, Vec<u8>) {
        let (header, payload) = self.inbox.pop_front().expect("a packet for the guest");
        assert_eq!(Op::from_number(header.op), Some(op), "{header:?}");
        (header, payload)
    }

    /// Opens a stream from the guest; the host's end.
    pub(super) fn open(&mut self, listener: &UnixListener, header: Header) -> UnixStream {
        assert!(self.send(&header, &[]));
        self.settle();
        let (answer, _) = self.expect(Op::Response);
        assert_eq!(
            (answer.src_cid, answer.dst_port),
            (header.dst_cid, header.src_port)
        );
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }
}

/// A packet of the guest's to the parent, with plenty of credit.
pub(super) fn packet(op: Op, guest_port: u32, host_port: u32) -> Header {
    Header {
        src_cid: GUEST_CID.into(),
        dst_cid: 3,
        src_port: guest_port,
        dst_port: host_port,
        kind: TYPE_STREAM,
        op: op as u16,
        buf_alloc: 1 << 18,
        ..Header::default()
    }
}

/// A packet of the guest's with `len` bytes.
pub(super) fn data(guest_port: u32, host_port: u32, len: usize) -> Header {
    Header {
        len: len as u32,
        ..packet(Op::Data, guest_port, host_port)
    }
}

/// What a non-blocking socket has to say, and whether it said that this was all.
pub(super) fn hear(stream: &mut UnixStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => (bytes, false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, true),
        Err(error) => panic!("{error}"),
    }
}

/// A client of the host's that asked for `port`.
pub(super) fn client(world: &World, port: u32) -> UnixStream {
    let mut stream = UnixStream::connect(world.listen_path()).unwrap();
    stream
        .write_all(format!("CONNECT {port}\n").as_bytes())
        .unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// What only tests of broken drivers need.
impl World {
    pub(super) fn write_at(&mut self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    /// Has descriptor `index` of the transmit ring name itself as the next.
    pub(super) fn loop_in_table(&mut self, index: u16) {
        let at = self.transmit.0.base + u64::from(index) * 16;
        let part = Part::readable(0x20_0000, 1);
        Ring::write_descriptor(&self.memory, at, part, Some(index));
    }

    /// Fills both descriptor tables.
    pub(super) fn fill_tables(&mut self, descriptors: &[(u64, u32, u16, u16)]) {
        for base in [self.transmit.0.base, self.receive.0.base] {
            for (index, (address, len, flags, next)) in descriptors.iter().enumerate() {
                let at = base + index as u64 * 16;
                self.memory.write_obj(*address, GuestAddress(at)).unwrap();
                self.memory.write_obj(*len, GuestAddress(at + 8)).unwrap();
                self.memory
                    .write_obj(*flags, GuestAddress(at + 12))
                    .unwrap();
                self.memory.write_obj(*next, GuestAddress(at + 14)).unwrap();
            }
        }
    }
}
