//! What the tests share.

use std::convert::Infallible;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand_core::{TryCryptoRng, TryRng};

use crate::contract::*;
use crate::keys::TagKey;
use crate::table::{Table, TableReader};

pub const CA: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
pub const NAMES: [&str; 3] = ["ann", "bob", "cyd"];

/// Deterministic: splitmix64.
pub struct TestRng(pub u64);

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

pub struct Keys {
    pub approval_private: Vec<u8>,
    pub approval: String,
    pub answer: String,
}

pub static KEYS: LazyLock<Vec<Keys>> = LazyLock::new(|| {
    let keys = |_| {
        let ec = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let ec_public = AsDer::<PublicKeyX509Der<'_>>::as_der(ec.public_key()).unwrap();
        let rsa = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let rsa = AsDer::<PublicKeyX509Der<'_>>::as_der(&rsa.public_key()).unwrap();
        Keys {
            approval: STANDARD.encode(ec_public.as_ref()),
            approval_private: ec.to_pkcs8v1().unwrap().as_ref().to_vec(),
            answer: STANDARD.encode(rsa.as_ref()),
        }
    };
    (0..4).map(keys).collect()
});

pub fn party(index: usize) -> Party {
    let column = |name: &str, role| Column {
        name: name.to_owned(),
        role,
    };
    Party {
        answer_key: KEYS[index].answer.clone(),
        approval_key: KEYS[index].approval.clone(),
        columns: vec![column("email", Role::Key), column("amount", Role::Value)],
        kms_ca: CA.to_owned(),
        kms_endpoint: format!("kms.{}.example:8443", NAMES[index]),
        kms_key: format!("arn:aws:kms:eu-central-1:00000000000{index}:key/1-{index}"),
        name: NAMES[index].to_owned(),
        outputs: vec![Output::IntersectionSize, Output::Sums],
        platform_root: "ab".repeat(32),
        runs: 1,
    }
}

pub fn terms() -> Terms {
    Terms {
        cohorts: Cohorts {
            minimum: 5,
            withhold_complements: false,
        },
        computation: Computation::Intersection {},
        expires: "2030-01-31T00:00:00Z".to_owned(),
        format: FORMAT.to_owned(),
        image: Image {
            pcr0: "01".repeat(48),
            pcr1: "02".repeat(48),
            pcr2: "03".repeat(48),
            pcr8: None,
        },
        nonce: "0f".repeat(32),
        parties: (0..3).map(party).collect(),
        privacy: None,
    }
}

pub fn contract(change: impl FnOnce(&mut Terms)) -> Contract {
    let mut terms = terms();
    change(&mut terms);
    Contract::from_terms(terms).unwrap()
}

/// Everybody may see these.
pub fn seen(terms: &mut Terms, outputs: &[Output]) {
    for party in &mut terms.parties {
        party.outputs = outputs.to_vec();
    }
}

pub fn statistics(terms: &mut Terms) {
    terms.computation = Computation::Statistics {
        histograms: vec![Histogram {
            column: "amount".to_owned(),
            edges: [0, 3].map(crate::decimal::Decimal::from_integer).to_vec(),
            party: "bob".to_owned(),
        }],
        regression: None,
    };
    seen(terms, &[Output::Count, Output::Moments, Output::Histograms]);
}

/// Ann's amount by the others'.
pub fn regression(terms: &mut Terms) {
    let [ann, bob, cyd] = NAMES.map(|party| ColumnRef {
        column: "amount".to_owned(),
        party: party.to_owned(),
    });
    terms.computation = Computation::Statistics {
        histograms: vec![],
        regression: Some(Regression {
            on: vec![bob, cyd],
            target: ann,
        }),
    };
    seen(terms, &[Output::Regression]);
}

/// A key and an amount.
pub type Rows = Vec<(String, String)>;

pub fn table(contract: &Contract, tags: &TagKey, party: &str, rows: &Rows) -> Table {
    let rows = rows.iter();
    let rows: String = rows
        .map(|(key, amount)| format!("{key},{amount}\n"))
        .collect();
    table_of_csv(contract, tags, party, &format!("email,amount\n{rows}"))
}

fn table_of_csv(contract: &Contract, tags: &TagKey, party: &str, csv: &str) -> Table {
    let mut reader = TableReader::new(contract, party, tags, 1 << 20, None).unwrap();
    reader.feed(csv.as_bytes()).unwrap();
    reader.finish().unwrap()
}

/// One table for each party of the contract.
pub fn tables(contract: &Contract, seed: u64, files: &[Rows]) -> Vec<Table> {
    let tags = TagKey::generate(&mut TestRng(seed)).unwrap();
    let parties = contract.parties().iter().zip(files);
    parties
        .map(|(party, rows)| table(contract, &tags, &party.name, rows))
        .collect()
}

/// One table for each party of the contract, of its columns' names and what each key has in them.
pub fn tables_of_columns(contract: &Contract, files: &[Vec<(String, Vec<i64>)>]) -> Vec<Table> {
    let tags = TagKey::generate(&mut TestRng(1)).unwrap();
    let csv = |party: &Party, rows: &Vec<(String, Vec<i64>)>| {
        let mut csv = std::iter::once("email")
            .chain(party.values())
            .collect::<Vec<_>>()
            .join(",");
        for (key, values) in rows {
            csv += &format!("\n{key}");
            values.iter().for_each(|value| csv += &format!(",{value}"));
        }
        csv + "\n"
    };
    let parties = contract.parties().iter().zip(files);
    parties
        .map(|(party, rows)| table_of_csv(contract, &tags, &party.name, &csv(party, rows)))
        .collect()
}
