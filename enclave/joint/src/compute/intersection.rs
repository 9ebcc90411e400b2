//! Private set intersection: sizes and joint sums.

use std::collections::BTreeMap;

use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};

use super::{ComputeError, Figure, Input};
use crate::contract::Output;
use crate::decimal::Sum;
use crate::privacy::NoiseError;

/// The figures of an intersection.
#[derive(Clone, Debug, PartialEq)]
pub struct Intersection {
    /// How many distinct keys all parties have.
    pub size: Figure<u64>,
    /// How many each two parties have, where anybody may see it.
    pub pairs: Vec<Pair>,
    /// By party and column: the sum over all rows whose key all parties have. Withheld where the
    /// size is.
    pub sums: BTreeMap<String, BTreeMap<String, Figure<Sum>>>,
}

/// How many keys two parties have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The two, by name.
    pub parties: [String; 2],
    /// How many distinct keys both have.
    pub size: Figure<u64>,
}

impl<R: TryCryptoRng> Input<'_, '_, R> {
    pub(super) fn intersection(&mut self) -> Result<Intersection, ComputeError> {
        let contract = self.contract;
        let parties = contract.parties();
        let everybody = self.everybody();
        let mut counts = vec![0_u64; everybody + 1];
        let mut sums: Vec<_> = parties
            .iter()
            .map(|p| vec![0_i128; p.values().count()])
            .collect();
        self.each_key(|input, key| {
            let mask = key.mask();
            if let Some(count) = counts.get_mut(mask) {
                *count = count.saturating_add(1);
            }
            if mask != everybody {
                return;
            }
            for (party, sums) in sums.iter_mut().enumerate() {
                for (column, sum) in sums.iter_mut().enumerate() {
                    // All rows of a table together: below 2^122, as of one key.
                    *sum += input.clamp(party, column, key.sum(party, column));
                }
            }
        })?;
        let mut cells = self.patterns(&counts);
        let size = self.count(&mut cells, |cell| cell + 1 == everybody)?;
        let mut pairs = Vec::new();
        if self.seen(Output::PairwiseSizes) {
            for (i, one) in parties.iter().enumerate() {
                for (j, other) in parties.iter().enumerate().skip(i + 1) {
                    let both = 1 << i | 1 << j;
                    let size = self.count(&mut cells, |cell| (cell + 1) & both == both)?;
                    let parties = [one.name.clone(), other.name.clone()];
                    pairs.push(Pair { parties, size });
                }
            }
        }
        let sums = self.sums(&sums, size.shown().is_some())?;
        Ok(Intersection { size, pairs, sums })
    }

    /// The sums that anybody may see.
    fn sums(
        &mut self,
        exact: &[Vec<i128>],
        shown: bool,
    ) -> Result<BTreeMap<String, BTreeMap<String, Figure<Sum>>>, NoiseError> {
        let contract = self.contract;
        let all = self.seen(Output::Sums);
        let mut out = BTreeMap::new();
        for (party, sums) in contract.parties().iter().zip(exact) {
            if !all && !party.may_see(Output::OwnSums) {
                continue;
            }
            let mut columns = BTreeMap::new();
            for (column, exact) in party.values().zip(sums) {
                let figure = match shown {
                    true => Figure::Shown(self.noisy_sum(&party.name, column, *exact)?),
                    false => Figure::SUPPRESSED,
                };
                columns.insert(column.to_owned(), figure);
            }
            out.insert(party.name.clone(), columns);
        }
        Ok(out)
    }

    /// A sum, with noise where the contract asks for it.
    pub(super) fn noisy_sum(
        &mut self,
        party: &str,
        column: &str,
        exact: i128,
    ) -> Result<Sum, NoiseError> {
        let Some(plan) = self.plan else {
            return Ok(Sum(exact));
        };
        // A contract with noise has bounds for every value column.
        let bounds = plan.bounds(party, column).ok_or(NoiseError::Range)?;
        plan.sum(exact, bounds, self.rng)
    }
}
