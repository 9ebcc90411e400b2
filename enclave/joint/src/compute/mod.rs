//! What is computed, and what of it is withheld.
//!
//! The unit of every count is a distinct key. Duplicates: a key with several rows counts once, and
//! its value in a column is the sum of its rows. Without noise, figures are shown by the rules of
//! [`crate::suppression`], for all parties at once: what one may see and another may not is judged
//! as if everybody saw everything, since parties may talk to each other. With noise, every count
//! is drawn once ([`crate::privacy`]), and shown if what was drawn reaches the minimum.

mod histograms;
mod intersection;
mod overlap;
mod regression;
mod statistics;

use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};

pub use self::histograms::HistogramCounts;
pub use self::intersection::{Intersection, Pair};
pub use self::overlap::Overlap;
pub use self::regression::Fit;
pub use self::statistics::{Moments, Statistics};
use crate::contract::{Computation, Contract, Output};
use crate::join::{KeyRows, for_each_key};
use crate::pages::{PageError, Pages};
use crate::privacy::{NoiseError, Plan, Spent};
use crate::suppression::Disclosure;
use crate::table::Table;

/// A figure, or that it is withheld: `{"suppressed": true}`, and for a regression with the rule:
/// `{"rule": "regression.leverage", "suppressed": true}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure<T> {
    /// Withheld.
    Suppressed {
        /// By which of several rules.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<Withheld>,
        /// Always true.
        suppressed: Suppressed,
    },
    /// Shown.
    Shown(T),
}

/// The rule that withholds a regression. The first two follow from the count and the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Withheld {
    /// The count is withheld.
    #[serde(rename = "regression.count")]
    Count,
    /// There are not so many more keys than coefficients as the smallest cohort has.
    #[serde(rename = "regression.freedom")]
    Freedom,
    /// A key weighs more than it would in the smallest cohort, or there is no one line.
    #[serde(rename = "regression.leverage")]
    Leverage,
}

/// The value `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "bool", try_from = "bool")]
pub struct Suppressed;

impl From<Suppressed> for bool {
    fn from(Suppressed: Suppressed) -> Self {
        true
    }
}

impl TryFrom<bool> for Suppressed {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, Self::Error> {
        value
            .then_some(Self)
            .ok_or("a figure that is not suppressed is shown")
    }
}

impl<T> Figure<T> {
    /// A figure that is withheld.
    pub const SUPPRESSED: Self = Self::Suppressed {
        rule: None,
        suppressed: Suppressed,
    };

    /// A figure that a rule withholds.
    pub const fn withheld(rule: Withheld) -> Self {
        Self::Suppressed {
            rule: Some(rule),
            suppressed: Suppressed,
        }
    }

    /// The figure, where it is shown.
    pub fn shown(&self) -> Option<&T> {
        match self {
            Self::Shown(value) => Some(value),
            Self::Suppressed { .. } => None,
        }
    }
}

impl<T> From<Option<T>> for Figure<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::SUPPRESSED, Self::Shown)
    }
}

/// Everything that any party may see, before it is cut to one party's outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The figures.
    pub analysis: Analysis,
    /// What noise spent.
    pub privacy: Option<Spent>,
}

/// The figures of a computation.
#[derive(Clone, Debug, PartialEq)]
pub enum Analysis {
    /// Of an intersection.
    Intersection(Intersection),
    /// Of statistics.
    Statistics(Statistics),
    /// Of an overlap report.
    Overlap(Overlap),
}

/// Why nothing is computed.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// A party's table is missing, there twice, or nobody's.
    #[error("expected one table of each of the contract's parties, got {got:?}")]
    Tables {
        /// Whose tables came.
        got: Vec<String>,
    },
    /// Tables were read under different keys, so nothing would match.
    #[error("the tables were not read in one run")]
    Runs,
    /// Noise could not be drawn.
    #[error("noise could not be drawn")]
    Noise(#[from] NoiseError),
    /// Rows that were put away did not come back.
    #[error("rows that were put away did not come back")]
    Page(#[from] PageError),
}

impl ComputeError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Tables { .. } => "compute.tables",
            Self::Runs => "compute.runs",
            Self::Noise(error) => error.rule(),
            Self::Page(error) => error.rule(),
        }
    }
}

