//! What transmit and receive queue have in common.

use std::sync::atomic::Ordering;

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// How the work on a queue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is nothing more to do until an event says so.
    Finished,
    /// The budget is spent and there is more to do.
    Unfinished,
    /// There is nothing more to do, but there will be shortly, and no event will say so.
    Lingering,
    /// There is more to do once the other queue has moved.
    Blocked,
}

/// The queue is not as the specification says: its indices or its place in memory. Nothing can be
/// done with it until the guest's driver sets it up again.
#[derive(Debug, thiserror::Error)]
#[error("the guest's queue is broken: {0}")]
pub(crate) struct RingError(#[from] virtio_queue::Error);

/// How far in the used ring the guest has seen, by what it last wrote into `used_event` (clause
/// 2.7.7.1): what a guest that waits has written, one that is busy may not have. `None` where it
/// does not say.
///
/// # Errors
/// [`RingError`] when the ring does not lie in memory.
pub(crate) fn guest_position(
    queue: &Queue,
    memory: &GuestMemoryMmap,
) -> Result<Option<u16>, RingError> {
    if !queue.event_idx_enabled() {
        return Ok(None);
    }
    let at = GuestAddress(queue.avail_ring() + 4 + 2 * u64::from(queue.size()));
    let seen = memory.load(at, Ordering::Relaxed).map(u16::from_le);
    Ok(Some(seen.map_err(virtio_queue::Error::GuestMemory)?))
}
