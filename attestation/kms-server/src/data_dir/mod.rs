//! The data directory: its layout, its modes, its lock and the root key.
//!
//! | file | mode | what |
//! |---|---|---|
//! | the directory | 0700 | |
//! | `root.key` | 0600 | the root key; everything secret in the database is wrapped under it |
//! | `kms.db`, `-wal`, `-shm` | 0600 | keys, policies, aliases, principals, audit |
//! | `lock` | 0600 | held (`flock`) by the one running server; says who holds it |
//!
//! `init` makes the database under another name and renames it last: a directory
//! with a `kms.db` is complete.

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

const ROOT_KEY: &str = "root.key";
const DATABASE: &str = "kms.db";
const DATABASE_UNFINISHED: &str = "kms.db.new";
const LOCK: &str = "lock";
/// First word of the root key file; the version is of its format.
const ROOT_KEY_LABEL: &str = "anchorhold-root-key-v1";
/// Longest root key file read, in bytes: label, colon, 64 digits, newline, and room.
const MAX_ROOT_KEY_FILE: u64 = 256;
/// Longest holder description read from the lock file, in bytes.
const MAX_HOLDER: u64 = 256;

/// An existing data directory, private to its user.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// The right to be the one server (or the one `init`) on a data directory.
/// Given back when dropped, and by the kernel when the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing the file would not do while a child process that is just being started has it too.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// An operation on a file failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no directory of this name.
    #[error("there is no data directory {}: make one with `anchorhold-kms init --data-dir {}`", path.display(), path.display())]
    Missing {
        /// The path given.
        path: PathBuf,
    },
    /// A directory or file can be reached by others than its owner.
    #[error("{} has mode {got:04o}, expected {expected:04o} or less: others could read it (chmod {expected:o} {})", path.display(), path.display())]
    Mode {
        /// The path.
        path: PathBuf,
        /// The widest mode allowed.
        expected: u32,
        /// The mode it has.
        got: u32,
    },
    /// `init` on a directory that has a KMS already.
    #[error("{} already holds a KMS ({} is there): init does not overwrite", path.display(), file)]
    AlreadyInitialised {
        /// The directory.
        path: PathBuf,
        /// The file found.
        file: &'static str,
    },
    /// A root key without database, or the reverse.
    #[error("{} has {present} but no {missing}: an interrupted init, or a file was lost; restore {missing}, or, if nothing is encrypted under it, remove {present}", path.display())]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// The file that is there.
        present: &'static str,
        /// The file that is not.
        missing: &'static str,
    },
    /// Another process holds the lock.
    #[error("{} is in use by {holder}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the lock file says about the holder.
        holder: String,
    },
    /// The root key file is not of the known format.
    #[error("{} is not a root key file: expected '{ROOT_KEY_LABEL}:' and 64 hexadecimal digits", path.display())]
    RootKeyFormat {
        /// The file.
        path: PathBuf,
    },
}

