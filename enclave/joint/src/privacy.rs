//! Differential privacy: how much noise a contract asks for, and drawing it exactly.
//!
//! Noise is drawn over the integers with integer arithmetic only, by the algorithms of Canonne,
//! Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020, algorithms 1 to 3).
//! Sampling a continuous distribution in floating point leaves gaps between the values that it can
//! reach, which tell the exact value apart (Mironov, "On significance of the least significant
//! bits for differential privacy", 2012); here there are none.
//!
//! Two tables are neighbours if one is the other without all rows of one key at one party. A count
//! then changes by at most 1, a sum of values cut to `[lower, upper]` by at most the larger magnitude
//! of the two, and all bins of a histogram together by 1. Other values for a key are two steps, its
//! removal and its addition, and so twice as far apart. Queries share ε and δ evenly (basic
//! composition). A run's row counts, shown to their owner only, carry no noise.
//!
//! What it does not establish: a budget. The host could start an enclave anew; runs are counted by
//! each party's KMS, which refuses the one beyond the contract's `runs`. Each run spends ε and δ
//! again.

use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};

use crate::contract::{Bounds, Computation, Mechanism, Output, Party, Privacy, Terms};
use crate::decimal::{Decimal, ONE, Sum};

/// Steps of a column's bound: sums are rounded to this grid before noise. It costs at most 1/2000
/// of the bound, and keeps every number small enough for exact arithmetic in 128 bits.
const STEPS: i128 = 1000;
/// The largest scale of Laplace and the largest variance of Gaussian noise, in grid steps: with
/// these no intermediate number of the samplers passes 128 bits within 100 scales.
const MAX_SCALE: u128 = 1 << 40;
const MAX_VARIANCE: u128 = 1 << 52;

/// What a run spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// δ of the whole run.
    pub delta: Decimal,
    /// ε of the whole run.
    pub epsilon: Decimal,
    /// The mechanism.
    pub mechanism: Mechanism,
    /// Among how many queries both were shared.
    pub queries: u32,
}

/// Why noise cannot be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// ε is too small for so many queries.
    #[error("so little epsilon for {queries} queries would drown every figure")]
    Scale {
        /// The queries.
        queries: u32,
    },
    /// The random source failed.
    #[error("the random source failed")]
    Random,
    /// A draw beyond 128 bits: its chance is below 2^-100.
    #[error("the noise is out of range")]
    Range,
}

impl NoiseError {
    /// The rule that refused.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Scale { .. } => "noise.scale",
            Self::Random => "noise.random",
            Self::Range => "noise.range",
        }
    }
}

/// How a contract's noise is shared among its queries.
#[derive(Clone, Debug)]
pub struct Plan {
    privacy: Privacy,
    queries: u32,
}

impl Plan {
    /// The plan of a contract's terms; `None` where they ask for no noise.
    ///
    /// # Errors
    /// [`NoiseError::Scale`].
    pub fn of(terms: &Terms) -> Result<Option<Self>, NoiseError> {
        let Some(privacy) = &terms.privacy else {
            return Ok(None);
        };
        let plan = Self {
            privacy: privacy.clone(),
            queries: queries(terms),
        };
        plan.noise(STEPS.unsigned_abs() + 1)?;
        Ok(Some(plan))
    }

    /// What a run of it spends.
    pub fn spent(&self) -> Spent {
        let Privacy {
            delta,
            epsilon,
            mechanism,
            ..
        } = self.privacy;
        Spent {
            delta,
            epsilon,
            mechanism,
            queries: self.queries,
        }
    }

    /// The bounds of a column.
    pub fn bounds(&self, party: &str, column: &str) -> Option<&Bounds> {
        let mut bounds = self.privacy.bounds.iter();
        bounds.find(|b| b.party == party && b.column == column)
    }

