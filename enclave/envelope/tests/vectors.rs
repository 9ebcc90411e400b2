//! The vector files of `vectors/`: what the Python SDK made, and what became of it, over both
//! implementations of the primitives. `make_vectors.py` writes them.

mod common;

use std::collections::HashMap;
use std::path::Path;

use anchorhold_envelope::{ContextRule, DataKey, EncryptionContext};
use common::{PROVIDERS, open_with};

struct Vector {
    name: String,
    fields: HashMap<String, String>,
    context: EncryptionContext,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        assert!(
            lines.next().unwrap().starts_with("# "),
            "a vector says what it shows"
        );
        let pairs: Vec<(&str, &str)> = lines
            .map(|line| {
                line.split_once(": ")
                    .unwrap_or((line.trim_end_matches(':'), ""))
            })
            .collect();
        let context = pairs.iter().filter(|(field, _)| *field == "context");
        let context = context.map(|(_, pair)| pair.split_once('=').unwrap());
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            context: EncryptionContext::from_pairs(context).unwrap(),
            fields: pairs
                .iter()
                .map(|(field, value)| ((*field).into(), (*value).into()))
                .collect(),
        }
    }

    fn bytes(&self, field: &str) -> Vec<u8> {
        hex::decode(self.fields[field].trim()).unwrap()
    }
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| Vector::read(path)).collect()
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let vectors = vectors();
    for provider in PROVIDERS {
        for vector in &vectors {
            let key = DataKey::from_bytes(&vector.bytes("data-key")).unwrap();
            let rule = ContextRule::Exactly(vector.context.clone());
            let opening = open_with(provider, &vector.bytes("message"), &key, &rule);
            let name = format!("{} over {}", vector.name, provider.name());
            match vector.fields["expect"].as_str() {
                "ok" => {
                    let verified = opening
                        .outcome
                        .unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(opening.seen, vector.bytes("plaintext"), "{name}");
                    assert_eq!(verified.plaintext_length(), opening.seen.len() as u64);
                }
                rule => assert_eq!(opening.rule(), rule, "{name}"),
            }
        }
    }
}

#[test]
fn most_vectors_are_refusals() {
    let vectors = vectors();
    let good = vectors
        .iter()
        .filter(|vector| vector.fields["expect"] == "ok")
        .count();
    assert!(good >= 18, "{good} vectors that open");
    assert!(
        vectors.len() - good >= 36,
        "{} vectors that are refused",
        vectors.len() - good
    );
}
