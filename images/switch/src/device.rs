//! The virtio-vsock device behind vhost-user: queues, features, and the turn in which all work is
//! done.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use vhost::vhost_user::VhostUserVirtioFeatures;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{ShutdownHandle, VhostUserBackendMut, VringMutex, VringState, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

use crate::config::SwitchConfig;
use crate::error::SwitchError;
use crate::hub::Hub;
use crate::listen::BoundSocket;
use crate::pace::Pace;
use crate::ring::{RingError, Turn, guest_position};
use crate::transmit::Drained;
use crate::{receive, transmit};

/// Receive and transmit queue, in this order (clause 5.10.2); the event queue stays with the
/// virtual machine monitor.
const QUEUES: usize = 2;

/// The largest queue; QEMU's have 128 descriptors (`VHOST_VSOCK_QUEUE_SIZE`).
const MAX_QUEUE_SIZE: usize = 1024;

/// The number under which vhost-user-backend reports events of [`Device::events_fd`]: the first
/// one that it does not use itself.
pub(crate) const HOST_EVENT: u16 = QUEUES as u16 + 1;

/// Packets taken from, or buffers filled for, the guest before others have their turn.
const BUDGET: usize = 256;

/// Transmit buffers may lie in the used ring for so long before the guest is interrupted: nothing
/// in the guest waits for them but its allocator, and an interrupt for each costs more than the
/// packet. A quarter of the ring is the most that lies there.
const INTERRUPT_DELAY: Duration = Duration::from_millis(5);

/// So long after something moved, the queues are looked at once more though nothing says that
/// there is anything. Who is told and who looks agree through memory barriers on both sides (clause
/// 2.7.13.4.1), and QEMU's software emulation of a machine with one processor leaves out the
/// guest's: a notification or an interrupt can be lost then, and with it everything until the next.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The device's state, behind the lock that vhost-user-backend takes around every call.
pub(crate) struct Device {
    guest_cid: u32,
    hub: Hub,
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    rings: Option<[VringMutex; QUEUES]>,
    running: bool,
    /// Whether the guest's driver puts each packet into one place of the ring, however many
    /// buffers it has.
    indirect: bool,
    /// Transmit buffers that the guest has not been interrupted for, and when it will be.
    silent: u16,
    interrupt_at: Option<Instant>,
    /// When the queues are looked at again, and whether anything moved since the last time.
    look_at: Option<Instant>,
    moved: bool,
    pace: Pace,
    /// Whether the last turn ended with a rest.
    rested: bool,
    shutdown: Option<ShutdownHandle>,
    failed: bool,
}

impl Device {
    pub(crate) fn new(config: SwitchConfig, listener: BoundSocket) -> Result<Self, SwitchError> {
        Ok(Self {
            guest_cid: config.guest_cid,
            hub: Hub::new(config, listener)?,
            memory: GuestMemoryAtomic::new(GuestMemoryMmap::new()),
            rings: None,
            running: false,
            indirect: false,
            silent: 0,
            interrupt_at: None,
            look_at: None,
            moved: false,
            pace: Pace::default(),
            rested: false,
            shutdown: None,
            failed: false,
        })
    }

    /// The descriptor whose events are to be reported as [`HOST_EVENT`].
    pub(crate) fn events_fd(&self) -> RawFd {
        self.hub.poller.raw_fd()
    }

    /// Tells the device how to end the connection, should it fail.
    pub(crate) fn set_shutdown(&mut self, shutdown: ShutdownHandle) {
        self.shutdown = Some(shutdown);
    }

    /// Whether the device had a bug: it has ended the connection then.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// The connection to the virtual machine monitor is over. What the guest sent and the host has
    /// not taken comes back with the sockets it is for.
    pub(crate) fn end(&mut self) -> Vec<(UnixStream, VecDeque<u8>)> {
        self.stop();
        self.hub.close();
        self.hub.take_rest()
    }

