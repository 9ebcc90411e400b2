//! Mounts, and the change of the root directory.

use std::io;
use std::os::unix::fs::chroot;
use std::path::Path;

pub use nix::mount::MsFlags;
use nix::mount::mount as mount_call;

/// A file system without a device behind it, to be mounted somewhere.
#[derive(Debug, Clone, Copy)]
pub struct FileSystem {
    /// The name that `/proc/mounts` shows as its source.
    pub source: &'static str,
    /// Its type, as in `/proc/filesystems`.
    pub kind: &'static str,
    /// Mount flags.
    pub flags: MsFlags,
    /// Options of the file system's own, comma-separated.
    pub options: Option<&'static str>,
}

/// Mounts `filesystem` at `target`, which must exist. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// What the kernel answers: `EBUSY` if the same is mounted there already, `ENODEV` if the
/// kernel lacks the type.
pub fn mount(filesystem: &FileSystem, target: &Path) -> io::Result<()> {
    let FileSystem {
        source,
        kind,
        flags,
        options,
    } = *filesystem;
    Ok(mount_call(
        Some(source),
        target,
        Some(kind),
        flags,
        options,
    )?)
}

/// Moves the mount at `from`, with what is mounted below it, to `to`.
///
/// # Errors
/// What the kernel answers: `EINVAL` if nothing is mounted at `from`.
pub fn move_mount(from: &Path, to: &Path) -> io::Result<()> {
    Ok(mount_call(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_MOVE,
        None::<&str>,
    )?)
}

/// Makes the directory a mount point by binding it onto itself, so that
/// [`enter_root`] can take it.
///
/// # Errors
/// What the kernel answers.
pub fn bind_to_itself(directory: &Path) -> io::Result<()> {
    Ok(mount_call(
        Some(directory),
        directory,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?)
}

/// Makes the mount at `directory` the root of this process and of its mount namespace:
/// it covers the former root, which then cannot be named any more, not even by a process
/// that may `chroot`.
///
/// # Errors
/// What the kernel answers.
pub fn enter_root(directory: &Path) -> io::Result<()> {
    std::env::set_current_dir(directory)?;
    move_mount(Path::new("."), Path::new("/"))?;
    chroot(".")?;
    std::env::set_current_dir("/")
}
