//! What is handed over.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::SubmitError;

/// Opens a file; `what` names it in an error.
///
/// # Errors
/// [`SubmitError::Input`].
pub fn open(what: &'static str, path: &Path) -> Result<File, SubmitError> {
    File::open(path).map_err(|source| SubmitError::Input {
        what,
        path: path.to_path_buf(),
        source,
    })
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// [`SubmitError::Input`] and [`SubmitError::TooLarge`].
pub fn load(what: &'static str, path: &Path, max: u64) -> Result<Vec<u8>, SubmitError> {
    let mut bytes = Vec::new();
    let mut file = open(what, path)?.take(max.saturating_add(1));
    file.read_to_end(&mut bytes)
        .map_err(|source| SubmitError::Input {
            what,
            path: path.to_path_buf(),
            source,
        })?;
    if bytes.len() as u64 > max {
        let path = path.to_path_buf();
        return Err(SubmitError::TooLarge { what, path, max });
    }
    Ok(bytes)
}
