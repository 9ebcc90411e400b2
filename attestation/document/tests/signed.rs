//! The COSE_Sign1 envelope: one shape, in two encodings, and nothing else.

use anchorhold_document::limits::{ENVELOPE_OVERHEAD, MAX_DOCUMENT, MAX_PAYLOAD};
use anchorhold_document::{DocumentError, DocumentToSign, SignedDocument};
use ciborium::Value;
use proptest::prelude::*;

const PAYLOAD: &[u8] = b"payload";

fn sample() -> SignedDocument {
    DocumentToSign::from_payload(PAYLOAD.to_vec())
        .unwrap()
        .with_signature([0x5A; 96])
}

/// The four items of the envelope, to deform.
fn items() -> [Value; 4] {
    [
        Value::Bytes(vec![0xA1, 0x01, 0x38, 0x22]),
        Value::Map(vec![]),
        Value::Bytes(PAYLOAD.to_vec()),
        Value::Bytes(vec![0x5A; 96]),
    ]
}

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn with(item: usize, value: Value) -> Vec<u8> {
    let mut items = items();
    items[item] = value;
    encode(&Value::Array(items.to_vec()))
}

fn refusal(bytes: &[u8]) -> DocumentError {
    SignedDocument::from_bytes(bytes).unwrap_err()
}

#[test]
fn the_bytes_are_awss() {
    let expected = [
        &[0x84, 0x44, 0xA1, 0x01, 0x38, 0x22, 0xA0, 0x47],
        PAYLOAD,
        &[0x58, 0x60],
    ];
    let expected = [&expected.concat()[..], &[0x5A; 96]].concat();
    assert_eq!(sample().to_bytes(), expected);
    assert_eq!(SignedDocument::from_bytes(&expected), Ok(sample()));
    assert_eq!(encode(&Value::Array(items().to_vec())), expected);
}

#[test]
fn what_is_signed_is_rfc_9052s_structure() {
    // RFC 9052 §4.4: Sig_structure = [context, body_protected, external_aad, payload].
    let expected = encode(&Value::Array(vec![
        Value::from("Signature1"),
        Value::Bytes(vec![0xA1, 0x01, 0x38, 0x22]),
        Value::Bytes(vec![]),
        Value::Bytes(PAYLOAD.to_vec()),
    ]));
    assert_eq!(sample().to_be_signed(), expected);
    assert_eq!(
        DocumentToSign::from_payload(PAYLOAD.to_vec())
            .unwrap()
            .to_be_signed(),
        expected
    );
}

#[test]
fn tag_18_is_accepted_and_no_other() {
    let tagged = |tag| encode(&Value::Tag(tag, Box::new(Value::Array(items().to_vec()))));
    assert_eq!(SignedDocument::from_bytes(&tagged(18)), Ok(sample()));
    for tag in [0, 17, 19, 97, 98, 61, u64::MAX] {
        assert_eq!(refusal(&tagged(tag)), DocumentError::Tag { got: tag });
    }
    let twice = encode(&Value::Tag(
        18,
        Box::new(Value::Tag(18, Box::new(Value::Array(items().to_vec())))),
    ));
    assert_eq!(refusal(&twice).rule(), "cbor.type");
}

#[test]
fn only_es384_alone_is_accepted_as_algorithm() {
    let header = |entries: Vec<(Value, Value)>| Value::Bytes(encode(&Value::Map(entries)));
    let algorithm = |id: i64| header(vec![(Value::from(1), Value::from(id))]);
    for id in [-1, -7, -36, -8, -37, 0, 5, -65535] {
        assert_eq!(
            refusal(&with(0, algorithm(id))).rule(),
            "cose.algorithm",
            "{id}"
        );
    }
    // The name tells which one came.
    assert_eq!(
        refusal(&with(0, algorithm(-7))),
        DocumentError::Algorithm { got: Some(-7) }
    );
    assert_eq!(
        refusal(&with(0, algorithm(-36))),
        DocumentError::Algorithm { got: Some(-36) }
    );
    let alg = || (Value::from(1), Value::from(-35));
    for other in [
        header(vec![]),
        header(vec![alg(), (Value::from(4), Value::Bytes(vec![1]))]),
        header(vec![alg(), alg()]),
        header(vec![(Value::from("1"), Value::from(-35))]),
        header(vec![(Value::from(1), Value::from("ES384"))]),
        Value::Bytes(vec![]),
        Value::Bytes(vec![0xA1, 0x01, 0x39, 0x00, 0x22]),
        Value::Bytes(vec![0xBF, 0x01, 0x38, 0x22, 0xFF]),
        Value::Bytes(vec![0xA1, 0x01, 0x38, 0x22, 0x00]),
        Value::Bytes(vec![0x81; 64]),
    ] {
        assert_eq!(
            refusal(&with(0, other.clone())).rule(),
            "cose.algorithm",
            "{other:?}"
        );
    }
    assert_eq!(
        refusal(&with(0, Value::Bytes(vec![0; 65]))).rule(),
        "field.length"
    );
    assert_eq!(
        refusal(&with(0, Value::Map(vec![alg()]))).rule(),
        "cbor.type"
    );
}

