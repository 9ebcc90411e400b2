use super::*;
use crate::compute::run;
use crate::testing::{self, NAMES, Rows, TestRng};

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
