//! Which counts may be shown together.
//!
//! Every count of a report is a union of disjoint *cells*: the keys with one pattern of owners, or
//! the keys in one bin. Withholding each small count by itself is not enough, because small counts
//! can be had from large ones by subtraction. So figures are shown one after the other, and each
//! only if the *classes* that all shown figures together make are large enough: two cells are in
//! one class if exactly the same shown figures contain them.
//!
//! Why that suffices: whatever a reader computes from the shown figures by adding and subtracting
//! is a weighted sum of class counts, since every shown figure is a union of classes. If it is the
//! count of a cohort, so that every cell has weight 0 or 1 in it whatever the data are, then it is
//! a union of classes, and holds at least the minimum. Zero counts as small. Classes are taken over
//! the cells that could hold a key, not over those that do, so that the rule does not lean on what
//! it hides. What was withheld tells that a count would have been small; that much is meant.
//!
//! Histograms of one party are judged together, over the cells that have one bin of each: whoever
//! makes the columns could else have one binned by a set of keys and the other by that set and one
//! key more, and subtract. Histograms of different parties are not. No party knows another's values,
//! so to each of two parties all pairs of bins could hold keys; and if `u + v` is to be 0 or 1 for
//! every pair of a weight `u` of the one's bin and a weight `v` of the other's, then `u` or `v` is
//! the same for all bins, and what has that weight is a union of one histogram's bins, up to the
//! total, which both have.
//!
//! What it does not establish: that bounds (rather than values) cannot be derived, that one member
//! does not dominate a sum, or anything across two contracts. Nor does it hold against parties that
//! agree on their columns beforehand, against a third: together they know which pairs of their bins
//! can hold keys. Noise is for that.

/// The cells of a report and what is shown of them.
#[derive(Clone, Debug)]
pub struct Disclosure {
    counts: Vec<u64>,
    /// What some reader can subtract from what it knows, to have what no figure counts.
    outside: Option<Vec<u64>>,
    minimum: u64,
    /// One for every reader who knows something already, and one for who knows nothing.
    views: Vec<Vec<usize>>,
}

impl Disclosure {
    /// Cells with these counts, and nothing shown yet.
    pub fn new(counts: Vec<u64>, minimum: u32) -> Self {
        let views = vec![vec![0; counts.len()]];
        Self {
            counts,
            outside: None,
            minimum: u64::from(minimum),
            views,
        }
    }

    /// Some reader knows how many keys these cells hold, without being shown.
    pub fn known(&mut self, figure: impl Fn(usize) -> bool) {
        let nothing = vec![0; self.counts.len()];
        self.views.push(refine(&nothing, &figure));
    }

    /// Some reader knows of each cell how many keys it holds together with so many more that no
    /// figure counts. So it can count those of every class, which must not be small either.
    pub fn known_with(&mut self, outside: Vec<u64>) {
        self.outside = Some(outside);
    }

    /// The count of a figure, if it can be shown beside all that is shown already; it is shown
    /// then.
    pub fn show(&mut self, figure: impl Fn(usize) -> bool) -> Option<u64> {
        let views: Vec<_> = self
            .views
            .iter()
            .map(|view| refine(view, &figure))
            .collect();
        let counts = [Some(&self.counts), self.outside.as_ref()];
        let large = |view: &Vec<usize>| counts.iter().flatten().all(|c| self.is_large(view, c));
        if !views.iter().all(large) {
            return None;
        }
        self.views = views;
        Some(self.exact(figure))
    }

    /// The count of a figure, for noise to be added to.
    pub(crate) fn exact(&self, figure: impl Fn(usize) -> bool) -> u64 {
        let cells = self.counts.iter().enumerate();
        cells
            .filter(|(cell, _)| figure(*cell))
            .map(|(_, n)| n)
            .sum()
    }

    /// Whether every class that some figure contains holds at least the minimum.
    fn is_large(&self, view: &[usize], counts: &[u64]) -> bool {
        let classes = view.iter().max().map_or(0, |most| most + 1);
        let mut sizes: Vec<Option<u64>> = vec![None; classes];
        for (class, count) in view.iter().zip(counts) {
            if let Some(size) = sizes.get_mut(*class) {
                *size = Some(size.unwrap_or(0).saturating_add(*count));
            }
        }
        let shown = sizes.iter().skip(1).flatten();
        shown.into_iter().all(|size| *size >= self.minimum)
    }
}