#[test]
fn nothing_may_stand_unprotected() {
    let algorithm = Value::Map(vec![(Value::from(1), Value::from(-35))]);
    assert_eq!(
        refusal(&with(1, algorithm)),
        DocumentError::UnprotectedHeader { got: 1 }
    );
    assert_eq!(refusal(&with(1, Value::Bytes(vec![]))).rule(), "cbor.type");
    let endless = [
        &[0x84, 0x44, 0xA1, 0x01, 0x38, 0x22, 0xBF, 0xFF][..],
        &[0x41, 0x00],
    ]
    .concat();
    assert_eq!(refusal(&endless).rule(), "cose.unprotected-header");
}

#[test]
fn only_96_raw_bytes_are_a_signature() {
    // 64 (ES256), 132 (ES512), and what DER of an ES384 signature takes: 100 to 104.
    for length in [0, 64, 95, 97, 100, 102, 103, 104, 132] {
        let error = refusal(&with(3, Value::Bytes(vec![0x30; length])));
        let expected = DocumentError::Length {
            item: "COSE signature",
            min: 96,
            max: 96,
            got: length,
        };
        assert_eq!(error, expected);
    }
    assert_eq!(refusal(&with(3, Value::Null)).rule(), "cbor.type");
}

#[test]
fn a_payload_must_be_there_and_in_bounds() {
    assert_eq!(refusal(&with(2, Value::Null)).rule(), "cbor.type");
    assert_eq!(
        refusal(&with(2, Value::Bytes(vec![]))).rule(),
        "field.length"
    );
    let largest = with(2, Value::Bytes(vec![7; MAX_PAYLOAD]));
    assert!(SignedDocument::from_bytes(&largest).is_ok());
    assert_eq!(largest.len() + 1, MAX_DOCUMENT);
    assert_eq!(MAX_DOCUMENT - MAX_PAYLOAD, ENVELOPE_OVERHEAD);
    let tagged = [&[0xD2], &largest[..]].concat();
    assert!(SignedDocument::from_bytes(&tagged).is_ok());
    assert_eq!(
        refusal(&with(2, Value::Bytes(vec![7; MAX_PAYLOAD + 1]))).rule(),
        "field.length"
    );
    assert_eq!(refusal(&vec![0x84; MAX_DOCUMENT + 1]).rule(), "input.size");
    assert_eq!(
        DocumentToSign::from_payload(vec![]).unwrap_err().rule(),
        "field.length"
    );
    let over = DocumentToSign::from_payload(vec![0; MAX_PAYLOAD + 1]);
    assert_eq!(over.unwrap_err().rule(), "field.length");
}

#[test]
fn another_number_of_items_is_refused() {
    for count in [0, 1, 3, 5, 23] {
        let items = vec![Value::Null; count];
        assert_eq!(
            refusal(&encode(&Value::Array(items))).rule(),
            "field.length",
            "{count}"
        );
    }
    assert_eq!(refusal(&[0x9F]).rule(), "cbor.type");
    assert_eq!(
        refusal(&[0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).rule(),
        "field.length"
    );
}

#[test]
fn longer_encodings_of_the_same_envelope_are_refused() {
    let shortest = sample().to_bytes();
    // The same lengths, one size up: array, protected header, unprotected map, payload, signature.
    let longer: [Vec<u8>; 5] = [
        [&[0x98, 0x04], &shortest[1..]].concat(),
        [&[0x84, 0x58, 0x04], &shortest[2..]].concat(),
        [&shortest[..6], &[0xB8, 0x00], &shortest[7..]].concat(),
        [&shortest[..7], &[0x58, 0x07], &shortest[8..]].concat(),
        [&shortest[..15], &[0x59, 0x00, 0x60], &shortest[17..]].concat(),
    ];
    for bytes in longer {
        assert_eq!(
            refusal(&bytes),
            DocumentError::Encoding,
            "{}",
            hex::encode(&bytes)
        );
    }
    let tag_in_two_bytes = [&[0xD8, 0x12], &shortest[..]].concat();
    assert!(SignedDocument::from_bytes(&tag_in_two_bytes).is_err());
}

#[test]
fn truncations_and_trailing_bytes_are_refused() {
    let bytes = sample().to_bytes();
    for length in 0..bytes.len() {
        assert_eq!(
            refusal(&bytes[..length]).rule(),
            "cbor.truncated",
            "{length}"
        );
    }
    let trailing = [&bytes[..], &[0]].concat();
    assert_eq!(
        refusal(&trailing),
        DocumentError::TrailingBytes {
            item: "COSE_Sign1",
            count: 1
        }
    );
}

#[test]
fn debug_output_shows_no_payload() {
    let text = format!("{:?}", sample());
    assert!(
        text.contains("payload_bytes: 7") && !text.contains("112, 97"),
        "{text}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_envelope_survives_its_encoding(
        payload in proptest::collection::vec(any::<u8>(), 1..2000),
        fill in any::<u8>(),
        tagged in any::<bool>(),
    ) {
        let document = DocumentToSign::from_payload(payload).unwrap().with_signature([fill; 96]);
        let mut bytes = document.to_bytes();
        if tagged {
            bytes.insert(0, 0xD2);
        }
        prop_assert_eq!(SignedDocument::from_bytes(&bytes), Ok(document));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = SignedDocument::from_bytes(&bytes);
    }

    /// Whatever decodes, encodes to itself: there is no second way to write a document.
    #[test]
    fn what_decodes_is_written_one_way(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = sample().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(document) = SignedDocument::from_bytes(&bytes) {
            prop_assert_eq!(document.to_bytes(), bytes);
        }
    }
}
