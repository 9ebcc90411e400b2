//! The joint analysis as its owners run it on files of their own, compared with a plain
//! computation, and every refusal with the rule that it must be refused by.

mod joined;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use joined::{Numbers, Plain, floats, generate, mean, products, write};

fn xtask(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["demo", "mpc"]).args(arguments);
    command
        .env("ANCHORHOLD_BINS", xtask::stage::bins())
        .output()
        .unwrap()
}

type Case = (&'static str, &'static str);

const PRIOR_RELEASES: &str = "anchorhold:RecipientAttestation:PriorReleases";

/// Every case of the demo up to the second run, and the rule by which it must be refused.
const BEFORE: &[Case] = &[
    (
        "a contract with a smaller cohort than a party demands",
        "offer.demand",
    ),
    ("one party missing", "approval.missing"),
    (
        "a parameter changed after approval: the minimum cohort",
        "approval.other-contract",
    ),
    (
        "the host swaps two parties' files",
        "approval.other-message",
    ),
    ("the host drops one party's file", "approval.no-message"),
    (
        "the host runs it twice, beyond the budget of one run",
        PRIOR_RELEASES,
    ),
];

/// Those after it.
const AFTER: &[Case] = &[
    (
        "a party's file and approval replayed under another contract",
        "approval.other-contract",
    ),
    (
        "a contract with somebody else's keys in a party's place",
        "offer.differs",
    ),
    (
        "a party's file under a contract that the others wrote and signed for it",
        "records.context.mismatch",
    ),
    (
        "a party takes the contract out of its key's policy between approval and run",
        "kms.AccessDeniedException",
    ),
    (
        "a party disables its key between approval and run",
        "kms.DisabledException",
    ),
    (
        "a party has its key deleted between approval and run",
        "kms.KMSInvalidStateException",
    ),
    (
        "a party reviews a different image: one byte changed in the application",
        "image.pcr",
    ),
    ("a different image runs the contract", "image.pcr0"),
    (
        "a different image with a contract about itself, keys bound to another",
        "anchorhold:RecipientAttestation:UserData",
    ),
    (
        "a different image with a contract about itself, a key bound to that contract",
        "kms:RecipientAttestation:PCR0",
    ),
];

/// Those of a signed image.
const SIGNED: &[Case] = &[
    (
        "a party reviews the image signed by somebody else",
        "image.pcr",
    ),
    (
        "the image signed by somebody else runs the contract",
        "image.pcr8",
    ),
    (
        "the image signed by somebody else, a key bound to the signer",
        "kms:RecipientAttestation:PCR8",
    ),
];

/// Runs the demo and reads the one object that it prints.
fn shown(arguments: &[&str]) -> Value {
    let mut all = vec!["--json", "--no-install"];
    all.extend(arguments);
    let output = xtask(&all);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(stdout.lines().count(), 1, "one object and nothing else");
    serde_json::from_str(&stdout).unwrap()
}

fn assert_refused(shown: &Value, expected: &[(String, &str)]) {
    let refusals = shown["refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), expected.len(), "{refusals:?}");
    for (refusal, (case, rule)) in refusals.iter().zip(expected) {
        assert_eq!(refusal["case"], *case);
        assert_eq!(refusal["refused"], true, "{case}");
        assert_eq!(refusal["rule"], *rule, "{case}");
    }
}

fn named(cases: &[Case]) -> Vec<(String, &'static str)> {
    let cases = cases.iter();
    cases
        .map(|(case, rule)| ((*case).to_owned(), *rule))
        .collect()
}

/// Each party was answered by itself, and its document verified.
fn assert_parties<'a>(answered: &Value, names: impl Iterator<Item = &'a str>) {
    let parties = answered["parties"].as_object().unwrap();
    assert!(parties.keys().eq(names));
    let mut hashes = BTreeSet::new();
    for party in parties.values() {
        assert_eq!(party["document_verified"], true);
        let hash = party["answer_sha384"].as_str().unwrap();
        assert!(hash.len() == 96 && hashes.insert(hash));
    }
}

fn assert_close(got: &Value, expected: f64) {
    let got = match got {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    };
    let off = (got - expected).abs() / expected.abs().max(1e-3);
    assert!(off < 1e-9, "{got} is not {expected}");
}

/// Where the bins begin, in units; nothing is as large as the last.
const EDGES: [i64; 4] = [-4000, 0, 4000, 1_000_000];
/// The largest for which the regression is shown: the largest leverage of a key in these files is
/// below 1/12.
const MIN_COHORT: usize = 12;

