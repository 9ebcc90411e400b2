//! Least squares by the normal equations, and when a fit is withheld.
//!
//! Sums of products are exact, and so is the centring: each covariance becomes a float once. The
//! equations are solved as correlations, by Cholesky's method. The relative error of a coefficient
//! is about 2^-50 times the condition number of the correlations; where a column is a combination
//! of the others to within 10^-10 of its variance, there is no answer.
//!
//! A fit is a question about values whose weights an owner can choose: of a target on a column that
//! is 1 for one key and 0 for all others, intercept and coefficient add up to that key's value,
//! and of a target that is 1 for one key, slope and variance tell that key's value in the column.
//! So the contract's smallest cohort has to hold for the weights. Whatever is linear in the values
//! of a column and can be computed from fit and moments is a weighted sum of them, its weights a
//! combination of 1 and the other columns. The *leverage* of a key there, `h = xᵀ(XᵀX)⁻¹x` (Hoaglin
//! and Welsch, *The Hat Matrix in Regression and ANOVA*, 1978), is the largest share that it can
//! have of the sum of the squares of such weights. Of weights that are 0 for all but s keys these
//! keys have all, so that s is at least 1 over the largest leverage. A fit is shown only if, for each
//! column left out in turn (the target among them), no key has a leverage above 1 over the smallest
//! cohort: then no weighted sum is over fewer keys. Of a column of zeros and ones among m ones or m
//! zeros the leverage is 1/m each, and the rule is that of cohorts. Constant columns and columns
//! that are combinations of others are withheld by the same rule, as no ones are fewer than one:
//! else an owner would learn from a column of zeros but for one 1 whether that key is in the others'
//! files.
//!
//! What it does not establish: that nothing follows from a fit that is withheld (where one key of an
//! owner's would have the leverage, it is known to be there; a refusal that depends on the data
//! cannot but say something of them), that a cohort's members weigh alike (one may have nearly all of the
//! value, and fewer keys than the smallest cohort nearly all of the squares of the weights),
//! that nothing can be guessed (of a good fit, each key's value is close to the line, which whoever
//! knows the other columns can compute), or anything across two contracts.

use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};

use super::statistics::Place;
use super::{Figure, Input, Withheld};
use crate::contract::Output;
use crate::decimal::ONE;
use crate::pages::PageError;
use crate::wide::Wide;

/// The least share of a column's variance that the columns before it must leave unexplained.
const LEAST_PIVOT: f64 = 1e-10;
/// 2^-44: more than the relative error of a leverage among 8 columns, per trace of the inverse of
/// their correlations. Correlations are off by 7 units of 2^-52 each, so their matrix by 2^-46, and
/// as much for each of factor and substitution.
const LEVERAGE_ERROR: f64 = 1.0 / 17_592_186_044_416.0;

/// The line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// In the contract's order.
    pub coefficients: Vec<f64>,
    /// The value where all columns are 0.
    pub intercept: f64,
    /// The share of the target's variance that the line explains, 0 to 1.
    pub r_squared: f64,
}

impl<R: TryCryptoRng> Input<'_, '_, R> {
    /// The fit, after another pass over the keys.
    pub(super) fn regression(
        &mut self,
        columns: &[Place],
        products: &Products,
        count: &Figure<u64>,
    ) -> Result<Figure<Fit>, PageError> {
        // A contract with noise shows none.
        if self.plan.is_some() || !self.seen(Output::Regression) {
            return Ok(Figure::SUPPRESSED);
        }
        let minimum = self.minimum();
        let everybody = self.everybody();
        let mut leverage = Leverage::of(products, minimum);
        // Also where the fit is withheld anyhow: the host sees how often pages are asked for.
        self.each_key(|_, key| {
            if key.mask() == everybody {
                let values = columns.iter().map(|(p, c)| key.sum(*p, *c));
                leverage.add(&values.collect::<Vec<_>>());
            }
        })?;
        if count.shown().is_none() {
            return Ok(Figure::withheld(Withheld::Count));
        }
        if products.count.saturating_sub(columns.len() as u64) < minimum {
            return Ok(Figure::withheld(Withheld::Freedom));
        }
        let fit = products.fit().filter(|_| !leverage.exceeded);
        Ok(fit.map_or(Figure::withheld(Withheld::Leverage), Figure::Shown))
    }
}

