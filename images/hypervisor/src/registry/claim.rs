//! An enclave's place among the others, and the locks that keep it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{Identity, LOCK_TIMEOUT, RegistryError};
use crate::layout::LayoutError;

/// An enclave's directory and its lock. Dropping it removes the directory.
#[derive(Debug)]
pub struct Claim {
    identity: Identity,
    state: PathBuf,
    directory: PathBuf,
    // Released by the kernel, and after the directory is gone: fields drop after `drop`.
    _lock: File,
}

impl Claim {
    /// Who was claimed.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The enclave's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory and takes its lock. The caller holds the state directory's.
    pub(super) fn make(state: &Path, identity: Identity) -> Result<Self, LayoutError> {
        let directory = state.join("enclaves").join(&identity.id);
        let io = LayoutError::io(&directory);
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(io)?;
        let made = || {
            let lock = lock_file(&directory.join("lock"))?;
            lock.try_lock().map_err(|error| match error {
                TryLockError::Error(error) => error,
                TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            })?;
            let json = serde_json::to_vec(&identity)?;
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(directory.join("enclave.json"))?
                .write_all(&json)?;
            Ok(lock)
        };
        match made() {
            Ok(lock) => Ok(Self {
                identity,
                state: state.to_owned(),
                directory,
                _lock: lock,
            }),
            Err(error) => {
                // The refusal is what the caller needs; the next sweep removes what stays.
                let _ = fs::remove_dir_all(&directory);
                Err(io(error))
            }
        }
    }

    /// As the kernel does for a killed process: the lock goes, the directory stays.
    #[cfg(test)]
    pub(super) fn lose_lock(&mut self) {
        self._lock = File::open("/dev/null").expect("another file");
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Nobody looks at a directory that is half gone. Who holds the lock for too long has to
        // bear it: the enclave is over.
        let _guard = lock_state(&self.state);
        // What cannot be removed now is removed by the next command, which finds it unlocked.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Waits for the lock under which claims are made, swept and ended; it is held until the file is
/// dropped.
pub(super) fn lock_state(state: &Path) -> Result<File, RegistryError> {
    let path = state.join("lock");
    let file = lock_file(&path).map_err(LayoutError::io(&path))?;
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(TryLockError::WouldBlock) => return Err(RegistryError::Locked { path }),
            Err(TryLockError::Error(source)) => {
                return Err(LayoutError::Io { path, source }.into());
            }
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Whether a living hypervisor holds the claim. What cannot be tried counts as held.
pub(super) fn is_locked(directory: &Path) -> bool {
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(directory.join("lock"));
    match opened {
        Ok(file) => !matches!(file.try_lock(), Ok(())),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}
