//! NSM messages: what is refused, and that ours and AWS's crate understand each other.

use std::collections::BTreeSet;

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use anchorhold_document::nsm::{AttestationRequest, DescribeNsm, ErrorCode, Request, Response};
use anchorhold_document::{Pcr, PcrIndex};
use aws_nitro_enclaves_nsm_api::api as aws;
use ciborium::Value;
use proptest::prelude::*;

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(
        entries
            .into_iter()
            .map(|(key, value)| (Value::from(key), value))
            .collect(),
    )
}

fn message(name: &str, fields: Vec<(&str, Value)>) -> Vec<u8> {
    encode(&map(vec![(name, map(fields))]))
}

fn request_rule(bytes: &[u8]) -> &'static str {
    Request::from_cbor(bytes).unwrap_err().rule()
}

fn response_rule(bytes: &[u8]) -> &'static str {
    Response::from_cbor(bytes).unwrap_err().rule()
}

fn requests() -> Vec<Request> {
    let attestation = |user_data, nonce, public_key| {
        Request::Attestation(AttestationRequest {
            user_data,
            nonce,
            public_key,
        })
    };
    vec![
        Request::DescribeNsm,
        Request::GetRandom,
        Request::DescribePcr { index: 0 },
        Request::DescribePcr { index: u16::MAX },
        Request::ExtendPcr {
            index: 16,
            data: b"measured".to_vec(),
        },
        Request::ExtendPcr {
            index: 300,
            data: vec![],
        },
        Request::LockPcr { index: 24 },
        Request::LockPcrs { range: 32 },
        attestation(None, None, None),
        attestation(
            Some(vec![1; 1024]),
            Some(vec![2; 1024]),
            Some(vec![3; 1024]),
        ),
        attestation(Some(vec![]), None, Some(vec![4])),
    ]
}

fn responses() -> Vec<Response> {
    let locked = |range| {
        (0..range)
            .map(|n| PcrIndex::new(n).unwrap())
            .collect::<BTreeSet<_>>()
    };
    let describe = |locked_pcrs| {
        Response::DescribeNsm(DescribeNsm {
            version_major: 1,
            version_minor: 0,
            version_patch: 300,
            module_id: "i-0123456789abcdef0-enc0123456789abcdef".to_owned(),
            max_pcrs: 32,
            locked_pcrs,
        })
    };
    let mut responses = vec![
        describe(locked(16)),
        describe(locked(0)),
        Response::GetRandom {
            random: vec![7; 256],
        },
        Response::DescribePcr {
            lock: true,
            data: Pcr([1; 48]),
        },
        Response::DescribePcr {
            lock: false,
            data: Pcr::ZERO,
        },
        Response::ExtendPcr { data: Pcr([2; 48]) },
        Response::LockPcr,
        Response::LockPcrs,
        Response::Attestation {
            document: vec![0x84; 5000],
        },
    ];
    responses.extend(ErrorCode::ALL.map(Response::Error));
    responses
}

#[test]
fn requests_are_the_bytes_of_awss_crate() {
    use serde_bytes_of as bytes;
    let theirs = [
        aws::Request::DescribeNSM,
        aws::Request::GetRandom,
        aws::Request::DescribePCR { index: 0 },
        aws::Request::DescribePCR { index: u16::MAX },
        aws::Request::ExtendPCR {
            index: 16,
            data: b"measured".to_vec(),
        },
        aws::Request::ExtendPCR {
            index: 300,
            data: vec![],
        },
        aws::Request::LockPCR { index: 24 },
        aws::Request::LockPCRs { range: 32 },
        aws::Request::Attestation {
            user_data: None,
            nonce: None,
            public_key: None,
        },
        aws::Request::Attestation {
            user_data: bytes(1, 1024),
            nonce: bytes(2, 1024),
            public_key: bytes(3, 1024),
        },
        aws::Request::Attestation {
            user_data: bytes(0, 0),
            nonce: None,
            public_key: bytes(4, 1),
        },
    ];
    assert_eq!(requests().len(), theirs.len());
    for (ours, theirs) in requests().iter().zip(&theirs) {
        let mut expected = Vec::new();
        ciborium::into_writer(theirs, &mut expected).unwrap();
        assert_eq!(
            hex::encode(ours.to_cbor()),
            hex::encode(&expected),
            "{ours:?}"
        );
        assert_eq!(Request::from_cbor(&expected).as_ref(), Ok(ours));
    }
}

/// AWS's field type is `serde_bytes::ByteBuf`, which comes from a vector.
fn serde_bytes_of<B: From<Vec<u8>>>(fill: u8, length: usize) -> Option<B> {
    Some(vec![fill; length].into())
}