/// Exact sums of products of columns; the last is the target.
pub(super) struct Products {
    count: u64,
    sums: Vec<i128>,
    /// By row: column i times columns 0 to i.
    products: Vec<Vec<Wide>>,
}

impl Products {
    pub(super) fn new(columns: usize) -> Self {
        Self {
            count: 0,
            sums: vec![0; columns],
            products: (0..columns).map(|i| vec![Wide::default(); i + 1]).collect(),
        }
    }

    pub(super) fn add(&mut self, values: &[i128]) {
        self.count = self.count.saturating_add(1);
        for ((x, sum), row) in values.iter().zip(&mut self.sums).zip(&mut self.products) {
            *sum += x;
            for (product, y) in row.iter_mut().zip(values) {
                *product += Wide::product(*x, *y);
            }
        }
    }

    /// `n² · cov(i, j)` in units².
    fn covariance(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        let product = self.products.get(i).and_then(|row| row.get(j));
        let (Some(product), Some(a), Some(b)) = (product, self.sums.get(i), self.sums.get(j))
        else {
            return 0.0;
        };
        (product.times(self.count) - Wide::product(*a, *b)).to_f64()
    }

    fn mean(&self, i: usize) -> f64 {
        let sum = self.sums.get(i).copied().unwrap_or_default() as f64;
        sum / ONE as f64 / self.count as f64
    }

    /// The root of `n² · var(i)`, for each column.
    fn scales(&self) -> Vec<f64> {
        let columns = 0..self.sums.len();
        columns.map(|i| self.covariance(i, i).sqrt()).collect()
    }

    /// The factor of the correlations of some columns; `None` where one is constant or a
    /// combination of the others.
    fn factor(&self, columns: &[usize], scales: &[f64]) -> Option<Factor> {
        let scale = |i: usize| scales.get(i).copied().filter(|s| *s > 0.0);
        let row = |i: usize, others: &[usize]| -> Option<Vec<f64>> {
            let correlation = |j: &usize| Some(self.covariance(i, *j) / scale(i)? / scale(*j)?);
            others.iter().map(correlation).collect()
        };
        let rows = columns.iter().enumerate();
        let matrix: Option<_> = rows.map(|(n, i)| row(*i, columns.get(..=n)?)).collect();
        Factor::of(matrix?)
    }

    /// `None` where there is no one line, or the target is constant.
    fn fit(&self) -> Option<Fit> {
        let target = self.sums.len().checked_sub(1)?;
        let scales = self.scales();
        let of_target = scales.get(target).copied().filter(|s| *s > 0.0)?;
        let columns: Vec<usize> = (0..target).collect();
        let factor = self.factor(&columns, &scales)?;
        let right = columns.iter().zip(&scales);
        let right = right.map(|(i, scale)| self.covariance(*i, target) / scale / of_target);
        let right: Vec<f64> = right.collect();
        let solution = factor.solve(&right)?;
        let scaled = solution.iter().zip(&scales);
        let coefficients: Vec<f64> = scaled.map(|(b, scale)| b * of_target / scale).collect();
        let explained = coefficients.iter().enumerate();
        let explained: f64 = explained.map(|(i, b)| b * self.mean(i)).sum();
        let r_squared: f64 = solution.iter().zip(&right).map(|(b, r)| b * r).sum();
        Some(Fit {
            coefficients,
            intercept: self.mean(target) - explained,
            r_squared: r_squared.clamp(0.0, 1.0),
        })
    }
}

/// Whether any key's leverage is too large, among the columns without any one of them.
struct Leverage {
    count: u64,
    sums: Vec<i128>,
    scales: Vec<f64>,
    /// By the column that is left out.
    without: Vec<Factor>,
    /// The largest leverage that is not. It lies between 1/m, which keys of the smallest cohort
    /// have, and 1/(m - 1), at which there may be fewer; so rounding turns neither.
    limit: f64,
    exceeded: bool,
    standing: Vec<f64>,
    solution: Vec<f64>,
}

