//! Reads arbitrary bytes as a CSV file, at once and in pieces.
//!
//! Whatever comes, the reader must not panic; how the file is cut must not matter, and no row may
//! be larger than its bound.
#![no_main]

use anchorhold_joint::decimal::Decimal;
use anchorhold_joint::keys::normalise;
use anchorhold_joint::rows::{MAX_FIELDS, MAX_ROW, QuotingError, Row, RowReader};
use libfuzzer_sys::fuzz_target;

/// The fields of all rows before the end or the error, and that.
type Read = (Vec<Vec<Vec<u8>>>, Result<(), QuotingError>);

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = read(bytes, bytes.len().max(1));
    let pieces = read(bytes, usize::from(cut).max(1));
    assert_eq!(whole, pieces, "rows depend on how the file is cut");
    let mut buffer = String::new();
    for field in whole.0.iter().flatten() {
        let _ = Decimal::parse(field);
        let _ = normalise(field, &mut buffer);
    }
});

fn read(bytes: &[u8], piece: usize) -> Read {
    let mut rows = Vec::new();
    let mut found = |row: Row<'_>| {
        let fields: Vec<_> = (0..row.count().min(MAX_FIELDS))
            .filter_map(|i| row.field(i).map(<[u8]>::to_vec))
            .collect();
        assert!(fields.iter().map(Vec::len).sum::<usize>() <= MAX_ROW);
        rows.push(fields);
        Ok::<(), QuotingError>(())
    };
    let mut reader = RowReader::default();
    let mut pieces = bytes.chunks(piece);
    let fed = pieces.try_for_each(|piece| reader.feed(piece, &mut found));
    let end = fed.and_then(|()| reader.finish(&mut found));
    (rows, end)
}
