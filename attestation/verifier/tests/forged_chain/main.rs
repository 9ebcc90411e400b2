//! Chains that are wrong in one way each, under documents that are signed correctly.

#[path = "../common/mod.rs"]
mod common;

mod bytes;
mod certificates;
mod chains;

use anchorhold_verifier::{RustCrypto, UnverifiedDocument};

use common::forge::{Link, chain, links};
use common::{NOW, rule};

/// The rule that a document under these links breaks; both libraries must say the same.
fn broken(links: &[Link]) -> &'static str {
    let forged = chain(links);
    let (bytes, roots) = (forged.signed(), forged.roots());
    let parsed = UnverifiedDocument::parse(&bytes).unwrap();
    let other = parsed.authenticate_with(&roots, NOW, &RustCrypto);
    let found = rule(&bytes, &roots, NOW);
    assert_eq!(
        other.map_or_else(|error| error.rule(), |_| "accepted"),
        found
    );
    found
}

/// The rule that is broken after one link was changed.
fn with(index: usize, change: impl FnOnce(&mut Link)) -> &'static str {
    let mut links = links();
    change(&mut links[index]);
    broken(&links)
}

/// Every certificate of the chain in turn.
fn each_issuer() -> std::ops::Range<usize> {
    0..4
}
