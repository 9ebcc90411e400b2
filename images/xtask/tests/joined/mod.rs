//! Files to join, and what comes of joining them, computed plainly.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The rows of a generated file: account, and a balance in hundredths where the file has one.
pub type Rows = Vec<(String, Option<i64>)>;

/// Numbers that look random and are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub fn generate(numbers: &mut Numbers, values: bool) -> Rows {
    let row = |_| {
        let account = match numbers.below(20) {
            0 => String::new(),
            _ => format!("Ünit-{}", numbers.below(600)),
        };
        let cents = i64::try_from(numbers.below(2_000_000)).unwrap() - 1_000_000;
        (account, values.then_some(cents))
    };
    (0..700).map(row).collect()
}

/// The file as CSV, the same account in different spellings.
fn csv(rows: &Rows, numbers: &mut Numbers) -> String {
    let mut text = String::from("remark,account,balance\n");
    if rows.iter().all(|(_, cents)| cents.is_none()) {
        text = String::from("account,remark\n");
    }
    for (account, cents) in rows {
        let spelled = match numbers.below(4) {
            0 => account.to_uppercase(),
            1 => format!("\" {account}\t\""),
            // The decomposed form of Ü.
            2 => account.replace('Ü', "U\u{308}"),
            _ => account.clone(),
        };
        match cents {
            Some(cents) => {
                let sign = if *cents < 0 { "-" } else { "" };
                let (whole, rest) = (cents.abs() / 100, cents.abs() % 100);
                text.push_str(&format!("\"a, b\",{spelled},{sign}{whole}.{rest:02}\n"));
            }
            None => text.push_str(&format!("{spelled},x\n")),
        }
    }
    text
}

/// A decimal without what is not needed, as the answer writes it.
fn decimal(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let digits = format!("{}.{:02}", cents.abs() / 100, cents.abs() % 100);
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{digits}")
}

/// The accounts that a file has, and the cents of each.
fn by_account(rows: &Rows) -> BTreeMap<&str, i64> {
    let mut accounts = BTreeMap::new();
    for (account, cents) in rows.iter().filter(|(account, _)| !account.is_empty()) {
        *accounts.entry(account.as_str()).or_default() += cents.unwrap_or(0);
    }
    accounts
}

/// What the enclave computes, computed plainly.
pub struct Plain {
    /// How many accounts all files have.
    pub size: usize,
    /// The accounts that at least so many files have.
    pub at_least: BTreeMap<String, usize>,
    /// By file with values: the cents of each account that all files have, in one order.
    pub values: BTreeMap<String, Vec<i64>>,
}

impl Plain {
    pub fn of(files: &BTreeMap<&str, Rows>) -> Self {
        let accounts: BTreeMap<_, _> = files.iter().map(|(n, r)| (*n, by_account(r))).collect();
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        for account in accounts.values().flat_map(BTreeMap::keys) {
            *owners.entry(account).or_default() += 1;
        }
        let least = |k: usize| owners.values().filter(|n| **n >= k).count();
        let all = |account: &str| owners[account] == files.len();
        let mut values = BTreeMap::new();
        for (name, rows) in files {
            if rows.iter().any(|(_, cents)| cents.is_some()) {
                let of = accounts[name].iter();
                let common = of
                    .filter(|(account, _)| all(account))
                    .map(|(_, cents)| *cents);
                values.insert((*name).to_owned(), common.collect());
            }
        }
        Self {
            size: least(files.len()),
            at_least: (2..=files.len())
                .map(|k| (k.to_string(), least(k)))
                .collect(),
            values,
        }
    }

    pub fn sums(&self) -> BTreeMap<String, String> {
        let sum = |cents: &Vec<i64>| decimal(cents.iter().sum());
        self.values
            .iter()
            .map(|(name, cents)| (name.clone(), sum(cents)))
            .collect()
    }
}

/// In whole units, as floating point.
pub fn floats(cents: &[i64]) -> Vec<f64> {
    cents.iter().map(|c| *c as f64 / 100.0).collect()
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Σ (x − x̄)(y − ȳ)
pub fn products(x: &[f64], y: &[f64]) -> f64 {
    let (mx, my) = (mean(x), mean(y));
    x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum()
}

pub fn write(dir: &Path, files: &BTreeMap<&str, Rows>, numbers: &mut Numbers) -> Vec<String> {
    let mut arguments = Vec::new();
    for (name, rows) in files {
        let path = dir.join(format!("{name}.csv"));
        fs::write(&path, csv(rows, numbers)).unwrap();
        arguments.extend(["--input".to_owned(), format!("{name}={}", path.display())]);
    }
    arguments
}