/// The statistics without noise: exact, and no small bin can be had by subtraction.
fn assert_statistics(found: &Value, plain: &Plain) {
    assert_eq!(found["count"], plain.size);
    let columns = |of: &Value, name: &str| {
        assert_eq!(
            (&of["party"], &of["column"]),
            (&name.into(), &"balance".into())
        )
    };
    for (place, (name, cents)) in plain.values.iter().enumerate() {
        let values = floats(cents);
        let moments = &found["moments"][place];
        columns(moments, name);
        assert_close(&moments["mean"], mean(&values));
        let variance = products(&values, &values) / (values.len() as f64 - 1.0);
        assert_close(&moments["variance"], variance);

        let histogram = &found["histograms"][place];
        columns(histogram, name);
        let bin = |cents: &i64| EDGES.iter().filter(|edge| **edge * 100 <= *cents).count();
        let counts = histogram["counts"].as_array().unwrap();
        assert_eq!(counts.len(), EDGES.len() + 1);
        let mut withheld = 0;
        for (place, count) in counts.iter().enumerate() {
            let exact = cents.iter().filter(|cents| bin(cents) == place).count();
            match count.as_u64() {
                Some(shown) => assert!(shown as usize == exact && exact >= MIN_COHORT),
                None => withheld += exact,
            }
        }
        // The last bin is empty, so that another has to be withheld with it.
        assert!(counts[EDGES.len()].is_null());
        assert!(counts.iter().any(Value::is_u64) && withheld >= MIN_COHORT);
    }
    let [x, y] = ["north", "east"].map(|name| floats(&plain.values[name]));
    let slope = products(&x, &y) / products(&x, &x);
    let fit = &found["regression"];
    assert_close(&fit["coefficients"][0], slope);
    assert_close(&fit["intercept"], mean(&y) - slope * mean(&x));
    let explained = products(&x, &y).powi(2) / products(&x, &x) / products(&y, &y);
    assert_close(&fit["r_squared"], explained);
}

/// Noise: ε 10 among three figures, so 0.3 of scale for a count, and 3/10 of the bounds for a sum.
/// More than 50 scales off is less likely than 2^-70.
fn assert_noisy_intersection(found: &Value, plain: &Plain) {
    let declared = json!({"delta": "0", "epsilon": "10", "mechanism": "laplace", "queries": 3});
    assert_eq!(found["privacy"], declared);
    let size = found["intersection_size"].as_u64().unwrap();
    assert!(size.abs_diff(plain.size as u64) <= 15, "{size}");
    for (name, cents) in &plain.values {
        let cut = cents
            .iter()
            .map(|c| c.clamp(&-800_000, &800_000))
            .sum::<i64>() as f64
            / 100.0;
        let sum: f64 = found["sums"][name].as_str().unwrap().parse().unwrap();
        assert!((sum - cut).abs() <= 8000.0 * 0.3 * 51.0, "{sum} for {cut}");
        // Sums are on a grid of a thousandth of the bound.
        assert_eq!(sum % 8.0, 0.0);
    }
}

fn assert_noisy_statistics(found: &Value, plain: &Plain) {
    let declared =
        json!({"delta": "0.00001", "epsilon": "10", "mechanism": "gaussian", "queries": 5});
    assert_eq!(found["privacy"], declared);
    // σ is about 2.
    let count = found["count"].as_u64().unwrap();
    assert!(count.abs_diff(plain.size as u64) <= 60, "{count}");
    assert!(found.get("regression").is_none());
    for moments in found["moments"].as_array().unwrap() {
        assert!(moments["mean"].is_string() && moments["variance"].is_null());
    }
}

