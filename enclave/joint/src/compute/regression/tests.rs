use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;
use crate::compute::{Analysis, run};
use crate::contract::{Column, ColumnRef, Computation, Regression, Role};
use crate::reference::Naive;
use crate::testing::{self, Rows, TestRng};

type Values<'a> = dyn Fn(i64) -> i64 + 'a;

/// The smallest cohort, and how many keys all have.
const MINIMUM: i64 = 5;
const KEYS: i64 = 60;

/// Bob's amounts: nothing that the other columns have to do with.
fn amount(k: i64) -> i64 {
    1000 + k * k * 7 % 61
}

/// What ann gets for regressing bob's amounts on her columns; or her column on his amounts.
fn regressed(columns: &[&Values<'_>], turned: bool) -> Figure<Fit> {
    let names = (0..columns.len()).map(|i| format!("x{i}"));
    let names: Vec<String> = names.collect();
    let contract = testing::contract(|t| {
        let value = |name: &String| Column {
            name: name.clone(),
            role: Role::Value,
        };
        t.cohorts.minimum = u32::try_from(MINIMUM).unwrap();
        t.parties[0].columns.truncate(1);
        t.parties[0].columns.extend(names.iter().map(value));
        let of = |party: &str, column: &str| ColumnRef {
            column: column.to_owned(),
            party: party.to_owned(),
        };
        let mut on: Vec<_> = names.iter().map(|name| of("ann", name)).collect();
        let mut target = of("bob", "amount");
        if turned {
            std::mem::swap(&mut on[0], &mut target);
        }
        t.computation = Computation::Statistics {
            histograms: vec![],
            regression: Some(Regression { on, target }),
        };
        testing::seen(t, &[Output::Regression]);
    });
    let file = |values: &dyn Fn(i64) -> Vec<i64>| -> Vec<(String, Vec<i64>)> {
        (0..KEYS).map(|k| (format!("k{k}"), values(k))).collect()
    };
    let files = [
        file(&|k| columns.iter().map(|column| column(k)).collect()),
        file(&|k| vec![amount(k)]),
        file(&|_| vec![0]),
    ];
    let tables = testing::tables_of_columns(&contract, &files);
    let report = run(&contract, &tables, None, &mut TestRng(0)).unwrap();
    match report.analysis {
        Analysis::Statistics(found) => found.regression.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn is_withheld(figure: &Figure<Fit>) -> bool {
    *figure == Figure::withheld(Withheld::Leverage)
}

#[test]
fn an_indicator_of_too_few_keys_tells_nothing() {
    // Intercept and coefficient of the first would add up to bob's amount of k7.
    for ones in 1..MINIMUM {
        let indicator = move |k| i64::from((7..7 + ones).contains(&k));
        assert!(is_withheld(&regressed(&[&indicator], false)), "{ones}");
        let inverted = move |k| 1 - indicator(k);
        assert!(is_withheld(&regressed(&[&inverted], false)), "{ones}");
        let far = move |k| 1_000_000_000_000 - 3 * indicator(k);
        assert!(is_withheld(&regressed(&[&far], false)), "{ones}");
        // Slope and r² of the first would give bob's amount of k7 less his mean.
        assert!(is_withheld(&regressed(&[&indicator], true)), "{ones}");
    }
}

#[test]
fn an_indicator_of_a_cohort_tells_its_mean() {
    let ones = 7..7 + MINIMUM;
    let mean = ones.map(amount).sum::<i64>() as f64 / MINIMUM as f64;
    let indicator = |k| i64::from((7..7 + MINIMUM).contains(&k));
    for (column, one) in [
        (&indicator as &Values<'_>, 1.0),
        (&|k| 1 - indicator(k), 0.0),
    ] {
        let figure = regressed(&[column], false);
        let Some(fit) = figure.shown() else {
            panic!("{figure:?}")
        };
        let got = fit.intercept + one * fit.coefficients[0];
        assert!((got - mean).abs() < 1e-9, "{got} is not {mean}");
        assert!(regressed(&[column], true).shown().is_some());
    }
}

#[test]
fn whether_a_key_is_there_is_not_told_by_there_being_no_line() {
    // Of a key that is not in the others' files the indicator is constant over the rest.
    assert!(is_withheld(&regressed(&[&|_| 0], false)));
    assert!(is_withheld(&regressed(&[&|_| 0], true)));
    let line = |k| k * 31 % 17;
    assert!(is_withheld(&regressed(&[&line, &|k| 2 * line(k)], false)));
}

#[test]
fn indicators_of_cohorts_that_differ_in_few_keys() {
    // By themselves either would be shown; the difference of both is one key's.
    let some = |k| i64::from(k < 30);
    let one_more = |k| i64::from(k < 31);
    assert!(regressed(&[&some], false).shown().is_some());
    assert!(regressed(&[&one_more], false).shown().is_some());
    assert!(is_withheld(&regressed(&[&some, &one_more], false)));
    // One cohort is large enough, the other is not.
    let few = |k| i64::from(k > KEYS - MINIMUM);
    assert!(is_withheld(&regressed(&[&some, &few], false)));
    let others = |k| i64::from((20..50).contains(&k));
    assert!(regressed(&[&some, &others], false).shown().is_some());
    // One column by others to within a key's hair.
    let line = |k| k * 31 % 17 * 1_000_000;
    let nearly = move |k| line(k) + i64::from(k == 7);
    assert!(is_withheld(&regressed(&[&line, &nearly], false)));
}

#[test]
fn a_key_that_is_far_from_all_others_tells_nothing() {
    let outlier = |k| if k == 7 { 1_000_000_000 } else { k % 10 };
    assert!(is_withheld(&regressed(&[&outlier], false)));
    assert!(is_withheld(&regressed(&[&outlier], true)));
    let honest = |k| k * 31 % 17;
    assert!(is_withheld(&regressed(&[&honest, &outlier], false)));
}

#[test]
fn ordinary_columns_have_a_fit() {
    let (a, b) = (|k| k * 31 % 17, |k| k * k % 13);
    assert!(regressed(&[&a], false).shown().is_some());
    assert!(regressed(&[&a, &b], false).shown().is_some());
    // A column that follows another one closely.
    let near = move |k| 100 * a(k) + k % 7;
    assert!(regressed(&[&a, &near], false).shown().is_some());
}

#[test]
fn an_exact_plane() {
    // y = 3 a - 2 b + 7, far from the origin.
    let mut products = Products::new(3);
    for i in 0..50 {
        let (a, b) = (1_000_000_000 + i, (i * i) % 17);
        products.add(&[a * ONE, b * ONE, (3 * a - 2 * b + 7) * ONE]);
    }
    let fit = products.fit().unwrap();
    let [a, b] = fit.coefficients[..] else {
        panic!("{fit:?}")
    };
    assert!((a - 3.0).abs() < 1e-12 && (b + 2.0).abs() < 1e-12);
    assert!((fit.intercept - 7.0).abs() < 1e-3 && (fit.r_squared - 1.0).abs() < 1e-12);
}

/// `(n · leverage - 1) · D` of each key among two columns, and `D`, exactly: D is the determinant
/// of `n² · cov`.
fn exact(columns: [&[BigInt]; 2]) -> (Vec<BigInt>, BigInt) {
    let n = columns[0].len();
    let off = columns.map(|values| {
        let sum: BigInt = values.iter().sum();
        values.iter().map(|x| x * n - &sum).collect::<Vec<_>>()
    });
    // Each is n times as large.
    let times = |i: usize, j: usize| -> BigInt {
        let products: BigInt = off[i].iter().zip(&off[j]).map(|(x, y)| x * y).sum();
        products / n
    };
    let (a, b, c) = (times(0, 0), times(0, 1), times(1, 1));
    let keys = off[0].iter().zip(&off[1]);
    let keys = keys.map(|(x, y)| &c * x * x - 2 * &b * x * y + &a * y * y);
    (keys.collect(), &a * &c - &b * &b)
}

fn files() -> impl Strategy<Value = Vec<Rows>> {
    // Ones and zeros, small numbers, and now and then one that is far off.
    let value = prop_oneof![8 => 0_i32..2, 8 => -9_i32..9, 1 => -60_i32..60];
    let keys = proptest::collection::vec([value.clone(), value.clone(), value], 6..60);
    keys.prop_map(|keys| {
        let rows = |party: usize| {
            let rows = keys.iter().enumerate();
            rows.map(move |(k, values)| (format!("k{k}"), values[party].to_string()))
        };
        (0..3).map(|party| rows(party).collect()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A fit is shown where no leverage is above 1/m, and none where one is 1/(m - 1) or more.
    #[test]
    fn as_the_exact_leverages(files in files(), minimum in 2_u32..6) {
        let naive = Naive::of(&files);
        let columns = [0, 1, 2].map(|party| naive.values(party));
        let contract = testing::contract(|t| (t.cohorts.minimum = minimum, testing::regression(t)).1);
        let tables = testing::tables(&contract, 1, &files);
        let report = run(&contract, &tables, None, &mut TestRng(0)).unwrap();
        let Analysis::Statistics(found) = report.analysis else { panic!() };
        let n = columns[0].len();
        let found = found.regression.unwrap();
        if n < 3 + minimum as usize {
            prop_assert_eq!(found, Figure::withheld(Withheld::Freedom));
            return Ok(());
        }
        let (mut within, mut below) = (true, true);
        for [i, j] in [[0, 1], [0, 2], [1, 2]] {
            let (keys, determinant) = exact([&columns[i], &columns[j]]);
            let zero = determinant == BigInt::ZERO;
            // h = (1 + key / D) / n, at most 1/m or below 1/(m - 1).
            within &= !zero && keys.iter().all(|key| (key + &determinant) * minimum <= &determinant * n);
            below &= !zero && keys.iter().all(|key| (key + &determinant) * (minimum - 1) < &determinant * n);
        }
        prop_assert!(found.shown().is_some() || !within);
        prop_assert!(found.shown().is_none() || below);
    }
}
