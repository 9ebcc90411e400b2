//! All streams of a guest, and what each packet and each doing of the host's means for them.

#[cfg(any(test, fuzzing))]
mod check;
mod host;
mod outgoing;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::packet::{Header, MAX_PAYLOAD, Op, TYPE_STREAM};
use super::resets::{Reset, Resets};
use super::slab::{Slab, StreamId};
use super::stream::{Effect, HostCid, Key, Stream, Violation};
use crate::config::Limits;

/// Ports of the host's for connections that the host opens start here, far from any well-known
/// one, as Firecracker's do.
const FIRST_HOST_PORT: u32 = 1 << 30;

/// A new stream gets this part of what is left of the budget.
const SHARES: usize = 32;

/// What a table is told.
#[derive(Clone, Copy, Debug)]
pub struct TableConfig {
    /// CID of the guest.
    pub guest_cid: u32,
    /// The one port of CID 0 that answers.
    pub console_port: Option<u32>,
    /// Bounds.
    pub limits: Limits,
}

/// What the caller has to do about a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<H> {
    /// Nothing; what there was to do is done or queued for the guest.
    Nothing,
    /// Connect the host's socket for this new stream, then say [`Table::connected`] or
    /// [`Table::refused`].
    Dial(StreamId),
    /// Tell the host's client that the guest accepted.
    Answered(StreamId),
    /// Forward the packet's payload, then say [`Table::forwarded`] of what left.
    Data(StreamId),
    /// Do what [`Table::duty`] says.
    Settle(StreamId),
    /// Close the host side of a stream that has ended.
    Departed(Departed<H>),
}

/// The host side of a stream that is not in the table any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Departed<H> {
    /// The name it had.
    pub id: StreamId,
    /// Its host side.
    pub host: H,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Streams that were opened, in either direction.
    pub opened: u64,
    /// Connections and packets that were answered with a reset.
    pub reset: u64,
    /// Packets that nobody could be told of: a foreign source CID, or a reset of nothing.
    pub dropped: u64,
    /// Bytes that went to the host.
    pub to_host: u64,
    /// Bytes that went to the guest.
    pub to_guest: u64,
}

/// The streams of one guest. `H` is the host's side of a stream, which the table keeps and never
/// looks at.
#[derive(Debug)]
pub struct Table<H> {
    config: TableConfig,
    entries: Slab<Entry<H>>,
    keys: HashMap<Key, StreamId>,
    resets: Resets,
    /// Streams with a control packet for the guest, and those with data, each at most once.
    controls: VecDeque<StreamId>,
    senders: VecDeque<StreamId>,
    reserved: usize,
    next_port: u32,
    next_deadline: Option<Instant>,
    /// Whether a stream was seen to wait for credit since [`Table::ask_for_credit`].
    stalled: bool,
    counters: Counters,
}

#[derive(Debug)]
struct Entry<H> {
    key: Key,
    stream: Stream,
    host: H,
    /// Whether the guest still knows this stream; if not, it only drains to the host.
    attached: bool,
    /// Whether the host's socket has something to read.
    readable: bool,
    in_controls: bool,
    in_senders: bool,
}

impl<H> Table<H> {
    /// An empty table.
    pub fn new(config: TableConfig) -> Self {
        Self {
            config,
            entries: Slab::new(config.limits.streams),
            keys: HashMap::new(),
            resets: Resets::new(config.limits.pending_resets),
            controls: VecDeque::new(),
            senders: VecDeque::new(),
            reserved: 0,
            next_port: FIRST_HOST_PORT,
            next_deadline: None,
            stalled: false,
            counters: Counters::default(),
        }
    }

    /// Whether the table can take a packet: not while the guest leaves so many resets lying that
    /// a further one would have no place.
    pub fn accepts(&self) -> bool {
        !self.resets.is_full()
    }

    /// Takes a packet of the guest's. `new_host` makes the host side of a stream it may open.
    pub fn receive(
        &mut self,
        header: &Header,
        now: Instant,
        new_host: impl FnOnce() -> H,
    ) -> Verdict<H> {
        let op = Op::from_number(header.op);
        let foreign = header.src_cid != u64::from(self.config.guest_cid);
        let key = self.key(header);
        let known = key.and_then(|key| self.keys.get(&key).copied());
        match (op, known) {
            _ if foreign => self.drop_packet(),
            (Some(Op::Reset), None) => self.drop_packet(),
            (Some(Op::Reset), Some(id)) => self.guest_reset(id),
            (Some(Op::Request), known) => self.request(header, key, known, now, new_host),
            (Some(op), Some(id)) => self.packet(op, header, id),
            (None, Some(id)) => self.violated(header, id),
            (_, None) => self.refuse(header),
        }
    }

