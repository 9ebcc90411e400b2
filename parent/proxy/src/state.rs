//! Where running enclaves keep their sockets.
//!
//! ```text
//! <state>/                        0700
//!   vsock_<port>                  guest → parent, any enclave: "listening on CID 3"
//!   enclaves/<EnclaveID>/         0700
//!     vsock.sock                  parent → guest, `CONNECT <port>`
//!     vsock.sock_<port>           guest → parent, this enclave only
//!     control.sock  console.sock  the hypervisor's
//! ```

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::unistd::Uid;

/// Names the state directory, over every default.
pub const STATE_DIR_VARIABLE: &str = "ANCHORHOLD_STATE_DIR";

/// Longest enclave id that is looked up, in bytes. Ours are 39: `i-<17 hex>-enc<16 hex>`.
pub const MAX_ENCLAVE_ID: usize = 64;

/// Why the state directory, or an enclave in it, could not be named or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// No variable names a directory, and the caller is not root.
    #[error(
        "no state directory: neither {STATE_DIR_VARIABLE} nor XDG_RUNTIME_DIR is set, \
         and only root may use /run/anchorhold; set {STATE_DIR_VARIABLE}"
    )]
    Unnamed,
    /// A variable holds a relative path, which would change with the working directory.
    #[error("{variable} must be an absolute path, got {path:?}")]
    Relative {
        /// The variable that was read.
        variable: &'static str,
        /// What it held.
        path: PathBuf,
    },
    /// Others than the owner could enter the directory.
    #[error(
        "{path:?} must be a directory of user {expected_uid} with mode 0700, \
         got user {uid} and mode {mode:04o}"
    )]
    Permissions {
        /// The directory.
        path: PathBuf,
        /// The user that must own it.
        expected_uid: u32,
        /// The user that owns it.
        uid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// An enclave id that could not be a directory name of ours.
    #[error(
        "an enclave id is letters, digits and hyphens, at most {MAX_ENCLAVE_ID} bytes, got {got:?}"
    )]
    EnclaveId {
        /// What came, cut to the limit.
        got: String,
    },
    /// The file system refused.
    #[error("cannot use {path:?}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl StateError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Unnamed => "state.unnamed",
            Self::Relative { .. } => "state.relative",
            Self::Permissions { .. } => "state.permissions",
            Self::EnclaveId { .. } => "state.enclave-id",
            Self::Io { .. } => "state.io",
        }
    }
}

/// An enclave's id, safe to use as a directory's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnclaveId(String);

impl EnclaveId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnclaveId {
    type Err = StateError;

    /// Takes ASCII letters, digits and hyphens, 1 to [`MAX_ENCLAVE_ID`] bytes.
    fn from_str(text: &str) -> Result<Self, StateError> {
        let fits = !text.is_empty() && text.len() <= MAX_ENCLAVE_ID;
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits && plain {
            return Ok(Self(text.to_owned()));
        }
        Err(StateError::EnclaveId {
            got: text.chars().take(MAX_ENCLAVE_ID).collect(),
        })
    }
}

impl fmt::Display for EnclaveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state directory: a path, not yet made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Takes an absolute path as the state directory.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The directory that holds one directory for each enclave.
    pub fn enclaves(&self) -> PathBuf {
        self.0.join("enclaves")
    }

    /// The directory of one enclave.
    pub fn enclave(&self, id: &EnclaveId) -> PathBuf {
        self.enclaves().join(id.as_str())
    }

    /// The socket on which one enclave's ports are dialled.
    pub fn enclave_vsock(&self, id: &EnclaveId) -> PathBuf {
        self.enclave(id).join("vsock.sock")
    }

    /// The socket that any enclave's connection to the parent's `port` arrives at.
    pub fn shared_listener(&self, port: u32) -> PathBuf {
        self.0.join(format!("vsock_{port}"))
    }

    /// Makes the directory with mode 0700, or checks that it is the caller's and closed to others.
    ///
    /// # Errors
    /// [`StateError::Permissions`] when others could enter it, [`StateError::Io`] when the file
    /// system refuses.
    pub fn ensure(&self) -> Result<(), StateError> {
        let io = |source| StateError::Io {
            path: self.0.clone(),
            source,
        };
        if let Some(parent) = self.0.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.0).map_err(io)?;
        let expected_uid = Uid::effective().as_raw();
        let private = metadata.is_dir() && metadata.mode() & 0o077 == 0;
        if private && metadata.uid() == expected_uid {
            return Ok(());
        }
        Err(StateError::Permissions {
            path: self.0.clone(),
            expected_uid,
            uid: metadata.uid(),
            mode: metadata.mode() & 0o7777,
        })
    }
}

