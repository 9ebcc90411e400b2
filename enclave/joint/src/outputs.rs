//! What one party is told: the report cut to its outputs, as canonical JSON.

mod longest;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::longest::longest;
use crate::compute::{Analysis, Figure, Fit, HistogramCounts, Moments, Overlap, Pair, Report};
use crate::contract::{Contract, Output};
use crate::decimal::Sum;
use crate::privacy::Spent;
use crate::table::RowReport;

/// The value of an answer's `format` field.
pub const FORMAT: &str = "anchorhold-joint-output/1";

/// The joint sums by party and column.
pub type Sums<T> = BTreeMap<String, BTreeMap<String, Figure<T>>>;

/// One party's answer. Fields that it may not see, or that the computation does not have, are not
/// there. Field order is alphabetical: it is the canonical order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyOutput {
    /// The contract's hash in hex.
    pub contract_sha384: String,
    /// How many keys the statistics are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Figure<u64>>,
    /// [`FORMAT`].
    pub format: String,
    /// The histograms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<Vec<HistogramCounts>>,
    /// How many keys all parties have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intersection_size: Option<Figure<u64>>,
    /// Mean and variance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moments: Option<Vec<Moments>>,
    /// The overlap report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps: Option<Overlap>,
    /// How many keys each two parties have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairwise_sizes: Option<Vec<Pair>>,
    /// To whom it is.
    pub party: String,
    /// What noise spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Spent>,
    /// The regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Figure<Fit>>,
    /// What became of its own rows.
    pub rows: RowReport,
    /// Joint sums, as decimals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<Sums<String>>,
}

/// Cuts a report to what a party may see; `None` for who is no party.
pub fn for_party(
    contract: &Contract,
    party: &str,
    report: &Report,
    rows: &RowReport,
) -> Option<PartyOutput> {
    let (_, terms) = contract.party(party)?;
    let may = |output| terms.may_see(output);
    let mut out = PartyOutput {
        contract_sha384: contract.hash().to_string(),
        count: None,
        format: FORMAT.to_owned(),
        histograms: None,
        intersection_size: None,
        moments: None,
        overlaps: None,
        pairwise_sizes: None,
        party: party.to_owned(),
        privacy: report.privacy.clone(),
        regression: None,
        rows: rows.clone(),
        sums: None,
    };
    match &report.analysis {
        Analysis::Intersection(found) => {
            out.intersection_size = may(Output::IntersectionSize).then(|| found.size.clone());
            out.pairwise_sizes = may(Output::PairwiseSizes).then(|| found.pairs.clone());
            let all = may(Output::Sums);
            let own = all || may(Output::OwnSums);
            out.sums = own.then(|| decimals(&found.sums, |owner| all || owner == party));
        }
        Analysis::Statistics(found) => {
            out.count = may(Output::Count).then(|| found.count.clone());
            out.moments = may(Output::Moments).then(|| found.moments.clone());
            out.histograms = may(Output::Histograms).then(|| found.histograms.clone());
            let regression = found.regression.clone();
            out.regression = regression.filter(|_| may(Output::Regression));
        }
        Analysis::Overlap(found) => {
            out.overlaps = may(Output::Overlaps).then(|| found.clone());
        }
    }
    Some(out)
}

impl PartyOutput {
    /// The canonical bytes: compact JSON, fields in alphabetical order.
    ///
    /// # Errors
    /// Never: every key is text and every number is finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// It is not the JSON of one.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// The sums of the owners that may be seen, as text: JSON numbers would not be read exactly.
fn decimals(sums: &Sums<Sum>, sees: impl Fn(&str) -> bool) -> Sums<String> {
    let text = |figure: &Figure<Sum>| figure.shown().map(Sum::to_string).into();
    let seen = sums.iter().filter(|(owner, _)| sees(owner));
    seen.map(|(owner, columns)| {
        let columns = columns.iter().map(|(name, sum)| (name.clone(), text(sum)));
        (owner.clone(), columns.collect())
    })
    .collect()
}

#[cfg(test)]
mod tests;
