//! An answer's parts, in a directory of their own beside the final one until all are there.

use std::fs::{self, DirBuilder, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::SubmitError;

/// An answer's directory while it is written. Dropped before [`Staged::publish`] it leaves none.
pub struct Staged {
    target: PathBuf,
    partial: PathBuf,
}

impl Staged {
    /// Begins a directory that must not be there yet.
    ///
    /// # Errors
    /// [`SubmitError::Exists`], or it cannot be made.
    pub fn create(target: &Path) -> Result<Self, SubmitError> {
        if fs::symlink_metadata(target).is_ok() {
            let path = target.to_path_buf();
            return Err(SubmitError::Exists { path });
        }
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".unreleased-{}", std::process::id()));
        let partial = target.with_file_name(name);
        let created = DirBuilder::new().mode(0o700).create(&partial);
        created.map_err(|source| SubmitError::output(&partial, source))?;
        Ok(Self {
            target: target.to_path_buf(),
            partial,
        })
    }

    /// Begins a file of at most `max` bytes in it.
    ///
    /// # Errors
    /// It is there already, or cannot be made.
    pub fn part(&self, name: &str, max: u64) -> Result<Part, SubmitError> {
        let path = self.partial.join(name);
        let file = File::create_new(&path).map_err(|e| SubmitError::output(&path, e))?;
        Ok(Part {
            name: name.to_owned(),
            path,
            file: BufWriter::new(file),
            size: 0,
            max,
        })
    }

    /// The directory while it has another name than its own.
    #[must_use]
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Gives the directory its final name, once all its parts are finished.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn publish(self) -> Result<(), SubmitError> {
        fs::rename(&self.partial, &self.target).map_err(|e| SubmitError::output(&self.target, e))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Once it has its final name there is nothing left under this one.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// A file of an answer while it is written.
pub struct Part {
    name: String,
    path: PathBuf,
    file: BufWriter<File>,
    size: u64,
    max: u64,
}

impl Part {
    /// Adds a piece.
    ///
    /// # Errors
    /// It is empty (endless ones would be an answer without an end), the file would be larger than
    /// it may be, or it cannot be written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SubmitError> {
        if bytes.is_empty() {
            let got = format!("an empty piece of {}", self.name);
            return Err(SubmitError::protocol("pieces of at least one byte", got));
        }
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > self.max {
            let got = format!("more than {} bytes of {}", self.max, self.name);
            return Err(SubmitError::protocol("a bounded answer", got));
        }
        let written = self.file.write_all(bytes);
        written.map_err(|e| SubmitError::output(&self.path, e))
    }

    /// Ends the file, on the disk.
    ///
    /// # Errors
    /// Nothing came for it, or it cannot be written.
    pub fn finish(&mut self) -> Result<(), SubmitError> {
        if self.size == 0 {
            let got = format!("its end without {}", self.name);
            return Err(SubmitError::protocol("all parts of its answer", got));
        }
        let file = &mut self.file;
        let written = file.flush().and_then(|()| file.get_ref().sync_all());
        written.map_err(|e| SubmitError::output(&self.path, e))
    }

    /// How many bytes came.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_left_or_overwritten_but_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("answer");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let staged = Staged::create(&target).unwrap();
        let mut part = staged.part("rows", 3).unwrap();
        assert_eq!(part.finish().unwrap_err().rule(), "submit.protocol");
        assert_eq!(part.append(b"").unwrap_err().rule(), "submit.protocol");
        part.append(b"abc").unwrap();
        assert_eq!(part.append(b"d").unwrap_err().rule(), "submit.protocol");
        assert_eq!(
            staged.part("rows", 3).map(|_| ()).unwrap_err().rule(),
            "submit.output"
        );
        drop(staged);
        assert_eq!(names(), 0);

        let staged = Staged::create(&target).unwrap();
        let mut part = staged.part("rows", 3).unwrap();
        part.append(b"abc").unwrap();
        part.finish().unwrap();
        staged.publish().unwrap();
        assert_eq!(fs::read(target.join("rows")).unwrap(), b"abc");
        let again = Staged::create(&target).map(|_| ());
        assert_eq!(again.unwrap_err().rule(), "submit.exists");
        assert_eq!(names(), 1);
    }
}
