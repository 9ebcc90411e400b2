//! Where everything of a running enclave lies.
//!
//! ```text
//! <state>/                        0700
//!   lock                          held while enclaves are claimed or swept
//!   kvm.json                      whether KVM boots a kernel, for this boot of the host
//!   vsock_<port>                  guest → parent, any enclave
//!   ended/<EnclaveID>.json        how an enclave ended
//!   enclaves/<EnclaveID>/         0700, removed with its hypervisor
//!     lock                        held while the hypervisor lives
//!     enclave.json                identity, for others to read
//!     vsock.sock                  parent → guest
//!     vsock.sock_<port>           guest → parent, this enclave only
//!     control.sock                describe, terminate
//!     console.sock                debug mode only
//! ```

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// Names the state directory, over every default.
pub const STATE_DIR_VARIABLE: &str = "ANCHORHOLD_STATE_DIR";

/// Names the platform directory, over every default.
pub const PLATFORM_DIR_VARIABLE: &str = "ANCHORHOLD_PLATFORM_DIR";

/// Why a directory could not be named or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Nothing says where the directory is.
    #[error("no {what} directory: set {variable}")]
    Unnamed {
        /// Which directory.
        what: &'static str,
        /// The variable that would name it.
        variable: &'static str,
    },
    /// A relative path, which would change with the working directory.
    #[error("the {what} directory must be an absolute path, got {path:?}")]
    Relative {
        /// Which directory.
        what: &'static str,
        /// What came.
        path: PathBuf,
    },
    /// Others than the owner could reach what is inside.
    #[error(
        "{path:?} must belong to user {expected_uid} with mode {expected_mode:04o}, \
         got user {uid} and mode {mode:04o}"
    )]
    Permissions {
        /// The directory or file.
        path: PathBuf,
        /// The user that must own it.
        expected_uid: u32,
        /// The widest mode accepted.
        expected_mode: u32,
        /// The user that owns it.
        uid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The file system refused.
    #[error("cannot use {path:?}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl LayoutError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Unnamed { .. } => "directory.unnamed",
            Self::Relative { .. } => "directory.relative",
            Self::Permissions { .. } => "directory.permissions",
            Self::Io { .. } => "directory.io",
        }
    }

    /// An [`LayoutError::Io`] for `path`, to hand to `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + Copy + use<'_> {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// The state directory: given, else `$ANCHORHOLD_STATE_DIR`, else `$XDG_RUNTIME_DIR/anchorhold`,
/// else `/run/anchorhold` for root.
///
/// # Errors
/// [`LayoutError::Unnamed`] or [`LayoutError::Relative`].
pub fn state_dir(given: Option<PathBuf>) -> Result<PathBuf, LayoutError> {
    let root = Uid::effective().is_root();
    choose(
        "state",
        STATE_DIR_VARIABLE,
        given.map(OsString::from),
        std::env::var_os(STATE_DIR_VARIABLE),
        [
            std::env::var_os("XDG_RUNTIME_DIR").map(|dir| (dir, "anchorhold")),
            root.then(|| (OsString::from("/run"), "anchorhold")),
        ],
    )
}

/// The platform directory: given, else `$ANCHORHOLD_PLATFORM_DIR`, else
/// `$XDG_STATE_HOME/anchorhold/platform`, else `~/.local/state/anchorhold/platform`.
///
/// # Errors
/// [`LayoutError::Unnamed`] or [`LayoutError::Relative`].
pub fn platform_dir(given: Option<PathBuf>) -> Result<PathBuf, LayoutError> {
    choose(
        "platform",
        PLATFORM_DIR_VARIABLE,
        given.map(OsString::from),
        std::env::var_os(PLATFORM_DIR_VARIABLE),
        [
            std::env::var_os("XDG_STATE_HOME").map(|dir| (dir, "anchorhold/platform")),
            std::env::var_os("HOME").map(|dir| (dir, ".local/state/anchorhold/platform")),
        ],
    )
}

