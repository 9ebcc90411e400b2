//! Pages on their way back.

use std::io;

use zeroize::Zeroize;

use super::{COUNT, HEADER, PageId, Pages, SEAL, Shape, aad, header, nonce};
use crate::keys::Tag;
use crate::table::store::{Store, row_bytes};

/// Why rows could not leave the enclave or did not come back.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The host does not take a page, or gives none.
    #[error("the host's keeping of pages failed")]
    Store(#[source] io::Error),
    /// What comes back is no page.
    #[error("{page}: expected {expected} bytes, got {got}")]
    Missing {
        /// The page.
        page: PageId,
        /// Bytes of a page.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// Another page came back.
    #[error("expected {expected}, got {got}")]
    Swapped {
        /// The page.
        expected: PageId,
        /// What came.
        got: PageId,
    },
    /// Another version of the page came back.
    #[error("{page}: expected version {expected}, got {got}")]
    Replayed {
        /// The page.
        page: PageId,
        /// Its version.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The page does not authenticate.
    #[error("{page}: it is not as it was sealed")]
    Altered {
        /// The page.
        page: PageId,
    },
    /// Rows that were written are to be read without the pages that they are in.
    #[error("the pages of {party}'s rows are not at hand")]
    Elsewhere {
        /// Whose rows.
        party: String,
    },
    /// More pages or rows than can be numbered or held.
    #[error("there are more pages than memory to read them back")]
    Full,
    /// Pages of a size that there is not.
    #[error("no pages of {} bytes and runs of {} pages", got.page, got.partitions)]
    Shape {
        /// The shape.
        got: Shape,
    },
    /// The random source failed.
    #[error("the random source failed")]
    Random,
    /// The cipher failed.
    #[error("the page could not be sealed")]
    Cipher,
}

impl PageError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Store(_) => "page.store",
            Self::Missing { .. } => "page.missing",
            Self::Swapped { .. } => "page.swapped",
            Self::Replayed { .. } => "page.replayed",
            Self::Altered { .. } => "page.altered",
            Self::Elsewhere { .. } => "page.elsewhere",
            Self::Full => "memory.rows",
            Self::Shape { .. } => "page.shape",
            Self::Random => "machine.random",
            Self::Cipher => "machine.cipher",
        }
    }
}

impl Pages<'_> {
    /// Adds a page's rows to a store.
    pub(crate) fn read(
        &mut self,
        place: u32,
        id: PageId,
        rows: &mut dyn Store,
        values: usize,
    ) -> Result<(), PageError> {
        let mut page = std::mem::take(&mut self.buffer);
        let read = self.open(place, id, &mut page).and_then(|()| {
            let content = page.get(HEADER..).unwrap_or_default();
            decode(content, rows, values)
        });
        page.zeroize();
        self.buffer = page;
        read
    }

    /// Gets a page and opens it in place. Only what was last put there as this page passes.
    pub(super) fn open(
        &mut self,
        place: u32,
        id: PageId,
        page: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        self.store.get(place, page).map_err(PageError::Store)?;
        let expected = self.shape.page;
        let got = page.len();
        let missing = || PageError::Missing {
            page: id,
            expected,
            got,
        };
        if got != expected {
            return Err(missing());
        }
        let version = self.versions.get(place as usize).copied();
        let version = version.ok_or_else(missing)?;
        let (came, content) = page.split_first_chunk_mut::<HEADER>().ok_or_else(missing)?;
        let ([table, run, partition, high, low], _) = came.as_chunks::<4>() else {
            return Err(missing());
        };
        let got = PageId {
            table: u32::from_be_bytes(*table),
            run: u32::from_be_bytes(*run),
            partition: u32::from_be_bytes(*partition),
        };
        if got != id {
            return Err(PageError::Swapped { expected: id, got });
        }
        let came = u64::from(u32::from_be_bytes(*high)) << 32 | u64::from(u32::from_be_bytes(*low));
        if came != version {
            return Err(PageError::Replayed {
                page: id,
                expected: version,
                got: came,
            });
        }
        let header = header(id, version);
        self.key
            .open_in_place(nonce(version), aad(&header), content)
            .map_err(|_| PageError::Altered { page: id })?;
        page.truncate(expected.saturating_sub(SEAL));
        Ok(())
    }
}

/// What this enclave wrote itself.
fn decode(content: &[u8], rows: &mut dyn Store, values: usize) -> Result<(), PageError> {
    let (count, content) = content.split_at_checked(COUNT).unwrap_or_default();
    let count = count.first_chunk().map_or(0, |c| u32::from_be_bytes(*c));
    let mut numbers = Vec::with_capacity(values);
    for row in content.chunks_exact(row_bytes(values)).take(count as usize) {
        let (fields, _) = row.as_chunks::<16>();
        let Some((tag, fields)) = fields.split_first() else {
            break;
        };
        numbers.clear();
        numbers.extend(fields.iter().map(|field| i128::from_be_bytes(*field)));
        let tag = Tag(u128::from_be_bytes(*tag));
        rows.push(tag, &numbers).map_err(|_| PageError::Full)?;
    }
    numbers.zeroize();
    Ok(())
}