/// The state directory by the environment: `$ANCHORHOLD_STATE_DIR`, else
/// `$XDG_RUNTIME_DIR/anchorhold`, else `/run/anchorhold` for root.
///
/// # Errors
/// [`StateError::Unnamed`] or [`StateError::Relative`].
pub fn state_dir() -> Result<StateDir, StateError> {
    let is_root = Uid::effective().is_root();
    choose(
        std::env::var_os(STATE_DIR_VARIABLE),
        std::env::var_os("XDG_RUNTIME_DIR"),
        is_root,
    )
}

/// The socket on which the ports of enclave `id` are dialled, in the environment's state directory.
///
/// # Errors
/// [`state_dir`]'s.
pub fn enclave_vsock_path(id: &EnclaveId) -> Result<PathBuf, StateError> {
    Ok(state_dir()?.enclave_vsock(id))
}

fn choose(
    own: Option<OsString>,
    runtime: Option<OsString>,
    is_root: bool,
) -> Result<StateDir, StateError> {
    if let Some(path) = absolute(STATE_DIR_VARIABLE, own)? {
        return Ok(StateDir(path));
    }
    if let Some(path) = absolute("XDG_RUNTIME_DIR", runtime)? {
        return Ok(StateDir(path.join("anchorhold")));
    }
    if is_root {
        return Ok(StateDir(PathBuf::from("/run/anchorhold")));
    }
    Err(StateError::Unnamed)
}

fn absolute(
    variable: &'static str,
    value: Option<OsString>,
) -> Result<Option<PathBuf>, StateError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(value);
    if path.is_absolute() {
        return Ok(Some(path));
    }
    Err(StateError::Relative { variable, path })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn os(text: &str) -> Option<OsString> {
        Some(OsString::from(text))
    }

    #[test]
    fn a_relative_directory_is_refused() {
        let error = choose(os("state"), None, true).expect_err("relative");
        assert_eq!(error.rule(), "state.relative");
        let error = choose(None, os("run"), true).expect_err("relative");
        assert_eq!(error.rule(), "state.relative");
    }

    #[test]
    fn without_a_name_only_root_has_a_default() {
        let error = choose(None, None, false).expect_err("unnamed");
        assert_eq!(error.rule(), "state.unnamed");
        let root = choose(os(""), os(""), true).expect("root's default");
        assert_eq!(root.path(), Path::new("/run/anchorhold"));
    }

    #[test]
    fn the_own_variable_goes_before_the_runtime_directory() {
        let own = choose(os("/a"), os("/b"), false).expect("own");
        assert_eq!(own.path(), Path::new("/a"));
        let runtime = choose(None, os("/b"), false).expect("runtime");
        assert_eq!(runtime.path(), Path::new("/b/anchorhold"));
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let open = root.path().join("open");
        fs::create_dir(&open).expect("directory");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("mode");
        let error = StateDir::new(open).ensure().expect_err("open to others");
        assert_eq!(error.rule(), "state.permissions");
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).expect("link");
        let error = StateDir::new(link).ensure().expect_err("a link");
        assert_eq!(error.rule(), "state.permissions");
    }

    #[test]
    fn the_directory_is_made_private_and_kept() {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = StateDir::new(root.path().join("a").join("state"));
        state.ensure().expect("made");
        state.ensure().expect("kept");
        let mode = fs::metadata(state.path()).expect("metadata").mode();
        assert_eq!(mode & 0o7777, 0o700);
    }

    #[test]
    fn ids_that_leave_the_directory_are_refused() {
        for text in ["", ".", "..", "a/b", "../x", "a\0b", "ä", &"a".repeat(65)] {
            let error = text.parse::<EnclaveId>().expect_err(text);
            assert_eq!(error.rule(), "state.enclave-id");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_always_one_plain_path_component(text in ".{0,80}") {
            if let Ok(id) = text.parse::<EnclaveId>() {
                let path = StateDir::new("/s".into()).enclave(&id);
                prop_assert_eq!(path.parent(), Some(Path::new("/s/enclaves")));
                prop_assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(text.as_str()));
            }
        }
    }
}
