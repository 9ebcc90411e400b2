//! What can go wrong with a switch as a whole. A stream's trouble is answered on that stream.

use std::io;
use std::path::PathBuf;

use vhost_user_backend::Error as DaemonError;

/// The reason as the vhost-user library gives it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a switch did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// The guest's CID is one of the reserved ones.
    #[error("guest CID {got} is reserved: expected {min} to {max}")]
    GuestCid {
        /// What was asked for.
        got: u32,
        /// The lowest CID allowed.
        min: u32,
        /// The highest CID allowed.
        max: u32,
    },
    /// A limit contradicts another or is out of its range.
    #[error("limit {limit}: {requirement}, got {got}")]
    Limit {
        /// The field of [`Limits`](crate::Limits).
        limit: &'static str,
        /// What it has to satisfy.
        requirement: &'static str,
        /// What it is.
        got: u64,
    },
    /// A path is too long for a Unix socket's address.
    #[error("{path} and its suffix have {got} bytes: expected at most {most}")]
    PathTooLong {
        /// The path, or the prefix of paths.
        path: PathBuf,
        /// Its bytes, with the longest suffix that the switch adds.
        got: usize,
        /// What `sockaddr_un` holds.
        most: usize,
    },
    /// A socket could not be made at its path.
    #[error("cannot listen on {path}")]
    Listen {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The machine refused a resource (descriptor, thread, memory).
    #[error("cannot set up {what}")]
    Resource {
        /// What was to be set up.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The vhost-user device could not be set up.
    #[error("cannot set up the vhost-user device")]
    Device(#[source] Cause),
    /// The virtual machine monitor broke the vhost-user protocol.
    #[error("the vhost-user connection failed")]
    Frontend(#[source] Cause),
    /// The switch itself failed; nothing it carried can be relied on.
    #[error("the switch failed: {0}")]
    Fault(&'static str),
}

/// Sorts the vhost-user library's errors by whose they are.
impl From<DaemonError> for SwitchError {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::NewVhostUserHandler(cause) => Self::Device(cause.into()),
            DaemonError::CreateBackendListener(cause)
            | DaemonError::CreateBackendReqHandler(cause)
            | DaemonError::CreateVhostUserListener(cause) => Self::Device(cause.into()),
            DaemonError::StartDaemon(source) => Self::Resource {
                what: "the vhost-user thread",
                source,
            },
            DaemonError::WaitDaemon(_) => Self::Fault("its vhost-user thread panicked"),
            DaemonError::HandleRequest(cause) => Self::Frontend(cause.into()),
        }
    }
}

impl SwitchError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::GuestCid { .. } => "switch.guest-cid",
            Self::Limit { .. } => "switch.limit",
            Self::PathTooLong { .. } => "switch.path-length",
            Self::Listen { .. } => "switch.listen",
            Self::Resource { .. } => "switch.resource",
            Self::Device(_) => "switch.device",
            Self::Frontend(_) => "switch.frontend",
            Self::Fault(_) => "switch.fault",
        }
    }
}
