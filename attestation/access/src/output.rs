//! Where bytes come from and go to.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;
use tempfile::{Builder, NamedTempFile};

use crate::AccessError;

const BUFFER: usize = 1 << 20;

/// A file to read, or standard input for `-`, with its length where that is known.
///
/// # Errors
/// [`AccessError::File`].
pub fn input(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), AccessError> {
    if is_standard(path) {
        return Ok((
            Box::new(BufReader::with_capacity(BUFFER, io::stdin())),
            None,
        ));
    }
    let at = AccessError::file("read", path);
    let file = File::open(path).map_err(&at)?;
    let metadata = file.metadata().map_err(&at)?;
    if metadata.is_dir() {
        return Err(at(io::ErrorKind::IsADirectory.into()));
    }
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(BUFFER, file)), length))
}

/// Whether a path is `-`.
#[must_use]
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Something that is written and then, only if it is whole, stands where it belongs. Dropped before
/// that, it leaves nothing; nor does a process that is killed, where the file system can hold files
/// without a name (`O_TMPFILE` of open(2): ext4, XFS, Btrfs, tmpfs, overlayfs, and most others).
pub struct Output {
    path: PathBuf,
    replace: bool,
    held: Held,
}

enum Held {
    /// In the output's folder, without a name.
    Unnamed(BufWriter<File>),
    /// Beside the output under another name.
    Beside(BufWriter<NamedTempFile>),
    /// Anywhere without a name, until it may go to standard output.
    Aside(BufWriter<File>),
    /// Straight to standard output.
    Direct(BufWriter<io::Stdout>),
}

impl Output {
    /// An output at a path, or standard output for `-`: held back until it is [kept](Self::keep) if
    /// `hold`, and otherwise streamed. A file is always held back.
    ///
    /// # Errors
    /// [`AccessError::Exists`] unless `replace`, [`AccessError::NotReplaceable`], or
    /// [`AccessError::File`].
    pub fn new(path: &Path, replace: bool, hold: bool) -> Result<Self, AccessError> {
        let held = if !is_standard(path) {
            return Self::file(path, replace, 0o600);
        } else if hold {
            let file = tempfile::tempfile().map_err(AccessError::file("write", path))?;
            Held::Aside(buffered(file))
        } else {
            Held::Direct(buffered(io::stdout()))
        };
        Ok(Self {
            path: path.to_owned(),
            replace,
            held,
        })
    }

    /// A file with these permissions, less the user's umask.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn file(path: &Path, replace: bool, mode: u32) -> Result<Self, AccessError> {
        check(path, replace)?;
        let held = beside(folder(path), mode).map_err(AccessError::file("write", path))?;
        Ok(Self {
            path: path.to_owned(),
            replace,
            held,
        })
    }

    /// Lets what was written stand, on disk and with its name.
    ///
    /// # Errors
    /// [`AccessError::Exists`] when somebody made the output meanwhile, or [`AccessError::File`].
    pub fn keep(self) -> Result<(), AccessError> {
        let Self {
            path,
            replace,
            held,
        } = self;
        let outcome = match held {
            Held::Direct(mut out) => out.flush(),
            Held::Aside(out) => copy_out(out),
            Held::Unnamed(out) => keep_unnamed(out, &path, replace),
            Held::Beside(out) => keep_beside(out, &path, replace),
        };
        outcome.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => AccessError::Exists { path },
            _ => AccessError::file("write", &path)(source),
        })
    }
}

/// Said before the work, and refused again when the output gets its name.
fn check(path: &Path, replace: bool) -> Result<(), AccessError> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    let path = path.to_owned();
    if !replace {
        return Err(AccessError::Exists { path });
    }
    // A link is replaced itself. A device is somebody's, and a folder no file.
    match metadata.is_file() || metadata.is_symlink() {
        true => Ok(()),
        false => Err(AccessError::NotReplaceable { path }),
    }
}

