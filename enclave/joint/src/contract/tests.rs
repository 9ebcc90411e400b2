use super::*;
use crate::decimal::Decimal;
use crate::testing::{self, seen, statistics, terms};
use proptest::prelude::*;

fn rule(change: impl FnOnce(&mut Terms)) -> &'static str {
    let mut terms = terms();
    change(&mut terms);
    // Not put in order, so that the order is checked too.
    Contract::checked(terms).unwrap_err().rule()
}

#[test]
fn terms_that_are_refused() {
    assert_eq!(
        rule(|t| t.format = "anchorhold-joint-contract/2".into()),
        "contract.format"
    );
    assert_eq!(rule(|t| t.parties.truncate(1)), "contract.parties");
    assert_eq!(
        rule(|t| t.parties = vec![t.parties[0].clone(); 17]),
        "contract.parties"
    );
    for minimum in [0, 1] {
        assert_eq!(rule(|t| t.cohorts.minimum = minimum), "contract.cohorts");
    }
    for expires in [
        "",
        "2030-01-31",
        "2030-01-31T00:00:00+00:00",
        "2030-01-31T00:00:00.5Z",
        "2030-13-01T00:00:00Z",
    ] {
        assert_eq!(
            rule(|t| t.expires = expires.into()),
            "contract.expires",
            "{expires}"
        );
    }
    for nonce in ["0f".repeat(31), "0F".repeat(32), "0g".repeat(32)] {
        assert_eq!(rule(|t| t.nonce = nonce), "contract.nonce");
    }
    assert_eq!(rule(|t| t.image.pcr0 = "00".repeat(48)), "contract.image");
    assert_eq!(rule(|t| t.image.pcr2 = "01".repeat(32)), "contract.image");
    assert_eq!(
        rule(|t| t.image.pcr8 = Some(String::new())),
        "contract.image"
    );
}

#[test]
fn parties_that_are_refused() {
    for name in ["", "Ann", "a b", &"a".repeat(33)] {
        assert_eq!(
            rule(|t| t.parties[0].name = name.into()),
            "contract.party.name"
        );
    }
    assert_eq!(rule(|t| t.parties.swap(0, 1)), "contract.party.order");
    assert_eq!(
        rule(|t| t.parties[1].name = "ann".into()),
        "contract.party.order"
    );
    for arn in [
        "",
        "arn:aws:kms:eu:1:key/x",
        "arn:aws:s3:eu:000000000000:key/x",
        "arn:aws:kms:eu:000000000000:alias/x",
    ] {
        assert_eq!(
            rule(|t| t.parties[0].kms_key = arn.into()),
            "contract.party.kms-key"
        );
    }
    for host in [
        "",
        "A.example",
        "a..b",
        "a:443",
        "a:0",
        "a:08",
        "a:70000",
        "https://a",
        "-a",
    ] {
        assert_eq!(
            rule(|t| t.parties[0].kms_endpoint = host.into()),
            "contract.party.kms-endpoint",
            "{host}"
        );
    }
    for ca in ["", "MAMCAQE=", &testing::CA.repeat(2)] {
        assert_eq!(
            rule(|t| t.parties[0].kms_ca = ca.into()),
            "contract.party.kms-ca"
        );
    }
    assert_eq!(
        rule(|t| t.parties[0].platform_root = "ab".into()),
        "contract.party.platform-root"
    );
    assert_eq!(rule(|t| t.parties[0].runs = 0), "contract.party.runs");
    assert_eq!(
        rule(|t| t.parties[0].outputs.reverse()),
        "contract.party.outputs"
    );
    assert_eq!(
        rule(|t| t.parties[0].columns.truncate(0)),
        "contract.party.columns"
    );
    assert_eq!(
        rule(|t| t.parties[0].columns[0].role = Role::Value),
        "contract.party.columns"
    );
    assert_eq!(
        rule(|t| t.parties[0].columns[1].role = Role::Key),
        "contract.party.columns"
    );
    assert_eq!(
        rule(|t| t.parties[0].columns[1].name = "email".into()),
        "contract.party.columns"
    );
    let nine = |t: &mut Terms| {
        let value = |i| Column {
            name: format!("v{i}"),
            role: Role::Value,
        };
        t.parties[0].columns.extend((0..8).map(value));
    };
    assert_eq!(rule(nine), "contract.party.columns");
}

