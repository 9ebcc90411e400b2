//! Why there is no answer.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The enclave's refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule that refused.
    pub rule: String,
    /// What was expected and what came.
    pub message: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The enclave refused.
    #[error("the enclave refused ({}): {}", .0.rule, .0.message)]
    Refused(Refusal),
    /// A file could not be read.
    #[error("cannot read {what} {path:?}")]
    Input {
        /// What it is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is larger than its part of the protocol.
    #[error("{what} {path:?} has more than {max} bytes")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The limit in bytes.
        max: u64,
    },
    /// A file could not be read on while it was being sent.
    #[error("what is sent ends before its end")]
    Unreadable {
        /// The system's reason.
        source: io::Error,
    },
    /// The answer's directory is there already.
    #[error("{path:?} exists already; an answer is never overwritten")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The answer could not be written.
    #[error("cannot write the answer to {path:?}")]
    Output {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection to the enclave failed.
    #[error("the connection to the enclave failed while {doing}")]
    Connection {
        /// What was going on.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The enclave asked for more room for its pages than it is given.
    #[error(
        "the enclave's pages need more than {limit} bytes: give it more memory, or its pages more room"
    )]
    Pages {
        /// The limit in bytes.
        limit: u64,
    },
    /// The enclave sent what does not belong in this place.
    #[error("the enclave sent {got}, expected {expected}")]
    Protocol {
        /// What belongs there.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl SubmitError {
    /// The rule that refused; the enclave's own where it refused.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.rule,
            Self::Input { .. } | Self::Unreadable { .. } => "submit.input",
            Self::TooLarge { .. } => "submit.size",
            Self::Exists { .. } => "submit.exists",
            Self::Output { .. } => "submit.output",
            Self::Connection { .. } => "submit.connection",
            Self::Pages { .. } => "submit.pages",
            Self::Protocol { .. } => "submit.protocol",
        }
    }

    /// What came does not belong in this place.
    pub fn protocol(expected: &'static str, got: impl Into<String>) -> Self {
        let got = got.into();
        Self::Protocol { expected, got }
    }

    /// The enclave's refusal, by the payload of its last frame.
    #[must_use]
    pub fn refused(payload: &[u8]) -> Self {
        match serde_json::from_slice(payload) {
            Ok(refusal) => Self::Refused(refusal),
            Err(_) => {
                let got = format!("{} other bytes", payload.len());
                Self::protocol("a refusal's rule and message", got)
            }
        }
    }

    /// Something could not be written there.
    #[must_use]
    pub fn output(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Output { path, source }
    }
}
