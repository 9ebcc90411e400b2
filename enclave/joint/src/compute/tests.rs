use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;
use crate::keys::TagKey;
use crate::privacy::Plan;
use crate::reference::{Naive, units};
use crate::testing::{self, NAMES, Rows, TestRng, seen};

fn rows(keys: std::ops::Range<u32>) -> Rows {
    keys.map(|k| (format!("k{k}"), k.to_string())).collect()
}

fn intersection(contract: &Contract, files: &[Rows]) -> Intersection {
    let tables = testing::tables(contract, 1, files);
    match run(contract, &tables, None, &mut TestRng(0))
        .unwrap()
        .analysis
    {
        Analysis::Intersection(found) => found,
        other => panic!("{other:?}"),
    }
}

fn statistics(contract: &Contract, files: &[Rows]) -> Statistics {
    let tables = testing::tables(contract, 1, files);
    match run(contract, &tables, None, &mut TestRng(0))
        .unwrap()
        .analysis
    {
        Analysis::Statistics(found) => found,
        other => panic!("{other:?}"),
    }
}

fn overlap(contract: &Contract, files: &[Rows]) -> Overlap {
    let tables = testing::tables(contract, 1, files);
    match run(contract, &tables, None, &mut TestRng(0))
        .unwrap()
        .analysis
    {
        Analysis::Overlap(found) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tables_that_are_not_the_contracts() {
    let contract = testing::contract(|_| {});
    let files = [rows(0..9), rows(0..9), rows(0..9)];
    let rule = |tables: &[Table]| {
        run(&contract, tables, None, &mut TestRng(0))
            .unwrap_err()
            .rule()
    };
    let mut tables = testing::tables(&contract, 1, &files);
    let cyd = tables.pop().unwrap();
    assert_eq!(rule(&tables), "compute.tables");
    let tags = TagKey::generate(&mut TestRng(2)).unwrap();
    tables.push(testing::table(&contract, &tags, "bob", &files[1]));
    assert_eq!(rule(&tables), "compute.tables");
    tables[2] = testing::table(&contract, &tags, "cyd", &files[2]);
    assert_eq!(rule(&tables), "compute.runs");
    tables[2] = cyd;
    run(&contract, &tables, None, &mut TestRng(0)).unwrap();
}

#[test]
fn a_small_intersection_withholds_everything() {
    let contract = testing::contract(|_| {});
    let found = intersection(&contract, &[rows(0..9), rows(5..20), rows(0..20)]);
    assert_eq!(found.size, Figure::SUPPRESSED);
    assert!(
        found
            .sums
            .values()
            .flat_map(|s| s.values())
            .all(|s| s.shown().is_none())
    );
    let found = intersection(&contract, &[rows(0..10), rows(5..20), rows(0..20)]);
    assert_eq!(found.size, Figure::Shown(5));
    assert_eq!(
        found.sums["ann"]["amount"].shown().unwrap().to_string(),
        "35"
    );
}

#[test]
fn complements_are_withheld_where_the_contract_says_so() {
    let files = [rows(0..10), rows(0..20), rows(0..30)];
    let open = testing::contract(|_| {});
    assert_eq!(intersection(&open, &files).size, Figure::Shown(10));
    let strict = testing::contract(|t| t.cohorts.withhold_complements = true);
    assert_eq!(intersection(&strict, &files).size, Figure::SUPPRESSED);
    let files = [rows(0..15), rows(5..25), rows(0..30)];
    assert_eq!(intersection(&strict, &files).size, Figure::Shown(10));
}

#[test]
fn duplicates_count_once_and_are_summed() {
    let contract = testing::contract(|_| {});
    let mut doubled = rows(0..6);
    doubled.extend([
        ("K5 ".to_owned(), "0.5".to_owned()),
        (" ".to_owned(), "99".to_owned()),
    ]);
    let found = intersection(&contract, &[doubled, rows(0..6), rows(0..6)]);
    assert_eq!(found.size, Figure::Shown(6));
    assert_eq!(
        found.sums["ann"]["amount"].shown().unwrap().to_string(),
        "15.5"
    );
}

#[test]
fn overlaps_do_not_tell_small_differences() {
    let contract = testing::contract(|t| {
        t.computation = Computation::Overlap {};
        seen(t, &[Output::Overlaps]);
    });
    // 10 in all three, 4 more in two: 14 − 10 would be a small cohort.
    let found = overlap(&contract, &[rows(0..14), rows(0..14), rows(0..10)]);
    assert_eq!(found.at_least[&3], Figure::Shown(10));
    assert_eq!(found.at_least[&2], Figure::SUPPRESSED);
    let found = overlap(&contract, &[rows(0..15), rows(0..15), rows(0..10)]);
    assert_eq!(found.at_least[&2], Figure::Shown(15));
}

#[test]
fn a_regression_over_two_parties() {
    let contract = testing::contract(testing::regression);
    let file = |f: &dyn Fn(i64) -> i64, n| -> Rows {
        (0..n)
            .map(|k| (format!("k{k}"), f(k).to_string()))
            .collect()
    };
    let (b, c) = (|k: i64| k % 7, |k: i64| k * k % 11);
    let files = |n| {
        [
            file(&|k| 4 + 3 * b(k) - 2 * c(k), n),
            file(&b, n),
            file(&c, n),
        ]
    };
    let found = statistics(&contract, &files(40)).regression.unwrap();
    let Some(Fit {
        coefficients,
        intercept,
        ..
    }) = found.shown()
    else {
        panic!("{found:?}")
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(near(coefficients[0], 3.0) && near(coefficients[1], -2.0) && near(*intercept, 4.0));
    // Seven keys are enough to count, but leave four degrees of freedom.
    assert_eq!(
        statistics(&contract, &files(7)).regression,
        Some(Figure::withheld(Withheld::Freedom))
    );
    assert_eq!(
        statistics(&contract, &files(4)).regression,
        Some(Figure::withheld(Withheld::Count))
    );
}

#[test]
fn noise_is_added_once_and_accounted_for() {
    let contract = testing::contract(|t| {
        let bounds = NAMES.map(|party| crate::contract::Bounds {
            column: "amount".to_owned(),
            lower: crate::decimal::Decimal::ZERO,
            party: party.to_owned(),
            upper: crate::decimal::Decimal::from_integer(10),
        });
        t.privacy = Some(crate::contract::Privacy {
            bounds: bounds.into(),
            delta: crate::decimal::Decimal::ZERO,
            epsilon: crate::decimal::Decimal::from_integer(20),
            mechanism: crate::contract::Mechanism::Laplace,
        });
    });
    let tables = testing::tables(&contract, 1, &[rows(0..200), rows(0..200), rows(0..200)]);
    let report = run(&contract, &tables, None, &mut TestRng(9)).unwrap();
    let spent = Plan::of(contract.terms()).unwrap().unwrap().spent();
    assert_eq!((spent.queries, report.privacy), (4, Some(spent)));
    let Analysis::Intersection(found) = report.analysis else {
        panic!()
    };
    assert!(found.size.shown().unwrap().abs_diff(200) < 20);
    // 0 + 1 + … + 9, and 190 times the bound.
    let sum = found.sums["bob"]["amount"].shown().unwrap().0 / crate::decimal::ONE;
    assert!((sum - 1945).abs() < 200, "{sum}");
}

fn small_files() -> impl Strategy<Value = Vec<Rows>> {
    let row = ("[a-l]", "-?[0-9]{1,3}(\\.[0-9]{1,2})?");
    proptest::collection::vec(proptest::collection::vec(row, 0..30), 3)
}

fn shown_counts(report: &Report) -> Vec<u64> {
    let figures: Vec<&Figure<u64>> = match &report.analysis {
        Analysis::Intersection(f) => [&f.size]
            .into_iter()
            .chain(f.pairs.iter().map(|p| &p.size))
            .collect(),
        Analysis::Statistics(f) => {
            let bins = f.histograms.iter().flat_map(|h| &h.counts);
            [&f.count].into_iter().chain(bins).collect()
        }
        Analysis::Overlap(f) => f.at_least.values().collect(),
    };
    figures
        .into_iter()
        .filter_map(Figure::shown)
        .copied()
        .collect()
}

fn contracts(minimum: u32, strict: bool) -> [Contract; 3] {
    let cohorts = crate::contract::Cohorts {
        minimum,
        withhold_complements: strict,
    };
    let pairs = [
        Output::IntersectionSize,
        Output::PairwiseSizes,
        Output::Sums,
    ];
    [
        testing::contract(|t| (t.cohorts = cohorts, seen(t, &pairs)).1),
        testing::contract(|t| (t.cohorts = cohorts, testing::statistics(t)).1),
        testing::contract(|t| {
            t.cohorts = cohorts;
            t.computation = Computation::Overlap {};
            seen(t, &[Output::Overlaps]);
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_count_below_the_minimum(files in small_files(), minimum in 2_u32..6, strict: bool) {
        for contract in contracts(minimum, strict) {
            let tables = testing::tables(&contract, 1, &files);
            let report = run(&contract, &tables, None, &mut TestRng(0)).unwrap();
            let counts = shown_counts(&report);
            prop_assert!(counts.iter().all(|n| *n >= u64::from(minimum)));
            if let Analysis::Overlap(_) = report.analysis {
                let gaps = counts.windows(2).map(|pair| pair[0].abs_diff(pair[1]));
                prop_assert!(gaps.min().is_none_or(|gap| gap >= u64::from(minimum)));
            }
            if let Analysis::Statistics(_) = report.analysis {
                let rest = counts.first().map_or(0, |n| n - counts[1..].iter().sum::<u64>());
                prop_assert!(rest == 0 || rest >= u64::from(minimum));
            }
        }
    }

    #[test]
    fn as_the_naive_computation(files in small_files(), seed: u64) {
        let naive = Naive::of(&files);
        let [pairs, stats, overlaps] = contracts(2, false);
        let found = intersection(&pairs, &files);
        prop_assert_eq!(found.size.shown().is_some(), naive.all() >= 2);
        if let Some(size) = found.size.shown() {
            prop_assert_eq!(*size, naive.all());
        }
        for (pair, mask) in found.pairs.iter().zip([0b011, 0b101, 0b110]) {
            if let Some(size) = pair.size.shown() {
                prop_assert_eq!(*size, naive.count(|m| m & mask == mask));
            }
        }
        for (i, name) in NAMES.iter().enumerate() {
            if let Some(sum) = found.sums[*name]["amount"].shown() {
                let expected: BigInt = naive.values(i).iter().sum();
                prop_assert_eq!(BigInt::from(sum.0), expected);
            }
        }
        for (k, figure) in overlap(&overlaps, &files).at_least {
            if let Some(n) = figure.shown() {
                prop_assert_eq!(*n, naive.count(|m| m.count_ones() >= k));
            }
        }
        check_statistics(&naive, &statistics(&stats, &files));

        // Neither the order of rows or tables nor the run's key matters.
        for contract in contracts(2, false) {
            let mut tables = testing::tables(&contract, 1, &files);
            let one = run(&contract, &tables, None, &mut TestRng(0)).unwrap();
            let turned: Vec<Rows> = files.iter().map(|f| f.iter().rev().cloned().collect()).collect();
            tables = testing::tables(&contract, seed, &turned);
            tables.reverse();
            prop_assert_eq!(one, run(&contract, &tables, None, &mut TestRng(0)).unwrap());
        }
    }
}

fn check_statistics(naive: &Naive, found: &Statistics) {
    let Some(n) = found.count.shown() else {
        assert!(naive.all() < 2);
        return;
    };
    assert_eq!(*n, naive.all());
    for (i, moments) in found.moments.iter().enumerate() {
        let values = naive.values(i);
        let sum: BigInt = values.iter().sum();
        // The rounded mean is off by at most half a unit.
        let mean = units(moments.mean.shown().unwrap());
        let off = (&mean * *n - &sum) * 2;
        assert!(off <= BigInt::from(*n) && off >= -BigInt::from(*n));
        let float = |x: &BigInt| x.to_string().parse::<f64>().unwrap() / 1e12;
        let mean = float(&sum) / *n as f64;
        let squares: f64 = values.iter().map(|x| (float(x) - mean).powi(2)).sum();
        let variance = squares / (*n as f64 - 1.0);
        let got = moments.variance.shown().unwrap();
        assert!(
            (got - variance).abs() <= 1e-9 * variance.max(1.0),
            "{got} {variance}"
        );
    }
    let three = units("3");
    let bins = |bin: usize| {
        let values = naive.values(1);
        let of = |x: &&BigInt| usize::from(**x >= BigInt::ZERO) + usize::from(**x >= three);
        values.iter().filter(|x| of(x) == bin).count() as u64
    };
    for (bin, count) in found.histograms[0].counts.iter().enumerate() {
        if let Some(count) = count.shown() {
            assert_eq!(*count, bins(bin));
        }
    }
}
