//! A cache that remembers chains answers as if it did not.

mod common;

use std::num::NonZeroUsize;

use anchorhold_verifier::{ChainCache, Timestamp, TrustRoots, UnverifiedDocument};
use common::forge::{Link, chain, later, links};
use common::{NOW, genuine};

fn cache(capacity: usize) -> ChainCache {
    ChainCache::new(NonZeroUsize::new(capacity).unwrap())
}

fn rule(bytes: &[u8], roots: &TrustRoots, at: Timestamp, cache: &ChainCache) -> &'static str {
    let result = UnverifiedDocument::parse(bytes)
        .and_then(|document| document.authenticate_cached(roots, at, cache));
    result.map_or_else(|error| error.rule(), |_| "accepted")
}

#[test]
fn a_remembered_chain_is_still_checked_against_roots_and_time() {
    let (bytes, roots) = genuine();
    let cache = cache(2);
    assert!(cache.is_empty());
    assert_eq!(rule(&bytes, &roots, NOW, &cache), "accepted");
    assert_eq!(cache.len(), 1);
    assert_eq!(rule(&bytes, &roots, NOW, &cache), "accepted");
    assert_eq!(
        rule(&bytes, &TrustRoots::new(), NOW, &cache),
        "root.untrusted"
    );
    assert_eq!(
        rule(&bytes, &TrustRoots::aws_nitro_g1(), NOW, &cache),
        "root.untrusted"
    );
    assert_eq!(
        rule(&bytes, &roots, later(3 * 3_600 + 1), &cache),
        "chain.expired"
    );
    assert_eq!(
        rule(&bytes, &roots, Timestamp::from_millis(0), &cache),
        "chain.not-yet-valid"
    );
    assert_eq!(rule(&bytes, &roots, NOW, &cache), "accepted");
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_remembered_chain_vouches_for_no_signature() {
    let forged = chain(&links());
    let (cache, roots) = (cache(2), forged.roots());
    assert_eq!(rule(&forged.signed(), &roots, NOW, &cache), "accepted");
    let stranger = chain(&links());
    let bytes = stranger.sign(&forged.document());
    assert_eq!(rule(&bytes, &roots, NOW, &cache), "document.signature");
}

#[test]
fn a_remembered_chain_vouches_for_no_other() {
    let forged = chain(&links());
    let (cache, roots) = (cache(8), forged.roots());
    assert_eq!(rule(&forged.signed(), &roots, NOW, &cache), "accepted");
    let mut document = forged.document();
    document.cabundle.swap(1, 2);
    assert_eq!(
        rule(&forged.sign(&document), &roots, NOW, &cache),
        "chain.order"
    );
    // The same bytes, divided differently between the certificates.
    let mut document = forged.document();
    let moved = document.cabundle[2].remove(0);
    document.cabundle[1].push(moved);
    assert_eq!(
        rule(&forged.sign(&document), &roots, NOW, &cache),
        "chain.certificate"
    );
    let mut document = forged.document();
    document.certificate = chain(&links()).certificates[4].clone();
    assert_eq!(
        rule(&forged.sign(&document), &roots, NOW, &cache),
        "chain.path"
    );
    assert_eq!(cache.len(), 1);
}

#[test]
fn only_chains_that_validated_are_kept_and_no_more_than_fit() {
    let cache = cache(2);
    let mut wrong = links();
    wrong[4] = Link::issuer("leaf", None);
    let refused = chain(&wrong);
    assert_eq!(
        rule(&refused.signed(), &refused.roots(), NOW, &cache),
        "chain.basic-constraints"
    );
    assert!(cache.is_empty());
    let chains = [chain(&links()), chain(&links()), chain(&links())];
    for _ in 0..2 {
        for forged in &chains {
            assert_eq!(
                rule(&forged.signed(), &forged.roots(), NOW, &cache),
                "accepted"
            );
            assert!(cache.len() <= 2);
        }
    }
}