#[test]
fn microvm_demo_mpc_on_own_files_is_exact_and_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(7);
    let mut files = BTreeMap::new();
    // The order of the arguments is not that of the names, and one file has nothing to sum up.
    for (name, values) in [("north", true), ("east", true), ("hub-1", false)] {
        files.insert(name, generate(&mut numbers, values));
    }
    let plain = Plain::of(&files);
    assert!(plain.size > 100 && plain.values.len() == 2);
    let mut arguments = write(dir.path(), &files, &mut numbers);
    arguments.rotate_left(2);
    let edges = EDGES.map(|edge| edge.to_string()).join(",");
    let min_cohort = MIN_COHORT.to_string();
    let mut all = vec!["--min-cohort", &min_cohort, "--edges", &edges];
    all.extend(["--epsilon", "10", "--delta", "0.00001"]);
    all.extend(["--bounds", "-8000..8000"]);
    all.extend(["--join-on", "account", "--sum", "balance"]);
    let computed = [
        "intersection",
        "statistics",
        "overlap",
        "intersection+laplace",
        "statistics+gaussian",
    ];
    all.extend(computed.iter().flat_map(|compute| ["--compute", compute]));
    all.extend(arguments.iter().map(String::as_str));
    let shown = shown(&all);

    assert_eq!(shown["intersection_size"], plain.size);
    assert_eq!(shown["sums"], serde_json::to_value(plain.sums()).unwrap());
    assert_parties(&shown, files.keys().copied());
    let further = shown["further"].as_array().unwrap();
    let names: Vec<_> = further
        .iter()
        .map(|f| f["compute"].as_str().unwrap())
        .collect();
    assert_eq!(names, computed[1..]);
    let [statistics, overlap, noisy, noisy_statistics] = further.as_slice() else {
        panic!("{further:?}");
    };
    for further in further {
        assert_parties(further, files.keys().copied());
    }
    assert_statistics(statistics, &plain);
    assert_eq!(overlap["overlaps"], json!({"at_least": plain.at_least}));
    assert_noisy_intersection(noisy, &plain);
    assert_noisy_statistics(noisy_statistics, &plain);

    let mut expected = named(BEFORE);
    for what in &computed[3..] {
        for name in files.keys() {
            let case = format!("a second draw of the noise of {what}, {name}'s KMS asked first");
            expected.push((case, PRIOR_RELEASES));
        }
    }
    expected.extend(named(AFTER));
    assert_refused(&shown, &expected);
    for step in ["answer", "verify", "boot", "rebuild"] {
        assert!(shown["seconds"][step].as_f64().unwrap() > 0.0, "{step}");
    }
}

#[test]
fn microvm_demo_mpc_of_a_signed_image_with_a_small_cohort() {
    // The shipped files have 300 addresses in common, and 1100 that two or more have.
    let shown = shown(&[
        "--signed",
        "--min-cohort",
        "301",
        "--compute",
        "intersection",
        "--compute",
        "overlap",
    ]);
    let names = ["clinic", "insurer", "registry"];
    assert!(shown["intersection_size"].is_null());
    let sums = json!({"clinic": null, "insurer": null, "registry": null});
    assert_eq!(shown["sums"], sums);
    assert_parties(&shown, names.into_iter());
    let overlap = &shown["further"][0];
    assert_eq!(
        overlap["overlaps"],
        json!({"at_least": {"2": 1100, "3": null}})
    );
    let cases: Vec<_> = [BEFORE, AFTER, SIGNED].concat();
    assert_refused(&shown, &named(&cases));
    let fields: Vec<_> = shown.as_object().unwrap().keys().collect();
    let expected = [
        "further",
        "intersection_size",
        "parties",
        "refusals",
        "seconds",
        "sums",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn wrong_calls_say_what_is_wrong_before_anything_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.csv");
    fs::write(&file, "k,v\n1,2\n").unwrap();
    let input = format!("a={}", file.display());
    let other = format!("b={}", file.display());
    for (arguments, said) in [
        (
            vec!["--input", "a=/nowhere/a.csv", "--input", "b=x"],
            "cannot read",
        ),
        (vec!["--input", "no-file"], "NAME=FILE"),
        (vec!["--input", "A b=c"], "[a-z0-9-]"),
        (vec!["--input", &input], "2 to 16"),
        (vec!["--input", &input, "--input", &input], "twice"),
        (vec!["--input", &input, "--input", &other], "\"email\" once"),
        (
            vec!["--input", &input, "--input", &other, "--join-on", "k"],
            "--sum",
        ),
        (vec!["--min-cohort", "1"], "--min-cohort"),
        (vec!["--compute", "average"], "got \"average\""),
        (vec!["--compute", "overlap+dice"], "laplace or gaussian"),
        (
            vec!["--compute", "overlap", "--compute", "overlap"],
            "overlap twice",
        ),
        (vec!["--bounds", "5"], "LOWER..UPPER"),
        (vec!["--edges", "1,x"], "decimal number"),
    ] {
        let output = xtask(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let quiet = output.stdout.is_empty();
        assert!(!output.status.success() && quiet, "{arguments:?}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
