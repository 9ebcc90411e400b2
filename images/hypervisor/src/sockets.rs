//! Socket paths of an enclave, whatever the length of its directory's.
//!
//! A `sockaddr_un` holds 107 bytes of path (unix(7)). Where a directory's path leaves no room for
//! the names in it, they are reached through an open descriptor of it: `/proc/self/fd/N/name`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest path that a `sockaddr_un` takes, in bytes: 108 less the final NUL (unix(7)).
pub const MAX_SUN_PATH: usize = 107;

/// Room for the longest name: `/vsock.sock_4294967295`.
const LONGEST_NAME: usize = 22;

/// A directory whose names fit socket addresses while this value lives.
#[derive(Debug)]
pub struct SocketDirectory {
    path: PathBuf,
    _open: Option<File>,
}

impl SocketDirectory {
    /// Names the directory by its own path if there is room, else by a descriptor.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() + LONGEST_NAME <= MAX_SUN_PATH {
            return Ok(Self {
                path: path.to_owned(),
                _open: None,
            });
        }
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_PATH)
            .open(path)?;
        Ok(Self {
            path: Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()),
            _open: Some(open),
        })
    }

    /// The path of a name in the directory, for `bind` and `connect` in this process only.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn names_in_a_deep_directory_fit() {
        let root = tempfile::tempdir().expect("temporary directory");
        let deep = root.path().join("d".repeat(150));
        std::fs::create_dir(&deep).expect("directory");
        let directory = SocketDirectory::new(&deep).expect("opened");
        let name = "vsock.sock_4294967295";
        UnixListener::bind(directory.join(name)).expect("bound");
        assert!(deep.join(name).exists());
    }

    #[test]
    fn a_short_path_stays_itself() {
        let directory = SocketDirectory::new(Path::new("/s")).expect("short");
        assert_eq!(directory.join("x"), Path::new("/s/x"));
    }
}
