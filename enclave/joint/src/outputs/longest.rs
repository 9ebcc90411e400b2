//! How long an answer can be: what it is padded to, so that its length tells nothing of it.

use super::{Sums, for_party};
use crate::compute::{
    Analysis, Figure, Fit, HistogramCounts, Intersection, Moments, Overlap, Pair, Report,
    Statistics,
};
use crate::contract::{Computation, Contract, Histogram, Party, Regression};
use crate::decimal::Sum;
use crate::privacy::Plan;
use crate::table::{MAX_NAMED, REJECTIONS, Rejection, RowCounts, RowReport};

/// No count has more digits, and a withheld one is shorter.
const COUNT: u64 = u64::MAX;
/// No sum has more digits.
const SUM: Sum = Sum(i128::MIN);
/// No `f64` is written longer: a sign, 17 digits, the point, and an exponent of three digits with
/// its sign.
pub(super) const FLOAT: f64 = -2.225_073_858_507_201_4e-308;

/// The length of the longest answer in bytes that a party of the contract can get, whatever is in the
/// files and whether it is shown or withheld; `None` for who is no party. Everybody who has the
/// contract can compute it.
pub fn longest(contract: &Contract, party: &str) -> Option<usize> {
    let report = Report {
        analysis: analysis(contract),
        privacy: Plan::of(contract.terms()).ok()?.map(|plan| plan.spent()),
    };
    let output = for_party(contract, party, &report, &rows())?;
    output.to_bytes().ok().map(|bytes| bytes.len())
}

/// Every figure at its longest.
fn analysis(contract: &Contract) -> Analysis {
    let parties = contract.parties();
    match &contract.terms().computation {
        Computation::Intersection {} => Analysis::Intersection(intersection(parties)),
        Computation::Statistics {
            histograms,
            regression,
        } => Analysis::Statistics(statistics(parties, histograms, regression.as_ref())),
        Computation::Overlap {} => {
            let all = u32::try_from(parties.len()).unwrap_or(u32::MAX);
            let at_least = (2..=all).map(|k| (k, Figure::Shown(COUNT))).collect();
            Analysis::Overlap(Overlap { at_least })
        }
    }
}

fn intersection(parties: &[Party]) -> Intersection {
    let pair = |one: &Party, other: &Party| Pair {
        parties: [one.name.clone(), other.name.clone()],
        size: Figure::Shown(COUNT),
    };
    let pairs = parties.iter().enumerate().flat_map(|(place, one)| {
        let others = parties.iter().skip(place + 1);
        others.map(move |other| pair(one, other))
    });
    let sums = |party: &Party| {
        let columns = party.values();
        let columns = columns.map(|column| (column.to_owned(), Figure::Shown(SUM)));
        (party.name.clone(), columns.collect())
    };
    let sums: Sums<Sum> = parties.iter().map(sums).collect();
    Intersection {
        size: Figure::Shown(COUNT),
        pairs: pairs.collect(),
        sums,
    }
}

fn statistics(
    parties: &[Party],
    histograms: &[Histogram],
    regression: Option<&Regression>,
) -> Statistics {
    let moments = parties.iter().flat_map(|party| {
        party.values().map(|column| Moments {
            column: column.to_owned(),
            mean: Figure::Shown(SUM.to_string()),
            party: party.name.clone(),
            variance: Figure::Shown(FLOAT),
        })
    });
    let histogram = |terms: &Histogram| HistogramCounts {
        column: terms.column.clone(),
        counts: vec![Figure::Shown(COUNT); terms.edges.len().saturating_add(1)],
        edges: terms.edges.clone(),
        party: terms.party.clone(),
    };
    let fit = |terms: &Regression| {
        Figure::Shown(Fit {
            coefficients: vec![FLOAT; terms.on.len()],
            intercept: FLOAT,
            r_squared: FLOAT,
        })
    };
    Statistics {
        count: Figure::Shown(COUNT),
        moments: moments.collect(),
        histograms: histograms.iter().map(histogram).collect(),
        regression: regression.map(fit),
    }
}

/// As many rows rejected as are named, by the rule with the longest name, and some by every rule.
fn rows() -> RowReport {
    let longest = REJECTIONS.iter().max_by_key(|rule| rule.len());
    let rejection = Rejection {
        row: COUNT,
        rule: longest.map_or_else(String::new, |rule| (*rule).to_owned()),
    };
    let by_rule = REJECTIONS.iter().map(|rule| ((*rule).to_owned(), COUNT));
    RowReport {
        counts: RowCounts {
            joined: COUNT,
            read: COUNT,
            rejected: COUNT,
            without_key: COUNT,
        },
        first_rejected: vec![rejection; MAX_NAMED],
        rejected_by_rule: by_rule.collect(),
    }
}
