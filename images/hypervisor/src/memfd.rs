//! Sealed memory files: bytes that nobody can change any more, this process included.
//!
//! An image is copied into one of these before anything looks at it. With `F_SEAL_WRITE`, `_GROW`
//! and `_SHRINK` set (fcntl(2), "File Sealing"), what was measured is what boots, whatever happens
//! to the file it came from.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes copied at a time: enough to make system calls rare, little enough for the heap's budget.
const COPY_CHUNK: usize = 64 * 1024;

/// A memory file with all its seals on.
#[derive(Debug)]
pub struct SealedFile {
    file: File,
    len: u64,
}

impl SealedFile {
    /// Copies `source` to its end, or to one byte beyond `limit` so that the caller can tell.
    ///
    /// # Errors
    /// Reading fails, or the machine has no memory left.
    pub fn copy_of(name: &CStr, source: impl Read, limit: u64) -> io::Result<Self> {
        let mut file = create(name)?;
        let mut source = source.take(limit.saturating_add(1));
        let mut chunk = vec![0; COPY_CHUNK];
        loop {
            let count = match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            file.write_all(chunk.get(..count).unwrap_or_default())?;
        }
        seal(file)
    }

    /// Writes `parts` one after the other.
    ///
    /// # Errors
    /// The machine has no memory left.
    pub fn concatenated(name: &CStr, parts: &[&[u8]]) -> io::Result<Self> {
        let mut file = create(name)?;
        for part in parts {
            file.write_all(part)?;
        }
        seal(file)
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Maps the whole file, read-only. Its pages count as shared memory, not as this process's.
    ///
    /// # Errors
    /// The file is empty or too large for the address space, or `mmap` fails.
    pub fn map(&self) -> io::Result<Mapping> {
        let len = usize::try_from(self.len)
            .ok()
            .and_then(NonZeroUsize::new)
            .ok_or(io::ErrorKind::InvalidInput)?;
        map_shared(len, &self.file)
    }
}

impl AsFd for SealedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A sealed file's bytes in this process's address space.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Deref for Mapping {
    type Target = [u8];

    #[allow(unsafe_code)]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` and `len` come from a successful read-only mmap of that length, which
        // lives until this value is dropped. The file behind it has F_SEAL_WRITE and F_SEAL_SHRINK
        // (`SealedFile` is made by `seal` only), so its bytes never change under the reference and
        // no access faults beyond its end.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: this is the exact range that mmap returned, unmapped once; every reference to it
        // borrowed this value. An error can only mean that it is not mapped.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

#[allow(unsafe_code)]
fn map_shared(len: NonZeroUsize, file: &File) -> io::Result<Mapping> {
    // SAFETY: no address is asked for, so no existing mapping is touched.
    let start = unsafe {
        mmap(
            None,
            len,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
            file,
            0,
        )?
    };
    Ok(Mapping {
        start: start.cast(),
        len: len.get(),
    })
}

fn create(name: &CStr) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    Ok(File::from(memfd_create(name, flags)?))
}

fn seal(file: File) -> io::Result<SealedFile> {
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    let len = file.metadata()?.len();
    Ok(SealedFile { file, len })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn sealed_bytes_cannot_be_changed_grown_or_cut() {
        let sealed = SealedFile::concatenated(c"test", &[b"mea", b"sured"]).expect("sealed");
        assert!(sealed.file.write_at(b"X", 0).is_err());
        assert!(sealed.file.set_len(3).is_err());
        assert!(sealed.file.set_len(300).is_err());
        assert_eq!(&*sealed.map().expect("mapped"), b"measured");
    }

    #[test]
    fn a_source_beyond_the_limit_is_copied_one_byte_too_far() {
        let source = [7; 100];
        let sealed = SealedFile::copy_of(c"test", &source[..], 99).expect("sealed");
        assert_eq!(sealed.len(), 100);
        let sealed = SealedFile::copy_of(c"test", &source[..], 10).expect("sealed");
        assert_eq!(sealed.len(), 11);
    }

    #[test]
    fn an_empty_file_has_no_mapping() {
        let sealed = SealedFile::concatenated(c"test", &[]).expect("sealed");
        assert!(sealed.is_empty());
        assert!(sealed.map().is_err());
    }

    #[test]
    fn many_chunks_arrive_whole() {
        let source: Vec<u8> = (0..COPY_CHUNK * 3 + 17).map(|i| (i % 251) as u8).collect();
        let sealed = SealedFile::copy_of(c"test", &source[..], u64::MAX).expect("sealed");
        assert_eq!(&*sealed.map().expect("mapped"), &source[..]);
    }
}
