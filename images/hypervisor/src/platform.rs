//! The platform's identity on disk: made once, private to its user, never half-written.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anchorhold_nsm::Platform;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use zeroize::Zeroizing;

use crate::layout::{LayoutError, is_private, permissions, private_directory};

/// The file in the platform directory: private key and root certificate, mode 0600.
pub const FILE: &str = "platform.pem";

/// Largest platform file that is read, in bytes. Ours are about 1,200.
const MAX_FILE: u64 = 8192;

/// Why there is no platform identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// Nobody has made it yet.
    #[error("there is no platform identity at {path:?}: run `anchorhold-hypervisor platform init`")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The directory or the file cannot be used, or others could read it.
    #[error("the platform identity cannot be used")]
    Layout(#[from] LayoutError),
    /// The file is not a platform's, or none could be made.
    #[error("the platform identity at {path:?} is not usable")]
    Identity {
        /// The file.
        path: PathBuf,
        /// The security module's reason.
        source: anchorhold_nsm::PlatformError,
    },
}

impl PlatformError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "platform.missing",
            Self::Layout(error) => error.rule(),
            Self::Identity { source, .. } => source.rule(),
        }
    }
}

/// How long a process waits while others make the identity, which takes milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the identity, or makes it if there is none. Of processes that do so at the same time one
/// makes it, and all go on with that one. A key that a killed maker left is removed.
///
/// # Errors
/// [`PlatformError`].
pub fn open_or_make(directory: &Path) -> Result<Platform, PlatformError> {
    private_directory(directory)?;
    let _guard = lock(directory)?;
    remove_partial(directory).map_err(LayoutError::io(directory))?;
    match open(directory) {
        Err(PlatformError::Missing { .. }) => {
            make(directory)?;
            open(directory)
        }
        result => result,
    }
}

/// Reads the identity.
///
/// # Errors
/// [`PlatformError::Missing`] when nobody made it, [`PlatformError::Layout`] when others could read
/// it, [`PlatformError::Identity`] when the file is not a platform's.
pub fn open(directory: &Path) -> Result<Platform, PlatformError> {
    let path = directory.join(FILE);
    let io = LayoutError::io(&path);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PlatformError::Missing { path });
        }
        result => result.map_err(io)?,
    };
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() || !is_private(&metadata) {
        return Err(permissions(&path, &metadata, 0o600).into());
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize + 1));
    let mut limited = file.take(MAX_FILE + 1);
    limited.read_to_string(&mut text).map_err(io)?;
    Platform::from_pem(&text).map_err(|source| PlatformError::Identity { path, source })
}

/// Waits for the lock under which identities are made, which is on the directory itself and lasts
/// until the file is dropped.
fn lock(directory: &Path) -> Result<File, LayoutError> {
    let io = LayoutError::io(directory);
    let file = File::open(directory).map_err(io)?;
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(TryLockError::WouldBlock) => return Err(io(io::ErrorKind::TimedOut.into())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}

/// Removes what a maker that was killed left: a file with a private key that nobody uses. The caller
/// holds the lock, so no maker is at work.
fn remove_partial(directory: &Path) -> io::Result<()> {
    let prefix = format!(".{FILE}.");
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes an identity under a name of its own and links it to its place, which fails if one is
/// there: the file is whole from its first moment, and mode 0600 from before its first byte.
fn make(directory: &Path) -> Result<(), PlatformError> {
    let path = directory.join(FILE);
    let identity = |source| PlatformError::Identity {
        path: path.clone(),
        source,
    };
    let platform =
        Platform::generate(SystemTime::now(), &mut UnwrapErr(SysRng)).map_err(identity)?;
    let text = platform.to_pem().map_err(identity)?;
    let random = getrandom::u64().map_err(|error| LayoutError::io(&path)(error.into()))?;
    let partial = directory.join(format!(".{FILE}.{random:016x}"));
    let linked = write_new(&partial, text.as_bytes()).and_then(|()| fs::hard_link(&partial, &path));
    // If it cannot be removed now, the next command removes it.
    let _ = fs::remove_file(&partial);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(LayoutError::io(&path)(error).into())
        }
        _ => {
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            Ok(synced.map_err(LayoutError::io(directory))?)
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("platform");
        (root, path)
    }

    fn rule(result: Result<Platform, PlatformError>) -> &'static str {
        match result {
            Ok(_) => "none",
            Err(error) => error.rule(),
        }
    }

    #[test]
    fn a_missing_identity_says_how_to_make_one() {
        let (_root, path) = directory();
        private_directory(&path).expect("directory");
        let Err(error) = open(&path) else {
            panic!("an identity from nowhere");
        };
        assert_eq!(error.rule(), "platform.missing");
        assert!(error.to_string().contains("platform init"));
    }

    #[test]
    fn an_identity_that_others_can_read_is_refused() {
        let (_root, path) = directory();
        open_or_make(&path).map(drop).expect("made");
        let file = path.join(FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mode");
        assert_eq!(rule(open(&path)), "directory.permissions");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        assert_eq!(rule(open_or_make(&path)), "directory.permissions");
    }

    #[test]
    fn what_is_not_an_identity_is_refused_and_kept() {
        let (_root, path) = directory();
        private_directory(&path).expect("directory");
        let file = path.join(FILE);
        write_new(&file, b"rubbish").expect("written");
        assert_eq!(rule(open_or_make(&path)), "platform.blocks");
        assert_eq!(fs::read(&file).expect("kept"), b"rubbish");
        fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink("/dev/null", &file).expect("link");
        assert_eq!(rule(open_or_make(&path)), "directory.io");
    }

    #[test]
    fn an_identity_is_private_and_stays_the_same() {
        let (_root, path) = directory();
        let made = open_or_make(&path).map(|p| p.root_sha256()).expect("made");
        let found = open_or_make(&path).map(|p| p.root_sha256()).expect("found");
        assert_eq!(made, found);
        let mode = fs::metadata(path.join(FILE)).expect("metadata").mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&path).expect("directory").count(), 1);
    }

    #[test]
    fn a_key_that_a_killed_maker_left_is_removed() {
        let (_root, path) = directory();
        private_directory(&path).expect("directory");
        let partial = path.join(format!(".{FILE}.0123456789abcdef"));
        write_new(&partial, b"a private key").expect("written");
        open_or_make(&path).map(drop).expect("made");
        assert!(!partial.exists());
        write_new(&partial, b"a private key").expect("written");
        open_or_make(&path).map(drop).expect("found");
        assert!(!partial.exists());
    }

    #[test]
    fn nothing_is_removed_while_a_maker_is_at_work() {
        let (_root, path) = directory();
        private_directory(&path).expect("directory");
        let guard = lock(&path).expect("locked");
        let partial = path.join(format!(".{FILE}.0123456789abcdef"));
        write_new(&partial, b"a private key").expect("written");
        thread::scope(|scope| {
            let other = scope.spawn(|| open_or_make(&path).map(drop));
            thread::sleep(Duration::from_millis(50));
            assert!(!other.is_finished() && partial.exists());
            drop(guard);
            other.join().expect("no panic").expect("made");
        });
        assert!(!partial.exists());
    }

    #[test]
    fn makers_at_once_agree_on_one_identity() {
        let (_root, path) = directory();
        private_directory(&path).expect("directory");
        let roots: Vec<[u8; 32]> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| open_or_make(&path).map(|p| p.root_sha256())))
                .collect();
            let joined = threads.into_iter().map(|t| t.join().expect("thread"));
            joined.map(|root| root.expect("an identity")).collect()
        });
        assert!(roots.iter().all(|root| *root == roots[0]));
    }
}