#[test]
fn awss_crate_reads_our_responses_and_writes_them_back_the_same() {
    for ours in responses() {
        let bytes = ours.to_cbor();
        let theirs: aws::Response = ciborium::from_reader(&bytes[..]).unwrap();
        let mut back = Vec::new();
        ciborium::into_writer(&theirs, &mut back).unwrap();
        assert_eq!(hex::encode(&back), hex::encode(&bytes), "{ours:?}");
        assert_eq!(Response::from_cbor(&back), Ok(ours));
    }
}

#[test]
fn randomness_is_the_bytes_that_the_kernels_parser_expects() {
    let bytes = Response::GetRandom {
        random: vec![7; 256],
    }
    .to_cbor();
    let expected = [
        &[0xA1, 0x69][..],
        b"GetRandom",
        &[0xA1, 0x66],
        b"random",
        &[0x59, 0x01, 0x00],
        &[7; 256],
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn unknown_names_are_refused() {
    for bytes in [
        encode(&Value::from("DescribePCR")),
        encode(&Value::from("describensm")),
        encode(&Value::from("")),
        message("DescribeNSM", vec![]),
        message("Error", vec![]),
        message("Unknown", vec![]),
    ] {
        assert_eq!(
            request_rule(&bytes),
            "nsm.unknown-name",
            "{}",
            hex::encode(&bytes)
        );
    }
    for bytes in [
        encode(&Value::from("GetRandom")),
        message("LockPCR", vec![]),
        encode(&map(vec![("Error", Value::from("Unknown"))])),
    ] {
        assert_eq!(
            response_rule(&bytes),
            "nsm.unknown-name",
            "{}",
            hex::encode(&bytes)
        );
    }
    assert_eq!(
        request_rule(&encode(&Value::from("x".repeat(33)))),
        "field.length"
    );
}

#[test]
fn requests_that_are_not_one_message_are_refused() {
    assert_eq!(request_rule(&[]), "cbor.truncated");
    assert_eq!(request_rule(&[0x00]), "cbor.type");
    assert_eq!(request_rule(&[0xF6]), "cbor.type");
    assert_eq!(request_rule(&[0x80]), "cbor.type");
    assert_eq!(request_rule(&[0xA0]), "field.length");
    assert_eq!(request_rule(&[0x1C]), "cbor.syntax");
    let index = || map(vec![("index", Value::from(0))]);
    let two = map(vec![("LockPCR", index()), ("DescribePCR", index())]);
    assert_eq!(request_rule(&encode(&two)), "field.length");
    let trailing = [Request::GetRandom.to_cbor(), vec![0]].concat();
    assert_eq!(request_rule(&trailing), "cbor.trailing-bytes");
    assert_eq!(request_rule(&vec![0; MAX_REQUEST + 1]), "input.size");
    assert_eq!(response_rule(&vec![0; MAX_RESPONSE + 1]), "input.size");
    assert_eq!(request_rule(&vec![0xA1; MAX_REQUEST]), "cbor.type");
    assert_eq!(request_rule(&vec![0x9F; MAX_REQUEST]), "cbor.type");
}

#[test]
fn fields_must_be_there_once_known_and_of_their_type() {
    let n = |value: i64| Value::from(value);
    let bytes = || Value::Bytes(vec![1]);
    for (name, fields, rule) in [
        ("LockPCR", vec![], "map.missing-key"),
        ("LockPCR", vec![("range", n(1))], "map.unknown-key"),
        (
            "LockPCR",
            vec![("index", n(1)), ("index", n(1))],
            "map.duplicate-key",
        ),
        ("LockPCR", vec![("index", n(-1))], "cbor.type"),
        ("LockPCR", vec![("index", n(65_536))], "field.range"),
        ("LockPCR", vec![("index", Value::from("1"))], "cbor.type"),
        ("LockPCRs", vec![("index", n(1))], "map.unknown-key"),
        ("DescribePCR", vec![("index", Value::Null)], "cbor.type"),
        ("ExtendPCR", vec![("index", n(16))], "map.missing-key"),
        ("ExtendPCR", vec![("data", bytes())], "map.missing-key"),
        (
            "ExtendPCR",
            vec![("index", n(16)), ("data", Value::from("x"))],
            "cbor.type",
        ),
        (
            "ExtendPCR",
            vec![("index", n(16)), ("data", Value::Null)],
            "cbor.type",
        ),
        (
            "ExtendPCR",
            vec![("data", bytes()), ("data", bytes())],
            "map.duplicate-key",
        ),
        (
            "Attestation",
            vec![("nonce", Value::from("x"))],
            "cbor.type",
        ),
        (
            "Attestation",
            vec![("nonce", bytes()), ("nonce", Value::Null)],
            "map.duplicate-key",
        ),
        (
            "Attestation",
            vec![("extra", Value::Null)],
            "map.unknown-key",
        ),
    ] {
        assert_eq!(
            request_rule(&message(name, fields.clone())),
            rule,
            "{name} {fields:?}"
        );
    }
    assert_eq!(
        request_rule(&encode(&map(vec![("LockPCR", Value::Null)]))),
        "cbor.type"
    );
}

#[test]
fn responses_must_be_well_formed() {
    let pcr = || Value::Bytes(vec![1; 48]);
    let t = || Value::Bool(true);
    for (name, fields, rule) in [
        ("DescribePCR", vec![("lock", t())], "map.missing-key"),
        (
            "DescribePCR",
            vec![("lock", Value::from(1)), ("data", pcr())],
            "cbor.type",
        ),
        (
            "DescribePCR",
            vec![("lock", t()), ("data", Value::Bytes(vec![1; 47]))],
            "field.length",
        ),
        (
            "ExtendPCR",
            vec![("data", Value::Bytes(vec![1; 49]))],
            "field.length",
        ),
        ("GetRandom", vec![("data", pcr())], "map.unknown-key"),
        ("Attestation", vec![], "map.missing-key"),
        (
            "DescribeNSM",
            vec![("digest", Value::from("SHA512"))],
            "document.digest",
        ),
        (
            "DescribeNSM",
            vec![("locked_pcrs", Value::Array(vec![32.into()]))],
            "document.pcr-index",
        ),
        (
            "DescribeNSM",
            vec![("locked_pcrs", Value::Array(vec![1.into(), 1.into()]))],
            "map.duplicate-key",
        ),
        (
            "DescribeNSM",
            vec![("module_id", Value::from(""))],
            "field.length",
        ),
        (
            "DescribeNSM",
            vec![("digest", Value::from("SHA384"))],
            "map.missing-key",
        ),
    ] {
        assert_eq!(
            response_rule(&message(name, fields.clone())),
            rule,
            "{name} {fields:?}"
        );
    }
}

#[test]
fn maps_of_indefinite_length_are_accepted() {
    let inner = [&[0xBF, 0x65][..], b"index", &[0x10, 0xFF]].concat();
    let outer = [&[0xBF, 0x67][..], b"LockPCR", &inner, &[0xFF]].concat();
    assert_eq!(
        Request::from_cbor(&outer),
        Ok(Request::LockPcr { index: 16 })
    );
    assert_eq!(request_rule(&outer[..outer.len() - 1]), "cbor.truncated");
    let second = [
        &outer[..outer.len() - 1],
        &[0x67],
        b"LockPCR",
        &inner,
        &[0xFF],
    ]
    .concat();
    assert_eq!(request_rule(&second), "cbor.type");
}

#[test]
fn absent_attestation_fields_count_as_null() {
    let request = Request::from_cbor(&message("Attestation", vec![]));
    assert_eq!(
        request,
        Ok(Request::Attestation(AttestationRequest::default()))
    );
}

#[test]
fn every_truncation_is_refused() {
    for request in requests() {
        let bytes = request.to_cbor();
        for length in 0..bytes.len() {
            assert!(
                Request::from_cbor(&bytes[..length]).is_err(),
                "{request:?} {length}"
            );
        }
    }
    for response in responses() {
        let bytes = response.to_cbor();
        for length in 0..bytes.len() {
            assert!(
                Response::from_cbor(&bytes[..length]).is_err(),
                "{response:?} {length}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests_survive_their_encoding(
        index in any::<u16>(),
        data in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        for request in [
            Request::DescribePcr { index },
            Request::LockPcr { index },
            Request::LockPcrs { range: index },
            Request::ExtendPcr { index, data: data.clone() },
            Request::Attestation(AttestationRequest {
                nonce: Some(data.clone()),
                ..AttestationRequest::default()
            }),
        ] {
            prop_assert_eq!(Request::from_cbor(&request.to_cbor()), Ok(request));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::from_cbor(&bytes);
        let _ = Response::from_cbor(&bytes);
    }

    #[test]
    fn deformed_messages_never_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut request = requests()[which.index(requests().len())].to_cbor();
        let position = at.index(request.len());
        request[position] = byte;
        let _ = Request::from_cbor(&request);
        let mut response = responses()[which.index(responses().len())].to_cbor();
        let position = at.index(response.len());
        response[position] = byte;
        let _ = Response::from_cbor(&response);
    }
}
