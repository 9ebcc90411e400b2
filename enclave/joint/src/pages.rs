//! Rows that do not fit into the enclave's memory, as sealed pages in the host's keeping.
//!
//! A page is encrypted with AES-256-GCM (SP 800-38D) under a key that is made for one run inside the
//! enclave and never leaves it. Its associated data are its table, run, partition and version; the
//! version counts all pages that the key has sealed and is the nonce, so no nonce comes twice. The
//! enclave keeps the version of every place: what comes back is the page that was last put there, or
//! it is refused as swapped, replayed, altered or missing.
//!
//! What the host sees beside that depends on no row's content. Rows leave in *runs*: sorted by tag,
//! the rows of a key added up to one, and cut by equal ranges of tags into *partitions*, each of
//! which fills exactly one page, padded to the page's size. Tags are random under a secret key, and
//! a run holds each but once, so partitions of a run are as full as throwing rows at random makes
//! them; a page has room for ten standard deviations above that. What still does not fit stays for
//! the next run. Pages are read back once, for a regression twice, partition by partition, in the
//! order in which all tables wrote them: the order is known beforehand from the contract and the
//! number of runs, and that from the number of usable rows.

mod open;

use std::fmt;
use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rand_core::TryCryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::keys::Tag;
use crate::table::store::{Store, row_bytes};

pub use self::open::PageError;

/// The largest page in bytes, as it is stored.
pub const MAX_PAGE: usize = 64 * 1024;
/// The smallest page in bytes: it holds some rows of any table.
pub const MIN_PAGE: usize = 1024;
/// The most partitions: a run's pages then have at most 4 GiB.
const MAX_PARTITIONS: u32 = 1 << 16;
const DOMAIN: &[u8] = b"anchorhold.joint.page/1\0";
/// Table, run and partition as u32 and version as u64, big-endian, in clear before the ciphertext.
const HEADER: usize = 3 * 4 + 8;
/// The tag of AES-GCM.
const SEAL: usize = 16;
/// The number of rows, before them.
const COUNT: usize = 4;

/// Where pages are kept: by somebody who is not trusted.
pub trait PageStore {
    /// Keeps a page at a place; places are counted from 0.
    ///
    /// # Errors
    /// The page cannot be handed over.
    fn put(&mut self, place: u32, page: &[u8]) -> io::Result<()>;

    /// Replaces `page` with what was last put at a place.
    ///
    /// # Errors
    /// Nothing comes back.
    fn get(&mut self, place: u32, page: &mut Vec<u8>) -> io::Result<()>;
}

/// Which page of which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageId {
    /// The table: the place of its party in the contract.
    pub table: u32,
    /// The run of that table, from 0.
    pub run: u32,
    /// The partition of that run, from 0.
    pub partition: u32,
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            run,
            partition,
        } = self;
        write!(f, "partition {partition} of run {run} of table {table}")
    }
}

/// How large pages are and how many a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a page as it is stored.
    pub page: usize,
    /// Pages of a run.
    pub partitions: u32,
}

impl Shape {
    /// For so many tables that may take so many bytes of memory together: a run takes no more than
    /// a table's share of it.
    pub fn of(memory: usize, tables: usize) -> Self {
        let share = memory / tables.max(1);
        let page = (share / 16).clamp(MIN_PAGE, MAX_PAGE);
        let partitions = u32::try_from(share / page).unwrap_or(MAX_PARTITIONS);
        Self {
            page,
            partitions: partitions.clamp(1, MAX_PARTITIONS),
        }
    }

    /// Rows of so many values that a page has room for.
    fn room(&self, values: usize) -> usize {
        let bytes = self.page.saturating_sub(HEADER + SEAL + COUNT);
        bytes / row_bytes(values)
    }

    /// Rows of a run: so few that a partition overflows its page in less than one of 10^20 runs
    /// where pages have room for hundreds of rows. Below that it overflows now and then.
    pub(crate) fn run_rows(&self, values: usize) -> usize {
        let room = self.room(values);
        // The deviation of a partition's rows is below the root of its room.
        let spare = room.isqrt().saturating_mul(10).min(room / 2);
        let partitions = self.partitions as usize;
        partitions.saturating_mul(room.saturating_sub(spare).max(1))
    }

    /// The partition of a tag: partitions are equal ranges of tags, in their order.
    pub(crate) fn partition(&self, tag: Tag) -> u32 {
        let high = (tag.0 >> 64).saturating_mul(u128::from(self.partitions));
        u32::try_from(high >> 64).unwrap_or(u32::MAX)
    }
}

/// The pages of one run of the analysis.
pub struct Pages<'s> {
    store: Box<dyn PageStore + 's>,
    key: LessSafeKey,
    shape: Shape,
    /// The version of the page at each place.
    versions: Vec<u64>,
    /// How many pages the key has sealed.
    sealed: u64,
    buffer: Vec<u8>,
}

