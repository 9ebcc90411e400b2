//! Whether a program can run in a guest that has no libraries.

use std::fs;
use std::path::Path;

use crate::error::Error;

const ELF64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
const MACHINE_X86_64: u16 = 62;
const SEGMENT_INTERPRETER: u32 = 3;

/// Reads an executable for the guest and checks that it is a static x86_64 one.
///
/// # Errors
/// [`Error::NotStatic`] with what is in the way; a script or a dynamic program would only fail
/// once the enclave has booted.
pub(crate) fn read_static(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(path).map_err(Error::read(path))?;
    let refuse = |reason| {
        Err(Error::NotStatic {
            path: path.to_owned(),
            reason,
        })
    };
    if !bytes.starts_with(ELF64_LITTLE_ENDIAN) {
        return refuse("it is not a 64-bit ELF executable");
    }
    if u16_at(&bytes, 18) != Some(MACHINE_X86_64) {
        return refuse("it is not built for x86_64");
    }
    match has_interpreter(&bytes) {
        Some(false) => Ok(bytes),
        Some(true) => {
            refuse("it is linked dynamically: build it with -C target-feature=+crt-static")
        }
        None => refuse("its program headers lie outside of the file"),
    }
}

/// ELF-64 header: program headers' offset at 32, their size at 54 and number at 56.
fn has_interpreter(bytes: &[u8]) -> Option<bool> {
    let table = usize::try_from(u64_at(bytes, 32)?).ok()?;
    let size = usize::from(u16_at(bytes, 54)?);
    let count = usize::from(u16_at(bytes, 56)?);
    for index in 0..count {
        let at = table.checked_add(size.checked_mul(index)?)?;
        if u32_at(bytes, at)? == SEGMENT_INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u16::from_le_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_need_a_loader_are_refused() {
        let own = std::env::current_exe().expect("this test's path");
        let error = read_static(&own).expect_err("tests are linked dynamically");
        assert!(error.to_string().contains("crt-static"), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        let mut outside = [0; 64];
        outside[..6].copy_from_slice(ELF64_LITTLE_ENDIAN);
        outside[18] = MACHINE_X86_64 as u8;
        outside[32..40].fill(0xff);
        outside[56] = 1;
        let mut arm = outside;
        arm[18] = 183;
        let files: [&[u8]; 4] = [b"", b"#!/bin/sh\n", &arm, &outside];
        for bytes in files {
            fs::write(&path, bytes).expect("written");
            assert_eq!(
                read_static(&path).expect_err("refused").rule(),
                "guest.not-static"
            );
        }
    }
}
