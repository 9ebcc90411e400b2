//! An independent verifier in Python accepts what our security module signs, reads the same in it,
//! and refuses the same forgeries as ours.

mod common;

use anchorhold_document::nsm::AttestationRequest;
use anchorhold_document::{DocumentToSign, SignedDocument};
use anchorhold_verifier::{RootSha256, Timestamp};
use common::forge::{self, Forged, Link, chain, later, links};
use common::oracle::{Case, judge};
use common::{Genuine, NOW, authenticate};
use rcgen::{IsCa, PKCS_ECDSA_P256_SHA256};

fn case(name: &str, document: Vec<u8>, root: RootSha256) -> Case {
    Case {
        name: name.to_owned(),
        document,
        root,
        at: NOW,
    }
}

fn root_of(genuine: &Genuine) -> RootSha256 {
    RootSha256(genuine.module.platform().root_sha256())
}

/// What our verifier says to the oracle's question.
fn ours(case: &Case) -> Result<(), &'static str> {
    let roots = [case.root].into_iter().collect();
    authenticate(&case.document, &roots, case.at)
        .map(|_| ())
        .map_err(|error| error.rule())
}

#[test]
fn the_oracle_accepts_and_reads_what_our_module_signs() {
    let mut cases = Vec::new();
    for debug in [false, true] {
        let mut genuine = Genuine::boot(debug);
        let root = root_of(&genuine);
        cases.push(case("full", genuine.document(), root));
        let empty = genuine.document_with(AttestationRequest::default(), NOW);
        cases.push(case("empty", empty, root));
        let field = || Some(vec![0xFF; 1024]);
        let largest = AttestationRequest {
            user_data: field(),
            nonce: field(),
            public_key: field(),
        };
        cases.push(case("largest", genuine.document_with(largest, NOW), root));
        let at = later(40 * 86_400);
        let later = genuine.document_with(AttestationRequest::default(), at);
        cases.push(Case {
            name: "later".to_owned(),
            document: later,
            root,
            at,
        });
    }
    for (answer, case) in judge(&cases).iter().zip(&cases) {
        assert_eq!(answer["ok"], true, "{answer}");
        let roots = [case.root].into_iter().collect();
        let authentic = authenticate(&case.document, &roots, case.at).unwrap();
        let (document, fields) = (authentic.document(), &answer["fields"]);
        let hex = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(hex::encode);
        assert_eq!(fields["module_id"], document.module_id);
        assert_eq!(fields["timestamp"], document.timestamp_ms);
        assert_eq!(fields["nonce"], serde_json::json!(hex(&document.nonce)));
        assert_eq!(
            fields["user_data"],
            serde_json::json!(hex(&document.user_data))
        );
        assert_eq!(
            fields["public_key"],
            serde_json::json!(hex(&document.public_key))
        );
        let until = fields["valid_until"].as_u64().unwrap() * 1000;
        assert_eq!(Timestamp::from_millis(until), authentic.valid_until());
        let pcrs = fields["pcrs"].as_object().unwrap();
        assert_eq!(pcrs.len(), document.pcrs.len());
        for (index, value) in &document.pcrs {
            assert_eq!(pcrs[&index.to_string()], value.to_string());
        }
    }
}

#[test]
fn both_refuse_the_same_forgeries() {
    let mut cases = tampered();
    cases.extend(forged_chains());
    let answers = judge(&cases);
    for (answer, case) in answers.iter().zip(&cases) {
        assert_eq!(answer["ok"], false, "the oracle accepts {}", case.name);
        assert!(ours(case).is_err(), "we accept {}", case.name);
    }
    // Refusals are for different reasons, so the oracle is not simply saying no.
    let reasons: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|answer| answer["reason"].to_string())
        .collect();
    assert!(reasons.len() >= 12, "{reasons:?}");
}

#[test]
fn both_accept_the_pattern_of_the_forgeries() {
    let forged = chain(&links());
    let cases = [forged_case("pattern", &forged, forged.signed())];
    assert_eq!(judge(&cases)[0]["ok"], true);
    assert_eq!(ours(&cases[0]), Ok(()));
}

