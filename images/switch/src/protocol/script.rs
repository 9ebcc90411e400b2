//! Arbitrary bytes as a story: what a guest and a host do to a [`Table`]. For property tests and
//! the fuzz target `vsock_packet`; the table checks itself after every line.

use std::time::{Duration, Instant};

use super::packet::{HEADER_SIZE, Header, Op, SHUTDOWN_BOTH, TYPE_STREAM};
use super::slab::StreamId;
use super::table::{Table, TableConfig, Verdict};
use crate::config::Limits;

const GUEST_CID: u32 = 16;
const CONSOLE_PORT: u32 = 10016;

/// Limits small enough that a short story meets all of them.
const LIMITS: Limits = Limits {
    streams: 5,
    window: 8192,
    small_window: 4096,
    buffer_budget: 32 * 8192,
    handshakes: 4,
    handshake_deadline: Duration::from_secs(5),
    response_deadline: Duration::from_secs(10),
    dial_deadline: Duration::from_secs(2),
    close_deadline: Duration::from_secs(8),
    pending_resets: 3,
    drain_deadline: Duration::from_secs(2),
};

/// Tells the story to its end.
///
/// # Panics
/// When the table contradicts itself, sends what no guest may get, or loses a host side.
pub fn run(bytes: &[u8]) {
    let mut story = Story::new(bytes);
    while let Some(line) = story.byte() {
        match line % 12 {
            0..=3 => story.plausible_packet(),
            4 => story.arbitrary_packet(),
            5 => story.open(),
            6 => story.forward(),
            7 => story.readable(),
            8 => story.host_ends(),
            9 => story.control(),
            10 => story.data(),
            _ => story.time_passes(),
        }
        story.table.assert_consistent();
        assert_eq!(
            story.table.len(),
            story.hosts,
            "a host side is lost or doubled"
        );
    }
    story.guest_goes();
}

struct Story<'a> {
    bytes: &'a [u8],
    table: Table<u64>,
    now: Instant,
    /// Streams that were named, some of which are gone.
    known: Vec<StreamId>,
    /// Host sides that the table has.
    hosts: usize,
}

