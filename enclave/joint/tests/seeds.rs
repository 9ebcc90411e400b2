//! The contracts, approvals and files that the fuzz targets start from are what they must be.

use anchorhold_joint::approval::Approval;
use anchorhold_joint::contract::{Computation, Contract};
use anchorhold_joint::rows::{QuotingError, Row, RowReader};

/// Names and bytes of a target's seeds.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        seeds.push((name, std::fs::read(file.path()).unwrap()));
    }
    assert!(seeds.len() > 1, "{target} has seeds");
    seeds
}

#[test]
fn every_seed_of_the_contract_parser_is_a_contract_or_a_draft() {
    let mut kinds = [false; 4];
    for (name, bytes) in seeds("contract") {
        let contract = Contract::from_draft(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(Contract::parse(&bytes).is_ok(), name != "draft", "{name}");
        let terms = contract.terms();
        let kind = match terms.computation {
            Computation::Intersection {} => 0,
            Computation::Statistics { .. } => 1,
            Computation::Overlap {} => 2,
        };
        kinds[kind] = true;
        kinds[3] |= terms.privacy.is_some();
    }
    assert_eq!(kinds, [true; 4], "every computation, and noise");
}

#[test]
fn every_seed_of_the_approval_parser_is_an_approval() {
    for (name, bytes) in seeds("approval") {
        let approval = Approval::parse(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(approval.party(), name);
    }
}

#[test]
fn every_seed_of_the_row_reader_is_a_file_of_rows() {
    for (name, bytes) in seeds("joint_rows") {
        // The first byte is how large the pieces are.
        let (_, file) = bytes.split_first().unwrap();
        let mut fields = Vec::new();
        let mut found = |row: Row<'_>| {
            fields.push(row.count());
            Ok::<(), QuotingError>(())
        };
        let mut reader = RowReader::default();
        let read = reader.feed(file, &mut found);
        read.and_then(|()| reader.finish(&mut found))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(fields.len() > 2, "{name}: {fields:?}");
    }
}
