//! Files, private keys and the KMS, as the command lines of owners take them.
//!
//! What is read is bounded, what is secret is cleared from memory, and what is written stands whole or
//! not at all ([`output`]).
#![forbid(unsafe_code)]

mod error;
mod kms;
pub mod output;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

pub use error::AccessError;
pub use kms::{KMS_HOST, KmsArgs, REGION};
use output::Output;

/// The largest file that is read as a whole, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// Reads a file of at most [`MAX_FILE`] bytes.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let mut bytes = Vec::new();
    read_into(path, &mut bytes)?;
    Ok(bytes)
}

/// Reads a file as [`read`] does, into memory that is cleared and of which no copy stays behind.
///
/// # Errors
/// As [`read`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, AccessError> {
    // A buffer that grows moves, and leaves what it held.
    let room = usize::try_from(MAX_FILE).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room.saturating_add(64)));
    read_into(path, &mut bytes)?;
    Ok(bytes)
}

fn read_into(path: &Path, bytes: &mut Vec<u8>) -> Result<(), AccessError> {
    let file = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(bytes));
    file.map_err(AccessError::file("read", path))?;
    if bytes.len() as u64 > MAX_FILE {
        let path = path.to_path_buf();
        return Err(AccessError::TooLarge { path });
    }
    Ok(())
}

/// Reads a PEM file's first block: a private key in PKCS#8, as DER.
///
/// # Errors
/// The file cannot be read, or is no PEM.
pub fn private_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, AccessError> {
    let text = read_secret(path)?;
    let parsed = pem::parse(text.as_slice()).map_err(|_| AccessError::Content {
        path: path.to_path_buf(),
        expected: "PEM",
    })?;
    Ok(Zeroizing::new(parsed.into_contents()))
}

/// Writes a private key (PKCS#8, DER) as PEM that only its owner may read, to a file that must not be
/// there yet.
///
/// # Errors
/// As [`write_new`].
pub fn write_private_key(path: &Path, der: &[u8]) -> Result<(), AccessError> {
    let block = pem::Pem::new("PRIVATE KEY", der);
    let text = Zeroizing::new(pem::encode(&block));
    drop(Zeroizing::new(block.into_contents()));
    write_new(path, text.as_bytes(), 0o600)
}

/// Writes a file that must not be there yet. It stands whole or not at all.
///
/// # Errors
/// It is there, or cannot be written.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), AccessError> {
    let mut out = Output::file(path, false, mode)?;
    let written = out.write_all(bytes);
    written.map_err(AccessError::file("write", path))?;
    out.keep()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_bounded_and_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path).unwrap_err().rule(), "owner.file");
        write_new(&path, b"text", 0o640).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!((mode & 0o600, mode & 0o137), (0o600, 0));
        let refusal = write_new(&path, b"other", 0o600).unwrap_err();
        assert!(matches!(refusal, AccessError::Exists { .. }));
        assert_eq!(read(&path).unwrap(), b"text");
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"text");
        let most = usize::try_from(MAX_FILE).unwrap();
        std::fs::write(&path, vec![7; most]).unwrap();
        assert_eq!(read_secret(&path).unwrap().len(), most);
        std::fs::write(&path, vec![7; most + 1]).unwrap();
        for refusal in [read(&path).unwrap_err(), read_secret(&path).unwrap_err()] {
            assert!(matches!(refusal, AccessError::TooLarge { .. }));
        }
        let refusal = private_key(&dir.path().join("file")).unwrap_err();
        assert!(matches!(refusal, AccessError::TooLarge { .. }));
        std::fs::write(&path, "no PEM").unwrap();
        let refusal = private_key(&path).unwrap_err();
        assert!(matches!(refusal, AccessError::Content { .. }));
    }
}