impl DataDirError {
    /// Stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Io { .. } => "data-dir.io",
            Self::Missing { .. } => "data-dir.missing",
            Self::Mode { .. } => "data-dir.mode",
            Self::AlreadyInitialised { .. } => "data-dir.already-initialised",
            Self::Incomplete { .. } => "data-dir.incomplete",
            Self::InUse { .. } => "data-dir.in-use",
            Self::RootKeyFormat { .. } => "data-dir.root-key-format",
        }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl DataDir {
    /// Makes the directory (and missing parents) with mode 0700, or takes an
    /// existing private one that holds no KMS.
    ///
    /// # Errors
    /// [`DataDirError::AlreadyInitialised`], [`DataDirError::Incomplete`],
    /// [`DataDirError::Mode`], [`DataDirError::InUse`] or an I/O error.
    pub fn create(path: &Path) -> Result<(Self, Lock), DataDirError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(DataDirError::io("create", path))?;
        check_mode(path, 0o700)?;
        let dir = Self {
            path: path.to_owned(),
        };
        let lock = dir.lock("init")?;
        if dir.join(DATABASE).exists() {
            return Err(DataDirError::AlreadyInitialised {
                path: dir.path,
                file: DATABASE,
            });
        }
        if dir.join(ROOT_KEY).exists() {
            return Err(DataDirError::Incomplete {
                path: dir.path,
                present: ROOT_KEY,
                missing: DATABASE,
            });
        }
        Ok((dir, lock))
    }

    /// Opens a directory that `init` made.
    ///
    /// # Errors
    /// [`DataDirError::Missing`], [`DataDirError::Incomplete`] or
    /// [`DataDirError::Mode`], or an I/O error.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let dir = Self {
            path: path.to_owned(),
        };
        let [database, root_key] = [DATABASE, ROOT_KEY].map(|name| dir.join(name).exists());
        let incomplete = |present, missing| DataDirError::Incomplete {
            path: path.to_owned(),
            present,
            missing,
        };
        match (database, root_key) {
            (false, false) => Err(DataDirError::Missing {
                path: path.to_owned(),
            }),
            (true, false) => Err(incomplete(DATABASE, ROOT_KEY)),
            (false, true) => Err(incomplete(ROOT_KEY, DATABASE)),
            (true, true) => {
                check_mode(path, 0o700)?;
                check_mode(&dir.database(), 0o600)?;
                check_mode(&dir.join(ROOT_KEY), 0o600)?;
                Ok(dir)
            }
        }
    }

    /// Takes the lock; `purpose` is what another process is told.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] naming the holder, or an I/O error.
    pub fn lock(&self, purpose: &str) -> Result<Lock, DataDirError> {
        let path = self.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(DataDirError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse {
                    path: self.path.clone(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(DataDirError::io("lock", &path)(source));
            }
        }
        // What it says is for people; a full disk must not keep the server from starting.
        let _ = file.set_len(0);
        let _ = write!(
            file,
            "process {} (anchorhold-kms {purpose})",
            std::process::id()
        );
        Ok(Lock { file })
    }

    /// Writes the root key file; there must be none.
    ///
    /// # Errors
    /// An I/O error, also when the file exists.
    pub fn write_root_key(&self, key: &[u8; 32]) -> Result<(), DataDirError> {
        let path = self.join(ROOT_KEY);
        let text = Zeroizing::new(format!("{ROOT_KEY_LABEL}:{}\n", *encode(key)));
        let mut file = create_private(&path)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(DataDirError::io("write", &path))?;
        self.sync()
    }

    /// Reads the root key file.
    ///
    /// # Errors
    /// [`DataDirError::RootKeyFormat`] or an I/O error.
    pub fn read_root_key(&self) -> Result<Zeroizing<[u8; 32]>, DataDirError> {
        let path = self.join(ROOT_KEY);
        let mut text = Zeroizing::new(String::with_capacity(MAX_ROOT_KEY_FILE as usize));
        File::open(&path)
            .and_then(|file| file.take(MAX_ROOT_KEY_FILE).read_to_string(&mut text))
            .map_err(DataDirError::io("read", &path))?;
        let mut key = Zeroizing::new([0; 32]);
        text.trim_end()
            .split_once(':')
            .filter(|(label, _)| *label == ROOT_KEY_LABEL)
            .and_then(|(_, digits)| hex::decode_to_slice(digits, key.as_mut_slice()).ok())
            .ok_or(DataDirError::RootKeyFormat { path })?;
        Ok(key)
    }

    /// Makes the empty file in which `init` builds the database: SQLite gives its
    /// `-wal` and `-shm` files the mode of the database's file.
    ///
    /// # Errors
    /// An I/O error.
    pub fn begin_database(&self) -> Result<PathBuf, DataDirError> {
        let path = self.join(DATABASE_UNFINISHED);
        for leftover in ["", "-wal", "-shm"] {
            let leftover = self.join(&format!("{DATABASE_UNFINISHED}{leftover}"));
            match std::fs::remove_file(&leftover) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(DataDirError::io("remove", &leftover)(e));
                }
                _ => {}
            }
        }
        create_private(&path)?;
        Ok(path)
    }

    /// Gives the finished, closed database its name.
    ///
    /// # Errors
    /// An I/O error.
    pub fn finish_database(&self) -> Result<(), DataDirError> {
        let from = self.join(DATABASE_UNFINISHED);
        std::fs::rename(&from, self.database()).map_err(DataDirError::io("rename", &from))?;
        self.sync()
    }

    /// Path of the database.
    pub fn database(&self) -> PathBuf {
        self.join(DATABASE)
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn sync(&self) -> Result<(), DataDirError> {
        File::open(&self.path)
            .and_then(|dir| dir.sync_all())
            .map_err(DataDirError::io("sync", &self.path))
    }
}

/// A new file with mode 0600, never an existing one.
fn create_private(path: &Path) -> Result<File, DataDirError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(DataDirError::io("create", path))
}

fn check_mode(path: &Path, expected: u32) -> Result<(), DataDirError> {
    let metadata = std::fs::metadata(path).map_err(DataDirError::io("read the mode of", path))?;
    let got = metadata.mode() & 0o7777;
    if got & 0o077 == 0 {
        Ok(())
    } else {
        Err(DataDirError::Mode {
            path: path.to_owned(),
            expected,
            got,
        })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    match file.take(MAX_HOLDER).read_to_end(&mut text) {
        Ok(read) if read > 0 => String::from_utf8_lossy(&text).into_owned(),
        _ => "another process".to_owned(),
    }
}

fn encode(key: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(hex::encode(key))
}
