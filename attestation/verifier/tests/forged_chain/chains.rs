//! Which certificates, in which order, under which root.

use anchorhold_verifier::{RootSha256, TrustRoots, VerifyError};

use crate::common::forge::{self, Link, chain, links};
use crate::common::{NOW, authenticate, rule};
use crate::{broken, with};

#[test]
fn the_pattern_itself_is_accepted() {
    assert_eq!(broken(&links()), "accepted");
}

#[test]
fn a_root_that_is_not_trusted_is_refused_whatever_it_says() {
    let forged = chain(&links());
    let bytes = forged.signed();
    let got = RootSha256::of_der(&forged.certificates[0]);
    for roots in [
        TrustRoots::new(),
        TrustRoots::aws_nitro_g1(),
        chain(&links()).roots(),
    ] {
        let error = authenticate(&bytes, &roots, NOW).unwrap_err();
        assert_eq!(
            error,
            VerifyError::UntrustedRoot {
                trusted: roots.iter().collect(),
                got
            }
        );
        assert!(error.to_string().contains(&got.to_string()));
    }
}

#[test]
fn trusting_another_certificate_of_the_bundle_is_not_enough() {
    // The trusted one must come first: cabundle[0] is the root.
    let forged = chain(&links());
    for certificate in &forged.certificates[1..] {
        let roots = TrustRoots::from_iter([RootSha256::of_der(certificate)]);
        assert_eq!(rule(&forged.signed(), &roots, NOW), "root.untrusted");
    }
}

#[test]
fn a_trusted_root_put_before_a_foreign_chain_is_refused() {
    // The mistake of trusting cabundle[0] by itself: a genuine root, and a forger's chain with
    // the same names below it.
    let (genuine, forger) = (chain(&links()), chain(&links()));
    let mut document = forger.document();
    document.cabundle[0].clone_from(&genuine.certificates[0]);
    assert_eq!(
        rule(&forger.sign(&document), &genuine.roots(), NOW),
        "chain.path"
    );

    // And with genuine certificates down to each place.
    for genuine_count in 2..5 {
        let mut document = forger.document();
        let genuine_part = genuine.certificates[..genuine_count].iter().cloned();
        document
            .cabundle
            .splice(..genuine_count.min(4), genuine_part.take(4));
        assert_eq!(
            rule(&forger.sign(&document), &genuine.roots(), NOW),
            "chain.path"
        );
    }
}

#[test]
fn a_document_signed_by_another_leaf_is_refused() {
    let (one, other) = (chain(&links()), chain(&links()));
    let bytes = other.sign(&one.document());
    assert_eq!(rule(&bytes, &one.roots(), NOW), "document.signature");
}

#[test]
fn issuers_keys_do_not_sign_documents() {
    // The document names the instance certificate as its leaf.
    let forged = chain(&links()[..4]);
    assert_eq!(
        rule(&forged.signed(), &forged.roots(), NOW),
        "chain.basic-constraints"
    );
}

#[test]
fn another_order_of_the_bundle_is_refused() {
    let forged = chain(&links());
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        let mut document = forged.document();
        document.cabundle.swap(one, other);
        assert_eq!(
            rule(&forged.sign(&document), &forged.roots(), NOW),
            "chain.order"
        );
    }
    let mut document = forged.document();
    document.cabundle.reverse();
    assert_eq!(
        rule(&forged.sign(&document), &forged.roots(), NOW),
        "root.untrusted"
    );
}

#[test]
fn missing_doubled_and_superfluous_certificates_are_refused() {
    let forged = chain(&links());
    for index in 1..4 {
        let mut document = forged.document();
        document.cabundle.remove(index);
        assert_eq!(
            rule(&forged.sign(&document), &forged.roots(), NOW),
            "chain.order"
        );

        let mut document = forged.document();
        document
            .cabundle
            .insert(index, document.cabundle[index].clone());
        assert_eq!(
            rule(&forged.sign(&document), &forged.roots(), NOW),
            "chain.order"
        );
    }
    let mut document = forged.document();
    document.cabundle.insert(0, document.cabundle[0].clone());
    assert_eq!(
        rule(&forged.sign(&document), &forged.roots(), NOW),
        "chain.same-name"
    );

    let mut document = forged.document();
    document
        .cabundle
        .push(chain(&links()).certificates[1].clone());
    assert_eq!(
        rule(&forged.sign(&document), &forged.roots(), NOW),
        "chain.order"
    );

    let mut document = forged.document();
    document.cabundle.truncate(1);
    assert_eq!(
        rule(&forged.sign(&document), &forged.roots(), NOW),
        "chain.order"
    );
}

#[test]
fn a_certificate_with_the_issuers_name_but_not_its_signature_is_refused() {
    for index in 1..5 {
        assert_eq!(
            with(index, |link| link.signed_by_another = true),
            "chain.path",
            "{index}"
        );
    }
}

#[test]
fn a_root_that_names_another_issuer_is_refused() {
    let forged = chain(&links());
    let mut document = forged.document();
    document.cabundle.remove(0);
    let roots = TrustRoots::from_iter([RootSha256::of_der(&document.cabundle[0])]);
    assert_eq!(rule(&forged.sign(&document), &roots, NOW), "chain.order");
}

#[test]
fn a_longer_chain_is_accepted_where_path_lengths_allow_it() {
    let mut links = vec![Link::issuer("root", None)];
    for name in ["one", "two", "three", "four", "five"] {
        links.push(Link::issuer(name, None));
    }
    links.push(forge::Link::leaf("leaf"));
    assert_eq!(broken(&links), "accepted");
    assert_eq!(
        broken(&[Link::issuer("root", Some(0)), Link::leaf("leaf")]),
        "accepted"
    );
}

#[test]
fn two_certificates_of_one_name_are_refused() {
    // Names that lead in circles make path building a search.
    for (one, other) in [(1, 0), (2, 1), (3, 1), (4, 3), (4, 0)] {
        let mut links = links();
        links[one].name = links[other].name;
        assert_eq!(broken(&links), "chain.same-name", "{one} like {other}");
    }
}
