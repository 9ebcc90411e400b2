//! The rules of computation, outputs and privacy.

use std::collections::{BTreeMap, BTreeSet};

use super::rule;
use crate::contract::ContractError;
use crate::contract::file::*;
use crate::decimal::Decimal;
use crate::privacy::Plan;

const MAX_HISTOGRAMS: usize = 16;
const MAX_EDGES: usize = 64;
/// Without noise, a party's histograms are judged over all combinations of their bins.
const MAX_JOINT_BINS: usize = 4096;
const MAX_REGRESSORS: usize = 8;

impl Terms {
    pub(super) fn check_analysis(&self) -> Result<(), ContractError> {
        if let Computation::Statistics {
            histograms,
            regression,
        } = &self.computation
        {
            self.check_histograms(histograms)?;
            if let Some(regression) = regression {
                self.check_regression(regression)?;
            }
        }
        self.check_outputs()?;
        self.check_privacy()
    }

    fn has_value(&self, party: &str, column: &str) -> bool {
        let mut parties = self.parties.iter();
        parties.any(|p| p.name == party && p.values().any(|c| c == column))
    }

    fn value(&self, name: &'static str, party: &str, column: &str) -> Result<(), ContractError> {
        let got = format_args!("{column:?} of {party:?}");
        rule(
            name,
            self.has_value(party, column),
            "a value column of a party",
            got,
        )
    }

    fn check_histograms(&self, histograms: &[Histogram]) -> Result<(), ContractError> {
        const RULE: &str = "contract.histogram";
        let count = histograms.len();
        rule(
            RULE,
            count <= MAX_HISTOGRAMS,
            "at most 16 histograms",
            count,
        )?;
        let mut seen = BTreeSet::new();
        let mut joint = BTreeMap::new();
        for h in histograms {
            self.value(RULE, &h.party, &h.column)?;
            // Two columns may hold the same, and those are judged together; of one column, one
            // binning says all.
            rule(
                RULE,
                seen.insert((&h.party, &h.column)),
                "one histogram for a column",
                &h.column,
            )?;
            let edges = h.edges.len();
            rule(
                RULE,
                (1..=MAX_EDGES).contains(&edges),
                "1 to 64 edges",
                edges,
            )?;
            let rises = h.edges.is_sorted_by(|a, b| a < b);
            rule(RULE, rises, "rising edges", &h.column)?;
            let bins = joint.entry(&h.party).or_insert(1_usize);
            *bins = bins.saturating_mul(edges + 1);
            rule(
                RULE,
                self.privacy.is_some() || *bins <= MAX_JOINT_BINS,
                "without noise, at most 4096 combinations of the bins of a party's histograms",
                format_args!("{bins} of {:?}", h.party),
            )?;
        }
        Ok(())
    }

    fn check_regression(&self, regression: &Regression) -> Result<(), ContractError> {
        const RULE: &str = "contract.regression";
        let count = regression.on.len();
        rule(
            RULE,
            (1..=MAX_REGRESSORS).contains(&count),
            "1 to 8 columns",
            count,
        )?;
        let mut seen = BTreeSet::new();
        for column in regression.on.iter().chain([&regression.target]) {
            self.value(RULE, &column.party, &column.column)?;
            rule(
                RULE,
                seen.insert(column),
                "each column once",
                &column.column,
            )?;
        }
        Ok(())
    }

    fn check_outputs(&self) -> Result<(), ContractError> {
        const RULE: &str = "contract.outputs";
        let fits = |output: Output| match &self.computation {
            Computation::Intersection {} => matches!(
                output,
                Output::IntersectionSize | Output::PairwiseSizes | Output::Sums | Output::OwnSums
            ),
            Computation::Statistics {
                histograms,
                regression,
            } => match output {
                Output::Count | Output::Moments => true,
                Output::Histograms => !histograms.is_empty(),
                Output::Regression => regression.is_some(),
                _ => false,
            },
            Computation::Overlap {} => output == Output::Overlaps,
        };
        for party in &self.parties {
            for output in &party.outputs {
                let got = format_args!("{output:?} for {}", party.name);
                rule(RULE, fits(*output), "outputs of the computation", got)?;
            }
        }
        let somebody = self.parties.iter().any(|p| !p.outputs.is_empty());
        rule(
            RULE,
            somebody,
            "an output that somebody may see",
            "none at all",
        )
    }

    fn check_privacy(&self) -> Result<(), ContractError> {
        const RULE: &str = "contract.privacy";
        let Some(privacy) = &self.privacy else {
            return Ok(());
        };
        let Privacy { epsilon, delta, .. } = privacy;
        let in_range = *epsilon > Decimal::ZERO && *epsilon <= Decimal::from_integer(20);
        rule(RULE, in_range, "epsilon above 0, at most 20", epsilon)?;
        let small = match privacy.mechanism {
            Mechanism::Laplace => *delta == Decimal::ZERO,
            Mechanism::Gaussian => *delta > Decimal::ZERO && *delta <= Decimal::HUNDREDTH,
        };
        rule(
            RULE,
            small,
            "delta 0 for laplace, above 0 and at most 0.01 for gaussian",
            delta,
        )?;
        self.check_bounds(&privacy.bounds)?;
        let seen = |output| self.parties.iter().any(|p| p.may_see(output));
        // Noise on the entries of a regression does not make its coefficients private and useful.
        rule(
            RULE,
            !seen(Output::Regression),
            "no regression beside noise",
            "a regression",
        )?;
        match Plan::of(self) {
            Ok(_) => Ok(()),
            Err(error) => rule(RULE, false, "noise that can be drawn", error),
        }
    }

    fn check_bounds(&self, bounds: &[Bounds]) -> Result<(), ContractError> {
        const RULE: &str = "contract.privacy";
        let limit = Decimal::from_integer(1_000_000_000_000);
        let mut seen = BTreeSet::new();
        for b in bounds {
            self.value(RULE, &b.party, &b.column)?;
            let once = seen.insert((b.party.as_str(), b.column.as_str()));
            rule(RULE, once, "bounds once for a column", &b.column)?;
            let straddle = b.lower <= Decimal::ZERO && b.upper >= Decimal::ZERO;
            let within = b.upper <= limit && -b.lower <= limit && b.lower < b.upper;
            rule(
                RULE,
                straddle && within,
                "bounds around 0, at most 10^12 from it",
                &b.column,
            )?;
        }
        for party in &self.parties {
            for column in party.values() {
                let bounded = seen.contains(&(party.name.as_str(), column));
                rule(RULE, bounded, "bounds for every value column", column)?;
            }
        }
        Ok(())
    }
}
