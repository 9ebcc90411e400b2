//! The lock file: which kernel exactly.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hash::{Sha256, sha256_file};
use crate::output::write_atomically;

const COMMENT: &str = "\
# The kernel that images boot. It is measured: another kernel, other PCRs.
# Written by `anchorhold-image kernel --update-lock`.
";
const BUILT_IN: &str = include_str!("../../../recipes/kernel.lock");
const BUILT_IN_NAME: &str = "the built-in kernel.lock";
const PACKAGE_PREFIX: &str = "linux-image-";

/// Name, version and hashes of a kernel package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelLock {
    /// The Debian package, `linux-image-<release>`.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// Hash of the package file.
    pub deb_sha256: Sha256,
    /// Hash of `/boot/vmlinuz-<release>`.
    pub bzimage_sha256: Sha256,
    /// Hash of each module that images use, as it is packed (`.ko.xz`).
    pub modules: BTreeMap<String, Sha256>,
}

impl KernelLock {
    /// The lock that stood beside the recipes when this tool was built.
    ///
    /// # Errors
    /// As [`KernelLock::read`].
    pub fn built_in() -> Result<Self, Error> {
        Self::parse(Path::new(BUILT_IN_NAME), BUILT_IN)
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// [`Error::LockMissing`] when there is none, [`Error::Toml`] and [`Error::LockField`] when
    /// it is not one.
    pub fn read(path: &Path) -> Result<Self, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::LockMissing {
                path: path.to_owned(),
            }),
            Err(error) => Err(Error::read(path)(error)),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let lock: Self = toml::from_str(text).map_err(|error| Error::Toml {
            path: path.to_owned(),
            what: "kernel lock",
            reason: error.message().to_owned(),
        })?;
        lock.check()?;
        Ok(lock)
    }

    /// Name and version become parts of file names and of the package client's arguments.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_name = |value: &str| {
            value.starts_with(|c: char| c.is_ascii_alphanumeric())
                && value
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".+~:-".contains(c))
        };
        let refuse = |field, expected, got: &str| {
            Err(Error::LockField {
                field,
                expected,
                got: got.into(),
            })
        };
        if !self.package.starts_with(PACKAGE_PREFIX) || !is_name(&self.package) {
            return refuse("package", "a package name linux-image-…", &self.package);
        }
        if !is_name(&self.version) {
            return refuse("version", "a Debian version", &self.version);
        }
        Ok(())
    }

    /// Writes the lock file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string(self).map_err(|error| Error::Toml {
            path: path.to_owned(),
            what: "kernel lock",
            reason: error.to_string(),
        })?;
        write_atomically(path, format!("{COMMENT}{text}").as_bytes())
    }

    /// The kernel's release, `uname -r`: the package's name without `linux-image-`.
    pub fn release(&self) -> &str {
        self.package
            .strip_prefix(PACKAGE_PREFIX)
            .unwrap_or(&self.package)
    }

    pub(super) fn check_package(&self, file: &Path) -> Result<(), Error> {
        let got = sha256_file(file)?;
        expect_hash(&file.display().to_string(), self.deb_sha256, got)
    }
}

pub(super) fn expect_hash(what: &str, expected: Sha256, got: Sha256) -> Result<(), Error> {
    if got == expected {
        Ok(())
    } else {
        let (expected, got) = (expected.to_string(), got.to_string());
        Err(Error::KernelHash {
            what: what.into(),
            expected,
            got,
        })
    }
}
