//! The vsock protocol without any I/O: packets, credit, streams and the table of streams.
//!
//! Packets and the host's doings go in, verdicts and headers come out; time is an argument. What
//! happens here is what tests and the fuzz target drive (Virtual I/O Device 1.3, clause 5.10
//! "Socket Device"; CIDs as on AWS Nitro Enclaves).

mod credit;
mod packet;
mod resets;
#[cfg(any(test, fuzzing))]
pub mod script;
mod slab;
mod stream;
mod table;

pub use credit::{Overrun, ReceiveWindow, SendCredit};
pub use packet::{
    HEADER_SIZE, Header, MAX_PAYLOAD, Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND,
    TYPE_STREAM,
};
pub use resets::{Reset, Resets};
pub use slab::{Slab, StreamId};
pub use stream::{HostCid, HostDuty, Key, Phase, Stream};
pub use table::{Counters, Departed, Table, TableConfig, Verdict};
