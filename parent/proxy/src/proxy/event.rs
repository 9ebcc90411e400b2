//! What a proxy says of itself: why it does not serve, and what became of each connection.

use std::fmt;
use std::io;

use crate::allowlist::AllowlistError;
use crate::copy::Copied;
use crate::hybrid::HybridError;

/// Why a proxy cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The port cannot be listened on.
    #[error("cannot listen for enclaves")]
    Listen(#[from] HybridError),
    /// A worker cannot be started.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}

impl ProxyError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Listen(error) => error.rule(),
            Self::Worker(_) => "proxy.worker",
        }
    }
}

/// Why one connection was not forwarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The name does not resolve now.
    #[error("cannot resolve {target}: {source}")]
    Resolve {
        /// The target.
        target: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// What it resolves to is refused.
    #[error(transparent)]
    Allowlist(#[from] AllowlistError),
    /// No address accepts.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// The target.
        target: String,
        /// The last address's reason.
        source: io::Error,
    },
    /// A stream broke.
    #[error("a stream to {target} broke: {source}")]
    Copy {
        /// The target.
        target: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a proxy does, for people to read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyEvent {
    /// The host has no AF_VSOCK port to listen on: enclaves of a switch are served all the same.
    NoKernelVsock(io::Error),
    /// A connection that is not an enclave's.
    NotAnEnclave {
        /// The other side's CID.
        cid: u32,
    },
    /// A connection ended.
    Ended(Copied),
    /// A connection was not forwarded, or broke.
    Failed(ForwardError),
}

impl fmt::Display for ProxyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKernelVsock(error) => write!(f, "not listening on AF_VSOCK: {error}"),
            Self::NotAnEnclave { cid } => write!(f, "refused CID {cid}: not an enclave"),
            Self::Ended(copied) => write!(
                f,
                "connection ended ({:?}): {} bytes out, {} bytes back",
                copied.ended, copied.forward, copied.backward
            ),
            Self::Failed(error) => error.fmt(f),
        }
    }
}