    /// The stream of this packet, if the guest may address it.
    fn key(&self, header: &Header) -> Option<Key> {
        let host_cid = HostCid::from_number(header.dst_cid)?;
        let console = host_cid == HostCid::Hypervisor;
        if header.kind != TYPE_STREAM
            || (console && self.config.console_port != Some(header.dst_port))
        {
            return None;
        }
        Some(Key {
            host_cid,
            host_port: header.dst_port,
            guest_port: header.src_port,
        })
    }

    fn request(
        &mut self,
        header: &Header,
        key: Option<Key>,
        known: Option<StreamId>,
        now: Instant,
        new_host: impl FnOnce() -> H,
    ) -> Verdict<H> {
        if let Some(id) = known {
            if !self
                .entries
                .at(id)
                .is_some_and(|entry| entry.stream.guest_left())
            {
                return self.violated(header, id);
            }
            // The guest has left that stream and uses its port again.
            self.detach(id);
        }
        let Some(key) = key.filter(|_| header.len == 0 && !self.entries.is_full()) else {
            return self.refuse(header);
        };
        let window = self.reserve();
        let deadline = now + self.config.limits.dial_deadline;
        let stream = Stream::asked_by_guest(header, window, deadline);
        match self.insert(key, stream, new_host()) {
            Ok(id) => Verdict::Dial(id),
            Err(_) => self.refuse(header),
        }
    }

    fn packet(&mut self, op: Op, header: &Header, id: StreamId) -> Verdict<H> {
        let fits = match op {
            Op::Data => header.len <= MAX_PAYLOAD,
            _ => header.len == 0,
        };
        let Some(entry) = self.entries.at_mut(id).filter(|_| fits) else {
            return self.violated(header, id);
        };
        let effect = entry.stream.packet(op, header);
        self.queue(id);
        match effect {
            Ok(Effect::None) => Verdict::Nothing,
            Ok(Effect::Answered) => Verdict::Answered(id),
            Ok(Effect::Data) => Verdict::Data(id),
            Ok(Effect::Shut) => Verdict::Settle(id),
            Err(Violation) => self.violated(header, id),
        }
    }

    /// The guest reset a stream: what it sent before still goes to the host.
    fn guest_reset(&mut self, id: StreamId) -> Verdict<H> {
        if self
            .entries
            .at(id)
            .is_some_and(|entry| entry.stream.held() > 0)
        {
            self.detach(id);
            return Verdict::Nothing;
        }
        self.depart(id)
    }

    /// The guest broke a rule on a stream: it gets a reset, the host an end.
    fn violated(&mut self, header: &Header, id: StreamId) -> Verdict<H> {
        self.owe(Reset::answering(header));
        self.depart(id)
    }

    /// A packet for no stream, or for none that may be opened.
    fn refuse(&mut self, header: &Header) -> Verdict<H> {
        self.owe(Reset::answering(header));
        Verdict::Nothing
    }

    fn drop_packet(&mut self) -> Verdict<H> {
        self.counters.dropped += 1;
        Verdict::Nothing
    }

    fn depart(&mut self, id: StreamId) -> Verdict<H> {
        match self.remove(id) {
            Some(host) => Verdict::Departed(Departed { id, host }),
            None => Verdict::Nothing,
        }
    }

    fn owe(&mut self, reset: Reset) {
        self.counters.reset += 1;
        if !self.resets.push(reset) {
            self.counters.dropped += 1;
        }
    }

    /// Resets the stream of a packet whose buffers in guest memory do not hold what its header
    /// says.
    pub fn malformed(&mut self, header: &Header) -> Verdict<H> {
        let foreign = header.src_cid != u64::from(self.config.guest_cid);
        if foreign || header.op == Op::Reset as u16 {
            return self.drop_packet();
        }
        match self
            .key(header)
            .and_then(|key| self.keys.get(&key).copied())
        {
            Some(id) => self.violated(header, id),
            None => self.refuse(header),
        }
    }

    /// The stream to which a packet belongs, if there is one.
    pub fn find(&self, header: &Header) -> Option<StreamId> {
        self.keys.get(&self.key(header)?).copied()
    }

    /// The guest is gone: streams with bytes of its that the host has not taken only drain from
    /// now on, all others leave.
    pub fn guest_gone(&mut self) -> Vec<Departed<H>> {
        self.resets.clear();
        let ids: Vec<_> = self.entries.iter().map(|(id, _)| id).collect();
        let mut departed = Vec::new();
        for id in ids {
            match self.guest_reset(id) {
                Verdict::Departed(stream) => departed.push(stream),
                _ => continue,
            }
        }
        departed
    }

