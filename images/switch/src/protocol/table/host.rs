//! What the host does to streams.

use std::time::Instant;

use super::{FIRST_HOST_PORT, Table, reset_of};
use crate::protocol::slab::StreamId;
use crate::protocol::stream::{HostCid, HostDuty, Key, Stream};

impl<H> Table<H> {
    /// Opens a stream from the host to `guest_port`; the name and the host's port come back.
    ///
    /// # Errors
    /// The host side, when the table is full.
    pub fn open(&mut self, guest_port: u32, host: H, now: Instant) -> Result<(StreamId, u32), H> {
        if self.entries.is_full() {
            return Err(host);
        }
        let key = self.unused_key(guest_port);
        let window = self.reserve();
        let deadline = now + self.config.limits.response_deadline;
        let stream = Stream::asked_by_host(window, deadline);
        let id = self.insert(key, stream, host)?;
        self.queue(id);
        Ok((id, key.host_port))
    }

    /// A key that no stream has: there are more ports than streams, so the search ends.
    fn unused_key(&mut self, guest_port: u32) -> Key {
        loop {
            let key = Key {
                host_cid: HostCid::Parent,
                host_port: self.next_port,
                guest_port,
            };
            self.next_port = match self.next_port.checked_add(1) {
                Some(port) if port != u32::MAX => port,
                _ => FIRST_HOST_PORT,
            };
            if !self.keys.contains_key(&key) {
                return key;
            }
        }
    }

    /// The host's socket of a stream that the guest asked for is connected.
    pub fn connected(&mut self, id: StreamId) {
        if let Some(entry) = self.entries.at_mut(id) {
            entry.stream.connected();
        }
        self.queue(id);
    }

    /// Nobody answers on the host: the guest gets a reset and the stream ends.
    pub fn refused(&mut self, id: StreamId) -> Option<H> {
        if let Some(entry) = self.entries.at(id).filter(|entry| entry.attached) {
            let key = entry.key;
            self.owe(reset_of(key));
        }
        self.remove(id)
    }

    /// `len` bytes of the guest's went out to the host.
    pub fn forwarded(&mut self, id: StreamId, len: u32) {
        if let Some(entry) = self.entries.at_mut(id) {
            entry.stream.forwarded(len);
            self.counters.to_host += u64::from(len);
        }
        self.queue(id);
    }

    /// The host ended directions: `SHUTDOWN_SEND` after its last byte was
    /// read, `SHUTDOWN_RECEIVE` when it takes no more.
    pub fn host_ended(&mut self, id: StreamId, flags: u32, now: Instant) {
        let deadline = now + self.config.limits.close_deadline;
        if let Some(entry) = self.entries.at_mut(id) {
            entry.stream.host_ended(flags, deadline);
            if let Some(deadline) = entry.stream.deadline {
                self.note_deadline(deadline);
            }
        }
        self.queue(id);
    }

    /// Says whether the host's socket of a stream has something to read.
    pub fn set_readable(&mut self, id: StreamId, readable: bool) {
        if let Some(entry) = self.entries.at_mut(id) {
            entry.readable = readable;
        }
        self.queue(id);
    }

    /// What is due on the host's socket now. After `close`, [`finish`](Self::finish) the stream.
    pub fn duty(&mut self, id: StreamId) -> HostDuty {
        let Some(entry) = self.entries.at_mut(id) else {
            return HostDuty::default();
        };
        if entry.attached {
            return entry.stream.duty();
        }
        HostDuty {
            close: entry.stream.held() == 0,
            ..HostDuty::default()
        }
    }

    /// Ends a stream: the guest, if it still knows it, gets the reset that completes a clean
    /// disconnect or breaks the connection.
    pub fn finish(&mut self, id: StreamId) -> Option<H> {
        self.refused(id)
    }

    /// Ends a stream of which the guest knows nothing yet, or whose request may be answered with a
    /// reset when its response comes.
    pub fn abandon(&mut self, id: StreamId) -> Option<H> {
        self.remove(id)
    }

    /// When [`expired`](Self::expired) is worth calling next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Streams whose deadline has passed; the caller [`finish`](Self::finish)es each.
    pub fn expired(&mut self, now: Instant) -> Vec<StreamId> {
        let deadlines = || {
            let entries = self.entries.iter();
            entries.filter_map(|(id, entry)| Some((id, entry.stream.deadline?)))
        };
        let expired = deadlines()
            .filter(|(_, deadline)| *deadline <= now)
            .map(|(id, _)| id)
            .collect();
        self.next_deadline = deadlines()
            .map(|(_, deadline)| deadline)
            .filter(|deadline| *deadline > now)
            .min();
        expired
    }
}
