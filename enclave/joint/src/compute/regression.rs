//! Least squares by the normal equations.
//!
//! Sums of products are exact, and so is the centring: each covariance becomes a float once. The
//! equations are solved as correlations, by Cholesky's method. The relative error of a coefficient
//! is about 2^-50 times the condition number of the correlations; where a column is a combination
//! of the others to within 10^-10 of its variance, there is no answer.

use serde::{Deserialize, Serialize};

use crate::decimal::ONE;
use crate::wide::Wide;

/// The least share of a column's variance that the columns before it must leave unexplained.
const LEAST_PIVOT: f64 = 1e-10;

/// What a regression gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fit {
    /// The line.
    Solved {
        /// In the contract's order.
        coefficients: Vec<f64>,
        /// The value where all columns are 0.
        intercept: f64,
        /// The share of the target's variance that the line explains, 0 to 1.
        r_squared: f64,
    },
    /// There is no one line.
    Undefined {
        /// `collinear` or `constant-target`.
        undefined: Undefined,
    },
}

/// Why there is no one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undefined {
    /// A column is constant or a combination of the others.
    Collinear,
    /// The target is constant.
    ConstantTarget,
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

    pub(super) fn fit(&self) -> Fit {
        let target = self.sums.len().saturating_sub(1);
        let scale: Vec<f64> = (0..=target).map(|i| self.covariance(i, i).sqrt()).collect();
        let undefined = |undefined| Fit::Undefined { undefined };
        let scale_of = |i: usize| scale.get(i).copied().unwrap_or_default();
        if scale_of(target) <= 0.0 {
            return undefined(Undefined::ConstantTarget);
        }
        if (0..target).any(|i| scale_of(i) <= 0.0) {
            return undefined(Undefined::Collinear);
        }
        let correlation = |i, j| self.covariance(i, j) / scale_of(i) / scale_of(j);
        let matrix = (0..target).map(|i| (0..=i).map(|j| correlation(i, j)).collect());
        let right: Vec<f64> = (0..target).map(|i| correlation(i, target)).collect();
        let Some(solution) = solve(matrix.collect(), &right) else {
            return undefined(Undefined::Collinear);
        };
        let columns = solution.iter().enumerate();
        let coefficients: Vec<f64> = columns
            .map(|(i, b)| b * scale_of(target) / scale_of(i))
            .collect();
        let explained = coefficients.iter().enumerate();
        let explained: f64 = explained.map(|(i, b)| b * self.mean(i)).sum();
        let r_squared: f64 = solution.iter().zip(&right).map(|(b, r)| b * r).sum();
        Fit::Solved {
            coefficients,
            intercept: self.mean(target) - explained,
            r_squared: r_squared.clamp(0.0, 1.0),
        }
    }
}

/// Solves a symmetric positive definite system, given by its lower triangle; `None` where a pivot
/// is too small.
fn solve(mut matrix: Vec<Vec<f64>>, right: &[f64]) -> Option<Vec<f64>> {
    let n = right.len();
    for i in 0..n {
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
    let mut forward: Vec<f64> = Vec::with_capacity(n);
    for (row, r) in matrix.iter().zip(right) {
        let known: f64 = row.iter().zip(&forward).map(|(l, z)| l * z).sum();
        forward.push((r - known) / row.last()?);
    }
    let mut solution = vec![0.0; n];
    for i in (0..n).rev() {
        let mut sum = *forward.get(i)?;
        for k in i + 1..n {
            sum -= matrix.get(k)?.get(i)? * solution.get(k)?;
        }
        *solution.get_mut(i)? = sum / matrix.get(i)?.get(i)?;
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(rows: &[&[i128]]) -> Fit {
        let mut products = Products::new(rows[0].len());
        for row in rows {
            products.add(&row.iter().map(|x| x * ONE).collect::<Vec<_>>());
        }
        products.fit()
    }

    #[test]
    fn no_line() {
        let undefined = |undefined| Fit::Undefined { undefined };
        assert_eq!(
            fit(&[&[1, 5], &[2, 5], &[3, 5]]),
            undefined(Undefined::ConstantTarget)
        );
        assert_eq!(
            fit(&[&[1, 1], &[1, 2], &[1, 3]]),
            undefined(Undefined::Collinear)
        );
        let doubled: &[&[i128]] = &[&[1, 2, 1], &[2, 4, 5], &[3, 6, 2], &[4, 8, 9]];
        assert_eq!(fit(doubled), undefined(Undefined::Collinear));
    }

    #[test]
    fn an_exact_plane() {
        // y = 3 a - 2 b + 7, far from the origin.
        let rows: Vec<Vec<i128>> = (0..50)
            .map(|i| {
                let (a, b) = (1_000_000_000 + i, (i * i) % 17);
                vec![a, b, 3 * a - 2 * b + 7]
            })
            .collect();
        let rows: Vec<&[i128]> = rows.iter().map(Vec::as_slice).collect();
        let Fit::Solved {
            coefficients,
            intercept,
            r_squared,
        } = fit(&rows)
        else {
            panic!("a plane")
        };
        assert!((coefficients[0] - 3.0).abs() < 1e-12 && (coefficients[1] + 2.0).abs() < 1e-12);
        assert!((intercept - 7.0).abs() < 1e-3 && (r_squared - 1.0).abs() < 1e-12);
    }
}
