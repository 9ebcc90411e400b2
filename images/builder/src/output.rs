//! Files that appear whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::Error;

/// Begin of temporary names. A file of such a name belongs to the process that has it locked, and to
/// nobody when none has.
const PARTIAL: &str = ".anchorhold-partial-";

/// Writes a file under a temporary name in its own directory, makes it durable and renames it. What
/// killed processes left there under such names is removed.
///
/// On any failure, a full disk included, the temporary file is removed and an existing file under
/// the final name stays as it was. A symbolic link is followed; a device or directory under the
/// final name is refused, since the rename would replace it. An existing file keeps its mode.
///
/// # Errors
/// [`Error::Write`] with the final name.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write_error = Error::write(path);
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = target.as_path();
    let existing = fs::metadata(path).ok();
    if existing
        .as_ref()
        .is_some_and(|existing| !existing.is_file())
    {
        return Err(write_error(io::Error::other(
            "it is there and is not a file",
        )));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        clear(directory)?;
        let mut file = partial(directory)?;
        file.write_all(bytes)?;
        if let Some(existing) = &existing {
            let mode = existing.permissions().mode() & 0o777;
            file.as_file()
                .set_permissions(Permissions::from_mode(mode))?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(write_error)
}

/// A new temporary file that is locked, so that nobody takes it for a killed process's.
fn partial(directory: &Path) -> io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new()
            .prefix(PARTIAL)
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)?;
        file.as_file().lock()?;
        // Somebody may have cleared it before it was locked.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes temporary files that no process has locked. What is somebody else's stays.
fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_partial = entry.file_name().as_bytes().starts_with(PARTIAL.as_bytes());
        if !is_partial || !entry.file_type()?.is_file() {
            continue;
        }
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_one_writes_stays() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let left = root.path().join(".anchorhold-partial-abc");
        fs::write(&left, b"half").expect("written");
        let other = root.path().join(".anchorhold-notes");
        fs::write(&other, b"kept").expect("written");
        let written_now = partial(root.path()).expect("a file");
        write_atomically(&root.path().join("out"), b"whole").expect("written");
        assert!(!left.exists());
        assert!(other.exists() && written_now.path().exists());
        assert_eq!(fs::read(root.path().join("out")).expect("read"), b"whole");
    }

    #[test]
    fn an_existing_file_keeps_its_mode() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("out");
        write_atomically(&path, b"first").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
        write_atomically(&path, b"second").expect("written");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn writers_at_once_do_not_clear_each_other() {
        let root = tempfile::tempdir().expect("a temporary directory");
        thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let path = root.path().join(name);
                scope.spawn(move || {
                    for _ in 0..50 {
                        write_atomically(&path, name.as_bytes()).expect("written");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(root.path()).expect("read").count(), 4);
    }
}
