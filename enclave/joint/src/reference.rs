//! The same results, computed naively and withholding nothing.

use std::collections::BTreeMap;

use num_bigint::BigInt;

use crate::testing::Rows;

/// By key: its pattern of owners, and for each owner the sum of its rows in units.
pub struct Naive(BTreeMap<String, (usize, Vec<BigInt>)>, usize);

impl Naive {
    pub fn of(files: &[Rows]) -> Self {
        let mut keys = BTreeMap::new();
        for (i, (key, amount)) in files
            .iter()
            .enumerate()
            .flat_map(|(i, rows)| rows.iter().map(move |row| (i, row)))
        {
            let key = key.trim().to_lowercase();
            if key.is_empty() {
                continue;
            }
            let nothing = || (0, vec![BigInt::ZERO; files.len()]);
            let (mask, sums) = keys.entry(key).or_insert_with(nothing);
            let (int, frac) = amount.split_once('.').unwrap_or((amount, ""));
            *mask |= 1 << i;
            sums[i] += format!("{int}{frac:0<12}").parse::<BigInt>().unwrap();
        }
        Self(keys, files.len())
    }

    pub fn count(&self, figure: impl Fn(usize) -> bool) -> u64 {
        self.0.values().filter(|(mask, _)| figure(*mask)).count() as u64
    }

    /// The values of one party over the keys that all have.
    pub fn values(&self, party: usize) -> Vec<BigInt> {
        let all = (1 << self.1) - 1;
        let joined = self.0.values().filter(|(mask, _)| *mask == all);
        joined.map(|(_, sums)| sums[party].clone()).collect()
    }

    pub fn all(&self) -> u64 {
        let all = (1 << self.1) - 1;
        self.count(|mask| mask == all)
    }
}

/// A decimal, in units, as a whole number of units.
pub fn units(decimal: &str) -> BigInt {
    let (int, frac) = decimal.split_once('.').unwrap_or((decimal, ""));
    format!("{int}{frac:0<12}").parse().unwrap()
}
