//! The repository checks itself: zone rules, licences, stray `unsafe`.

pub mod licences;
pub mod unsafe_code;
pub mod zones;

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};

/// The workspace as cargo sees it, dependencies resolved from the lock file.
///
/// # Errors
/// Cargo fails.
pub fn metadata() -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(crate::paths::root().join("Cargo.toml"))
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .context("cargo cannot read the workspace")
}