impl<'s> Pages<'s> {
    /// Makes the key. Nothing is stored before a table needs it.
    ///
    /// # Errors
    /// [`PageError::Random`], or [`PageError::Shape`] for pages outside [`MIN_PAGE`] to
    /// [`MAX_PAGE`].
    pub fn new<R: TryCryptoRng>(
        store: impl PageStore + 's,
        shape: Shape,
        rng: &mut R,
    ) -> Result<Self, PageError> {
        if !(MIN_PAGE..=MAX_PAGE).contains(&shape.page) || shape.partitions == 0 {
            return Err(PageError::Shape { got: shape });
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        rng.try_fill_bytes(key.as_mut_slice())
            .map_err(|_| PageError::Random)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| PageError::Cipher)?;
        Ok(Self {
            store: Box::new(store),
            key: LessSafeKey::new(key),
            shape,
            versions: Vec::new(),
            sealed: 0,
            // At once as large as it gets: growing would leave rows behind.
            buffer: Vec::with_capacity(shape.page),
        })
    }

    /// Their shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many pages were sealed.
    pub fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Takes the rows from a number on out of a store, as one run of a table, and gives the place of
    /// its first page. What does not fit into its partition's page stays in the store.
    pub(crate) fn write_run(
        &mut self,
        table: u32,
        run: u32,
        rows: &mut dyn Store,
        from: usize,
        values: usize,
    ) -> Result<u32, PageError> {
        rows.settle(from);
        let first = u32::try_from(self.versions.len()).map_err(|_| PageError::Full)?;
        let room = self.shape.room(values);
        let (mut row, mut kept) = (from, from);
        for partition in 0..self.shape.partitions {
            let mut plain = std::mem::take(&mut self.buffer);
            plain.clear();
            plain.resize(HEADER + COUNT, 0);
            let mut count = 0_u32;
            while let Some(tag) = rows
                .tag(row)
                .filter(|t| self.shape.partition(*t) == partition)
            {
                if (count as usize) < room {
                    plain.extend_from_slice(&tag.0.to_be_bytes());
                    for column in 0..values {
                        let value = rows.value(row, column).unwrap_or_default();
                        plain.extend_from_slice(&value.to_be_bytes());
                    }
                    count += 1;
                } else {
                    rows.keep(row, kept);
                    kept += 1;
                }
                row += 1;
            }
            if let Some(to) = plain.get_mut(HEADER..HEADER + COUNT) {
                to.copy_from_slice(&count.to_be_bytes());
            }
            plain.resize(self.shape.page.saturating_sub(SEAL), 0);
            let id = PageId {
                table,
                run,
                partition,
            };
            let written = first
                .checked_add(partition)
                .ok_or(PageError::Full)
                .and_then(|place| self.put(place, id, &mut plain));
            self.buffer = plain;
            written?;
        }
        rows.truncate(kept);
        Ok(first)
    }

    /// Seals a page in place, with room for its header before the content, and puts it at a place.
    fn put(&mut self, place: u32, id: PageId, page: &mut Vec<u8>) -> Result<(), PageError> {
        let version = self.sealed;
        self.sealed = self.sealed.checked_add(1).ok_or(PageError::Full)?;
        let header = header(id, version);
        let content = page.get_mut(HEADER..).unwrap_or_default();
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce(version), aad(&header), content);
        let Ok(tag) = sealed else {
            page.zeroize();
            return Err(PageError::Cipher);
        };
        if let Some(to) = page.get_mut(..HEADER) {
            to.copy_from_slice(&header);
        }
        page.extend_from_slice(tag.as_ref());
        let index = place as usize;
        if self.versions.len() <= index {
            self.versions.resize(index + 1, u64::MAX);
        }
        if let Some(kept) = self.versions.get_mut(index) {
            *kept = version;
        }
        self.store.put(place, page).map_err(PageError::Store)
    }
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pages = f.debug_struct("Pages");
        pages.field("shape", &self.shape).finish_non_exhaustive()
    }
}

fn header(id: PageId, version: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let fields = [id.table, id.run, id.partition].map(u32::to_be_bytes);
    let bytes = fields
        .iter()
        .flatten()
        .copied()
        .chain(version.to_be_bytes());
    for (to, from) in header.iter_mut().zip(bytes) {
        *to = from;
    }
    header
}

fn aad(header: &[u8; HEADER]) -> Aad<Vec<u8>> {
    Aad::from([DOMAIN, header].concat())
}

fn nonce(version: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    for (to, from) in bytes
        .iter_mut()
        .skip(NONCE_LEN - 8)
        .zip(version.to_be_bytes())
    {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
pub(crate) mod tests;