impl Leverage {
    fn of(products: &Products, minimum: u64) -> Self {
        let scales = products.scales();
        let all = 0..scales.len();
        let without = all.clone().map(|out| {
            let columns: Vec<usize> = all.clone().filter(|i| *i != out).collect();
            let factor = products.factor(&columns, &scales)?;
            let error = factor.trace_of_inverse() * LEVERAGE_ERROR;
            // From the limit it is a share of more than 1/2m in both directions.
            (error * minimum as f64 * 4.0 <= 1.0).then_some(factor)
        });
        let without: Option<Vec<Factor>> = without.collect();
        Self {
            count: products.count,
            sums: products.sums.clone(),
            exceeded: without.is_none(),
            without: without.unwrap_or_default(),
            limit: 1.0 / (minimum as f64 - 0.5),
            standing: Vec::with_capacity(scales.len()),
            solution: Vec::with_capacity(scales.len()),
            scales,
        }
    }

    /// A key's values in all columns.
    fn add(&mut self, values: &[i128]) {
        let n = i128::from(self.count);
        self.standing.clear();
        let columns = values.iter().zip(&self.sums).zip(&self.scales);
        self.standing.extend(columns.map(|((x, sum), scale)| {
            let off = Wide::product(*x, n) - Wide::product(*sum, 1);
            off.to_f64() / scale
        }));
        for (out, factor) in self.without.iter().enumerate() {
            let standing = self.standing.iter().enumerate();
            let standing = standing.filter(|(i, _)| *i != out).map(|(_, z)| *z);
            factor.forward(standing, &mut self.solution);
            let squares: f64 = self.solution.iter().map(|z| z * z).sum();
            let leverage = (1.0 + squares) / self.count as f64;
            self.exceeded |= leverage.is_nan() || leverage > self.limit;
        }
    }
}

/// The lower triangle L of a symmetric positive definite matrix `L Lᵀ`.
struct Factor(Vec<Vec<f64>>);

impl Factor {
    /// Of a matrix by its lower triangle; `None` where a pivot is too small.
    fn of(mut matrix: Vec<Vec<f64>>) -> Option<Self> {
        for i in 0..matrix.len() {
            for j in 0..=i {
                let at = |m: &[Vec<f64>], r: usize, c: usize| m.get(r)?.get(c).copied();
                let mut sum = at(&matrix, i, j)?;
                for k in 0..j {
                    sum -= at(&matrix, i, k)? * at(&matrix, j, k)?;
                }
                let value = if i == j {
                    if sum.is_nan() || sum < LEAST_PIVOT {
                        return None;
                    }
                    sum.sqrt()
                } else {
                    sum / at(&matrix, j, j)?
                };
                *matrix.get_mut(i)?.get_mut(j)? = value;
            }
        }
        Some(Self(matrix))
    }

    /// Replaces `solution` with that of `L z = right`.
    fn forward(&self, right: impl Iterator<Item = f64>, solution: &mut Vec<f64>) {
        solution.clear();
        for (row, r) in self.0.iter().zip(right) {
            let known: f64 = row.iter().zip(&*solution).map(|(l, z)| l * z).sum();
            solution.push((r - known) / row.last().copied().unwrap_or(f64::NAN));
        }
    }

    /// Solves `L Lᵀ b = right`.
    fn solve(&self, right: &[f64]) -> Option<Vec<f64>> {
        let n = right.len();
        let mut forward = Vec::with_capacity(n);
        self.forward(right.iter().copied(), &mut forward);
        let mut solution = vec![0.0; n];
        for i in (0..n).rev() {
            let mut sum = *forward.get(i)?;
            for k in i + 1..n {
                sum -= self.0.get(k)?.get(i)? * solution.get(k)?;
            }
            *solution.get_mut(i)? = sum / self.0.get(i)?.get(i)?;
        }
        Some(solution)
    }

    /// The trace of the inverse matrix, which is at least its norm.
    fn trace_of_inverse(&self) -> f64 {
        let n = self.0.len();
        let mut column = Vec::with_capacity(n);
        let squares = (0..n).map(|i| {
            let unit = (0..n).map(|j| f64::from(u8::from(i == j)));
            self.forward(unit, &mut column);
            column.iter().map(|z| z * z).sum::<f64>()
        });
        squares.sum()
    }
}

#[cfg(test)]
mod tests;
