//! Unix socket addresses for paths of any length.
//!
//! `sockaddr_un.sun_path` holds 108 bytes with its final NUL (unix(7)). A deep state directory
//! passes that limit easily, so a longer path is reached through an open descriptor of its
//! directory: `/proc/self/fd/N/name`.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest path that a `sockaddr_un` takes, in bytes: 108 less the final NUL (unix(7)).
pub const MAX_SUN_PATH: usize = 107;

/// A path that fits a Unix socket address, and the directory that keeps it valid.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    /// Gives `path` itself when it fits, else a short name for it by its directory's descriptor.
    ///
    /// # Errors
    /// The directory cannot be opened, `path` has no file name, or the file name alone is too long.
    pub fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= MAX_SUN_PATH {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let parent = path.parent().unwrap_or(Path::new("."));
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_PATH | libc::O_CLOEXEC)
            .open(parent)?;
        let short = short_name(directory.as_raw_fd(), name);
        if short.as_os_str().as_bytes().len() > MAX_SUN_PATH {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        Ok(Self {
            path: short,
            _directory: Some(directory),
        })
    }

    /// The path to hand to `bind` or `connect` while this value lives.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

fn short_name(directory: i32, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(directory.to_string())
        .join(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_path_beyond_the_limit_is_bound_and_reached() {
        let root = tempfile::tempdir().expect("temporary directory");
        let deep = root.path().join("d".repeat(120));
        std::fs::create_dir(&deep).expect("directory");
        let path = deep.join("vsock.sock");
        assert!(UnixListener::bind(&path).is_err(), "the limit is real");

        let short = SocketPath::new(&path).expect("short path");
        let _listener = UnixListener::bind(short.as_path()).expect("bind");
        assert!(path.exists());
        let again = SocketPath::new(&path).expect("short path");
        UnixStream::connect(again.as_path()).expect("connect");
    }

    #[test]
    fn a_file_name_beyond_the_limit_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("n".repeat(120));
        let error = SocketPath::new(&path).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let path = Path::new("/nonexistent").join("d".repeat(120)).join("s");
        assert!(SocketPath::new(&path).is_err());
    }
}
