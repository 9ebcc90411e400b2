//! A directory for builds that nobody keeps.

use std::fs::{self, DirBuilder, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

const NAME: &str = "anchorhold-reproduce";

/// A directory of always the same name, which one process has at a time and finds empty; removed
/// when it is dropped. What a killed process left there, the next one clears.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    // Open on the directory itself: the lock ends with the process, however that ends.
    _lock: File,
}

impl Scratch {
    /// Takes the directory in `within`, which is made if it is not there. Waits while another
    /// process has it, after telling so.
    pub fn take(within: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        fs::create_dir_all(within).map_err(Error::write(within))?;
        let within = within.canonicalize().map_err(Error::read(within))?;
        let path = within.join(NAME);
        let lock = loop {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::write(&path)(error));
                }
                _ => {}
            }
            // Between two processes that end and begin, it may be gone again, or be another one.
            let Some(lock) = found(lock(&path, progress), &path)? else {
                continue;
            };
            let Some(there) = found(fs::symlink_metadata(&path), &path)? else {
                continue;
            };
            let ours = lock.metadata().map_err(Error::read(&path))?;
            if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
                check_owner(&path, &there)?;
                break lock;
            }
            if !there.is_dir() {
                return Err(Error::write(&path)(ErrorKind::NotADirectory.into()));
            }
        };
        clear(&path).map_err(Error::write(&path))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now, the next run clears.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn lock(path: &Path, progress: &mut dyn FnMut(&str)) -> io::Result<File> {
    let directory = File::open(path)?;
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress(&format!(
                "waiting for another process to leave {}",
                path.display()
            ));
            directory.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(directory)
}

fn found<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some).map_err(Error::write(path)),
    }
}

/// Refuses a directory of somebody else's, who could change what is built in it.
fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let own = fs::metadata("/proc/self").map_err(Error::read(Path::new("/proc/self")))?;
    if metadata.uid() == own.uid() && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let refusal = io::Error::new(ErrorKind::PermissionDenied, "others may write to it");
    Err(Error::write(path)(refusal))
}

fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_to_or_a_link_is_refused() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join(NAME);
        fs::create_dir(&path).expect("created");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("set");
        let error = Scratch::take(root.path(), &mut |_| ()).expect_err("open to others");
        assert_eq!(error.rule(), "file.write");

        fs::remove_dir(&path).expect("removed");
        fs::create_dir(root.path().join("other")).expect("created");
        symlink(root.path().join("other"), &path).expect("linked");
        let error = Scratch::take(root.path(), &mut |_| ()).expect_err("a link");
        assert_eq!(error.rule(), "file.write");
    }

    #[test]
    fn what_a_killed_process_left_is_cleared() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let left = root.path().join(NAME).join("another/checkout");
        fs::create_dir_all(&left).expect("created");
        fs::write(left.join("source"), b"").expect("written");
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(root.path().join(NAME), private).expect("set");
        let scratch = Scratch::take(root.path(), &mut |_| ()).expect("taken");
        let entries = fs::read_dir(scratch.path()).expect("a directory");
        assert_eq!(entries.count(), 0);
        drop(scratch);
        assert!(!root.path().join(NAME).exists());
    }

    #[test]
    fn one_process_has_it_at_a_time() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let first = Scratch::take(root.path(), &mut |_| ()).expect("taken");
        let (tell, told) = channel();
        let within = root.path().to_owned();
        let second = thread::spawn(move || {
            let mut progress = |_: &str| tell.send(()).expect("the test waits");
            let scratch = Scratch::take(&within, &mut progress).expect("taken");
            fs::write(scratch.path().join("mine"), b"").expect("it is there");
        });
        told.recv_timeout(Duration::from_secs(10))
            .expect("it waits");
        assert!(!second.is_finished());
        drop(first);
        second.join().expect("no panic");
    }
}
