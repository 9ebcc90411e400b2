//! Descriptor chains as pieces of guest memory. A chain is whatever the guest wrote there: any
//! number of pieces of any size, so the header may be split and the payload scattered.

use std::ops::Range;

use virtio_queue::DescriptorChain;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestMemory, GuestMemoryMmap, Permissions, VolatileSlice};

use crate::io::MAX_PIECES;
use crate::protocol::{HEADER_SIZE, Header, MAX_PAYLOAD};

/// Descriptors that are looked at in one chain. Linux needs 18 for the largest packet: the header
/// and 64 KiB in pages, not aligned.
const MAX_DESCRIPTORS: usize = 64;

/// A chain that is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The chain ends before the header does: by itself, at a descriptor of the wrong direction or
    /// outside of memory, or because there are too many.
    Chain,
    /// It ends before the payload does, which is the stream's trouble.
    Payload(Header),
}

/// Reads a packet from a chain of the transmit queue; pieces of the payload are appended to
/// `payload`, which stays as it was in case of an error. Bytes of the chain behind the packet's
/// length are not looked at.
pub(crate) fn read_packet<'m>(
    memory: &'m GuestMemoryMmap,
    chain: DescriptorChain<&'m GuestMemoryMmap>,
    payload: &mut Vec<VolatileSlice<'m>>,
) -> Result<Header, Malformed> {
    let before = payload.len();
    let result = try_read_packet(memory, chain, payload);
    if result.is_err() {
        payload.truncate(before);
    }
    result
}

fn try_read_packet<'m>(
    memory: &'m GuestMemoryMmap,
    chain: DescriptorChain<&'m GuestMemoryMmap>,
    payload: &mut Vec<VolatileSlice<'m>>,
) -> Result<Header, Malformed> {
    let mut bytes = [0; HEADER_SIZE];
    let mut filled = 0;
    let mut header = None;
    let mut missing = 0;
    for descriptor in chain.take(MAX_DESCRIPTORS) {
        if descriptor.is_write_only() {
            break;
        }
        let Ok(pieces) = slices(memory, &descriptor, Permissions::Read) else {
            break;
        };
        for mut piece in pieces {
            if filled < HEADER_SIZE {
                let copied = piece.copy_to(&mut bytes[filled..]);
                filled += copied;
                piece = piece.offset(copied).map_err(|_| Malformed::Chain)?;
            }
            if filled == HEADER_SIZE && header.is_none() {
                let read = Header::from_bytes(&bytes);
                missing = payload_len(&read);
                header = Some(read);
            }
            let wanted = missing.min(piece.len());
            if wanted > 0 {
                payload.push(piece.subslice(0, wanted).map_err(|_| Malformed::Chain)?);
                missing -= wanted;
            }
        }
        if let Some(header) = header.filter(|_| missing == 0) {
            return Ok(header);
        }
    }
    Err(header.map_or(Malformed::Chain, Malformed::Payload))
}

/// How much payload of a packet is looked at; a length beyond the limit is refused by the table.
fn payload_len(header: &Header) -> usize {
    if header.len <= MAX_PAYLOAD {
        header.len as usize
    } else {
        0
    }
}

/// The memory of a descriptor, as one piece or as several where regions of guest memory meet.
fn slices<'m>(
    memory: &'m GuestMemoryMmap,
    descriptor: &Descriptor,
    access: Permissions,
) -> Result<Vec<VolatileSlice<'m>>, Malformed> {
    memory
        .get_slices(descriptor.addr(), descriptor.len() as usize, access)
        .and_then(Iterator::collect)
        .map_err(|_| Malformed::Chain)
}

/// Chains of the receive queue, ready for one read from a socket and a header each.
#[derive(Default)]
pub(crate) struct ReceiveBatch<'m> {
    chains: Vec<ReceiveChain>,
    headers: Vec<VolatileSlice<'m>>,
    data: Vec<VolatileSlice<'m>>,
    capacity: usize,
}

/// One chain of a [`ReceiveBatch`].
pub(crate) struct ReceiveChain {
    /// The chain's name in the used ring.
    pub(crate) head: u16,
    /// Bytes of payload that it takes.
    pub(crate) capacity: usize,
    headers: Range<usize>,
}

impl<'m> ReceiveBatch<'m> {
    /// Adds a chain, whose payload shall take at most `most` bytes.
    ///
    /// # Errors
    /// When the chain cannot hold a header, or no payload although it should, or has a descriptor of the wrong direction or outside
    /// of memory; the batch stays as it was.
    pub(crate) fn add(
        &mut self,
        memory: &'m GuestMemoryMmap,
        chain: DescriptorChain<&'m GuestMemoryMmap>,
        most: usize,
    ) -> Result<(), Malformed> {
        let before = (self.headers.len(), self.data.len());
        let head = chain.head_index();
        let result = self.try_add(memory, chain, most.min(MAX_PAYLOAD as usize));
        match result {
            Ok(capacity) => {
                self.capacity += capacity;
                self.chains.push(ReceiveChain {
                    head,
                    capacity,
                    headers: before.0..self.headers.len(),
                });
                Ok(())
            }
            Err(malformed) => {
                self.headers.truncate(before.0);
                self.data.truncate(before.1);
                Err(malformed)
            }
        }
    }

    fn try_add(
        &mut self,
        memory: &'m GuestMemoryMmap,
        chain: DescriptorChain<&'m GuestMemoryMmap>,
        most: usize,
    ) -> Result<usize, Malformed> {
        let mut header_left = HEADER_SIZE;
        let mut capacity = 0;
        for descriptor in chain.take(MAX_DESCRIPTORS) {
            if !descriptor.is_write_only() {
                return Err(Malformed::Chain);
            }
            for piece in slices(memory, &descriptor, Permissions::Write)? {
                let (header, data) = piece
                    .split_at(header_left.min(piece.len()))
                    .map_err(|_| Malformed::Chain)?;
                if !header.is_empty() {
                    header_left -= header.len();
                    self.headers.push(header);
                }
                let wanted = data.len().min(most - capacity);
                if wanted > 0 && self.data.len() < MAX_PIECES {
                    self.data
                        .push(data.subslice(0, wanted).map_err(|_| Malformed::Chain)?);
                    capacity += wanted;
                }
            }
            if capacity == most && header_left == 0 {
                break;
            }
        }
        if header_left > 0 || (capacity == 0 && most > 0) {
            return Err(Malformed::Chain);
        }
        Ok(capacity)
    }

    /// The chains, in order.
    pub(crate) fn chains(&self) -> &[ReceiveChain] {
        &self.chains
    }

    /// Where the payloads of all chains go, in order.
    pub(crate) fn data(&self) -> &[VolatileSlice<'m>] {
        &self.data
    }

    /// Bytes of payload that all chains take.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether no further chain may be added.
    pub(crate) fn is_full(&self) -> bool {
        self.data.len() >= MAX_PIECES
    }

    /// Writes the header of one of the chains.
    pub(crate) fn write_header(&self, chain: &ReceiveChain, header: &Header) {
        let bytes = header.to_bytes();
        let mut rest = &bytes[..];
        for piece in self.headers.get(chain.headers.clone()).unwrap_or_default() {
            let (now, later) = rest.split_at(piece.len().min(rest.len()));
            piece.copy_from(now);
            rest = later;
        }
    }
}
