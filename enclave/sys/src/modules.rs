//! Loading kernel modules.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// What became of a module that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// The kernel has it now.
    Yes,
    /// The kernel had it already, built in or loaded (`EEXIST`).
    Already,
    /// It found no hardware to drive and did not stay (`ENODEV`).
    NoDevice,
}

/// Loads the uncompressed module file at `path` without parameters and returns when its
/// devices have been probed.
///
/// # Errors
/// What the kernel answers, other than the answers that [`Loaded`] stands for.
pub fn load(path: &Path) -> io::Result<Loaded> {
    let file = File::open(path)?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        Ok(()) => Ok(Loaded::Yes),
        Err(Errno::EEXIST) => Ok(Loaded::Already),
        Err(Errno::ENODEV) => Ok(Loaded::NoDevice),
        Err(errno) => Err(errno.into()),
    }
}
