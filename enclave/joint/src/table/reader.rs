//! Reading a file: rows in, a table out.

use zeroize::Zeroizing;

use super::store::{self, Full, Store};
use super::{Away, MAX_NAMED, Rejection, RowReport, Table, TableError};
use crate::contract::{Contract, Role};
use crate::decimal::Decimal;
use crate::keys::{KeyError, Tag, TagKey, normalise};
use crate::pages::{PageError, Pages};
use crate::rows::{MAX_ROW, Row, RowReader};

/// Reads a party's file in pieces.
pub struct TableReader<'k, 's> {
    reader: RowReader,
    sink: Sink<'k, 's>,
}

struct Sink<'k, 's> {
    tags: &'k TagKey,
    party: String,
    /// Where rows go that do not fit, and what is there already.
    pages: Option<&'k mut Pages<'s>>,
    away: Away,
    /// The join column and the value columns, in the contract's order.
    names: Vec<String>,
    /// Where the header has them; empty before the header.
    places: Vec<usize>,
    fields: usize,
    limit: usize,
    store: Box<dyn Store>,
    report: RowReport,
    buffer: Zeroizing<String>,
    values: Zeroizing<Vec<i128>>,
}

impl<'k, 's> TableReader<'k, 's> {
    /// Reads a party's file into at most so many bytes of memory. All tables of a run take the
    /// same key, and the same pages: rows that do not fit go there, or the file is refused where
    /// there are none.
    ///
    /// # Errors
    /// [`TableError::Party`].
    pub fn new(
        contract: &Contract,
        party: &str,
        tags: &'k TagKey,
        limit: usize,
        pages: Option<&'k mut Pages<'s>>,
    ) -> Result<Self, TableError> {
        let unknown = || TableError::Party {
            name: party.to_owned(),
        };
        let (place, terms) = contract.party(party).ok_or_else(unknown)?;
        let of = |role| terms.columns.iter().filter(move |c| c.role == role);
        let names: Vec<_> = of(Role::Key).chain(of(Role::Value)).collect();
        let values = terms.values().count();
        let store = store::store(values, limit).ok_or_else(unknown)?;
        let sink = Sink {
            tags,
            party: party.to_owned(),
            away: Away {
                // At most 16 parties.
                table: u32::try_from(place).unwrap_or(u32::MAX),
                values,
                page: pages.as_ref().map_or(0, |pages| pages.shape().page),
                runs: Vec::new(),
            },
            pages,
            names: names.into_iter().map(|c| c.name.clone()).collect(),
            places: Vec::new(),
            fields: 0,
            limit,
            store,
            report: RowReport::default(),
            buffer: Zeroizing::new(String::with_capacity(MAX_ROW)),
            values: Zeroizing::new(Vec::with_capacity(values)),
        };
        let reader = RowReader::default();
        Ok(Self { reader, sink })
    }

    /// Holds at most so many rows in memory, whatever the limit in bytes.
    #[cfg(test)]
    pub(crate) fn holding(mut self, rows: usize) -> Self {
        let values = self.sink.away.values;
        if let Some(store) = store::store(values, rows * store::row_bytes(values)) {
            self.sink.store = store;
        }
        self
    }

    /// Takes the next piece of the file.
    ///
    /// # Errors
    /// [`TableError`]; the reader is not to be used again then.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), TableError> {
        let sink = &mut self.sink;
        self.reader.feed(piece, |row| sink.take(row))
    }

    /// Takes the file's end and sorts.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn finish(self) -> Result<Table, TableError> {
        let Self { reader, mut sink } = self;
        reader.finish(|row| sink.take(row))?;
        if sink.places.is_empty() {
            return Err(TableError::NoHeader);
        }
        if sink.away.runs.is_empty() {
            sink.store.sort();
        }
        while !sink.away.runs.is_empty() && sink.store.len() > 0 {
            sink.put_away()?;
        }
        if !sink.away.runs.is_empty() {
            // Its rows are gone; their memory is the next table's.
            sink.store = store::store(sink.away.values, 0).ok_or(PageError::Full)?;
        }
        Ok(Table {
            run: sink.tags.run(),
            party: sink.party,
            store: sink.store,
            away: Some(sink.away).filter(|away| !away.runs.is_empty()),
            report: sink.report,
        })
    }
}

