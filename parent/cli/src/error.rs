//! Why a command was not carried out.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anchorhold_proxy::allowlist::AllowlistError;
use anchorhold_proxy::proxy::ProxyError;
use anchorhold_proxy::{HybridError, StateError};

use crate::report::Failure;

/// Why a command was not carried out. [`AgentError::rule`] is stable; the words are for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A program of this project is not installed beside the agent.
    #[error(
        "{program} was not found: name it in {variable}, or put it beside anchorhold or in PATH"
    )]
    ToolMissing {
        /// The program.
        program: &'static str,
        /// The variable that would name it.
        variable: &'static str,
    },
    /// A program of this project does not start.
    #[error("cannot start {program:?}")]
    ToolStart {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A program of this project failed; it has said why on standard error.
    #[error("{program} failed ({status})")]
    ToolFailed {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// The hypervisor refused, in its own words.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The hypervisor ended without a word, as a killed one does.
    #[error("the hypervisor ended without a report ({status})")]
    NoReport {
        /// How it ended.
        status: ExitStatus,
    },
    /// A signal came while the enclave booted, and it came up all the same.
    #[error("enclave {id} came up while a signal asked for its end, and ends")]
    Interrupted {
        /// The enclave.
        id: String,
    },
    /// No running enclave has that id, name or CID.
    #[error("no running enclave has the {by} {got:?}: see `anchorhold describe-enclaves`")]
    NoEnclave {
        /// By what it was looked for.
        by: &'static str,
        /// What was looked for.
        got: String,
    },
    /// The console of a production enclave shows nothing to anybody.
    #[error(
        "enclave {id} does not run in debug mode, and only a debug enclave's console can be read: \
         start it with --debug-mode"
    )]
    ConsoleProduction {
        /// The enclave.
        id: String,
    },
    /// A hypervisor's control socket does not answer.
    #[error("the hypervisor of enclave {id} does not answer on its control socket")]
    Control {
        /// The enclave.
        id: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A hypervisor's answer is not one.
    #[error("the hypervisor of enclave {id} answered what is no answer: {got:?}")]
    Answer {
        /// The enclave.
        id: String,
        /// The answer's beginning.
        got: String,
    },
    /// An enclave did not end in time.
    #[error("enclave {id} did not end within {} s", waited.as_secs())]
    NotTerminated {
        /// The enclave.
        id: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A flag of nitro-cli's that cannot be served here.
    #[error("{flag} is not supported: {instead}")]
    Unsupported {
        /// The flag.
        flag: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// A certificate file without a certificate.
    #[error("{path:?} holds no PEM certificate")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The state directory cannot be used.
    #[error("the state directory cannot be used")]
    State(#[from] StateError),
    /// A vsock port cannot be reached.
    #[error("cannot reach the enclave")]
    Hybrid(#[from] HybridError),
    /// The proxy's allowlist refuses.
    #[error("the allowlist refuses")]
    Allowlist(#[from] AllowlistError),
    /// The proxy cannot serve.
    #[error("the proxy cannot serve")]
    Proxy(#[from] ProxyError),
    /// The system refused.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl AgentError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &str {
        match self {
            Self::ToolMissing { .. } => "tool.missing",
            Self::ToolStart { .. } => "tool.start",
            Self::ToolFailed { .. } => "tool.failed",
            Self::Refused(failure) => &failure.rule,
            Self::NoReport { .. } => "hypervisor.no-report",
            Self::Interrupted { .. } => "boot.interrupted",
            Self::NoEnclave { .. } => "enclave.unknown",
            Self::ConsoleProduction { .. } => "console.production",
            Self::Control { .. } => "control.io",
            Self::Answer { .. } => "control.answer",
            Self::NotTerminated { .. } => "terminate.timeout",
            Self::Unsupported { .. } => "flag.unsupported",
            Self::NoCertificate { .. } => "pcr.certificate",
            Self::State(error) => error.rule(),
            Self::Hybrid(error) => error.rule(),
            Self::Allowlist(error) => error.rule(),
            Self::Proxy(error) => error.rule(),
            Self::Io { .. } => "io",
        }
    }

    /// An [`AgentError::Io`] of that attempt, to hand to `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// An error and its causes, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
