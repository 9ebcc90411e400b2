//! What transmit and receive queue have in common.

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