/// Makes `path` with mode 0700, its parents as the umask has it, or checks that what is there is a
/// directory of the caller's own that nobody else enters. A symbolic link in its place is refused.
///
/// # Errors
/// [`LayoutError::Permissions`] or [`LayoutError::Io`].
pub fn private_directory(path: &Path) -> Result<(), LayoutError> {
    let io = LayoutError::io(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(io)?;
    if metadata.is_dir() && is_private(&metadata) {
        return Ok(());
    }
    Err(permissions(path, &metadata, 0o700))
}

/// Whether the caller owns it and nobody else has any permission.
pub(crate) fn is_private(metadata: &fs::Metadata) -> bool {
    metadata.uid() == Uid::effective().as_raw() && metadata.mode() & 0o077 == 0
}

/// The refusal of something that [`is_private`] is not true of.
pub(crate) fn permissions(path: &Path, metadata: &fs::Metadata, expected: u32) -> LayoutError {
    LayoutError::Permissions {
        path: path.to_owned(),
        expected_uid: Uid::effective().as_raw(),
        expected_mode: expected,
        uid: metadata.uid(),
        mode: metadata.mode() & 0o7777,
    }
}

fn choose(
    what: &'static str,
    variable: &'static str,
    given: Option<OsString>,
    own: Option<OsString>,
    defaults: [Option<(OsString, &str)>; 2],
) -> Result<PathBuf, LayoutError> {
    let named = [given, own]
        .into_iter()
        .flatten()
        .map(|value| (value, ""))
        .chain(defaults.into_iter().flatten())
        .find(|(value, _)| !value.is_empty());
    let Some((value, below)) = named else {
        return Err(LayoutError::Unnamed { what, variable });
    };
    let path = PathBuf::from(value);
    if !path.is_absolute() {
        return Err(LayoutError::Relative { what, path });
    }
    Ok(match below {
        "" => path,
        below => path.join(below),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn chosen(given: &str, own: &str, first: &str) -> Result<PathBuf, LayoutError> {
        choose(
            "state",
            STATE_DIR_VARIABLE,
            Some(given.into()),
            Some(own.into()),
            [Some((first.into(), "anchorhold")), None],
        )
    }

    #[test]
    fn nothing_that_names_the_directory_is_an_error_naming_the_variable() {
        let error = chosen("", "", "").expect_err("unnamed");
        assert_eq!(error.rule(), "directory.unnamed");
        assert!(error.to_string().contains(STATE_DIR_VARIABLE));
    }

    #[test]
    fn a_relative_path_is_refused_wherever_it_comes_from() {
        for (given, own, first) in [("a", "/b", "/c"), ("", "b", "/c"), ("", "", "c")] {
            let error = chosen(given, own, first).expect_err("relative");
            assert_eq!(error.rule(), "directory.relative");
        }
    }

    #[test]
    fn given_goes_before_the_variable_before_the_default() {
        assert_eq!(chosen("/a", "/b", "/c").expect("given"), Path::new("/a"));
        assert_eq!(chosen("", "/b", "/c").expect("own"), Path::new("/b"));
        let default = chosen("", "", "/c").expect("default");
        assert_eq!(default, Path::new("/c/anchorhold"));
    }

    #[test]
    fn a_directory_open_to_others_or_a_link_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let open = root.path().join("open");
        fs::create_dir(&open).expect("directory");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o750)).expect("mode");
        let error = private_directory(&open).expect_err("open to others");
        assert_eq!(error.rule(), "directory.permissions");

        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).expect("link");
        let error = private_directory(&link).expect_err("a link");
        assert_eq!(error.rule(), "directory.permissions");
    }

    #[test]
    fn a_directory_is_made_private_and_found_again() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("a/b/state");
        private_directory(&path).expect("made");
        private_directory(&path).expect("found");
        let mode = fs::metadata(&path).expect("metadata").mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}
