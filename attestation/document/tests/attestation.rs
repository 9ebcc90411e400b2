//! The attestation document's codec: what it refuses, and that it writes AWS's bytes.

use std::collections::BTreeMap;

use anchorhold_document::limits::{MAX_CABUNDLE, MAX_PAYLOAD};
use anchorhold_document::{AttestationDocument, DocumentError, Pcr, PcrIndex};
use ciborium::Value;
use proptest::prelude::*;

fn index(number: u8) -> PcrIndex {
    PcrIndex::new(number).unwrap()
}

fn sample() -> AttestationDocument {
    AttestationDocument {
        module_id: "i-0123456789abcdef0-enc0123456789abcdef".to_owned(),
        timestamp_ms: 1_736_480_402_571,
        pcrs: (0..16).map(|n| (index(n), Pcr([n; 48]))).collect(),
        certificate: vec![0xC0; 639],
        cabundle: vec![vec![1; 533], vec![2; 706], vec![3; 792], vec![4; 705]],
        public_key: Some(b"key".to_vec()),
        user_data: None,
        nonce: Some(Vec::new()),
    }
}

/// The sample as a tree that tests deform, decoded by another library.
fn tree() -> Vec<(Value, Value)> {
    match ciborium::from_reader(&sample().to_payload()[..]).unwrap() {
        Value::Map(entries) => entries,
        other => panic!("not a map: {other:?}"),
    }
}

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// The sample with one key's value replaced.
fn with(key: &str, value: Value) -> Vec<u8> {
    let mut entries = tree();
    let entry = entries
        .iter_mut()
        .find(|(name, _)| name.as_text() == Some(key))
        .unwrap();
    entry.1 = value;
    encode(&Value::Map(entries))
}

fn without(key: &str) -> Vec<u8> {
    let entries = tree()
        .into_iter()
        .filter(|(name, _)| name.as_text() != Some(key))
        .collect();
    encode(&Value::Map(entries))
}

fn refusal(payload: &[u8]) -> DocumentError {
    AttestationDocument::from_payload(payload).unwrap_err()
}

