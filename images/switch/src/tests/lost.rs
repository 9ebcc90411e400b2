//! Notifications and interrupts that get lost: on the guest's side nothing comes after a store that
//! makes it be seen before the next load, so the device and the guest can both look too early.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tempfile::TempDir;
use vhost_user_backend::{VhostUserBackendMut, VringMutex, VringT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::model::{GUEST_CID, Part, RING, Ring, packet};
use crate::config::SwitchConfig;
use crate::device::{Device, HOST_EVENT};
use crate::listen::BoundSocket;
use crate::protocol::{HEADER_SIZE, Header, Op};

const PORT: u32 = 5000;
const RECEIVE: u64 = 0x1000;
const TRANSMIT: u64 = 0x4000;
const BUFFERS: u64 = 0x10000;
const TRANSMIT_EVENT: u16 = 1;
/// Milliseconds.
const PATIENCE: i32 = 1000;

/// The whole device, with the guest's rings and the descriptors of its events.
struct Machine {
    device: Device,
    events: Epoll,
    memory: GuestMemoryMmap,
    vrings: [VringMutex; 2],
    receive: Ring,
    transmit: Ring,
    call: EventFd,
    listener: UnixListener,
    _directory: TempDir,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = directory.path().join("vsock.sock");
        let prefix = directory.path().join("vsock");
        let listener = UnixListener::bind(directory.path().join(format!("vsock_{PORT}"))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let config = SwitchConfig::new(GUEST_CID, listen.clone(), vec![prefix]);
        let mut device = Device::new(config, BoundSocket::bind(&listen).unwrap()).unwrap();
        let events = Epoll::new().unwrap();
        let event = EpollEvent::new(EventSet::IN, 0);
        events
            .ctl(ControlOperation::Add, device.events_fd(), event)
            .unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let shared = GuestMemoryAtomic::new(memory.clone());
        device.update_memory(shared.clone()).unwrap();
        // Without indirect descriptors the device plans no interrupt for later, whose timer would
        // have it look at the queues by the way.
        device.acked_features(0);
        let (receive, transmit) = (Ring::new(RECEIVE), Ring::new(TRANSMIT));
        let call = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let vrings = [&receive, &transmit].map(|ring| {
            let vring = VringMutex::new(shared.clone(), RING).unwrap();
            let (available, used) = (ring.available_ring(), ring.used_ring());
            vring.set_queue_info(ring.base, available, used).unwrap();
            vring.set_queue_event_idx(true);
            let fd: OwnedFd = call.as_fd().try_clone_to_owned().unwrap();
            vring.set_call(Some(File::from(fd)));
            vring.set_queue_ready(true);
            vring.set_enabled(true);
            vring
        });
        let mut machine = Self {
            device,
            events,
            memory,
            vrings,
            receive,
            transmit,
            call,
            listener,
            _directory: directory,
        };
        for index in 0..8 {
            let part = Part::writable(BUFFERS + 0x1000 * index, 4096);
            assert!(machine.receive.add(&machine.memory, &[part]));
        }
        machine
    }

    /// Makes a packet available.
    fn add(&mut self, header: &Header) {
        let at = BUFFERS + 0x40000;
        let bytes = header.to_bytes();
        self.memory.write_slice(&bytes, GuestAddress(at)).unwrap();
        let part = Part::readable(at, HEADER_SIZE as u32);
        assert!(self.transmit.add(&self.memory, &[part]));
    }

    /// The device is told that there is something.
    fn kick(&mut self) {
        self.handle(TRANSMIT_EVENT);
    }

    fn handle(&mut self, event: u16) {
        let handled = self
            .device
            .handle_event(event, EventSet::IN, &self.vrings, 0);
        handled.unwrap();
        assert!(!self.device.failed());
    }

    /// Lets the device handle what it set itself to be told of, until `done`; `false` when nothing
    /// more comes.
    fn wait(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while !done(self) {
            let mut events = [EpollEvent::default()];
            if self.events.wait(PATIENCE, &mut events).unwrap() == 0 {
                return false;
            }
            self.handle(HOST_EVENT);
        }
        true
    }

    /// Whether the guest was interrupted since the last call.
    fn interrupted(&self) -> bool {
        self.call.read().is_ok()
    }

    /// The guest says that it has seen so much of a used ring.
    fn seen(&self, ring: &Ring, index: u16) {
        let at = ring.available_ring() + 4 + 2 * u64::from(RING);
        self.memory.write_obj(index, GuestAddress(at)).unwrap();
    }

    fn connect(&mut self) {
        self.add(&packet(Op::Request, 77, PORT));
        self.kick();
        assert_eq!(self.take(), Some(Op::Response as u16));
    }

    /// The operation of the next packet that the guest was given.
    fn take(&mut self) -> Option<u16> {
        let (head, len) = self.receive.take_used(&self.memory)?;
        assert!(len >= HEADER_SIZE as u32);
        let at = GuestAddress(BUFFERS + 0x1000 * u64::from(head));
        let mut header = [0; HEADER_SIZE];
        self.memory.read_slice(&mut header, at).unwrap();
        Some(Header::from_bytes(&header).op)
    }
}

#[test]
fn a_packet_whose_notification_is_lost_is_found() {
    let mut machine = Machine::new();
    machine.connect();
    let (mut host, _) = machine.listener.accept().unwrap();
    host.set_nonblocking(true).unwrap();
    // Nothing is left to be done, by the device's own plans, but to look again.
    machine.add(&Header {
        flags: 2,
        ..packet(Op::Shutdown, 77, PORT)
    });
    let mut end = || match host.read(&mut [0]) {
        Ok(0) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        other => panic!("{other:?}"),
    };
    assert!(machine.wait(|_| end()), "the packet lies there for ever");
}

#[test]
fn a_guest_whose_interrupt_is_lost_is_interrupted() {
    let mut machine = Machine::new();
    // The guest is about to say that it has seen nothing yet, when the device looks whether to
    // interrupt it: the device still finds what was there before.
    machine.seen(&machine.receive, 40);
    machine.connect();
    machine.seen(&machine.receive, 0);
    machine.seen(&machine.transmit, 1);
    machine.interrupted();
    assert!(
        machine.wait(|machine| machine.interrupted()),
        "the guest sleeps for ever"
    );
}

#[test]
fn a_guest_that_has_seen_everything_is_left_alone() {
    let mut machine = Machine::new();
    machine.connect();
    // The guest takes back its buffers as well.
    while machine.transmit.take_used(&machine.memory).is_some() {}
    machine.seen(&machine.receive, 1);
    machine.seen(&machine.transmit, 1);
    machine.interrupted();
    assert!(!machine.wait(|machine| machine.interrupted()));
}
