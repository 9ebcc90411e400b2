use super::longest::FLOAT;
use super::*;
use crate::compute::run;
use crate::contract::{Column, ColumnRef, Computation, Histogram, Regression, Role, Terms};
use crate::decimal::Decimal;
use crate::keys::TagKey;
use crate::table::{REJECTIONS, TableReader};
use crate::testing::{self, NAMES, Rows, TestRng};
use proptest::prelude::*;

fn answers(contract: &Contract) -> Vec<String> {
    let rows: Rows = (0..9)
        .map(|k| (format!("k{k}"), format!("{k}.25")))
        .collect();
    let tables = testing::tables(contract, 1, &[rows.clone(), rows.clone(), rows]);
    let report = run(contract, &tables, None, &mut TestRng(0)).unwrap();
    let answer = |(name, table): (&&str, &crate::table::Table)| {
        let output = for_party(contract, name, &report, table.report()).unwrap();
        let bytes = output.to_bytes().unwrap();
        assert_eq!(PartyOutput::parse(&bytes).unwrap(), output);
        String::from_utf8(bytes).unwrap()
    };
    assert!(for_party(contract, "dan", &report, &RowReport::default()).is_none());
    NAMES.iter().zip(&tables).map(answer).collect()
}

#[test]
fn nobody_sees_more_than_the_contract_says() {
    let contract = testing::contract(|t| {
        t.parties[1].outputs = vec![Output::OwnSums];
        t.parties[2].outputs.clear();
    });
    let answers = answers(&contract);
    let hash = contract.hash();
    let rows = r#""rows":{"counts":{"joined":9,"read":9,"rejected":0,"without_key":0},"first_rejected":[],"rejected_by_rule":{}}"#;
    let head = format!(r#"{{"contract_sha384":"{hash}","format":"anchorhold-joint-output/1","#);
    let sum = r#"{"amount":"38.25"}"#;
    assert_eq!(
        answers[0],
        format!(
            r#"{head}"intersection_size":9,"party":"ann",{rows},"sums":{{"ann":{sum},"bob":{sum},"cyd":{sum}}}}}"#
        )
    );
    assert_eq!(
        answers[1],
        format!(r#"{head}"party":"bob",{rows},"sums":{{"bob":{sum}}}}}"#)
    );
    assert_eq!(answers[2], format!(r#"{head}"party":"cyd",{rows}}}"#));
}

#[test]
fn what_is_withheld_says_so() {
    let contract = testing::contract(|t| t.cohorts.minimum = 10);
    let answer = &answers(&contract)[0];
    assert!(answer.contains(r#""intersection_size":{"suppressed":true}"#));
    assert!(answer.contains(r#""ann":{"amount":{"suppressed":true}}"#));
}

#[test]
fn a_regression_that_is_withheld_says_by_which_rule() {
    // Nine keys on one line in all files: the columns are combinations of each other.
    let contract = testing::contract(testing::regression);
    let withheld = r#""regression":{"rule":"regression.leverage","suppressed":true}"#;
    assert!(answers(&contract)[0].contains(withheld));
    let contract = testing::contract(|t| (t.cohorts.minimum = 10, testing::regression(t)).1);
    let withheld = r#""regression":{"rule":"regression.count","suppressed":true}"#;
    assert!(answers(&contract)[0].contains(withheld));
}

#[test]
fn statistics_are_read_back() {
    let contract = testing::contract(testing::statistics);
    let answer = &answers(&contract)[2];
    assert!(answer.contains(r#""count":9,"#) && answer.contains(r#""mean":"4.25""#));
    // Two bins of 3 and 6, and one of none: 6 could be had from 9 − 3, so the minimum decides.
    assert!(
        answer
            .contains(r#""counts":[{"suppressed":true},{"suppressed":true},{"suppressed":true}]"#)
    );
}

/// As much as a contract of three parties may say of statistics without noise: of each 8 columns and a
/// histogram of 65 bins, and a regression on 8 columns. What more histograms of one party say could
/// be subtracted, and would be withheld.
fn crowded(terms: &mut Terms) {
    let names: Vec<_> = (0..8).map(|i| format!("value \"{i}\"")).collect();
    for party in &mut terms.parties {
        party.columns.truncate(1);
        let values = names.iter().map(|name| Column {
            name: name.clone(),
            role: Role::Value,
        });
        party.columns.extend(values);
    }
    let refer = |party: &str, column: &String| ColumnRef {
        column: column.clone(),
        party: party.to_owned(),
    };
    let binned = |party: &'static str| {
        let edges: Vec<_> = (1..=64).map(Decimal::from_integer).collect();
        names.iter().take(1).map(move |column| Histogram {
            column: column.clone(),
            edges: edges.clone(),
            party: party.to_owned(),
        })
    };
    terms.computation = Computation::Statistics {
        histograms: ["ann", "bob", "cyd"].into_iter().flat_map(binned).collect(),
        regression: Some(Regression {
            on: names.iter().map(|column| refer("ann", column)).collect(),
            target: refer("bob", &names[0]),
        }),
    };
    terms.cohorts.minimum = 2;
    let all = [
        Output::Count,
        Output::Moments,
        Output::Histograms,
        Output::Regression,
    ];
    testing::seen(terms, &all);
}

/// What ann is told, where every party has `keys` keys, each pair of keys in a bin of its own.
fn told(contract: &Contract, keys: [u32; 3]) -> PartyOutput {
    let tags = TagKey::generate(&mut TestRng(3)).unwrap();
    let parties = contract.parties().iter().zip(keys).zip(0..);
    let tables = parties.map(|((party, keys), place)| {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let names: Vec<_> = party.columns.iter().map(|c| quoted(&c.name)).collect();
        let mut file = names.join(",");
        for key in 0..keys {
            // Another spread in every column of every party, so that there is one line.
            let spread = |column: u32| key * (8 * place + column + 3) % 97 + 1;
            let value = |column: u32| format!(",{}.{}", key / 2, spread(column));
            let values: String = (0..party.values().count() as u32).map(value).collect();
            file.push_str(&format!("\nk{key}{values}"));
        }
        let mut reader = TableReader::new(contract, &party.name, &tags, 1 << 20, None).unwrap();
        reader.feed(file.as_bytes()).unwrap();
        reader.finish().unwrap()
    });
    let tables: Vec<_> = tables.collect();
    let report = run(contract, &tables, None, &mut TestRng(4)).unwrap();
    for_party(contract, "ann", &report, tables[0].report()).unwrap()
}

#[test]
fn an_answer_is_no_longer_than_the_contract_says_it_can_be() {
    let contract = testing::contract(crowded);
    let longest = longest(&contract, "ann").unwrap();
    let shown = told(&contract, [130, 130, 130]);
    let withheld = told(&contract, [130, 130, 1]);
    let counts = |of: &PartyOutput| -> Vec<_> {
        let histograms = of.histograms.iter().flatten();
        histograms.flat_map(|h| h.counts.clone()).collect()
    };
    assert_eq!(counts(&shown), vec![Figure::Shown(2); 3 * 65]);
    assert!(
        counts(&withheld)
            .iter()
            .all(|count| count.shown().is_none())
    );
    let fit = shown.regression.as_ref().unwrap().shown();
    assert!(matches!(fit, Some(Fit { .. })), "{fit:?}");
    let [shown, withheld] = [shown, withheld].map(|output| output.to_bytes().unwrap().len());
    // What is withheld is longer than what is shown.
    assert!(withheld > shown + 3000, "{shown} {withheld}");
    assert!(shown < longest && withheld < longest);
}

#[test]
fn who_sees_less_can_be_told_less() {
    let contract = testing::contract(|terms| {
        terms.parties[0].outputs = vec![Output::IntersectionSize, Output::PairwiseSizes];
        terms.parties[0].outputs.push(Output::Sums);
        terms.parties[1].outputs = vec![Output::OwnSums];
        terms.parties[2].outputs.clear();
    });
    let [ann, bob, cyd] = NAMES.map(|name| longest(&contract, name).unwrap());
    assert!(ann > bob && bob > cyd);
    assert_eq!(longest(&contract, "dan"), None);
    // The row report is in every answer.
    assert!(cyd > 100 * r#"{"row":18446744073709551615,"rule":"row.fields"}"#.len());
}

#[test]
fn every_rule_that_rejects_a_row_is_known() {
    let contract = testing::contract(|_| {});
    let tags = TagKey::generate(&mut TestRng(1)).unwrap();
    let mut reader = TableReader::new(&contract, "ann", &tags, 1 << 20, None).unwrap();
    let rows = [
        b"email,amount".to_vec(),
        b"a,".to_vec(),
        b"a,one".to_vec(),
        format!("a,{}", "1".repeat(16)).into_bytes(),
        format!("a,0.{}", "1".repeat(13)).into_bytes(),
        b"\xFF,1".to_vec(),
        [vec![b'a'; 5000], b",1".to_vec()].concat(),
        b"a".to_vec(),
        vec![b'a'; crate::rows::MAX_ROW + 1],
    ];
    reader.feed(&rows.join(&b'\n')).unwrap();
    let table = reader.finish().unwrap();
    let rules = table.report().rejected_by_rule.keys();
    assert!(rules.eq(REJECTIONS), "{:?}", table.report());
}

proptest! {
    #[test]
    fn no_number_is_written_longer(count: u64, units: i128, bits: u64) {
        let length = |text: String| text.len();
        let json = |float: f64| length(serde_json::to_string(&float).unwrap());
        prop_assert!(count.to_string().len() <= u64::MAX.to_string().len());
        prop_assert!(length(Sum(units).to_string()) <= length(Sum(i128::MIN).to_string()));
        prop_assert!(json(f64::from_bits(bits)) <= json(FLOAT));
        prop_assert_eq!(json(FLOAT), 24);
    }
}
