//! Resets that wait for a buffer of the guest's.

use std::collections::{HashSet, VecDeque};

use super::packet::{Header, Op};

/// A reset that is owed to the guest for a connection that does not exist (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reset {
    /// The CID that the guest addressed, echoed so that the guest finds its socket.
    pub host_cid: u64,
    /// The port that the guest addressed.
    pub host_port: u32,
    /// The guest's port.
    pub guest_port: u32,
    /// The socket type of the guest's packet, echoed.
    pub kind: u16,
}

impl Reset {
    /// The answer to the guest's packet `header`.
    pub fn answering(header: &Header) -> Self {
        Self {
            host_cid: header.dst_cid,
            host_port: header.dst_port,
            guest_port: header.src_port,
            kind: header.kind,
        }
    }

    /// The packet.
    pub fn header(&self, guest_cid: u64) -> Header {
        Header {
            src_cid: self.host_cid,
            dst_cid: guest_cid,
            src_port: self.host_port,
            dst_port: self.guest_port,
            kind: self.kind,
            op: Op::Reset as u16,
            ..Header::default()
        }
    }
}

/// A queue of resets, each connection once: however many packets a guest sends to a connection
/// that is gone, one answer waits.
#[derive(Debug)]
pub struct Resets {
    queue: VecDeque<Reset>,
    present: HashSet<Reset>,
    limit: usize,
}

impl Resets {
    /// An empty queue that is full at `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            present: HashSet::new(),
            limit,
        }
    }

    /// Adds a reset, unless it waits already. The caller stops taking packets when the queue
    /// [is full](Self::is_full); one added nevertheless is lost and `false` comes back.
    pub fn push(&mut self, reset: Reset) -> bool {
        if self.present.contains(&reset) {
            return true;
        }
        if self.is_full() {
            return false;
        }
        self.present.insert(reset);
        self.queue.push_back(reset);
        true
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Reset> {
        let reset = self.queue.pop_front()?;
        self.present.remove(&reset);
        Some(reset)
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.limit
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Forgets all: the guest that they were for is gone.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.present.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(guest_port: u32) -> Reset {
        Reset {
            host_cid: 3,
            host_port: 1,
            guest_port,
            kind: 1,
        }
    }

    #[test]
    fn a_full_queue_loses_the_new_and_keeps_the_old() {
        let mut resets = Resets::new(2);
        assert!(resets.push(reset(1)) && resets.push(reset(2)));
        assert!(resets.push(reset(1)), "already waiting is no loss");
        assert!(!resets.push(reset(3)));
        assert_eq!(resets.pop(), Some(reset(1)));
        assert_eq!(resets.pop(), Some(reset(2)));
        assert_eq!(resets.pop(), None);
        assert!(resets.push(reset(1)));
    }
}