    /// A count with noise, not below zero.
    ///
    /// # Errors
    /// [`NoiseError`].
    pub fn count<R: TryCryptoRng>(&self, exact: u64, rng: &mut R) -> Result<u64, NoiseError> {
        let noisy = i128::from(exact).checked_add(self.noise(1)?.draw(rng)?);
        let noisy = noisy.ok_or(NoiseError::Range)?.max(0);
        u64::try_from(noisy).map_err(|_| NoiseError::Range)
    }

    /// A sum of values within bounds, with noise.
    ///
    /// # Errors
    /// [`NoiseError`].
    pub fn sum<R: TryCryptoRng>(
        &self,
        exact: i128,
        bounds: &Bounds,
        rng: &mut R,
    ) -> Result<Sum, NoiseError> {
        let reach = bounds.upper.units().max(-bounds.lower.units());
        let grid = ((reach + (STEPS - 1)) / STEPS).max(1);
        // Rounding moves a sum by at most half a step each way, so one step more: at most 1001.
        let sensitivity = (reach / grid + 1).unsigned_abs();
        let noise = self.noise(sensitivity)?.draw(rng)?;
        let steps = round_to(exact, grid).checked_add(noise);
        let noisy = steps.and_then(|steps| steps.checked_mul(grid));
        noisy.map(Sum).ok_or(NoiseError::Range)
    }

    fn noise(&self, sensitivity: u128) -> Result<Noise, NoiseError> {
        let queries = self.queries;
        let epsilon = self.privacy.epsilon.units().unsigned_abs();
        let scale = match self.privacy.mechanism {
            Mechanism::Laplace => {
                // sensitivity · queries / ε, where ε is in units of 10^-12.
                let numerator = sensitivity
                    .saturating_mul(u128::from(queries))
                    .saturating_mul(ONE.unsigned_abs());
                let small = epsilon > 0 && numerator / epsilon.max(1) <= MAX_SCALE;
                small.then_some(Noise::Laplace {
                    numerator,
                    denominator: epsilon,
                })
            }
            Mechanism::Gaussian => {
                let variance = self.variance(sensitivity);
                (variance <= MAX_VARIANCE).then_some(Noise::Gaussian { variance })
            }
        };
        scale.ok_or(NoiseError::Scale { queries })
    }

    /// A variance that suffices: discrete Gaussian noise of variance σ² is ρ-zCDP with
    /// ρ = sensitivity² / 2σ² (theorem 4 of the paper), and ρ-zCDP is (ρ + 2√(ρ ln(1/δ)), δ)-DP
    /// (Bun and Steinke 2016, proposition 1.3); solved for ρ. Floating point is used here only,
    /// and the result is rounded up by far more than its error.
    fn variance(&self, sensitivity: u128) -> u128 {
        let share = |d: Decimal| d.units() as f64 / ONE as f64 / f64::from(self.queries);
        let (epsilon, delta) = (share(self.privacy.epsilon), share(self.privacy.delta));
        let log = -delta.ln();
        let root = epsilon / ((log + epsilon).sqrt() + log.sqrt());
        let sensitivity = sensitivity as f64;
        let variance = sensitivity * sensitivity / (2.0 * root * root);
        // `as` saturates: infinity becomes the largest number, and is refused.
        (variance * (1.0 + 1e-9)).ceil() as u128
    }
}

