//! What a party gives to the host: its approval, its sealed file, a challenge, and credentials with
//! which the enclave may ask the party's KMS. Nothing in it opens anything.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anchorhold_joint_enclave::answer::CHALLENGE_LEN;
use anchorhold_owner::access::{AccessError, read, write_new};

/// Why a package could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The directory could not be made, or the sealed file not put into it.
    #[error("cannot make {path:?}")]
    Make {
        /// What.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No randomness.
    #[error("no random numbers")]
    Random,
}

impl PackageError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Access(error) => error.rule(),
            Self::Make { .. } => "package.file",
            Self::Random => "machine.random",
        }
    }
}

/// A package's parts.
#[derive(Debug)]
pub struct Package<'a> {
    /// The approval.
    pub approval: &'a Path,
    /// The sealed file.
    pub records: &'a Path,
    /// JSON with access_key_id and secret_access_key of the enclave's principal at the party's KMS.
    pub credentials: &'a Path,
}

impl Package<'_> {
    /// Makes the package in a new directory that only its owner reads, with a fresh challenge; the
    /// party keeps the challenge at `keep`, to know its answer by it.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn make(&self, dir: &Path, keep: &Path) -> Result<(), PackageError> {
        let mut challenge = [0; CHALLENGE_LEN];
        aws_lc_rs::rand::fill(&mut challenge).map_err(|_| PackageError::Random)?;
        let at = |path: &Path, source| PackageError::Make {
            path: path.to_path_buf(),
            source,
        };
        let approval = read(self.approval)?;
        let credentials = zeroize::Zeroizing::new(read(self.credentials)?);
        let made = DirBuilder::new().mode(0o700).create(dir);
        made.map_err(|source| at(dir, source))?;
        write_new(keep, &challenge, 0o644)?;
        write_new(&dir.join("challenge"), &challenge, 0o644)?;
        write_new(&dir.join("approval.json"), &approval, 0o644)?;
        write_new(&dir.join("credentials.json"), &credentials, 0o600)?;
        let records = dir.join("records.esdk");
        fs::copy(self.records, &records).map_err(|source| at(&records, source))?;
        Ok(())
    }
}