#[test]
fn a_missing_key_is_refused_by_name() {
    for key in [
        "module_id",
        "digest",
        "timestamp",
        "pcrs",
        "certificate",
        "cabundle",
    ] {
        let error = refusal(&without(key));
        assert_eq!(error.rule(), "map.missing-key", "{key}");
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn a_duplicate_key_is_refused() {
    for key in [
        "module_id",
        "digest",
        "timestamp",
        "pcrs",
        "certificate",
        "cabundle",
        "nonce",
    ] {
        let mut entries = tree();
        let again = entries
            .iter()
            .find(|(name, _)| name.as_text() == Some(key))
            .unwrap()
            .clone();
        entries.push(again);
        assert_eq!(
            refusal(&encode(&Value::Map(entries))).rule(),
            "map.duplicate-key",
            "{key}"
        );
    }
}

#[test]
fn a_register_twice_is_refused() {
    let pcr = |n: u8| (Value::from(n), Value::Bytes(vec![n; 48]));
    let error = refusal(&with("pcrs", Value::Map(vec![pcr(0), pcr(1), pcr(0)])));
    assert_eq!(
        error,
        DocumentError::DuplicateKey {
            map: "pcrs",
            key: "0".to_owned()
        }
    );
}

#[test]
fn an_unknown_key_is_refused() {
    let mut entries = tree();
    entries.push((Value::from("extra"), Value::Null));
    assert_eq!(
        refusal(&encode(&Value::Map(entries))).rule(),
        "map.unknown-key"
    );
}

#[test]
fn a_value_of_another_type_is_refused() {
    let text = || Value::from("text");
    for (key, value) in [
        ("module_id", Value::Bytes(vec![1])),
        ("digest", Value::Null),
        ("timestamp", text()),
        ("timestamp", Value::from(-1)),
        ("timestamp", Value::Float(1.5)),
        ("pcrs", Value::Array(vec![])),
        (
            "pcrs",
            Value::Map(vec![(text(), Value::Bytes(vec![0; 48]))]),
        ),
        ("pcrs", Value::Map(vec![(Value::from(0), text())])),
        ("certificate", text()),
        ("certificate", Value::Null),
        ("cabundle", Value::Bytes(vec![1])),
        ("cabundle", Value::Array(vec![text()])),
        ("public_key", text()),
        ("user_data", Value::Array(vec![])),
        ("nonce", Value::Bool(false)),
        ("nonce", Value::Tag(24, Box::new(Value::Bytes(vec![1])))),
    ] {
        assert_eq!(
            refusal(&with(key, value.clone())).rule(),
            "cbor.type",
            "{key}: {value:?}"
        );
    }
    assert_eq!(refusal(&[0x80]).rule(), "cbor.type");
    assert_eq!(
        refusal(&encode(&Value::Tag(1, Box::new(Value::Map(tree()))))).rule(),
        "cbor.type"
    );
    // A key that is no text.
    assert_eq!(refusal(&[0xA1, 0x01, 0x02]).rule(), "cbor.type");
}

#[test]
fn a_value_out_of_bounds_is_refused() {
    let bytes = |length: usize| Value::Bytes(vec![0; length]);
    let bundle = |certificates: usize| Value::Array(vec![bytes(1); certificates]);
    let pcrs = |n: u64, length: usize| Value::Map(vec![(Value::from(n), bytes(length))]);
    for (key, value, rule) in [
        ("module_id", Value::from(""), "field.length"),
        ("module_id", Value::from("m".repeat(257)), "field.length"),
        ("digest", Value::from("SHA256"), "document.digest"),
        ("digest", Value::from("sha384"), "document.digest"),
        ("timestamp", Value::from(0), "field.range"),
        ("pcrs", Value::Map(vec![]), "field.length"),
        ("pcrs", pcrs(32, 48), "document.pcr-index"),
        ("pcrs", pcrs(u64::MAX, 48), "document.pcr-index"),
        ("pcrs", pcrs(0, 32), "field.length"),
        ("pcrs", pcrs(0, 49), "field.length"),
        ("certificate", bytes(0), "field.length"),
        ("certificate", bytes(1025), "field.length"),
        ("cabundle", bundle(0), "field.length"),
        ("cabundle", bundle(MAX_CABUNDLE + 1), "field.length"),
        ("cabundle", Value::Array(vec![bytes(0)]), "field.length"),
        ("cabundle", Value::Array(vec![bytes(1025)]), "field.length"),
        ("public_key", bytes(0), "field.length"),
        ("public_key", bytes(1025), "field.length"),
        ("user_data", bytes(1025), "field.length"),
        ("nonce", bytes(1025), "field.length"),
    ] {
        assert_eq!(refusal(&with(key, value)).rule(), rule, "{key}");
    }
}

#[test]
fn the_largest_values_are_accepted() {
    let mut document = sample();
    document.pcrs = PcrIndex::all().map(|index| (index, Pcr([9; 48]))).collect();
    document.certificate = vec![1; 1024];
    document.cabundle = vec![vec![2; 1024]; MAX_CABUNDLE];
    document.public_key = Some(vec![3; 1024]);
    document.user_data = Some(vec![4; 1024]);
    document.nonce = Some(vec![5; 1024]);
    let payload = document.to_payload();
    assert!(payload.len() <= MAX_PAYLOAD, "{}", payload.len());
    assert_eq!(AttestationDocument::from_payload(&payload), Ok(document));
}

#[test]
fn trailing_bytes_and_oversized_input_are_refused() {
    let mut payload = sample().to_payload();
    payload.push(0);
    assert_eq!(
        refusal(&payload),
        DocumentError::TrailingBytes {
            item: "attestation document",
            count: 1
        }
    );
    assert_eq!(refusal(&vec![0; MAX_PAYLOAD + 1]).rule(), "input.size");
    assert_eq!(refusal(&[]).rule(), "cbor.truncated");
}

#[test]
fn every_truncation_is_refused() {
    let payload = sample().to_payload();
    for length in 0..payload.len() {
        let error = refusal(&payload[..length]);
        assert_eq!(error.rule(), "cbor.truncated", "{length}: {error}");
    }
}

#[test]
fn bombs_are_refused_before_they_cost_anything() {
    let deep_arrays = vec![0x81; MAX_PAYLOAD];
    let deep_maps: Vec<u8> = [0xA1, 0x00].repeat(MAX_PAYLOAD / 2);
    let deep_tags = vec![0xC1; MAX_PAYLOAD];
    let endless: Vec<u8> = vec![0x9F; MAX_PAYLOAD];
    for bomb in [deep_arrays, deep_maps, deep_tags, endless] {
        assert_eq!(refusal(&bomb).rule(), "cbor.type");
    }
    // A map, an array and strings that declare 2^64 - 1 or 2^62 entries or bytes.
    let huge = |head: &[u8]| [head, &[0xFF; 8]].concat();
    assert_eq!(refusal(&huge(&[0xBB])).rule(), "cbor.truncated");
    let after = |key: &str, head: u8| {
        let mut bytes = vec![0xA1, 0x60 | key.len() as u8];
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&[head, 0x3F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        bytes
    };
    assert_eq!(refusal(&after("certificate", 0x5B)).rule(), "field.length");
    assert_eq!(refusal(&after("module_id", 0x7B)).rule(), "field.length");
    assert_eq!(refusal(&after("cabundle", 0x9B)).rule(), "cbor.truncated");
    assert_eq!(refusal(&after("pcrs", 0xBB)).rule(), "cbor.truncated");
}

#[test]
fn strings_of_indefinite_length_are_refused() {
    let payload = [&[0xA1, 0x65], &b"nonce"[..], &[0x5F, 0x41, 0x00, 0xFF]].concat();
    assert_eq!(refusal(&payload).rule(), "cbor.type");
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let payload = [&[0xA1, 0x69], &b"module_id"[..], &[0x62, 0xC3, 0x28]].concat();
    assert_eq!(refusal(&payload).rule(), "cbor.utf8");
}

#[test]
fn optional_keys_may_be_absent_and_keys_in_any_order() {
    let mut document = sample();
    document.public_key = None;
    document.nonce = None;
    let reordered: Vec<_> = tree().into_iter().take(6).rev().collect();
    let payload = encode(&Value::Map(reordered));
    assert_eq!(AttestationDocument::from_payload(&payload), Ok(document));
}

#[test]
fn maps_and_arrays_of_indefinite_length_are_accepted() {
    let mut payload = vec![0xBF];
    for (key, value) in tree() {
        payload.extend(encode(&key));
        match value {
            Value::Map(entries) => {
                payload.push(0xBF);
                entries
                    .iter()
                    .for_each(|(k, v)| payload.extend([encode(k), encode(v)].concat()));
                payload.push(0xFF);
            }
            Value::Array(items) => {
                payload.push(0x9F);
                items.iter().for_each(|item| payload.extend(encode(item)));
                payload.push(0xFF);
            }
            other => payload.extend(encode(&other)),
        }
    }
    payload.push(0xFF);
    assert_eq!(AttestationDocument::from_payload(&payload), Ok(sample()));
    // And no end of the map is no map.
    payload.pop();
    assert_eq!(refusal(&payload).rule(), "cbor.truncated");
}

/// Our bytes are those of AWS's own crate, which its security module is written with.
#[test]
fn payloads_are_the_bytes_of_awss_crate() {
    use aws_nitro_enclaves_nsm_api::api::{AttestationDoc, Digest};
    let ours = sample();
    let pcrs: BTreeMap<usize, Vec<u8>> = ours
        .pcrs
        .iter()
        .map(|(index, pcr)| (usize::from(*index), pcr.0.to_vec()))
        .collect();
    let theirs = AttestationDoc::new(
        ours.module_id.clone(),
        Digest::SHA384,
        ours.timestamp_ms,
        pcrs,
        ours.certificate.clone(),
        ours.cabundle.clone(),
        ours.user_data.clone(),
        ours.nonce.clone(),
        ours.public_key.clone(),
    );
    assert_eq!(
        hex::encode(ours.to_payload()),
        hex::encode(theirs.to_binary())
    );
    assert_eq!(
        AttestationDoc::from_binary(&ours.to_payload()).unwrap(),
        theirs
    );
}

#[test]
fn debug_mode_is_pcr0_to_2_zero_and_nothing_else() {
    let mut document = sample();
    assert!(!document.is_debug());
    for n in 0..3 {
        document.pcrs.insert(index(n), Pcr::ZERO);
        assert_eq!(document.is_debug(), n == 2);
    }
    document.pcrs.remove(&PcrIndex::PCR0);
    assert!(!document.is_debug());
}

fn any_bytes(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), range)
}

prop_compose! {
    fn any_document()(
        module_id in "[ -~]{1,60}",
        timestamp_ms in 1..=u64::MAX,
        pcrs in proptest::collection::btree_map(0u8..32, any::<u8>(), 1..=32),
        certificate in any_bytes(1..=1024),
        cabundle in proptest::collection::vec(any_bytes(1..=300), 1..=MAX_CABUNDLE),
        public_key in proptest::option::of(any_bytes(1..=1024)),
        user_data in proptest::option::of(any_bytes(0..=1024)),
        nonce in proptest::option::of(any_bytes(0..=1024)),
    ) -> AttestationDocument {
        let pcrs = pcrs.into_iter().map(|(n, fill)| (index(n), Pcr([fill; 48]))).collect();
        AttestationDocument {
            module_id, timestamp_ms, pcrs, certificate, cabundle, public_key, user_data, nonce,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_document_survives_its_encoding(document in any_document()) {
        let payload = document.to_payload();
        prop_assert_eq!(AttestationDocument::from_payload(&payload), Ok(document));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any_bytes(0..=600)) {
        let _ = AttestationDocument::from_payload(&bytes);
    }

    #[test]
    fn deformed_documents_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut payload = sample().to_payload();
        let at = at.index(payload.len());
        payload[at] = byte;
        let _ = AttestationDocument::from_payload(&payload);
    }
}