fn folder(path: &Path) -> &Path {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn buffered<W: Write>(out: W) -> BufWriter<W> {
    BufWriter::with_capacity(BUFFER, out)
}

fn beside(dir: &Path, mode: u32) -> io::Result<Held> {
    let made = OpenOptions::new()
        .write(true)
        .mode(mode)
        .custom_flags(OFlag::O_TMPFILE.bits())
        .open(dir);
    match made {
        // It gets its name by way of /proc.
        Ok(file) if descriptor(&file).exists() => Ok(Held::Unnamed(buffered(file))),
        Ok(_) => named(dir, mode),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => named(dir, mode),
            _ => Err(error),
        },
    }
}

fn named(dir: &Path, mode: u32) -> io::Result<Held> {
    let permissions = Permissions::from_mode(mode);
    let made = Builder::new().permissions(permissions).tempfile_in(dir)?;
    Ok(Held::Beside(buffered(made)))
}

fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn copy_out(out: BufWriter<File>) -> io::Result<()> {
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    let mut stdout = io::stdout().lock();
    io::copy(&mut file, &mut stdout)?;
    stdout.flush()
}

fn keep_unnamed(out: BufWriter<File>, path: &Path, replace: bool) -> io::Result<()> {
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let name = |path: &Path| -> io::Result<()> {
        let flags = AtFlags::AT_SYMLINK_FOLLOW;
        Ok(linkat(AT_FDCWD, &descriptor(&file), AT_FDCWD, path, flags)?)
    };
    if replace {
        // No call both names a file and replaces another, so it has a second name for a moment.
        let named = Builder::new().make_in(folder(path), name)?;
        named.into_temp_path().persist(path)?;
    } else {
        name(path)?;
    }
    sync_folder(path);
    Ok(())
}

fn keep_beside(out: BufWriter<NamedTempFile>, path: &Path, replace: bool) -> io::Result<()> {
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    let kept = if replace {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    kept.map_err(|error| error.error)?;
    sync_folder(path);
    Ok(())
}

/// The output stands by now: a folder that cannot be synced takes nothing from it.
fn sync_folder(path: &Path) {
    let _ = File::open(folder(path)).and_then(|folder| folder.sync_all());
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.held {
            Held::Unnamed(out) | Held::Aside(out) => out.write(bytes),
            Held::Beside(out) => out.write(bytes),
            Held::Direct(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.held {
            Held::Unnamed(out) | Held::Aside(out) => out.flush(),
            Held::Beside(out) => out.flush(),
            Held::Direct(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Both ways of holding a file back give the same, also where one file system has one way only.
    #[test]
    fn an_output_stands_when_it_is_kept_and_not_before() {
        let ways: [fn(&Path, u32) -> io::Result<Held>; 2] = [beside, named];
        for way in ways {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("out");
            let write = |text: &str, replace| {
                let held = way(dir.path(), 0o600).unwrap();
                let path = path.clone();
                let mut out = Output {
                    path,
                    replace,
                    held,
                };
                out.write_all(text.as_bytes()).unwrap();
                out
            };
            drop(write("dropped", false));
            assert!(names(dir.path()).is_empty());
            let (first, second) = (write("first", false), write("second", false));
            first.keep().unwrap();
            let refusal = second.keep().unwrap_err();
            assert!(matches!(refusal, AccessError::Exists { .. }));
            assert_eq!(std::fs::read(&path).unwrap(), b"first");
            write("third", true).keep().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"third");
            assert_eq!(names(dir.path()), ["out"]);
        }
    }

    #[test]
    fn only_files_and_links_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = |path: &Path, replace| Output::new(path, replace, true).err().unwrap();
        for path in [dir.path(), Path::new("/dev/null")] {
            assert!(matches!(refusal(path, false), AccessError::Exists { .. }));
            assert!(matches!(
                refusal(path, true),
                AccessError::NotReplaceable { .. }
            ));
        }
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "kept").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut out = Output::new(&link, true, true).unwrap();
        out.write_all(b"new").unwrap();
        out.keep().unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
        assert_eq!(std::fs::read(&link).unwrap(), b"new");
        let mode = link.symlink_metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let absent = refusal(&dir.path().join("absent/x"), false);
        assert!(matches!(absent, AccessError::File { .. }));
    }
}