/// Splits every class by a figure. Class 0 is what no figure contains.
fn refine(view: &[usize], figure: &impl Fn(usize) -> bool) -> Vec<usize> {
    let classes = view.iter().max().map_or(0, |most| most + 1);
    let mut renamed = vec![None; classes * 2];
    if let Some(outside) = renamed.first_mut() {
        *outside = Some(0);
    }
    let mut next = 1;
    let rename = |(cell, class): (usize, &usize)| {
        let slot = renamed.get_mut(class * 2 + usize::from(figure(cell)));
        slot.map_or(0, |slot| {
            *slot.get_or_insert_with(|| {
                next += 1;
                next - 1
            })
        })
    };
    view.iter().enumerate().map(rename).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_counts_and_small_differences_are_withheld() {
        let mut d = Disclosure::new(vec![10, 4, 20], 5);
        assert_eq!(d.show(|cell| cell == 1), None);
        assert_eq!(d.show(|cell| cell == 0), Some(10));
        // 14 would give the 4 by subtraction.
        assert_eq!(d.show(|cell| cell <= 1), None);
        assert_eq!(d.show(|_| true), Some(34));
        // So would 20, from 34.
        assert_eq!(d.show(|cell| cell == 2), None);
    }

    #[test]
    fn zero_is_small() {
        let mut d = Disclosure::new(vec![0, 10], 2);
        assert_eq!(d.show(|cell| cell == 0), None);
        assert_eq!(d.show(|_| true), Some(10));
        assert_eq!(d.show(|cell| cell == 1), None);
    }

    #[test]
    fn what_a_reader_knows_counts() {
        let mut d = Disclosure::new(vec![10, 1], 2);
        d.known(|_| true);
        assert_eq!(d.show(|cell| cell == 0), None);
        let mut d = Disclosure::new(vec![10, 2], 2);
        d.known(|_| true);
        assert_eq!(d.show(|cell| cell == 0), Some(10));
    }

    #[test]
    fn what_a_reader_knows_of_each_cell_counts() {
        let mut d = Disclosure::new(vec![10, 10, 10], 2);
        d.known_with(vec![2, 1, 0]);
        assert_eq!(d.show(|_| true), Some(30));
        assert_eq!(d.show(|cell| cell == 1), None);
        assert_eq!(d.show(|cell| cell == 2), None);
        // It would leave 1 outside the rest.
        assert_eq!(d.show(|cell| cell == 0), None);
        let mut d = Disclosure::new(vec![10, 10, 10], 2);
        d.known_with(vec![2, 1, 1]);
        assert_eq!(d.show(|_| true), Some(30));
        assert_eq!(d.show(|cell| cell == 0), Some(10));
        assert_eq!(d.show(|cell| cell == 1), None);
    }

    proptest! {
        /// Tries every sum and difference of up to three of each of the shown figures.
        #[test]
        fn no_arithmetic_gives_a_small_cohort(
            counts in proptest::collection::vec(0_u64..12, 2..7),
            figures in proptest::collection::vec(1_usize..128, 1..5), minimum in 2_u32..6)
        {
            let cells = counts.len();
            let mut d = Disclosure::new(counts.clone(), minimum);
            let shown: Vec<usize> = figures.into_iter()
                .filter(|f| d.show(|cell| f >> cell & 1 == 1).is_some()).collect();
            let weights = 7_i64.pow(u32::try_from(shown.len()).unwrap());
            for code in 0..weights {
                let mut code = code;
                let mut cohort = vec![0_i64; cells];
                for figure in &shown {
                    let weight = code % 7 - 3;
                    code /= 7;
                    for (cell, sum) in cohort.iter_mut().enumerate() {
                        *sum += weight * i64::from(figure >> cell & 1 == 1);
                    }
                }
                let is_cohort = cohort.iter().all(|w| matches!(w, 0 | 1)) && cohort.contains(&1);
                if is_cohort {
                    let size: u64 = cohort.iter().zip(&counts)
                        .filter(|(w, _)| **w == 1).map(|(_, n)| n).sum();
                    prop_assert!(size >= u64::from(minimum));
                }
            }
        }
    }
}
