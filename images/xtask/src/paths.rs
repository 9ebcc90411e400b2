//! Where things are: the checkout, the cache, the built programs.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The root of the checkout. Cargo says at run time where this package is; what it said when the
/// program was built may be another checkout, which shares the target directory.
pub fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = here.ancestors().nth(2).unwrap_or(&here);
    root.to_path_buf()
}

/// What is fetched once and kept: kernel, Python tools, images. `$XDG_CACHE_HOME/anchorhold`, else
/// `~/.cache/anchorhold`.
///
/// # Errors
/// Neither variable is set.
pub fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => {
            let home = env::var_os("HOME").filter(|v| !v.is_empty());
            PathBuf::from(home.context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(base.join("anchorhold"))
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR").filter(|v| !v.is_empty()) {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The Python interpreter of the tests: `$ANCHORHOLD_PYTHON`, else the cache's.
///
/// # Errors
/// As [`cache`].
pub fn python() -> Result<PathBuf> {
    match env::var_os("ANCHORHOLD_PYTHON").filter(|v| !v.is_empty()) {
        Some(python) => Ok(python.into()),
        None => Ok(cache()?.join("venv/bin/python")),
    }
}
