//! Keeps pages for an enclave whose memory is short, in a file without a name.
//!
//! What is in them only the enclave can tell, and it checks what it gets back: a page that is lost
//! or changed here costs the answer, nothing else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anchorhold_carrier::SubmitError;

use crate::wire::{MAX_PAGE, PLACE};

/// How often each page may be asked for, on the average. Enclaves ask once.
const MAX_QUESTIONS: u64 = 4;

/// The pages of one submission. The file ends with it, however it ends.
pub struct Pages {
    dir: PathBuf,
    limit: u64,
    /// Made for the first page.
    file: Option<File>,
    /// Bytes of each page; all have as many as the first.
    size: usize,
    /// How many places are taken, from 0 on.
    count: u32,
    /// How many questions were answered.
    asked: u64,
}

impl Pages {
    /// At most so many bytes, in the file system of a directory.
    pub fn new(dir: &Path, limit: u64) -> Self {
        Self {
            dir: dir.to_path_buf(),
            limit,
            file: None,
            size: 0,
            count: 0,
            asked: 0,
        }
    }

    /// Keeps a page: its place and its bytes.
    ///
    /// # Errors
    /// [`SubmitError::Pages`] beyond the limit, [`SubmitError::Protocol`] for what is no page in
    /// order, [`SubmitError::Output`] when it cannot be written.
    pub fn put(&mut self, payload: &[u8]) -> Result<(), SubmitError> {
        let (place, page) = split(payload)?;
        if self.count == 0 {
            self.size = page.len();
        }
        if page.is_empty() || page.len() > MAX_PAGE || page.len() != self.size {
            let got = format!("one of {} bytes", page.len());
            return Err(SubmitError::protocol(
                "pages of one size, at most 64 KiB",
                got,
            ));
        }
        // None is written twice, so that what comes is bounded by the limit.
        if place != self.count {
            let got = format!("place {place} after {} pages", self.count);
            return Err(SubmitError::protocol("pages in their order", got));
        }
        let end = u64::from(place)
            .saturating_add(1)
            .saturating_mul(page.len() as u64);
        if end > self.limit {
            let limit = self.limit;
            return Err(SubmitError::Pages { limit });
        }
        let output = |source| SubmitError::output(&self.dir, source);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.dir).map_err(output)?),
        };
        file.write_all_at(page, end - page.len() as u64)
            .map_err(output)?;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// The page of a place.
    ///
    /// # Errors
    /// [`SubmitError::Protocol`] where none was put, or when all were asked for many times over,
    /// [`SubmitError::Input`] when it cannot be read.
    pub fn get(&mut self, payload: &[u8], page: &mut Vec<u8>) -> Result<(), SubmitError> {
        let (place, rest) = split(payload)?;
        let Some(file) = self
            .file
            .as_ref()
            .filter(|_| rest.is_empty() && place < self.count)
        else {
            let got = format!("a question for place {place} of {}", self.count);
            return Err(SubmitError::protocol(
                "questions for pages that were put",
                got,
            ));
        };
        self.asked = self.asked.saturating_add(1);
        if self.asked > u64::from(self.count).saturating_mul(MAX_QUESTIONS) {
            let got = format!("question {}", self.asked);
            return Err(SubmitError::protocol(
                "questions for each page a few times",
                got,
            ));
        }
        page.resize(self.size, 0);
        let at = u64::from(place).saturating_mul(self.size as u64);
        let read: io::Result<()> = file.read_exact_at(page, at);
        read.map_err(|source| SubmitError::Input {
            what: "the enclave's pages in",
            path: self.dir.clone(),
            source,
        })
    }

    /// How many places were taken, and how many bytes by them.
    pub fn kept(&self) -> (u32, u64) {
        let bytes = u64::from(self.count).saturating_mul(self.size as u64);
        (self.count, bytes)
    }
}

fn split(payload: &[u8]) -> Result<(u32, &[u8]), SubmitError> {
    let split = payload.split_first_chunk::<PLACE>();
    let (place, rest) = split.ok_or_else(|| SubmitError::protocol("a page's place", "less"))?;
    Ok((u32::from_be_bytes(*place), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(place: u32, byte: u8, len: usize) -> Vec<u8> {
        [place.to_be_bytes().as_slice(), &vec![byte; len]].concat()
    }

    #[test]
    fn what_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut pages = Pages::new(dir.path(), 2500);
        let rule = |error: SubmitError| error.rule().to_owned();
        let got = |pages: &mut Pages, payload: &[u8]| {
            let mut page = Vec::new();
            pages.get(payload, &mut page).map(|()| page)
        };
        for bad in [
            vec![],
            vec![0; 3],
            page(0, 1, 0),
            page(0, 1, MAX_PAGE + 1),
            page(1, 1, 9),
        ] {
            assert_eq!(rule(pages.put(&bad).unwrap_err()), "submit.protocol");
        }
        assert_eq!(
            rule(got(&mut pages, &[0; 4]).unwrap_err()),
            "submit.protocol"
        );
        pages.put(&page(0, 1, 1000)).unwrap();
        assert_eq!(
            rule(pages.put(&page(1, 1, 999)).unwrap_err()),
            "submit.protocol"
        );
        assert_eq!(
            rule(pages.put(&page(2, 1, 1000)).unwrap_err()),
            "submit.protocol"
        );
        pages.put(&page(1, 2, 1000)).unwrap();
        assert_eq!(
            rule(pages.put(&page(2, 1, 1000)).unwrap_err()),
            "submit.pages"
        );
        assert_eq!(
            rule(got(&mut pages, &page(2, 0, 0)).unwrap_err()),
            "submit.protocol"
        );
        assert_eq!(
            rule(got(&mut pages, &page(1, 0, 1)).unwrap_err()),
            "submit.protocol"
        );
        assert_eq!(got(&mut pages, &page(1, 0, 0)).unwrap(), [2; 1000]);
        assert_eq!(
            rule(pages.put(&page(0, 3, 1000)).unwrap_err()),
            "submit.protocol"
        );
        for _ in 0..7 {
            assert_eq!(got(&mut pages, &page(0, 0, 0)).unwrap(), [1; 1000]);
        }
        assert_eq!(
            rule(got(&mut pages, &page(0, 0, 0)).unwrap_err()),
            "submit.protocol"
        );
        assert_eq!(pages.kept(), (2, 2000));
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "the file has no name");
    }
}
