//! The transmit queue: packets of the guest's.

use std::time::Instant;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{GuestMemoryMmap, VolatileSlice};

use crate::chain::{Malformed, read_packet};
use crate::hub::Hub;
use crate::io::MAX_PIECES;
use crate::protocol::{Header, Op, StreamId, Verdict};
use crate::ring::{RingError, Turn};

/// What a turn on the transmit queue did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drained {
    pub(crate) turn: Turn,
    /// Bytes of data.
    pub(crate) data: u64,
}

/// Takes at most `budget` packets from the queue. When it is empty the guest is asked to say when
/// it adds some, unless it has just given packets with data and `linger` says that the caller will
/// look again by itself.
///
/// Packets of one stream that lie one behind the other go out in one system call, straight from
/// guest memory.
///
/// # Errors
/// [`RingError`] when the queue itself is not as the specification says.
pub(crate) fn drain(
    hub: &mut Hub,
    memory: &GuestMemoryMmap,
    queue: &mut Queue,
    budget: usize,
    linger: bool,
    now: Instant,
) -> Result<Drained, RingError> {
    let mut batch = Batch::default();
    let mut taken = 0;
    let turn = loop {
        if !hub.table.accepts() {
            break Turn::Blocked;
        }
        if taken == budget {
            break Turn::Unfinished;
        }
        let Some(chain) = queue.iter(memory)?.next() else {
            batch.flush(hub, memory, queue, now)?;
            if linger && batch.data > 0 {
                break Turn::Lingering;
            }
            if queue.enable_notification(memory)? {
                taken += 1;
                continue;
            }
            break Turn::Finished;
        };
        taken += 1;
        let head = chain.head_index();
        if batch.pieces.len() + RESERVE > MAX_PIECES {
            batch.flush(hub, memory, queue, now)?;
        }
        let before = batch.pieces.len();
        match read_packet(memory, chain, &mut batch.pieces) {
            Ok(header) => batch.packet(hub, &header, before, head, (memory, queue), now)?,
            Err(malformed) => {
                batch.flush(hub, memory, queue, now)?;
                if let Malformed::Payload(header) = malformed {
                    hub.malformed(&header, now);
                }
                queue.add_used(memory, head, 0)?;
            }
        }
    };
    batch.flush(hub, memory, queue, now)?;
    let data = batch.data;
    Ok(Drained { turn, data })
}

/// Pieces that the largest packet of a Linux guest's has.
const RESERVE: usize = 18;

/// Payloads of one stream that wait to go out together.
#[derive(Default)]
struct Batch<'m> {
    stream: Option<StreamId>,
    pieces: Vec<VolatileSlice<'m>>,
    heads: Vec<u16>,
    /// Bytes of data taken so far.
    data: u64,
}

impl<'m> Batch<'m> {
    /// Takes a packet, whose payload lies in `pieces` from `before`.
    fn packet(
        &mut self,
        hub: &mut Hub,
        header: &Header,
        before: usize,
        head: u16,
        (memory, queue): (&'m GuestMemoryMmap, &mut Queue),
        now: Instant,
    ) -> Result<(), RingError> {
        let data = header.op == Op::Data as u16;
        let stream = hub.table.find(header);
        if self.stream.is_some() && (!data || stream != self.stream) {
            // Earlier payloads first, and what has come since stays.
            let rest = self.pieces.split_off(before);
            self.flush(hub, memory, queue, now)?;
            self.pieces = rest;
        }
        let start = if self.stream.is_some() { before } else { 0 };
        match hub.table.receive(header, now, Default::default) {
            Verdict::Data(id) => {
                self.stream = Some(id);
                self.data += u64::from(header.len);
                self.heads.push(head);
                if self.pieces.len() >= MAX_PIECES {
                    self.flush(hub, memory, queue, now)?;
                }
            }
            verdict => {
                self.pieces.truncate(start);
                hub.act(verdict, now);
                queue.add_used(memory, head, 0)?;
            }
        }
        Ok(())
    }

    /// Sends what waits and gives the guest its buffers back.
    fn flush(
        &mut self,
        hub: &mut Hub,
        memory: &GuestMemoryMmap,
        queue: &mut Queue,
        now: Instant,
    ) -> Result<(), RingError> {
        if let Some(id) = self.stream.take() {
            hub.forward(id, &self.pieces, now);
        }
        self.pieces.clear();
        for head in self.heads.drain(..) {
            queue.add_used(memory, head, 0)?;
        }
        Ok(())
    }
}