/// How many queries a computation makes, of what anybody may see.
fn queries(terms: &Terms) -> u32 {
    let parties = &terms.parties;
    let seen = |output| parties.iter().any(|p| p.may_see(output));
    let values = |of: &dyn Fn(&Party) -> bool| -> usize {
        let parties = parties.iter().filter(|p| of(p));
        parties.map(|p| p.values().count()).sum()
    };
    let count = match &terms.computation {
        Computation::Intersection {} => {
            let pairs = parties.len() * parties.len().saturating_sub(1) / 2;
            let pairs = if seen(Output::PairwiseSizes) {
                pairs
            } else {
                0
            };
            1 + pairs + values(&|p| seen(Output::Sums) || p.may_see(Output::OwnSums))
        }
        Computation::Statistics { histograms, .. } => {
            let histograms = if seen(Output::Histograms) {
                histograms.len()
            } else {
                0
            };
            1 + histograms + values(&|_| seen(Output::Moments))
        }
        Computation::Overlap {} => parties.len().saturating_sub(1),
    };
    u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

/// The nearest multiple, in steps.
fn round_to(value: i128, grid: i128) -> i128 {
    let half = grid / 2;
    value.saturating_add(half).div_euclid(grid)
}

#[derive(Clone, Copy, Debug)]
enum Noise {
    Laplace { numerator: u128, denominator: u128 },
    Gaussian { variance: u128 },
}

impl Noise {
    fn draw<R: TryCryptoRng>(self, rng: &mut R) -> Result<i128, NoiseError> {
        match self {
            Self::Laplace {
                numerator,
                denominator,
            } => laplace(numerator, denominator, rng),
            Self::Gaussian { variance } => gaussian(variance, rng),
        }
    }
}

/// Algorithm 2: the discrete Laplace distribution of scale t/s.
fn laplace<R: TryCryptoRng>(t: u128, s: u128, rng: &mut R) -> Result<i128, NoiseError> {
    loop {
        let u = below(t, rng)?;
        if !bernoulli_exp(u, t, rng)? {
            continue;
        }
        let mut v = 0_u128;
        while bernoulli_exp(1, 1, rng)? {
            v += 1;
        }
        let x = t.checked_mul(v).and_then(|tv| tv.checked_add(u));
        let y = x.and_then(|x| x.checked_div(s)).ok_or(NoiseError::Range)?;
        let negative = below(2, rng)? == 1;
        if negative && y == 0 {
            continue;
        }
        let y = i128::try_from(y).map_err(|_| NoiseError::Range)?;
        return Ok(if negative { -y } else { y });
    }
}

/// Algorithm 3: the discrete Gaussian of variance (parameter) σ².
fn gaussian<R: TryCryptoRng>(variance: u128, rng: &mut R) -> Result<i128, NoiseError> {
    let t = variance.isqrt() + 1;
    loop {
        let y = laplace(t, 1, rng)?;
        // (|y| - σ²/t)² / 2σ² = (|y| t - σ²)² / 2σ²t²
        let off = y
            .unsigned_abs()
            .checked_mul(t)
            .map(|yt| yt.abs_diff(variance));
        let numerator = off.and_then(|off| off.checked_mul(off));
        let denominator = variance.checked_mul(2 * t).and_then(|d| d.checked_mul(t));
        let (Some(numerator), Some(denominator)) = (numerator, denominator) else {
            return Err(NoiseError::Range);
        };
        if bernoulli_exp(numerator, denominator, rng)? {
            return Ok(y);
        }
    }
}

/// Algorithm 1: true with the chance exp(-n/d).
fn bernoulli_exp<R: TryCryptoRng>(mut n: u128, d: u128, rng: &mut R) -> Result<bool, NoiseError> {
    while n > d {
        if !bernoulli_exp(d, d, rng)? {
            return Ok(false);
        }
        n -= d;
    }
    let mut k = 1_u128;
    loop {
        let dk = d.checked_mul(k).ok_or(NoiseError::Range)?;
        if below(dk, rng)? >= n {
            return Ok(k % 2 == 1);
        }
        k += 1;
    }
}

/// A number below another, each with the same chance.
fn below<R: TryCryptoRng>(bound: u128, rng: &mut R) -> Result<u128, NoiseError> {
    let Some(most) = bound.checked_sub(1) else {
        return Err(NoiseError::Range);
    };
    let mask = u128::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
    loop {
        let mut bytes = [0_u8; 16];
        rng.try_fill_bytes(&mut bytes)
            .map_err(|_| NoiseError::Random)?;
        let drawn = u128::from_le_bytes(bytes) & mask;
        if drawn <= most {
            return Ok(drawn);
        }
    }
}

#[cfg(test)]
mod tests;
