//! Histograms over the keys that all parties have.
//!
//! Without noise, those of one party are judged together, over its *joint bins*: keys that fall
//! into the same bin of each ([`crate::suppression`] says why, and why not with another party's).
//! With `withhold_complements`, a column's owner knows how many of all its keys fall into each.

use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};

use super::{Figure, Input};
use crate::contract::{Histogram, Output};
use crate::decimal::Decimal;
use crate::join::KeyRows;
use crate::privacy::NoiseError;
use crate::suppression::Disclosure;

/// A histogram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistogramCounts {
    /// The column.
    pub column: String,
    /// One more than edges: below the first, from each to the next, from the last upwards.
    pub counts: Vec<Figure<u64>>,
    /// The contract's edges.
    pub edges: Vec<Decimal>,
    /// The party.
    pub party: String,
}

/// The keys of histograms that are judged together, by joint bin.
pub(super) struct Binned {
    party: usize,
    axes: Vec<Axis>,
    /// How many keys all parties have.
    common: Vec<u64>,
    /// How many more the party has.
    outside: Vec<u64>,
}

/// One of the histograms.
struct Axis {
    /// Its place in the contract.
    histogram: usize,
    /// Its column's place among the party's values.
    column: usize,
    edges: Vec<Decimal>,
    /// How far apart joint bins are that differ by one in this bin.
    stride: usize,
}

impl Axis {
    fn bins(&self) -> usize {
        self.edges.len() + 1
    }

    /// The bin that a joint bin is in.
    fn bin(&self, joint: usize) -> usize {
        joint / self.stride % self.bins()
    }
}

impl Binned {
    fn new(party: usize) -> Self {
        Self {
            party,
            axes: Vec::new(),
            common: vec![0],
            outside: vec![0],
        }
    }

    /// A contract bounds how many joint bins there are.
    fn push(&mut self, histogram: usize, column: usize, edges: &[Decimal]) {
        let axis = Axis {
            histogram,
            column,
            edges: edges.to_vec(),
            stride: self.common.len(),
        };
        let joint = self.common.len().saturating_mul(axis.bins());
        self.common = vec![0; joint];
        self.outside = vec![0; joint];
        self.axes.push(axis);
    }

    /// Counts a key, which all parties have or not.
    pub(super) fn add(&mut self, key: &KeyRows<'_>, common: bool) {
        if key.mask() >> self.party & 1 == 0 {
            return;
        }
        let joint = self.axes.iter().map(|axis| {
            let value = key.sum(self.party, axis.column);
            let bin = axis.edges.partition_point(|edge| edge.units() <= value);
            bin * axis.stride
        });
        let joint: usize = joint.sum();
        let counts = if common {
            &mut self.common
        } else {
            &mut self.outside
        };
        if let Some(count) = counts.get_mut(joint) {
            *count = count.saturating_add(1);
        }
    }
}

impl<R: TryCryptoRng> Input<'_, '_, R> {
    /// What to count: without noise by party, with noise each histogram by itself.
    pub(super) fn binned(&self, terms: &[Histogram]) -> Vec<Binned> {
        let mut all: Vec<Binned> = Vec::new();
        for (i, histogram) in terms.iter().enumerate() {
            let (party, column) = self.place(&histogram.party, &histogram.column);
            let together = all
                .iter_mut()
                .find(|binned| self.plan.is_none() && binned.party == party);
            match together {
                Some(binned) => binned.push(i, column, &histogram.edges),
                None => {
                    let mut binned = Binned::new(party);
                    binned.push(i, column, &histogram.edges);
                    all.push(binned);
                }
            }
        }
        all
    }

    /// In the contract's order.
    pub(super) fn histograms(
        &mut self,
        terms: &[Histogram],
        binned: &[Binned],
        count: &Figure<u64>,
    ) -> Result<Vec<HistogramCounts>, NoiseError> {
        if !self.seen(Output::Histograms) {
            return Ok(Vec::new());
        }
        let mut judged: Vec<_> = binned.iter().map(|binned| self.judged(binned)).collect();
        let mut out = Vec::new();
        for (i, histogram) in terms.iter().enumerate() {
            let mut counts = Vec::new();
            for (binned, (cells, total)) in binned.iter().zip(&mut judged) {
                let Some(axis) = binned.axes.iter().find(|axis| axis.histogram == i) else {
                    continue;
                };
                for bin in 0..axis.bins() {
                    let figure = self.count(cells, |joint| axis.bin(joint) == bin)?;
                    let shown = *total && count.shown().is_some();
                    counts.push(if shown { figure } else { Figure::SUPPRESSED });
                }
            }
            out.push(HistogramCounts {
                column: histogram.column.clone(),
                counts,
                edges: histogram.edges.clone(),
                party: histogram.party.clone(),
            });
        }
        Ok(out)
    }

    /// The joint bins, and whether their total can be shown: it is the count, which is.
    fn judged(&self, binned: &Binned) -> (Disclosure, bool) {
        let cohorts = self.contract.terms().cohorts;
        let mut cells = Disclosure::new(binned.common.clone(), cohorts.minimum);
        if cohorts.withhold_complements {
            cells.known_with(binned.outside.clone());
        }
        let total = cells.show(|_| true).is_some() || self.plan.is_some();
        (cells, total)
    }
}

#[cfg(test)]
mod tests;
