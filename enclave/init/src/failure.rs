//! What can go wrong, by step.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use anchorhold_document::DocumentError;
use anchorhold_enclave_sys::cuse::CuseError;
use anchorhold_enclave_sys::nsm::NsmError;

use crate::files::FileError;
use crate::heartbeat::HeartbeatError;

/// A step that failed, and with it the enclave.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file system or directory of the application's world cannot be made.
    #[error("{path} cannot be made part of the application's root")]
    Root {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The list of kernel modules, or one of them, is refused.
    #[error("/modules/{file}")]
    Module {
        /// Which file below `/modules`.
        file: String,
        /// Why.
        source: ModuleError,
    },
    /// There is no `/dev/nsm` and it cannot be made.
    #[error("/dev/nsm cannot be provided")]
    SecurityModule(#[source] SecurityModuleError),
    /// The security module's random numbers did not reach the kernel.
    #[error("the kernel cannot be seeded")]
    Entropy(#[source] SecurityModuleError),
    /// The clock could not be set from the security module's time.
    #[error("the clock cannot be set")]
    Clock(#[source] SecurityModuleError),
    /// Nobody on the parent's side heard the heartbeat.
    #[error("the parent did not answer")]
    Heartbeat(#[source] HeartbeatError),
    /// The loopback interface stays down.
    #[error("the loopback interface stays down")]
    Loopback(#[source] io::Error),
    /// `/cmd` is refused.
    #[error("/cmd")]
    Command(#[source] FileError),
    /// `/env` is refused.
    #[error("/env")]
    Environment(#[source] FileError),
    /// The application cannot be started, or not be waited for.
    #[error("{program} cannot be run")]
    Application {
        /// The program, as `/cmd` names it.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Failure {
    /// The step's name, as the status port carries it.
    pub fn step(&self) -> &'static str {
        match self {
            Failure::Root { .. } => "root",
            Failure::Module { .. } => "modules",
            Failure::SecurityModule(_) => "nsm",
            Failure::Entropy(_) => "entropy",
            Failure::Clock(_) => "clock",
            Failure::Heartbeat(_) => "heartbeat",
            Failure::Loopback(_) => "loopback",
            Failure::Command(_) => "command",
            Failure::Environment(_) => "environment",
            Failure::Application { .. } => "application",
        }
    }

    /// The innermost cause: what the kernel, or whoever refused, said.
    pub fn cause(&self) -> &dyn Error {
        let mut cause: &dyn Error = self;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause
    }
}

/// Why a kernel module is refused.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The list is.
    #[error("the list cannot be used")]
    List(#[source] FileError),
    /// The kernel refuses the file.
    #[error("the kernel refuses it")]
    Load(#[source] io::Error),
}

/// Why the security module is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SecurityModuleError {
    /// The hardware is missing, and so is the port that stands in for it.
    #[error("no port nsm.0 to use instead of hardware")]
    Port(#[source] io::Error),
    /// The device cannot be made over the port.
    #[error("the device cannot be served")]
    Cuse(#[source] CuseError),
    /// The thread that serves the device cannot be started.
    #[error("no thread to serve the device")]
    Thread(#[source] io::Error),
    /// The device cannot be asked.
    #[error("the device cannot be asked")]
    Request(#[source] NsmError),
    /// The answer, or the document in it, cannot be understood.
    #[error("the answer cannot be understood")]
    Answer(#[source] DocumentError),
    /// The answer is one to another question, or an error of the module's.
    #[error("{expected} expected, {got} came")]
    Other {
        /// The answer expected.
        expected: &'static str,
        /// The answer's name.
        got: &'static str,
    },
    /// Too few random bytes to seed a generator with.
    #[error("{expected} random bytes expected, {got} came")]
    Random {
        /// The least that is of use.
        expected: usize,
        /// What there was.
        got: usize,
    },
    /// The time is before any document of the kind was signed.
    #[error("time of at least {expected} ms since 1970 expected, {got} came")]
    Time {
        /// The least that is believed.
        expected: u64,
        /// The document's time in milliseconds since the epoch.
        got: u64,
    },
    /// The kernel refuses.
    #[error("the kernel refuses")]
    Kernel(#[source] io::Error),
}