    /// One round of work: events of the host's, packets of the guest's, packets for the guest.
    fn turn(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.hub.poll(now)?;
        self.start();
        if let (true, Some(rings)) = (self.running, self.rings.clone()) {
            let [receive, transmit] = &rings;
            if let Err(error) = self.work(receive, transmit, now) {
                log::warn!("{error}");
                self.break_off();
            }
        }
        let due = [self.interrupt_at, self.look_at]
            .into_iter()
            .flatten()
            .min();
        self.hub.set_timer(due, now);
        Ok(())
    }

    fn work(
        &mut self,
        receive: &VringMutex,
        transmit: &VringMutex,
        now: Instant,
    ) -> Result<(), RingError> {
        let before = position([receive, transmit]);
        let (sent, to_host) = self.transmit(&mut transmit.get_mut(), now)?;
        let (received, to_guest) = self.receive(&mut receive.get_mut(), now)?;
        self.moved |= position([receive, transmit]) != before;
        self.look_again([receive, transmit], now)?;
        self.pace.moved(to_host, to_guest);
        if std::mem::take(&mut self.rested) && to_host == 0 && to_guest == 0 {
            self.pace.idle();
        }
        let unblocked = sent == Turn::Blocked && self.hub.table.accepts();
        let unfinished = sent == Turn::Unfinished || received == Turn::Unfinished;
        // Without credit it is the guest's turn, and its word must not wait.
        let read_all = received == Turn::Finished && !self.hub.table.is_stalled();
        let more_to_guest = to_guest > 0 && read_all && self.pace.bulk_to_guest();
        let rest = sent == Turn::Lingering || more_to_guest;
        if rest || unfinished || unblocked {
            self.hub.poller.remind();
        }
        if rest && !unfinished && !unblocked {
            self.rested = true;
            self.pace.rest();
        }
        Ok(())
    }

    /// Sees to it that some time after the last thing that moved the queues are looked at, and that a
    /// guest that has not seen what was used by then is interrupted: at worst once too often.
    fn look_again(&mut self, rings: [&VringMutex; QUEUES], now: Instant) -> Result<(), RingError> {
        if self.look_at.is_some_and(|when| when <= now) {
            self.look_at = None;
            let memory = self.memory.memory();
            for ring in rings {
                let ring = ring.get_ref();
                let queue = ring.get_queue();
                if guest_position(queue, &memory)?.is_some_and(|seen| seen != queue.next_used()) {
                    interrupt(&ring);
                }
            }
        }
        if self.look_at.is_none() && std::mem::take(&mut self.moved) {
            self.look_at = Some(now + LOOK_AGAIN);
        }
        Ok(())
    }

    /// Takes packets from the guest; the number of bytes comes back.
    fn transmit(&mut self, ring: &mut VringState, now: Instant) -> Result<(Turn, u64), RingError> {
        let memory = self.memory.memory();
        let queue = ring.get_queue_mut();
        let before = queue.next_used();
        let linger = self.pace.bulk_to_host();
        let Drained { turn, data } =
            transmit::drain(&mut self.hub, &memory, queue, BUDGET, linger, now)?;
        let returned = queue.next_used().wrapping_sub(before);
        self.silent = self.silent.saturating_add(returned);
        if self.silent == 0 {
            return Ok((turn, data));
        }
        let many = !self.indirect || self.silent >= queue.size() / 4;
        if many || self.interrupt_at.is_some_and(|when| when <= now) {
            self.silent = 0;
            self.interrupt_at = None;
            if queue.needs_notification(&*memory)? {
                interrupt(ring);
            }
        } else {
            self.interrupt_at.get_or_insert(now + INTERRUPT_DELAY);
        }
        Ok((turn, data))
    }

    /// Fills the guest's buffers; the number of bytes comes back.
    fn receive(&mut self, ring: &mut VringState, now: Instant) -> Result<(Turn, u64), RingError> {
        let memory = self.memory.memory();
        let queue = ring.get_queue_mut();
        let before = queue.next_used();
        let sent = self.hub.table.counters().to_guest;
        let turn = receive::fill(&mut self.hub, &memory, queue, BUDGET, now)?;
        if queue.next_used() != before && queue.needs_notification(&*memory)? {
            interrupt(ring);
        }
        Ok((turn, self.hub.table.counters().to_guest.wrapping_sub(sent)))
    }

