use super::*;
use crate::keys::TagKey;
use crate::testing::{self, TestRng};
use proptest::prelude::*;

const HEADER: &[u8] = b"extra,amount,email\n";

fn read(limit: usize, pieces: &[&[u8]]) -> Result<Table, TableError> {
    let contract = testing::contract(|_| {});
    let tags = TagKey::generate(&mut TestRng(1)).unwrap();
    let mut reader = TableReader::new(&contract, "ann", &tags, limit, None)?;
    for piece in pieces {
        reader.feed(piece)?;
    }
    reader.finish()
}

fn rule(limit: usize, pieces: &[&[u8]]) -> &'static str {
    read(limit, pieces).unwrap_err().rule()
}

#[test]
fn what_is_no_table() {
    assert_eq!(rule(1 << 20, &[]), "csv.header");
    assert_eq!(rule(1 << 20, &[b"email\na@b\n"]), "csv.header");
    assert_eq!(rule(1 << 20, &[b"email,amount,email\n"]), "csv.header");
    assert_eq!(
        rule(1 << 20, &[HEADER, b"x,1,\"a\"b\n"]),
        "csv.text-after-quote"
    );
    assert_eq!(
        rule(1 << 20, &[HEADER, b"x,1,a\nx,2,\"b"]),
        "csv.unterminated-quote"
    );
    let contract = testing::contract(|_| {});
    let tags = TagKey::generate(&mut TestRng(1)).unwrap();
    let other = TableReader::new(&contract, "dan", &tags, 1 << 20, None).map(|_| ());
    assert_eq!(other.unwrap_err().rule(), "table.party");
}

#[test]
fn memory_is_refused_to_the_row() {
    let rows = b"x,1,a\n".repeat(10);
    assert_eq!(read(320, &[HEADER, &rows]).unwrap().rows(), 10);
    let error = read(319, &[HEADER, &rows]).unwrap_err();
    assert_eq!(error.rule(), "memory.rows");
    assert_eq!(
        error.to_string(),
        "the rows do not fit into 319 bytes: 9 did"
    );
}

#[test]
fn rows_are_rejected_by_number_and_rule() {
    let long = "y".repeat(crate::keys::MAX_VALUE + 1);
    let rows = [
        "x,1,a".to_owned(),
        "x,1".to_owned(),
        "x,1,a,b".to_owned(),
        "x,one,a".to_owned(),
        "x,,a".to_owned(),
        "x,secret, ".to_owned(),
        "x,0.1234567890123,a".to_owned(),
        "x,1234567890123456,a".to_owned(),
        format!("x,1,{long}"),
        "x,2,b".to_owned(),
    ];
    let text = rows.join("\n");
    let table = read(1 << 20, &[HEADER, text.as_bytes(), b"\nx,1,\xFF"]).unwrap();
    let report = table.report();
    let counts = RowCounts {
        joined: 2,
        read: 11,
        rejected: 8,
        without_key: 1,
    };
    assert_eq!(report.counts, counts);
    let first: Vec<_> = report
        .first_rejected
        .iter()
        .map(|r| (r.row, r.rule.as_str()))
        .collect();
    let expected = [
        (2, "row.fields"),
        (3, "row.fields"),
        (4, "decimal.syntax"),
        (5, "decimal.empty"),
        (7, "decimal.fraction-digits"),
        (8, "decimal.integer-digits"),
        (9, "key.too-long"),
        (11, "key.not-utf8"),
    ];
    assert_eq!(first, expected);
    assert_eq!(report.rejected_by_rule["row.fields"], 2);
    let told = serde_json::to_string(report).unwrap();
    assert!(!told.contains("one") && !told.contains("secret"));
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(
        prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'1'), any::<u8>()], 0..300))
    {
        if let Ok(table) = read(1 << 12, &[HEADER, &bytes]) {
            let counts = table.report().counts;
            prop_assert_eq!(counts.read, counts.joined + counts.without_key + counts.rejected);
            prop_assert_eq!(counts.joined, table.rows());
        }
    }
}
