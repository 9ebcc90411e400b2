//! A plain hash join of the same files: what the project's join is compared with.
//!
//! ```text
//! cargo run --release -p anchorhold-joint --example hash_join -- email amount a.csv b.csv c.csv
//! ```
//!
//! The standard library's `HashMap` from each file's join values, without blanks around them and in
//! lower case, to the sum of their rows, and a look-up of the first file's values in all others;
//! files are read by the `csv` crate. No keyed hash, no Unicode normalisation, nothing withheld.
//! Prints one JSON object: rows read, seconds, intersection size and sums.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

use anchorhold_joint::decimal::{Decimal, Sum};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [join_on, sum, files @ ..] = args.as_slice() else {
        return Err("usage: hash_join JOIN_COLUMN SUM_COLUMN FILE FILE [FILE…]".into());
    };
    let start = Instant::now();
    let mut rows = 0_u64;
    let tables: Vec<_> = files
        .iter()
        .map(|path| read(path, join_on, sum, &mut rows))
        .collect::<Result<_, _>>()?;
    let (first, others) = tables.split_first().ok_or("no file")?;
    let mut size = 0_u64;
    let mut sums = vec![0_i128; tables.len()];
    let mut found = Vec::with_capacity(tables.len());
    for (key, value) in first {
        found.clear();
        found.push(*value);
        found.extend(others.iter().map_while(|table| table.get(key)));
        if found.len() == tables.len() {
            size += 1;
            sums.iter_mut()
                .zip(&found)
                .for_each(|(sum, value)| *sum += value);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let sums: Vec<String> = sums
        .into_iter()
        .map(|units| Sum(units).to_string())
        .collect();
    let out = serde_json::json!({
        "rows": rows,
        "seconds": seconds,
        "intersection_size": size,
        "sums": sums,
    });
    println!("{out}");
    Ok(())
}

/// A file's join values, and the sum of each one's rows in units of a decimal.
fn read(
    path: &str,
    join_on: &str,
    sum: &str,
    rows: &mut u64,
) -> Result<HashMap<String, i128>, Failure> {
    let mut reader = csv::Reader::from_reader(BufReader::new(File::open(path)?));
    let header = reader.headers()?.clone();
    let place = |name: &str| header.iter().position(|column| column.trim() == name);
    let (key, value) = (place(join_on).ok_or("no such column")?, place(sum));
    let value = value.ok_or("no such column")?;
    let mut table: HashMap<String, i128> = HashMap::new();
    let mut row = csv::StringRecord::new();
    while reader.read_record(&mut row)? {
        *rows += 1;
        let (Some(key), Some(value)) = (row.get(key), row.get(value)) else {
            continue;
        };
        let key = key.trim().to_lowercase();
        if !key.is_empty() {
            *table.entry(key).or_default() += Decimal::parse(value.as_bytes())?.units();
        }
    }
    Ok(table)
}
