use super::*;
use crate::compute::{Analysis, run};
use crate::contract::{Column, Computation, Role};
use crate::testing::{self, TestRng};

/// What a key has in the columns.
type Values = fn(u32) -> Vec<i64>;

/// Bins of each column of ann's, split at 1; `None` where one is withheld. All have the keys below
/// 40, each has some more by itself.
fn bins(
    columns: &[&str],
    values: Values,
    keys: std::ops::Range<u32>,
    strict: bool,
) -> Vec<[Option<u64>; 2]> {
    let contract = testing::contract(|t| {
        testing::statistics(t);
        t.cohorts.withhold_complements = strict;
        let value = |name: &&str| Column {
            name: (*name).to_owned(),
            role: Role::Value,
        };
        t.parties[0].columns.truncate(1);
        t.parties[0].columns.extend(columns.iter().map(value));
        let histogram = |column: &&str| Histogram {
            column: (*column).to_owned(),
            edges: vec![Decimal::from_integer(1)],
            party: "ann".to_owned(),
        };
        t.computation = Computation::Statistics {
            histograms: columns.iter().map(histogram).collect(),
            regression: None,
        };
    });
    let others = |own: &str| {
        let own = (0..10).map(|k| format!("{own}{k}"));
        let all = (0..40).map(|k| format!("k{k}")).chain(own);
        all.map(|key| (key, vec![0])).collect()
    };
    let files = [
        keys.map(|k| (format!("k{k}"), values(k))).collect(),
        others("b"),
        others("c"),
    ];
    let tables = testing::tables_of_columns(&contract, &files);
    let report = run(&contract, &tables, None, &mut TestRng(0)).unwrap();
    let Analysis::Statistics(found) = report.analysis else {
        panic!("{report:?}")
    };
    assert!(found.count.shown().is_some());
    let counts = found.histograms.iter().map(|h| {
        let [below, above] = h.counts.as_slice() else {
            panic!("{h:?}")
        };
        [below, above].map(|count| count.shown().copied())
    });
    counts.collect()
}

const BOTH: [Option<u64>; 2] = [Some(20), Some(20)];
const NEITHER: [Option<u64>; 2] = [None, None];

#[test]
fn a_set_of_keys_and_that_set_with_one_more_cannot_be_subtracted() {
    let one_more: Values = |k| vec![i64::from(k < 20), i64::from(k < 21)];
    assert_eq!(bins(&["s", "t"], one_more, 0..40, false), [BOTH, NEITHER]);
    // Nor does it show whether the one is in the others' files.
    let nobody: Values = |k| vec![i64::from(k < 20), i64::from(k < 20 || k == 99)];
    assert_eq!(bins(&["s", "t"], nobody, 0..100, false), [BOTH, NEITHER]);
    // Four are as few as one where five are a cohort, and by a third column as by a second.
    let four_more: Values = |k| vec![i64::from(k < 20), i64::from(k % 2 == 0), i64::from(k < 24)];
    let shown = bins(&["s", "t", "u"], four_more, 0..40, false);
    assert_eq!(shown, [BOTH, BOTH, NEITHER]);
}

#[test]
fn histograms_that_differ_in_whole_cohorts_are_shown() {
    let halves: Values = |k| vec![i64::from(k < 20), i64::from(k % 4 < 2)];
    assert_eq!(bins(&["s", "t"], halves, 0..40, false), [BOTH, BOTH]);
}

#[test]
fn histograms_of_different_parties_are_judged_apart() {
    let contract = testing::contract(|t| {
        testing::statistics(t);
        let histogram = |party: &str| Histogram {
            column: "amount".to_owned(),
            edges: vec![Decimal::from_integer(1)],
            party: party.to_owned(),
        };
        t.computation = Computation::Statistics {
            histograms: vec![histogram("ann"), histogram("bob")],
            regression: None,
        };
    });
    let file = |ones| -> Vec<(String, Vec<i64>)> {
        let value = |k| vec![i64::from(k < ones)];
        (0..40).map(|k| (format!("k{k}"), value(k))).collect()
    };
    let tables = testing::tables_of_columns(&contract, &[file(20), file(21), file(0)]);
    let report = run(&contract, &tables, None, &mut TestRng(0)).unwrap();
    let Analysis::Statistics(found) = report.analysis else {
        panic!("{report:?}")
    };
    let shown = found.histograms.iter().flat_map(|h| &h.counts);
    let shown: Vec<_> = shown.filter_map(Figure::shown).collect();
    assert_eq!(shown, [&20, &20, &19, &21]);
}

#[test]
fn a_bin_that_shows_nearly_all_of_its_owner_s_keys_is_a_complement() {
    // Of ann's keys above, all are in everybody's file; below, 20 of 40 are.
    let all: Values = |k| vec![i64::from(k < 20)];
    assert_eq!(bins(&["s"], all, 0..60, false), [BOTH]);
    assert_eq!(bins(&["s"], all, 0..60, true), [NEITHER]);
    // All but four are.
    let nearly: Values = |k| vec![i64::from(k < 20 || (40..44).contains(&k))];
    assert_eq!(bins(&["s"], nearly, 0..60, false), [BOTH]);
    assert_eq!(bins(&["s"], nearly, 0..60, true), [NEITHER]);
    let cohort: Values = |k| vec![i64::from(k < 20 || (40..45).contains(&k))];
    assert_eq!(bins(&["s"], cohort, 0..60, true), [BOTH]);
}

#[test]
fn complements_hold_for_joint_bins() {
    // Outside are five keys in each bin of each column, but none that is above in both.
    let apart: Values = |k| match k {
        0..40 => vec![i64::from(k < 20), i64::from(k % 2 == 0)],
        _ => vec![i64::from(k < 45), i64::from((45..50).contains(&k))],
    };
    assert_eq!(bins(&["s", "t"], apart, 0..60, false), [BOTH, BOTH]);
    assert_eq!(bins(&["s", "t"], apart, 0..60, true), [BOTH, NEITHER]);
}