    /// Notices that the guest's driver has set both queues up.
    fn start(&mut self) {
        let Some(rings) = self.rings.as_ref().filter(|_| !self.running) else {
            return;
        };
        let ready = |ring: &VringMutex| {
            let state = ring.get_ref();
            state.is_enabled() && state.get_queue().ready()
        };
        if !rings.iter().all(ready) {
            return;
        }
        let memory = self.memory.memory();
        if rings
            .iter()
            .all(|ring| ring.get_ref().get_queue().is_valid(&*memory))
        {
            self.running = true;
            self.hub.guest_up = true;
        } else {
            // Until the driver sets them up again there is nothing to do.
            self.rings = None;
        }
    }

    /// The guest's driver, or its whole machine, has stopped: what it had sent still goes out.
    fn stop(&mut self) {
        if !std::mem::take(&mut self.running) {
            return;
        }
        if let Some([_, transmit]) = self.rings.take() {
            let mut ring = transmit.get_mut();
            let queue = ring.get_queue_mut();
            // The framework takes the queue out of use before it says so.
            let ready = queue.ready();
            queue.set_ready(true);
            let memory = self.memory.memory();
            let size = usize::from(queue.size());
            let drained =
                transmit::drain(&mut self.hub, &memory, queue, size, false, Instant::now());
            queue.set_ready(ready);
            if let Err(error) = drained {
                log::debug!("the last packets of the guest are lost: {error}");
            }
        }
        self.forget_guest();
    }

    /// A queue is broken: its guest is cut off until its driver sets the queues up again.
    fn break_off(&mut self) {
        self.running = false;
        self.rings = None;
        self.forget_guest();
    }

    fn forget_guest(&mut self) {
        self.hub.guest_gone();
        self.silent = 0;
        self.interrupt_at = None;
        self.look_at = None;
        self.moved = false;
        self.pace.idle();
    }

    /// Remembers the queues when one of them comes into use.
    fn adopt(&mut self, event: u16, vrings: &[VringMutex]) {
        if self.rings.is_none()
            && event != HOST_EVENT
            && let [receive, transmit] = vrings
        {
            self.rings = Some([receive.clone(), transmit.clone()]);
        }
    }
}

/// How far the device is in both rings.
fn position(rings: [&VringMutex; QUEUES]) -> [(u16, u16); QUEUES] {
    rings.map(|ring| {
        let ring = ring.get_ref();
        (ring.get_queue().next_avail(), ring.get_queue().next_used())
    })
}

/// Interrupts the guest for a queue.
fn interrupt(ring: &VringState) {
    if let Err(error) = ring.signal_used_queue() {
        log::warn!("cannot interrupt the guest: {error}");
    }
}

impl VhostUserBackendMut for Device {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        MAX_QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        (1 << VIRTIO_F_VERSION_1)
            | (1 << VIRTIO_RING_F_EVENT_IDX)
            | (1 << VIRTIO_RING_F_INDIRECT_DESC)
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn acked_features(&mut self, features: u64) {
        self.indirect = features & (1 << VIRTIO_RING_F_INDIRECT_DESC) != 0;
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG
    }

    fn reset_device(&mut self) {
        self.stop();
    }

    fn set_event_idx(&mut self, _enabled: bool) {}

    /// The configuration space is the guest's CID (clause 5.10.4).
    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let space = u64::from(self.guest_cid).to_le_bytes();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        space
            .get(start..end)
            .map(<[u8]>::to_vec)
            .unwrap_or_default()
    }

    fn update_memory(&mut self, memory: GuestMemoryAtomic<GuestMemoryMmap>) -> io::Result<()> {
        self.memory = memory;
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC).ok()
    }

    fn stop_vring(&mut self, _queue: u32) -> io::Result<()> {
        self.stop();
        Ok(())
    }

    fn handle_event(
        &mut self,
        event: u16,
        _set: EventSet,
        vrings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        if self.failed {
            return Ok(());
        }
        self.adopt(event, vrings);
        // An error or a panic here would end the thread without anybody noticing.
        let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
        if !matches!(turn, Ok(Ok(()))) {
            self.failed = true;
            if let Some(shutdown) = &self.shutdown {
                shutdown.shutdown();
            }
        }
        Ok(())
    }
}
