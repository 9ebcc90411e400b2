//! What goes to the guest, and in which order.

use super::{Entry, Table};
use crate::protocol::packet::Header;
use crate::protocol::slab::StreamId;

impl<H> Table<H> {
    /// Whether a control packet waits for a buffer of the guest's.
    pub fn has_control(&self) -> bool {
        !self.resets.is_empty() || !self.controls.is_empty()
    }

    /// The next control packet: resets first, then each stream in turn.
    pub fn next_control(&mut self) -> Option<Header> {
        let guest_cid = u64::from(self.config.guest_cid);
        if let Some(reset) = self.resets.pop() {
            return Some(reset.header(guest_cid));
        }
        while let Some(id) = self.controls.pop_front() {
            let Some(entry) = self.entries.at_mut(id) else {
                continue;
            };
            entry.in_controls = false;
            let header = entry.stream.next_control(entry.key, guest_cid);
            self.queue(id);
            if header.is_some() {
                return header;
            }
        }
        None
    }

    /// The stream whose turn it is to send data, and how many bytes its credit allows (at least
    /// one). It stays in front until [`rotate`](Self::rotate) or until it cannot send.
    pub fn next_sender(&mut self) -> Option<(StreamId, u32)> {
        while let Some(&id) = self.senders.front() {
            let sendable = self.entries.at(id).map_or(0, Entry::sendable);
            if sendable > 0 {
                return Some((id, sendable));
            }
            self.senders.pop_front();
            if let Some(entry) = self.entries.at_mut(id) {
                entry.in_senders = false;
            }
            self.queue(id);
        }
        None
    }

    /// Puts the stream in front behind the others.
    pub fn rotate(&mut self) {
        if let Some(id) = self.senders.pop_front() {
            self.senders.push_back(id);
        }
    }

    /// The header for `len` bytes of the host's (at least one), which count as sent: at most what
    /// [`next_sender`](Self::next_sender) allowed.
    pub fn send(&mut self, id: StreamId, len: u32) -> Option<Header> {
        let guest_cid = u64::from(self.config.guest_cid);
        let entry = self.entries.at_mut(id).filter(|_| len > 0)?;
        self.counters.to_guest += u64::from(len);
        Some(entry.stream.send(entry.key, guest_cid, len))
    }

    /// Whether a stream with data has waited for the guest's credit since the last call of
    /// [`ask_for_credit`](Self::ask_for_credit), which is then worth calling in a while.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Asks the guest for credit on each stream that waits for it. Drivers tell of free space by
    /// themselves, and asking at once would have them tell of every little bit.
    pub fn ask_for_credit(&mut self) {
        self.stalled = false;
        let stalled: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.attached && entry.readable && entry.stream.stalled())
            .map(|(id, _)| id)
            .collect();
        for id in stalled {
            if let Some(entry) = self.entries.at_mut(id) {
                entry.stream.ask_for_credit();
            }
            self.queue(id);
        }
    }
}
