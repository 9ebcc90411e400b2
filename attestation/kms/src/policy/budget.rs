//! What one decision may cost.
//!
//! A policy of 32 KiB against an encryption context of a whole request body would be some 10^10
//! comparisons of characters. A decision may take [`STEPS`]; what comes after is undecided, which
//! allows nothing and keeps no Deny from denying.

use std::cell::Cell;

/// Most steps of a decision: 400 patterns against an encryption context of 8 KB; tens of
/// milliseconds.
const STEPS: usize = 4_000_000;

/// What is left of a decision's steps.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Cell::new(STEPS))
    }

    /// Pays for comparing `got` with `expected`, lengths in bytes: reading both, and one word of
    /// the automaton for each 64 tokens of the pattern.
    pub(super) fn pay(&self, got: usize, expected: usize) -> Result<(), Exhausted> {
        let steps = got
            .saturating_mul(1 + expected / 64)
            .saturating_add(expected)
            .saturating_add(16);
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Exhausted)
    }

    /// Whether nothing is left, so that nothing more can be compared.
    pub(super) fn is_exhausted(&self) -> bool {
        self.0.get() == 0
    }
}

/// Nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_stays_spent() {
        let budget = Budget::new();
        assert!(!budget.is_exhausted());
        assert_eq!(budget.pay(STEPS, 0), Err(Exhausted));
        assert_eq!(budget.pay(0, 0), Err(Exhausted));
        assert!(budget.is_exhausted());
        assert_eq!(Budget::new().pay(usize::MAX, usize::MAX), Err(Exhausted));
        let budget = Budget::new();
        assert_eq!(
            (0..10_000).filter(|_| budget.pay(1000, 96).is_ok()).count(),
            STEPS / 2112
        );
    }
}
