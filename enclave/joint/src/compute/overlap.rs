//! The overlap report: how many keys several parties have, for fraud rings or clinical cohorts.

use std::collections::BTreeMap;

use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};

use super::{ComputeError, Figure, Input};

/// The figures of an overlap report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlap {
    /// For k from 2 to the number of parties: how many distinct keys at least k parties have. Where
    /// two neighbours are shown, their difference, the keys that exactly k have, is no small count
    /// either.
    pub at_least: BTreeMap<u32, Figure<u64>>,
}

impl<R: TryCryptoRng> Input<'_, '_, R> {
    pub(super) fn overlap(&mut self) -> Result<Overlap, ComputeError> {
        let everybody = self.everybody();
        let mut counts = vec![0_u64; everybody + 1];
        self.each_key(|_, key| {
            if let Some(count) = counts.get_mut(key.mask()) {
                *count = count.saturating_add(1);
            }
        })?;
        let mut cells = self.patterns(&counts);
        let mut at_least = BTreeMap::new();
        // From the smallest cohort, which is asked for most, to the largest.
        for k in (2..=everybody.count_ones()).rev() {
            let figure = self.count(&mut cells, |cell| (cell + 1).count_ones() >= k)?;
            at_least.insert(k, figure);
        }
        Ok(Overlap { at_least })
    }
}
