//! The join: all tables at once, key by key.

use crate::keys::Tag;
use crate::pages::{PageError, Pages};
use crate::table::Table;
use crate::table::store::Store;

/// The rows of one key in every table.
pub struct KeyRows<'a> {
    tables: &'a [&'a dyn Store],
    /// Where the key's rows stand in each table: from, to.
    ranges: &'a [(usize, usize)],
}

impl KeyRows<'_> {
    /// The tables that have the key: bit 0 is the first.
    pub fn mask(&self) -> usize {
        let bits = self.ranges.iter().enumerate();
        bits.fold(0, |mask, (i, (from, to))| {
            mask | usize::from(from < to) << i
        })
    }

    /// The sum of a column over the key's rows in a table, in units. Below 2^122: at most 2^32
    /// rows of less than 2^90.
    pub fn sum(&self, table: usize, column: usize) -> i128 {
        let (Some(rows), Some(&(from, to))) = (self.tables.get(table), self.ranges.get(table))
        else {
            return 0;
        };
        let values = (from..to).map(|row| rows.value(row, column).unwrap_or_default());
        values.sum()
    }
}

/// Calls `each` once for every key that any table has, in the order of tags. Tables are sorted, so
/// one pass over each suffices, and no memory beyond theirs is needed; of tables in pages, one
/// partition at a time is in memory.
///
/// # Errors
/// [`PageError`]: rows that were put away do not come back. `each` may have been called then.
pub fn for_each_key(
    tables: &[&Table],
    mut pages: Option<&mut Pages<'_>>,
    mut each: impl FnMut(&KeyRows<'_>),
) -> Result<(), PageError> {
    let shape = pages.as_deref().map(Pages::shape);
    let shape = shape.filter(|_| tables.iter().any(|table| table.runs() > 0));
    let mut ranges = vec![(0, 0); tables.len()];
    for partition in 0..shape.map_or(1, |shape| shape.partitions) {
        let mut loaded = Vec::with_capacity(tables.len());
        for (table, range) in tables.iter().zip(&mut ranges) {
            let rows = table.partition(&mut pages, partition)?;
            if rows.is_some() {
                *range = (0, 0);
            }
            loaded.push(rows);
        }
        let views: Vec<&dyn Store> = tables
            .iter()
            .zip(&loaded)
            .map(|(table, rows)| rows.as_deref().unwrap_or_else(|| table.rows_in_memory()))
            .collect();
        let here = |tag: &Tag| shape.is_none_or(|shape| shape.partition(*tag) == partition);
        merge(&views, &mut ranges, here, &mut each);
    }
    Ok(())
}

/// Goes on from where `ranges` end, as long as tags are in the partition.
fn merge(
    tables: &[&dyn Store],
    ranges: &mut [(usize, usize)],
    here: impl Fn(&Tag) -> bool,
    each: &mut impl FnMut(&KeyRows<'_>),
) {
    // The tag at which each table stands.
    let standing = tables.iter().zip(ranges.iter());
    let standing = standing.map(|(table, (_, to))| table.tag(*to).filter(&here));
    let mut heads: Vec<_> = standing.collect();
    while let Some(least) = heads.iter().flatten().min().copied() {
        for ((head, range), table) in heads.iter_mut().zip(ranges.iter_mut()).zip(tables) {
            range.0 = range.1;
            while *head == Some(least) {
                range.1 += 1;
                *head = table.tag(range.1).filter(&here);
            }
        }
        each(&KeyRows { tables, ranges });
    }
}
