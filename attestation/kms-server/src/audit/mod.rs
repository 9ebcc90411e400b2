//! The audit trail: exactly one event per call, committed before the answer leaves.
//!
//! * [`event`]: CloudTrail's shape;
//! * [`Link`], [`Sealer`]: the hash chain that makes tampering evident;
//! * [`trail`]: export and verification, also while the server runs;
//! * [`RefusalMeter`]: the bound on events of callers that nobody has authenticated.

mod chain;
pub mod event;
mod meter;
pub mod trail;

pub use chain::{Link, Sealer};
pub use meter::RefusalMeter;
