//! Statistics over the keys that all parties have.
//!
//! Sums and sums of products are exact whole numbers ([`crate::wide`]), so nothing depends on the
//! order of rows and nothing cancels. A mean is rounded once, to 12 digits behind the point; a
//! variance becomes a float at its end, to within 8 units in the last place.

use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};

use super::histograms::{Binned, HistogramCounts};
use super::regression::{Fit, Products};
use super::{ComputeError, Figure, Input};
use crate::contract::{Histogram, Output, Regression};
use crate::decimal::{ONE, Sum};
use crate::pages::PageError;
use crate::privacy::NoiseError;
use crate::wide::Wide;

/// The figures of joint statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// How many distinct keys all parties have. Where it is withheld, everything is.
    pub count: Figure<u64>,
    /// By party and column, in the contract's order.
    pub moments: Vec<Moments>,
    /// In the contract's order.
    pub histograms: Vec<HistogramCounts>,
    /// The regression, where the contract has one.
    pub regression: Option<Figure<Fit>>,
}

/// Mean and variance of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// The column.
    pub column: String,
    /// The mean, rounded to 12 digits behind the point, halves to even.
    pub mean: Figure<String>,
    /// The party.
    pub party: String,
    /// The sample variance (divided by count − 1). Withheld where there is noise.
    pub variance: Figure<f64>,
}

/// A column by its party's place and its own among the party's values.
pub(super) type Place = (usize, usize);

/// What one pass over the keys gathers.
struct Gathered {
    count: u64,
    /// By column in the order of parties and columns: sum and sum of squares.
    columns: Vec<(i128, Wide)>,
    binned: Vec<Binned>,
    products: Products,
}

impl<R: TryCryptoRng> Input<'_, '_, R> {
    pub(super) fn statistics(
        &mut self,
        histograms: &[Histogram],
        regression: Option<&Regression>,
    ) -> Result<Statistics, ComputeError> {
        let regressed = regression.map(|r| {
            let all = r.on.iter().chain([&r.target]);
            all.map(|c| self.place(&c.party, &c.column)).collect()
        });
        let regressed: Option<Vec<Place>> = regressed;
        let columns = regressed.as_deref().unwrap_or_default();
        let (patterns, gathered) = self.gather(histograms, columns)?;
        let everybody = self.everybody();
        let mut cells = self.patterns(&patterns);
        let count = self.count(&mut cells, |cell| cell + 1 == everybody)?;
        let histograms = self.histograms(histograms, &gathered.binned, &count)?;
        let moments = self.moments(&gathered, &count)?;
        let regression = match &regressed {
            Some(columns) => Some(self.regression(columns, &gathered.products, &count)?),
            None => None,
        };
        Ok(Statistics {
            count,
            moments,
            histograms,
            regression,
        })
    }

    fn gather(
        &mut self,
        histograms: &[Histogram],
        regressed: &[Place],
    ) -> Result<(Vec<u64>, Gathered), PageError> {
        let everybody = self.everybody();
        let mut patterns = vec![0_u64; everybody + 1];
        let columns: Vec<Place> = self.columns().map(|(place, _, _)| place).collect();
        let mut all = Gathered {
            count: 0,
            columns: vec![(0, Wide::default()); columns.len()],
            binned: self.binned(histograms),
            products: Products::new(regressed.len()),
        };
        self.each_key(|input, key| {
            let mask = key.mask();
            if let Some(count) = patterns.get_mut(mask) {
                *count = count.saturating_add(1);
            }
            for binned in &mut all.binned {
                binned.add(key, mask == everybody);
            }
            if mask != everybody {
                return;
            }
            all.count = all.count.saturating_add(1);
            let value = |(party, column)| input.clamp(party, column, key.sum(party, column));
            for ((sum, squares), place) in all.columns.iter_mut().zip(&columns) {
                let x = value(*place);
                *sum += x;
                *squares += Wide::product(x, x);
            }
            if !regressed.is_empty() {
                let values: Vec<_> = regressed.iter().map(|place| value(*place)).collect();
                all.products.add(&values);
            }
        })?;
        Ok((patterns, all))
    }

    /// Every value column: its place, its party and its name.
    fn columns(&self) -> impl Iterator<Item = (Place, &str, &str)> {
        let parties = self.contract.parties().iter().enumerate();
        parties.flat_map(|(i, party)| {
            let columns = party.values().enumerate();
            columns.map(move |(j, column)| ((i, j), party.name.as_str(), column))
        })
    }

    /// A contract names only columns that there are.
    pub(super) fn place(&self, party: &str, column: &str) -> Place {
        let mut columns = self.columns();
        let found = columns.find(|(_, p, c)| *p == party && *c == column);
        found.map_or((usize::MAX, usize::MAX), |(place, _, _)| place)
    }

    fn moments(
        &mut self,
        gathered: &Gathered,
        count: &Figure<u64>,
    ) -> Result<Vec<Moments>, NoiseError> {
        if !self.seen(Output::Moments) {
            return Ok(Vec::new());
        }
        let names: Vec<_> = self
            .columns()
            .map(|(_, p, c)| (p.to_owned(), c.to_owned()))
            .collect();
        let mut out = Vec::new();
        for ((party, column), (sum, squares)) in names.into_iter().zip(&gathered.columns) {
            let mut moments = Moments {
                mean: Figure::SUPPRESSED,
                variance: Figure::SUPPRESSED,
                column,
                party,
            };
            if let Some(&n) = count.shown().filter(|n| **n >= 2) {
                let sum = self.noisy_sum(&moments.party, &moments.column, *sum)?;
                moments.mean = Figure::Shown(mean(sum.0, n).to_string());
                if self.plan.is_none() {
                    moments.variance = Figure::Shown(variance(sum.0, *squares, n));
                }
            }
            out.push(moments);
        }
        Ok(out)
    }
}

/// `sum / n`, halves to even.
fn mean(sum: i128, n: u64) -> Sum {
    let n = i128::from(n).max(1);
    let (floor, rest) = (sum.div_euclid(n), sum.rem_euclid(n));
    let up = match (rest * 2).cmp(&n) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => floor % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    Sum(floor + i128::from(up))
}

/// `(n Σx² − (Σx)²) / n (n − 1)`: the numerator is exact.
fn variance(sum: i128, squares: Wide, n: u64) -> f64 {
    let numerator = squares.times(n) - Wide::product(sum, sum);
    let one = ONE as f64;
    let n = n as f64;
    numerator.to_f64() / (one * one) / n / (n - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_round_halves_to_even() {
        for (sum, n, expected) in [
            (1, 2, 0),
            (3, 2, 2),
            (-1, 2, 0),
            (-3, 2, -2),
            (5, 3, 2),
            (-5, 3, -2),
        ] {
            assert_eq!(mean(sum, n), Sum(expected), "{sum}/{n}");
        }
    }

    #[test]
    fn nothing_cancels() {
        // Values 10^14 + {0, 1, 2}: a float sum of squares has lost the variance of 1.
        let base = 100_000_000_000_000 * ONE;
        let (mut sum, mut squares) = (0, Wide::default());
        for x in [base, base + ONE, base + 2 * ONE] {
            sum += x;
            squares += Wide::product(x, x);
        }
        assert_eq!(variance(sum, squares, 3), 1.0);
    }
}