impl Sink<'_, '_> {
    fn take(&mut self, row: Row<'_>) -> Result<(), TableError> {
        if self.places.is_empty() {
            return self.header(row);
        }
        let counts = &mut self.report.counts;
        counts.read = counts.read.saturating_add(1);
        match self.record(row) {
            Ok(Some(tag)) => {
                if self.store.push(tag, &self.values).is_err() {
                    self.make_room()?;
                    let pushed = self.store.push(tag, &self.values);
                    pushed.map_err(|Full| self.no_room())?;
                }
                self.report.counts.joined = self.report.counts.joined.saturating_add(1);
            }
            Ok(None) => {
                let counts = &mut self.report.counts;
                counts.without_key = counts.without_key.saturating_add(1);
            }
            Err(rule) => self.reject(rule),
        }
        Ok(())
    }

    /// Puts whole runs away, one at least. What is left of the rows waits for more.
    fn make_room(&mut self) -> Result<(), TableError> {
        let run = match &self.pages {
            Some(pages) => pages.shape().run_rows(self.away.values),
            None => return Err(self.no_room()),
        };
        self.put_away()?;
        while self.store.len() >= run {
            self.put_away()?;
        }
        Ok(())
    }

    /// Puts the last rows away as one run.
    fn put_away(&mut self) -> Result<(), TableError> {
        let (away, len) = (&mut self.away, self.store.len());
        // When they are joined, a page of each run is in memory at once; and all rows of a table
        // stay below 2^32, the bound that sums rely on.
        let fits = away.runs.len().saturating_add(1) <= self.limit / away.page.max(1);
        let few = self.report.counts.joined < u64::from(u32::MAX);
        let Some(pages) = self.pages.as_deref_mut().filter(|_| fits && few && len > 0) else {
            return Err(self.no_room());
        };
        let from = len.saturating_sub(pages.shape().run_rows(away.values));
        let run = u32::try_from(away.runs.len()).unwrap_or(u32::MAX);
        let first = pages.write_run(away.table, run, self.store.as_mut(), from, away.values)?;
        away.runs.push(first);
        Ok(())
    }

    fn no_room(&self) -> TableError {
        TableError::Memory {
            limit: self.limit,
            rows: usize::try_from(self.report.counts.joined).unwrap_or(usize::MAX),
        }
    }

    fn header(&mut self, row: Row<'_>) -> Result<(), TableError> {
        if row.too_long() {
            return Err(TableError::NoHeader);
        }
        self.fields = row.count();
        for name in &self.names {
            let has = |i: &usize| row.field(*i).map(<[u8]>::trim_ascii) == Some(name.as_bytes());
            let found: Vec<_> = (0..row.count()).filter(has).collect();
            let [place] = found.as_slice() else {
                return Err(TableError::Header {
                    column: name.clone(),
                    got: found.len(),
                });
            };
            self.places.push(*place);
        }
        Ok(())
    }

    /// Reads a row's values and gives its tag, `None` where it has no join value, or the rule that
    /// it breaks. A row without a join value is left out before its values are looked at.
    fn record(&mut self, row: Row<'_>) -> Result<Option<Tag>, &'static str> {
        if row.too_long() {
            return Err("row.too-long");
        }
        if row.count() != self.fields {
            return Err("row.fields");
        }
        let mut fields = self.places.iter().map(|at| row.field(*at));
        let key = fields.next().flatten().ok_or("row.fields")?;
        let key = normalise(key, &mut self.buffer).map_err(|error| match error {
            KeyError::NotUtf8 => "key.not-utf8",
            KeyError::TooLong => "key.too-long",
        })?;
        let Some(key) = key else {
            return Ok(None);
        };
        self.values.clear();
        for field in fields {
            let value = Decimal::parse(field.ok_or("row.fields")?);
            self.values.push(value.map_err(|e| e.rule())?.units());
        }
        Ok(Some(self.tags.tag(key)))
    }

    fn reject(&mut self, rule: &'static str) {
        let report = &mut self.report;
        report.counts.rejected = report.counts.rejected.saturating_add(1);
        if report.first_rejected.len() < MAX_NAMED {
            report.first_rejected.push(Rejection {
                row: report.counts.read,
                rule: rule.to_owned(),
            });
        }
        if let Some(count) = report.rejected_by_rule.get_mut(rule) {
            *count = count.saturating_add(1);
        } else {
            report.rejected_by_rule.insert(rule.to_owned(), 1);
        }
    }
}