#[test]
fn keys_that_are_refused() {
    for key in ["", "AAAA", "!"] {
        assert_eq!(
            rule(|t| t.parties[0].approval_key = key.into()),
            "contract.party.approval-key"
        );
        assert_eq!(
            rule(|t| t.parties[0].answer_key = key.into()),
            "contract.party.answer-key"
        );
    }
    let swapped = |t: &mut Terms| t.parties[0].approval_key = t.parties[0].answer_key.clone();
    assert_eq!(rule(swapped), "contract.party.approval-key");
    let swapped = |t: &mut Terms| t.parties[0].answer_key = t.parties[0].approval_key.clone();
    assert_eq!(rule(swapped), "contract.party.answer-key");
    // A point beside the curve.
    let beside = |t: &mut Terms| {
        let key = &mut t.parties[0].approval_key;
        key.replace_range(
            150..154,
            if &key[150..154] == "AAAA" {
                "BBBB"
            } else {
                "AAAA"
            },
        );
    };
    assert_eq!(rule(beside), "contract.party.approval-key");
    let same: [(fn(&mut Terms), _); 3] = [
        (
            |t| t.parties[1].approval_key = t.parties[0].approval_key.clone(),
            "contract.party.approval-key",
        ),
        (
            |t| t.parties[1].answer_key = t.parties[0].answer_key.clone(),
            "contract.party.answer-key",
        ),
        (
            |t| t.parties[1].kms_key = t.parties[0].kms_key.clone(),
            "contract.party.kms-key",
        ),
    ];
    for (change, expected) in same {
        assert_eq!(rule(change), expected);
    }
}

fn column(party: &str) -> ColumnRef {
    ColumnRef {
        column: "amount".into(),
        party: party.into(),
    }
}

fn with(change: impl FnOnce(&mut Vec<Histogram>, &mut Option<Regression>)) -> &'static str {
    rule(|t| {
        statistics(t);
        let Computation::Statistics {
            histograms,
            regression,
        } = &mut t.computation
        else {
            panic!()
        };
        change(histograms, regression);
    })
}

#[test]
fn analyses_that_are_refused() {
    assert_eq!(with(|h, _| h[0].edges.clear()), "contract.histogram");
    assert_eq!(with(|h, _| h[0].edges.reverse()), "contract.histogram");
    assert_eq!(
        with(|h, _| h[0].column = "email".into()),
        "contract.histogram"
    );
    assert_eq!(with(|h, _| h.push(h[0].clone())), "contract.histogram");
    let regression = |on: &[&str], target| Regression {
        on: on.iter().map(|p| column(p)).collect(),
        target: column(target),
    };
    assert_eq!(
        with(|_, r| *r = Some(regression(&[], "bob"))),
        "contract.regression"
    );
    assert_eq!(
        with(|_, r| *r = Some(regression(&["bob"], "bob"))),
        "contract.regression"
    );
    assert_eq!(
        with(|_, r| *r = Some(regression(&["dan"], "bob"))),
        "contract.regression"
    );
    assert_eq!(with(|h, _| h.clear()), "contract.outputs");
    assert_eq!(rule(|t| seen(t, &[])), "contract.outputs");
    assert_eq!(rule(|t| seen(t, &[Output::Overlaps])), "contract.outputs");
    assert_eq!(
        rule(|t| t.computation = Computation::Overlap {}),
        "contract.outputs"
    );
}

#[test]
fn histograms_that_are_too_fine_to_be_judged_together() {
    let terms = |edges: [usize; 2], noise: bool| {
        let mut terms = terms();
        statistics(&mut terms);
        let mut other = terms.parties[1].columns[1].clone();
        other.name = "other".into();
        terms.parties[1].columns.push(other);
        let histogram = |column: &str, edges| Histogram {
            column: column.into(),
            edges: (0..edges).map(Decimal::from_integer).collect(),
            party: "bob".into(),
        };
        let [one, two] = edges.map(|edges| i64::try_from(edges).unwrap());
        terms.computation = Computation::Statistics {
            histograms: vec![histogram("amount", one), histogram("other", two)],
            regression: None,
        };
        let columns = testing::NAMES.map(|party| (party, "amount"));
        let bounds = columns.into_iter().chain([("bob", "other")]);
        let bounds = bounds.map(|(party, column)| Bounds {
            column: column.into(),
            lower: Decimal::ZERO,
            party: party.into(),
            upper: Decimal::from_integer(100),
        });
        terms.privacy = noise.then(|| Privacy {
            bounds: bounds.collect(),
            delta: Decimal::ZERO,
            epsilon: Decimal::from_integer(10),
            mechanism: Mechanism::Laplace,
        });
        Contract::checked(terms)
    };
    terms([63, 63], false).unwrap();
    terms([64, 64], true).unwrap();
    let error = terms([64, 63], false).unwrap_err();
    assert_eq!(error.rule(), "contract.histogram");
}

fn privacy(change: impl FnOnce(&mut Privacy)) -> Result<Contract, ContractError> {
    let bounds = testing::NAMES.map(|party| Bounds {
        column: "amount".into(),
        lower: Decimal::ZERO,
        party: party.into(),
        upper: Decimal::from_integer(100),
    });
    let mut terms = terms();
    let privacy = terms.privacy.insert(Privacy {
        bounds: bounds.into(),
        delta: Decimal::ZERO,
        epsilon: Decimal::from_integer(1),
        mechanism: Mechanism::Laplace,
    });
    change(privacy);
    Contract::checked(terms)
}