impl<'a> Story<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let config = TableConfig {
            guest_cid: GUEST_CID,
            console_port: Some(CONSOLE_PORT),
            limits: LIMITS,
        };
        Self {
            bytes,
            table: Table::new(config),
            now: Instant::now(),
            known: Vec::new(),
            hosts: 0,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn small(&mut self) -> u32 {
        self.byte().unwrap_or(0).into()
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes([0; 4].map(|_| self.byte().unwrap_or(0)))
    }

    fn stream(&mut self) -> Option<StreamId> {
        let choice = self.small() as usize;
        let len = self.known.len().max(1);
        self.known.get(choice % len).copied()
    }

    /// A packet as a driver could send it: few ports, so that stories meet again.
    fn plausible_packet(&mut self) {
        let choice = self.small();
        let cids = [3, 2, 3, 0];
        let header = Header {
            src_cid: GUEST_CID.into(),
            dst_cid: cids[(choice % 4) as usize],
            src_port: choice / 4 % 3,
            dst_port: if choice % 4 == 3 {
                CONSOLE_PORT
            } else {
                1 << 30
            },
            len: 0,
            kind: TYPE_STREAM,
            op: (self.small() % 9) as u16,
            flags: self.small() % 4,
            buf_alloc: self.small() * 64,
            fwd_cnt: self.small() * 16,
        };
        let len = if header.op == Op::Data as u16 {
            self.small() * 32
        } else {
            0
        };
        self.receive(Header { len, ..header });
    }

    fn arbitrary_packet(&mut self) {
        let bytes = [0; HEADER_SIZE].map(|_| self.byte().unwrap_or(0));
        self.receive(Header::from_bytes(&bytes));
    }

    fn receive(&mut self, header: Header) {
        if !self.table.accepts() {
            return;
        }
        let before = self.table.counters();
        let verdict = if self.small() == 7 {
            self.table.malformed(&header)
        } else {
            self.table.receive(&header, self.now, || 0)
        };
        if header.op == Op::Reset as u16 {
            assert_eq!(
                before.reset,
                self.table.counters().reset,
                "a reset answers a reset"
            );
        }
        match verdict {
            Verdict::Nothing => {}
            Verdict::Dial(id) => {
                self.hosts += 1;
                self.known.push(id);
                match self.small() % 3 {
                    0 => self.lost(|table| table.refused(id)),
                    1 => self.table.connected(id),
                    _ => {}
                }
            }
            Verdict::Answered(id) | Verdict::Data(id) => assert!(self.table.host(id).is_some()),
            Verdict::Settle(id) => self.settle(id),
            Verdict::Departed(_) => self.hosts -= 1,
        }
    }

    /// Takes note when the table gives a host side back.
    fn lost(&mut self, end: impl FnOnce(&mut Table<u64>) -> Option<u64>) {
        if end(&mut self.table).is_some() {
            self.hosts -= 1;
        }
    }

    fn settle(&mut self, id: StreamId) {
        if self.table.duty(id).close {
            self.lost(|table| table.finish(id));
        }
    }

    fn open(&mut self) {
        let port = self.small() % 3;
        if let Ok((id, _)) = self.table.open(port, 1, self.now) {
            self.hosts += 1;
            self.known.push(id);
        }
    }

    fn forward(&mut self) {
        let len = self.small() * 64;
        if let Some(id) = self.stream() {
            self.table.forwarded(id, len);
            self.settle(id);
        }
    }

    fn readable(&mut self) {
        let readable = self.small().is_multiple_of(2);
        if let Some(id) = self.stream() {
            self.table.set_readable(id, readable);
        }
    }

    fn host_ends(&mut self) {
        let how = self.small();
        let Some(id) = self.stream() else {
            return;
        };
        if how % 8 == 7 {
            self.lost(|table| table.abandon(id));
        } else {
            self.table.host_ended(id, how & SHUTDOWN_BOTH, self.now);
            self.settle(id);
        }
    }

    fn control(&mut self) {
        let promised = self.table.has_control();
        let header = self.table.next_control();
        assert!(promised || header.is_none());
        if let Some(header) = header {
            self.check(&header);
            assert_ne!(header.op, Op::Data as u16);
            assert_eq!(header.len, 0);
        }
    }

    fn data(&mut self) {
        let wanted = self.number();
        let Some((id, credit)) = self.table.next_sender() else {
            return;
        };
        assert!(credit > 0);
        if let Some(header) = self.table.send(id, wanted % credit + 1) {
            self.check(&header);
            assert_eq!(header.op, Op::Data as u16);
            assert!(header.len > 0 && header.len <= credit);
        }
        self.table.rotate();
    }

    fn check(&self, header: &Header) {
        assert_eq!(header.dst_cid, u64::from(GUEST_CID));
        let op = Op::from_number(header.op);
        assert!(op.is_some());
        if op != Some(Op::Reset) {
            assert!([0, 2, 3].contains(&header.src_cid) && header.kind == TYPE_STREAM);
            assert!([LIMITS.window, LIMITS.small_window].contains(&header.buf_alloc));
        }
    }

    fn time_passes(&mut self) {
        let seconds = self.small() % 12;
        self.now += Duration::from_secs(seconds.into());
        for id in self.table.expired(self.now) {
            self.lost(|table| table.finish(id));
        }
        if self.table.is_stalled() {
            self.table.ask_for_credit();
        }
        assert!(
            self.table
                .next_deadline()
                .is_none_or(|next| next > self.now)
        );
    }

    fn guest_goes(mut self) {
        self.hosts -= self.table.guest_gone().len();
        self.table.assert_consistent();
        assert!(self.table.next_control().is_none() && self.table.next_sender().is_none());
        self.hosts -= self.table.end().len();
        assert_eq!(
            (self.hosts, self.table.len(), self.table.reserved()),
            (0, 0, 0)
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_story_confuses_the_table(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            super::run(&bytes);
        }
    }
}
