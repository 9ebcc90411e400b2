//! One party's file, streamed into a compact table of tags and exact values.
//!
//! A row that cannot be used is counted and named by its number and the rule that it breaks, never
//! by what it holds. A file whose quoting is broken is refused as a whole ([`crate::rows`]). Rows
//! beyond the memory given to them leave as sealed pages ([`crate::pages`]) where there are any.

mod reader;
pub(crate) mod store;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::reader::TableReader;
use self::store::Store;
use crate::keys::Tag;
use crate::pages::{PageError, PageId, Pages};
use crate::rows::QuotingError;

/// The most value columns of a party.
pub const MAX_VALUES: usize = 8;
/// How many rejected rows are named one by one.
pub const MAX_NAMED: usize = 100;
/// The rules by which a row is rejected.
pub const REJECTIONS: [&str; 8] = [
    "decimal.empty",
    "decimal.fraction-digits",
    "decimal.integer-digits",
    "decimal.syntax",
    "key.not-utf8",
    "key.too-long",
    "row.fields",
    "row.too-long",
];

/// What became of a file's rows: `read = joined + without_key + rejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCounts {
    /// Rows taken into the join, whether or not another party has their key.
    pub joined: u64,
    /// All rows behind the header.
    pub read: u64,
    /// Rows with a bad value or the wrong number of fields.
    pub rejected: u64,
    /// Rows whose join value is empty.
    pub without_key: u64,
}

/// A rejected row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// Its number, from 1 for the first behind the header.
    pub row: u64,
    /// The rule that it breaks.
    pub rule: String,
}

/// What a party is told of its own rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowReport {
    /// How many of each.
    pub counts: RowCounts,
    /// The first [`MAX_NAMED`] rejected rows.
    pub first_rejected: Vec<Rejection>,
    /// How many rows each rule rejected.
    pub rejected_by_rule: BTreeMap<String, u64>,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Its quoting is broken.
    #[error("the file is no CSV")]
    Quoting(#[from] QuotingError),
    /// Its header lacks a column, or has one twice.
    #[error("the header must hold {column:?} once, and holds it {got} times")]
    Header {
        /// The column, as in the contract.
        column: String,
        /// How often it is there.
        got: usize,
    },
    /// The header is longer than a row may be, or there is none.
    #[error("the file begins with no header")]
    NoHeader,
    /// More rows than the memory given to them holds.
    #[error("the rows do not fit into {limit} bytes: {rows} did")]
    Memory {
        /// The limit in bytes.
        limit: usize,
        /// How many rows fit.
        rows: usize,
    },
    /// Rows could not leave the enclave.
    #[error("rows could not be put away")]
    Page(#[from] PageError),
    /// No party of this name in the contract.
    #[error("{name:?} is no party of the contract")]
    Party {
        /// The name.
        name: String,
    },
}

impl TableError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Quoting(error) => error.rule(),
            Self::Header { .. } | Self::NoHeader => "csv.header",
            Self::Memory { .. } => "memory.rows",
            Self::Page(error) => error.rule(),
            Self::Party { .. } => "table.party",
        }
    }
}

/// A party's rows, sorted by tag: all in memory, or all in pages. Those in memory are overwritten
/// when it is dropped.
pub struct Table {
    party: String,
    run: Tag,
    store: Box<dyn Store>,
    away: Option<Away>,
    report: RowReport,
}

/// Rows in pages.
#[derive(Debug)]
struct Away {
    table: u32,
    values: usize,
    /// Bytes of a page.
    page: usize,
    /// The place of each run's first page.
    runs: Vec<u32>,
}

impl Table {
    /// Whose it is.
    pub fn party(&self) -> &str {
        &self.party
    }

    /// What became of the file's rows.
    pub fn report(&self) -> &RowReport {
        &self.report
    }

    /// Rows in the join.
    pub fn rows(&self) -> u64 {
        self.report.counts.joined
    }

    /// Bytes of memory that they take from now on until they are joined: of rows in pages, a page
    /// for each run.
    pub fn bytes(&self, values: usize) -> usize {
        match &self.away {
            Some(away) => away.runs.len().saturating_mul(away.page),
            None => self.store.len().saturating_mul(store::row_bytes(values)),
        }
    }

    /// How many runs of pages they are in; none where they are in memory.
    pub fn runs(&self) -> usize {
        self.away.as_ref().map_or(0, |away| away.runs.len())
    }

    pub(crate) fn run(&self) -> Tag {
        self.run
    }

    /// All rows, where they are in memory.
    pub(crate) fn rows_in_memory(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The rows of a partition, sorted, where they are in pages.
    pub(crate) fn partition(
        &self,
        pages: &mut Option<&mut Pages<'_>>,
        partition: u32,
    ) -> Result<Option<Box<dyn Store>>, PageError> {
        let Some(away) = &self.away else {
            return Ok(None);
        };
        let party = &self.party;
        let elsewhere = || PageError::Elsewhere {
            party: party.clone(),
        };
        let pages = pages.as_deref_mut().ok_or_else(elsewhere)?;
        let mut rows = store::store(away.values, usize::MAX).ok_or_else(elsewhere)?;
        for (run, first) in (0..).zip(&away.runs) {
            let place = first.checked_add(partition).ok_or(PageError::Full)?;
            let id = PageId {
                table: away.table,
                run,
                partition,
            };
            pages.read(place, id, rows.as_mut(), away.values)?;
        }
        rows.sort();
        Ok(Some(rows))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = f.debug_struct("Table");
        table.field("party", &self.party).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