#[test]
fn privacy_that_is_refused() {
    privacy(|_| {}).unwrap();
    let changes: [fn(&mut Privacy); 9] = [
        |p| p.epsilon = Decimal::ZERO,
        |p| p.epsilon = Decimal::from_integer(21),
        |p| p.delta = Decimal::HUNDREDTH,
        |p| p.mechanism = Mechanism::Gaussian,
        |p| drop(p.bounds.pop()),
        |p| p.bounds[0].upper = Decimal::ZERO,
        |p| p.bounds[0].lower = Decimal::from_integer(1),
        |p| p.bounds[0].upper = Decimal::from_integer(1_000_000_000_001),
        |p| p.epsilon = Decimal::parse(b"0.000000000001").unwrap(),
    ];
    for change in changes {
        assert_eq!(privacy(change).unwrap_err().rule(), "contract.privacy");
    }
}

#[test]
fn documents_that_are_refused() {
    let contract = testing::contract(|_| {});
    let good = String::from_utf8(contract.canonical().to_vec()).unwrap();
    assert_eq!(Contract::parse(good.as_bytes()).unwrap(), contract);
    let rule = |text: String| Contract::parse(text.as_bytes()).unwrap_err().rule();
    assert_eq!(rule(" ".repeat(MAX_CONTRACT + 1)), "contract.size");
    assert_eq!(rule(good.replacen('{', "{\"x\":1,", 1)), "contract.json");
    assert_eq!(
        rule(good.replacen("\"runs\":1", "\"runs\":1,\"runs\":1", 1)),
        "contract.json"
    );
    assert_eq!(
        rule(good.replacen("\"runs\":1", "\"runs\":-1", 1)),
        "contract.json"
    );
    assert_eq!(rule(good.clone() + "x"), "contract.json");
    assert_eq!(rule("[".repeat(100_000)), "contract.json");
    assert_eq!(rule(good.clone() + "\n"), "contract.canonical");
    assert_eq!(rule(good.replacen(',', ", ", 1)), "contract.canonical");
    assert_eq!(
        rule(good.replacen(",\"privacy\":null", "", 1)),
        "contract.canonical"
    );
    let mut turned = terms();
    turned.parties.reverse();
    let draft = serde_json::to_vec_pretty(&turned).unwrap();
    assert_eq!(Contract::from_draft(&draft).unwrap(), contract);
    assert_eq!(
        Contract::parse(&serde_json::to_vec(&turned).unwrap())
            .unwrap_err()
            .rule(),
        "contract.party.order"
    );
}

#[test]
fn a_decimal_has_one_spelling() {
    let contract = testing::contract(statistics);
    let good = String::from_utf8(contract.canonical().to_vec()).unwrap();
    assert!(good.contains("[\"0\",\"3\"]"));
    let other = good.replace("[\"0\",\"3\"]", "[\"0\",\"3.0\"]");
    assert_eq!(
        Contract::parse(other.as_bytes()).unwrap_err().rule(),
        "contract.canonical"
    );
}

#[test]
fn every_term_counts_in_the_hash() {
    let same = testing::contract(|_| {}).hash();
    let changes: [fn(&mut Terms); 8] = [
        |t| t.cohorts.minimum = 6,
        |t| t.cohorts.withhold_complements = true,
        |t| t.expires = "2030-01-31T00:00:01Z".into(),
        |t| t.image.pcr8 = Some("04".repeat(48)),
        |t| t.nonce = "0e".repeat(32),
        |t| drop(t.parties.pop()),
        |t| t.parties[0].runs = 2,
        |t| t.parties[0].kms_ca.push('\n'),
    ];
    for change in changes {
        assert_ne!(testing::contract(change).hash(), same);
    }
}

#[test]
fn the_release_document_names_the_contract() {
    let contract = testing::contract(|_| {});
    let cbor = contract.user_data();
    assert!(cbor.len() <= 512 && cbor.starts_with(b"\xA2\x66domain\x78\x1A"));
    assert!(cbor.ends_with(&[b"\x68contract\x58\x30".as_slice(), &contract.hash().0].concat()));
    let (host, port) = contract.parties()[0].kms_host_and_port();
    assert_eq!((host, port), ("kms.ann.example", 8443));
}

#[test]
fn it_runs_out() {
    let contract = testing::contract(|_| {});
    let end = check::expiry("2030-01-31T00:00:00Z").unwrap();
    contract
        .check_running(end - time::Duration::SECOND)
        .unwrap();
    let error = contract.check_running(end).unwrap_err();
    assert_eq!(error.rule(), "contract.expired");
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Contract::parse(&bytes).is_err());
    }

    #[test]
    fn any_other_byte_is_another_contract(at: usize, byte: u8) {
        let contract = testing::contract(statistics);
        let mut bytes = contract.canonical().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(other) = Contract::parse(&bytes) {
            prop_assert_eq!(other.canonical(), &bytes);
            prop_assert_eq!(other.hash() == contract.hash(), bytes == contract.canonical());
        }
        let _ = Contract::from_draft(&bytes);
    }
}
