//! What one peer, and all peers together, can take.

use std::time::Duration;

/// Longest request body, in bytes. The longest valid one is a Decrypt with a document
/// of 262,144 bytes (349,528 in base64), a ciphertext of 6,144 and an encryption context.
pub const MAX_BODY: usize = 1024 * 1024;
/// Bytes of request bodies held in memory at a time, over all connections.
pub const BODY_BUDGET: usize = 128 * 1024 * 1024;
/// Bytes of request bodies held in memory at a time, over one connection.
pub const CONNECTION_BODIES: usize = 8 * 1024 * 1024;
/// Bytes of a body that are read before its request's head is checked and its access key looked up.
/// Calls without an attestation document are shorter, save those that put a policy.
pub const UNADMITTED_BODY: usize = 64 * 1024;
/// Most calls at a time unless the operator says otherwise: strangers hold half of the memory for
/// bodies at most.
const MAX_CALLS: usize = BODY_BUDGET / UNADMITTED_BODY / 2;
/// Most headers of a request. SDKs send fewer than 20.
pub const MAX_HEADERS: usize = 64;
/// Longest request head, in bytes.
pub const MAX_HEAD: usize = 32 * 1024;
/// Most requests at a time on one HTTP/2 connection.
pub const MAX_STREAMS: u32 = 32;
/// Pause after a connection could not be taken.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds in time and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time; further ones wait in the listen queue.
    pub connections: usize,
    /// Most calls at a time, over all connections. A peer can open and reset HTTP/2 streams faster
    /// than the calls that it leaves behind end. So many bodies of [`UNADMITTED_BODY`] should leave
    /// room in [`BODY_BUDGET`]: then strangers cannot use it up.
    pub calls: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for a request's head, also after an earlier answer on the same connection (HTTP/1.1).
    pub head: Duration,
    /// Time for a request's body.
    pub body: Duration,
    /// Time from a request's head to its decision; what is being committed then is waited for.
    pub request: Duration,
    /// A connection that has no request in work and completed none for this long is closed.
    pub idle: Duration,
    /// The same while the server ends: time for the last answer to leave.
    pub last_answer: Duration,
    /// How long answers in flight are waited for when the server ends.
    pub drain: Duration,
}

impl Default for Limits {
    /// For a server whose clients are SDKs: they pool connections and retry.
    fn default() -> Self {
        Self {
            connections: 512,
            calls: MAX_CALLS,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(20),
            body: Duration::from_secs(15),
            request: Duration::from_secs(40),
            idle: Duration::from_secs(60),
            last_answer: Duration::from_millis(500),
            drain: Duration::from_secs(10),
        }
    }
}
