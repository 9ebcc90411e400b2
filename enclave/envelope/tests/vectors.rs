//! The vector files of `vectors/`: what the Python SDK made, and what became of it, over both
//! implementations of the primitives.

mod common;

use common::PROVIDERS;
use common::vector::Vector;

fn vectors() -> Vec<Vector> {
    let mut paths: Vec<_> = std::fs::read_dir(common::vector::folder())
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
            let opening = vector.open(provider, &vector.bytes("message"));
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