/// Computes what a contract says from all parties' tables, in whatever order they come. `pages` are
/// those that the tables were read with, if any. Randomness is drawn only where the contract asks
/// for noise.
///
/// It does not establish that the parties approved: [`crate::approval::check`] does.
///
/// # Errors
/// [`ComputeError`].
pub fn run<R: TryCryptoRng>(
    contract: &Contract,
    tables: &[Table],
    pages: Option<&mut Pages<'_>>,
    rng: &mut R,
) -> Result<Report, ComputeError> {
    let plan = Plan::of(contract.terms())?;
    let mut input = Input {
        contract,
        tables: in_order(contract, tables)?,
        pages,
        plan: plan.as_ref(),
        rng,
    };
    let analysis = match &contract.terms().computation {
        Computation::Intersection {} => Analysis::Intersection(input.intersection()?),
        Computation::Statistics {
            histograms,
            regression,
        } => Analysis::Statistics(input.statistics(histograms, regression.as_ref())?),
        Computation::Overlap {} => Analysis::Overlap(input.overlap()?),
    };
    let privacy = plan.map(|plan| plan.spent());
    Ok(Report { analysis, privacy })
}

/// What every computation has at hand.
struct Input<'a, 's, R> {
    contract: &'a Contract,
    /// In the order of the contract's parties.
    tables: Vec<&'a Table>,
    pages: Option<&'a mut Pages<'s>>,
    plan: Option<&'a Plan>,
    rng: &'a mut R,
}

impl<R: TryCryptoRng> Input<'_, '_, R> {
    /// Calls `each` for every key, with the input at hand.
    fn each_key(&mut self, mut each: impl FnMut(&Self, &KeyRows<'_>)) -> Result<(), PageError> {
        let mut pages = self.pages.take();
        let passed = for_each_key(&self.tables, pages.as_deref_mut(), |key| each(self, key));
        self.pages = pages;
        passed
    }

    fn minimum(&self) -> u64 {
        u64::from(self.contract.terms().cohorts.minimum)
    }

    /// The pattern of a key that all parties have.
    fn everybody(&self) -> usize {
        (1 << self.tables.len()) - 1
    }

    fn seen(&self, output: Output) -> bool {
        self.contract.parties().iter().any(|p| p.may_see(output))
    }

    /// The cells by which parties have a key: cell m − 1 is the pattern m. With
    /// `withhold_complements`, each party knows how many distinct keys it has.
    fn patterns(&self, counts: &[u64]) -> Disclosure {
        let cohorts = self.contract.terms().cohorts;
        let counts = counts.iter().skip(1).copied().collect();
        let mut disclosure = Disclosure::new(counts, cohorts.minimum);
        if cohorts.withhold_complements {
            for party in 0..self.tables.len() {
                disclosure.known(|cell| (cell + 1) >> party & 1 == 1);
            }
        }
        disclosure
    }

    /// A count over the cells that a figure contains: exact or withheld by the cells' rules, or
    /// with noise and withheld if what was drawn is small.
    fn count(
        &mut self,
        cells: &mut Disclosure,
        figure: impl Fn(usize) -> bool,
    ) -> Result<Figure<u64>, NoiseError> {
        let Some(plan) = self.plan else {
            return Ok(cells.show(figure).into());
        };
        let noisy = plan.count(cells.exact(figure), self.rng)?;
        Ok((noisy >= self.minimum()).then_some(noisy).into())
    }

    /// A key's value in a column: the sum of its rows, cut to the column's bounds where there is
    /// noise.
    fn clamp(&self, party: usize, column: usize, value: i128) -> i128 {
        let bounds = self.plan.and_then(|plan| {
            let party = self.contract.parties().get(party)?;
            plan.bounds(&party.name, party.values().nth(column)?)
        });
        bounds.map_or(value, |b| value.clamp(b.lower.units(), b.upper.units()))
    }
}

/// The tables in the order of the contract's parties.
fn in_order<'a>(contract: &Contract, tables: &'a [Table]) -> Result<Vec<&'a Table>, ComputeError> {
    let mut sorted: Vec<_> = tables.iter().collect();
    sorted.sort_by(|a, b| a.party().cmp(b.party()));
    let expected = contract.parties().iter().map(|p| p.name.as_str());
    if !sorted.iter().map(|t| t.party()).eq(expected) {
        let got = tables.iter().map(|t| t.party().to_owned()).collect();
        return Err(ComputeError::Tables { got });
    }
    let one_run = sorted
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.run() == b.run()));
    if one_run {
        Ok(sorted)
    } else {
        Err(ComputeError::Runs)
    }
}

#[cfg(test)]
mod tests;
