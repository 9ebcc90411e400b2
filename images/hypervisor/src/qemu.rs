//! QEMU: its command line, its process, and the choice between KVM and software emulation.

pub mod command;
pub mod kvm;
pub mod process;

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Names the QEMU program, over the search in `PATH`.
pub const QEMU_VARIABLE: &str = "ANCHORHOLD_QEMU";

/// The program that is searched for.
pub const QEMU_PROGRAM: &str = "qemu-system-x86_64";

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor, by the kernel's KVM, on the `microvm` machine.
    Kvm,
    /// QEMU's software emulation, on a `q35` machine with nothing but virtio devices: under
    /// emulation `microvm` has no timer that the kernel could calibrate the TSC against, and about
    /// one boot in three hangs on a busy host.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM, microvm",
            Self::Tcg => "software emulation, q35",
        })
    }
}

/// Why QEMU could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QemuError {
    /// No such program.
    #[error(
        "QEMU is missing: {program:?} was not found; install qemu-system-x86 \
         or name the program in {QEMU_VARIABLE}"
    )]
    Missing {
        /// What was searched for.
        program: PathBuf,
    },
    /// The program is there and does not start.
    #[error("cannot start QEMU ({program:?})")]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl QemuError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "qemu.missing",
            Self::Start { .. } => "qemu.start",
        }
    }
}

/// The QEMU program to run: `$ANCHORHOLD_QEMU`, else [`QEMU_PROGRAM`] in `PATH`.
///
/// # Errors
/// [`QemuError::Missing`] when it is not there.
pub fn program() -> Result<PathBuf, QemuError> {
    let named = std::env::var_os(QEMU_VARIABLE).filter(|name| !name.is_empty());
    let program = PathBuf::from(named.unwrap_or_else(|| QEMU_PROGRAM.into()));
    if program.components().count() > 1 {
        return match program.is_file() {
            true => Ok(program),
            false => Err(QemuError::Missing { program }),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(&program))
        .find(|candidate| candidate.is_file())
        .ok_or(QemuError::Missing { program })
}