/// Genuine documents with changed bytes.
fn tampered() -> Vec<Case> {
    let mut genuine = Genuine::boot(false);
    let (bytes, root) = (genuine.document(), root_of(&genuine));
    let signed = SignedDocument::from_bytes(&bytes).unwrap();
    let with = |signature: [u8; 96]| {
        let payload = signed.payload().to_vec();
        DocumentToSign::from_payload(payload)
            .unwrap()
            .with_signature(signature)
            .to_bytes()
    };
    let mut cases = vec![
        case("trailing byte", [&bytes[..], &[0]].concat(), root),
        case("zero signature", with([0; 96]), root),
        case("other root", bytes.clone(), RootSha256::AWS_NITRO_G1),
        case(
            "algorithm ES256",
            [&bytes[..5], &[0x26], &bytes[6..]].concat(),
            root,
        ),
        case(
            "algorithm -1",
            [&bytes[..4], &[0x20], &bytes[6..]].concat(),
            root,
        ),
        case(
            "longer envelope",
            [&[0x98, 0x04], &bytes[1..]].concat(),
            root,
        ),
    ];
    for step in 0..64 {
        let at = step * bytes.len() / 64;
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (step % 8);
        cases.push(case(&format!("bit of byte {at}"), flipped, root));
        cases.push(case(
            &format!("first {at} bytes"),
            bytes[..at].to_vec(),
            root,
        ));
    }
    for (name, at) in [
        ("expired", later(3 * 3_600 + 1)),
        ("too early", Timestamp::from_millis(0)),
    ] {
        cases.push(Case {
            name: name.to_owned(),
            document: bytes.clone(),
            root,
            at,
        });
    }
    cases
}

/// Chains that are wrong in one way each, correctly signed.
fn forged_chains() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut wrong = |name: &str, change: &dyn Fn(&mut Vec<Link>)| {
        let mut links = links();
        change(&mut links);
        let forged = chain(&links);
        cases.push(forged_case(name, &forged, forged.signed()));
    };
    wrong("intermediate is no CA", &|links| {
        links[2].is_ca = IsCa::ExplicitNoCa
    });
    wrong("intermediate says nothing of CA", &|links| {
        links[2].is_ca = IsCa::NoCa
    });
    wrong("intermediate without key usage", &|links| {
        links[1].usages.clear()
    });
    wrong("leaf without key usage", &|links| links[4].usages.clear());
    wrong("leaf is a CA", &|links| {
        links[4].is_ca = Link::issuer("", Some(0)).is_ca
    });
    wrong("path too long", &|links| {
        links.insert(4, Link::issuer("more", None))
    });
    wrong("instance expired", &|links| links[3].valid = (7_200, -1));
    wrong("zonal not yet valid", &|links| links[2].valid = (-1, 600));
    wrong("P-256 intermediate", &|links| {
        links[1].algorithm = &PKCS_ECDSA_P256_SHA256
    });
    wrong("signed by another", &|links| {
        links[3].signed_by_another = true
    });

    let forged = chain(&links());
    let mut document = forged.document();
    document.cabundle.swap(1, 2);
    cases.push(forged_case(
        "bundle in another order",
        &forged,
        forged.sign(&document),
    ));
    let stranger = chain(&links());
    let signed = stranger.sign(&forged.document());
    cases.push(forged_case("signed by another leaf", &forged, signed));
    let mut document = stranger.document();
    document.cabundle[0].clone_from(&forged.certificates[0]);
    cases.push(forged_case(
        "trusted root before a foreign chain",
        &forged,
        stranger.sign(&document),
    ));
    cases.push(forged_case(
        "DER signature",
        &forged,
        with_der_signature(&forged),
    ));
    cases
}

fn forged_case(name: &str, forged: &Forged, document: Vec<u8>) -> Case {
    case(name, document, RootSha256::of_der(&forged.certificates[0]))
}

/// The pattern's document with its signature in DER.
fn with_der_signature(forged: &Forged) -> Vec<u8> {
    let document = DocumentToSign::new(&forged.document()).unwrap();
    let der = forged.sign_der(&document.to_be_signed());
    assert_eq!(forge::raw(&der).len(), 96);
    let bytes = document.with_signature([0; 96]).to_bytes();
    let head = bytes.len() - 98;
    let length = u8::try_from(der.len()).unwrap();
    [&bytes[..head], &[0x58, length], &der].concat()
}
