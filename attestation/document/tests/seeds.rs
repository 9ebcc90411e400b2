//! The messages that the fuzz target of requests and responses starts from: each kind, each option.

use std::collections::BTreeSet;
use std::path::Path;

use anchorhold_document::nsm::{AttestationRequest, DescribeNsm, ErrorCode, Request, Response};
use anchorhold_document::{Pcr, PcrIndex};

/// Holds seeds against what is made now. Those that differ are written anew, and the test fails once.
fn hold(seeds: &[(String, Vec<u8>)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/nsm_request");
    let mut stale = Vec::new();
    for (name, made) in seeds {
        let seed = folder.join(name);
        if !std::fs::read(&seed).is_ok_and(|seed| seed == *made) {
            std::fs::write(&seed, made).unwrap();
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "out of date and written anew: {stale:?}");
}

#[test]
fn every_seed_is_a_request() {
    let data = b"measured".to_vec();
    let attestation = AttestationRequest {
        user_data: Some(b"user data".to_vec()),
        nonce: Some(b"nonce".to_vec()),
        public_key: Some(b"key".to_vec()),
    };
    let seeds = [
        ("describe-nsm", Request::DescribeNsm),
        ("get-random", Request::GetRandom),
        ("describe-pcr", Request::DescribePcr { index: 0 }),
        ("extend-pcr", Request::ExtendPcr { index: 16, data }),
        ("lock-pcr", Request::LockPcr { index: 300 }),
        ("lock-pcrs", Request::LockPcrs { range: u16::MAX }),
        ("attestation", Request::Attestation(attestation)),
        (
            "attestation-bare",
            Request::Attestation(AttestationRequest::default()),
        ),
    ];
    let made = seeds.map(|(name, request)| {
        let made = request.to_cbor();
        assert_eq!(Request::from_cbor(&made), Ok(request), "{name}");
        (name.to_owned(), made)
    });
    hold(&made);
}

#[test]
fn every_seed_is_a_response() {
    let locked_pcrs: BTreeSet<_> = (0..16).map(|n| PcrIndex::new(n).unwrap()).collect();
    let description = DescribeNsm {
        version_major: 1,
        version_minor: 0,
        version_patch: 300,
        module_id: "i-0123456789abcdef0-enc0123456789abcdef".to_owned(),
        max_pcrs: 32,
        locked_pcrs,
    };
    let (lock, data) = (true, Pcr([1; 48]));
    let (random, document) = (vec![7; 256], vec![0x84; 40]);
    let mut seeds = vec![
        ("described".to_owned(), Response::DescribeNsm(description)),
        ("random".to_owned(), Response::GetRandom { random }),
        (
            "described-pcr".to_owned(),
            Response::DescribePcr { lock, data },
        ),
        ("extended-pcr".to_owned(), Response::ExtendPcr { data }),
        ("locked-pcr".to_owned(), Response::LockPcr),
        ("locked-pcrs".to_owned(), Response::LockPcrs),
        ("attested".to_owned(), Response::Attestation { document }),
    ];
    let errors = ErrorCode::ALL.map(|code| (format!("error-{code:?}"), Response::Error(code)));
    seeds.extend(errors);
    let made = seeds.into_iter().map(|(name, response)| {
        let made = response.to_cbor();
        assert_eq!(Response::from_cbor(&made), Ok(response), "{name}");
        (name, made)
    });
    hold(&made.collect::<Vec<_>>());
}
