//! The listening socket: made closed to others, removed with its owner.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use std::os::fd::AsRawFd;

use crate::error::SwitchError;

/// Mode of the sockets: their owner alone may connect.
const MODE: u32 = 0o600;

/// A listening, non-blocking Unix socket that unlinks its path when it goes.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl BoundSocket {
    /// Makes the socket at `path`, where nothing may stand, without a moment in which others could
    /// connect: Linux gives the socket's file the mode of the descriptor at the time of `bind`.
    ///
    /// # Errors
    /// [`SwitchError::Listen`] with the path and the system's reason.
    pub(crate) fn bind(path: &Path) -> Result<Self, SwitchError> {
        Self::try_bind(path).map_err(|source| SwitchError::Listen {
            path: path.to_owned(),
            source,
        })
    }

    fn try_bind(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let file = File::from(fd);
        file.set_permissions(Permissions::from_mode(MODE))?;
        bind(file.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&file, Backlog::MAXCONN)?;
        Ok(Self {
            listener: UnixListener::from(OwnedFd::from(file)),
            path: path.to_owned(),
        })
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        // The directory may be gone already; there is nobody to tell.
        let _ = fs::remove_file(&self.path);
    }
}