    /// Every stream leaves.
    pub fn end(&mut self) -> Vec<Departed<H>> {
        self.resets.clear();
        let ids: Vec<_> = self.entries.iter().map(|(id, _)| id).collect();
        ids.into_iter()
            .filter_map(|id| self.remove(id).map(|host| Departed { id, host }))
            .collect()
    }

    /// The host side of a stream.
    pub fn host(&self, id: StreamId) -> Option<&H> {
        self.entries.at(id).map(|entry| &entry.host)
    }

    /// The host side of a stream.
    pub fn host_mut(&mut self, id: StreamId) -> Option<&mut H> {
        self.entries.at_mut(id).map(|entry| &mut entry.host)
    }

    /// The state of a stream.
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.entries.at(id).map(|entry| &entry.stream)
    }

    /// The ports and CID of a stream.
    pub fn key_of(&self, id: StreamId) -> Option<Key> {
        self.entries.at(id).map(|entry| entry.key)
    }

    /// How many streams there are, those that only drain included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sum of the windows of all streams, in bytes.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A window for one more stream: a fixed part of what is left of the budget, so that windows
    /// shrink gently as streams grow many, and small ones are left for all others.
    fn reserve(&mut self) -> u32 {
        let limits = &self.config.limits;
        let others = limits.streams.saturating_sub(self.entries.len() + 1);
        let kept = others.saturating_mul(limits.small_window as usize);
        let left = limits.buffer_budget.saturating_sub(self.reserved);
        let part = u32::try_from(left / SHARES).unwrap_or(u32::MAX);
        let window = largest_power_of_two(part).clamp(limits.small_window, limits.window);
        if window as usize + kept <= left {
            window
        } else {
            limits.small_window
        }
    }

    fn insert(&mut self, key: Key, stream: Stream, host: H) -> Result<StreamId, H> {
        let window = stream.window() as usize;
        let deadline = stream.deadline;
        let entry = Entry {
            key,
            stream,
            host,
            attached: true,
            readable: false,
            in_controls: false,
            in_senders: false,
        };
        let id = self.entries.insert(entry).map_err(|entry| entry.host)?;
        self.keys.insert(key, id);
        self.reserved += window;
        self.counters.opened += 1;
        if let Some(deadline) = deadline {
            self.note_deadline(deadline);
        }
        Ok(id)
    }

    fn remove(&mut self, id: StreamId) -> Option<H> {
        self.detach(id);
        let entry = self.entries.remove(id)?;
        self.reserved -= entry.stream.window() as usize;
        Some(entry.host)
    }

    /// The guest does not know the stream any more.
    fn detach(&mut self, id: StreamId) {
        if let Some(entry) = self.entries.at_mut(id)
            && entry.attached
        {
            entry.attached = false;
            entry.stream.deadline = None;
            self.keys.remove(&entry.key);
            // Names of streams that are gone must not pile up while the guest takes no packets.
            if std::mem::take(&mut entry.in_controls) {
                self.controls.retain(|queued| *queued != id);
            }
            if std::mem::take(&mut entry.in_senders) {
                self.senders.retain(|queued| *queued != id);
            }
        }
    }

    fn note_deadline(&mut self, deadline: Instant) {
        let next = self
            .next_deadline
            .map_or(deadline, |next| next.min(deadline));
        self.next_deadline = Some(next);
    }

    /// Puts a stream into the queues in which it belongs and is not yet.
    fn queue(&mut self, id: StreamId) {
        let Some(entry) = self.entries.at_mut(id).filter(|entry| entry.attached) else {
            return;
        };
        self.stalled |= entry.readable && entry.stream.stalled();
        if entry.stream.has_control() && !entry.in_controls {
            entry.in_controls = true;
            self.controls.push_back(id);
        }
        if !entry.in_senders && entry.sendable() > 0 {
            entry.in_senders = true;
            self.senders.push_back(id);
        }
    }
}

impl<H> Entry<H> {
    fn sendable(&self) -> u32 {
        if self.attached && self.readable {
            self.stream.sendable()
        } else {
            0
        }
    }
}

fn reset_of(key: Key) -> Reset {
    Reset {
        host_cid: key.host_cid.number(),
        host_port: key.host_port,
        guest_port: key.guest_port,
        kind: TYPE_STREAM,
    }
}

/// The largest power of two up to `number`; 0 for 0.
fn largest_power_of_two(number: u32) -> u32 {
    number.checked_ilog2().map_or(0, |exponent| 1 << exponent)
}
