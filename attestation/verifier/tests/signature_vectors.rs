//! One suite of ES384 vectors over both implementations.

use anchorhold_verifier::{AwsLc, Es384, InvalidSignature, RustCrypto};
use p384::ecdsa::Signature;

const BOTH: [&dyn Es384; 2] = [&AwsLc, &RustCrypto];

/// RFC 6979 A.2.6: the key, and its signatures with SHA-384 over "sample" and "test".
const KEY: &str = "04\
    EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64\
    DEF8F0EA9055866064A254515480BC13\
    8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1\
    288B231C3AE0D4FE7344FD2533264720";
const SAMPLE: &str = "\
    94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C\
    81A648152E44ACF96E36DD1E80FABE46\
    99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94F\
    A329C145786E679E7B82C71A38628AC8";
const TEST: &str = "\
    8203B63D3C853E8D77227FB377BCF7B7B772E97892A80F36AB775D509D7A5FEB\
    0542A7F0812998DA8F1DD3CA3CF023DB\
    DDD0760448D42D8A43AF45AF836FCE4DE8BE06B485E9B61B827C2F13173923E0\
    6A739F040649A667BF3B828246BAA5A5";

/// The order of P-384's base point (FIPS 186-5, SP 800-186 §3.2.1.4).
const ORDER: &str = "\
    FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF\
    581A0DB248B0A77AECEC196ACCC52973";

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn signature(hex: &str) -> [u8; 96] {
    bytes(hex).try_into().unwrap()
}

fn refused_by_both(key: &[u8], message: &[u8], signature: &[u8; 96], why: &str) {
    for es384 in BOTH {
        assert_eq!(
            es384.verify(key, message, signature),
            Err(InvalidSignature),
            "{es384:?} {why}"
        );
        if let Ok(parsed) = Signature::from_slice(signature) {
            let der = parsed.to_der();
            let result = es384.verify_der(key, message, der.as_bytes());
            assert_eq!(result, Err(InvalidSignature), "{es384:?} DER {why}");
        }
    }
}

#[test]
fn known_signatures_are_accepted() {
    for es384 in BOTH {
        for (message, signed) in [(&b"sample"[..], SAMPLE), (b"test", TEST)] {
            assert_eq!(
                es384.verify(&bytes(KEY), message, &signature(signed)),
                Ok(()),
                "{es384:?}"
            );
            let der = Signature::from_slice(&signature(signed)).unwrap().to_der();
            assert_eq!(
                es384.verify_der(&bytes(KEY), message, der.as_bytes()),
                Ok(())
            );
        }
    }
}

#[test]
fn other_messages_and_swapped_halves_are_refused() {
    let key = bytes(KEY);
    refused_by_both(&key, b"sample ", &signature(SAMPLE), "another message");
    refused_by_both(&key, b"", &signature(SAMPLE), "an empty message");
    refused_by_both(&key, b"test", &signature(SAMPLE), "another's signature");
    let mut swapped = signature(SAMPLE);
    swapped.rotate_left(48);
    refused_by_both(&key, b"sample", &swapped, "s before r");
}

#[test]
fn every_changed_bit_of_a_signature_is_refused() {
    for at in 0..96 {
        let mut changed = signature(SAMPLE);
        changed[at] ^= 1 << (at % 8);
        refused_by_both(&bytes(KEY), b"sample", &changed, &format!("byte {at}"));
    }
}

#[test]
fn numbers_outside_one_to_order_minus_one_are_refused() {
    let half = |hex: &str| bytes(hex);
    let (zero, order, ones) = (vec![0; 48], half(ORDER), vec![0xFF; 48]);
    let (r, s) = (half(&SAMPLE[..96]), half(&SAMPLE[96..]));
    let join = |r: &[u8], s: &[u8]| <[u8; 96]>::try_from([r, s].concat()).unwrap();
    for bad in [&zero, &order, &ones] {
        refused_by_both(&bytes(KEY), b"sample", &join(bad, &s), "r");
        refused_by_both(&bytes(KEY), b"sample", &join(&r, bad), "s");
        for other in [&zero, &order, &ones] {
            refused_by_both(&bytes(KEY), b"sample", &join(bad, other), "both");
        }
    }
    // A key's own x-coordinate as r with s = r: the classic forgery for an unhashed message.
    let x = bytes(&KEY[2..98]);
    refused_by_both(&bytes(KEY), b"sample", &join(&x, &x), "x as r and s");
}

#[test]
fn keys_of_any_other_form_are_refused() {
    let key = bytes(KEY);
    let with_first = |byte: u8, length: usize| {
        let mut other = key[..length].to_vec();
        other[0] = byte;
        other
    };
    let off_curve = {
        let mut other = key.clone();
        other[96] ^= 1;
        other
    };
    let spki = [
        &bytes("3076301006072A8648CE3D020106052B8104002203620000")[..23],
        &key[..],
    ]
    .concat();
    for (other, why) in [
        (vec![], "empty"),
        (vec![0], "infinity"),
        (with_first(0x02, 49), "compressed"),
        (with_first(0x03, 49), "compressed"),
        (with_first(0x06, 97), "hybrid"),
        (with_first(0x07, 97), "hybrid"),
        (key[..96].to_vec(), "short"),
        ([&key[..], &[0]].concat(), "long"),
        (off_curve, "off the curve"),
        ([&[4][..], &[0; 96]].concat(), "zero"),
        ([&[4][..], &[0xFF; 96]].concat(), "past the field"),
        (spki, "with its algorithm"),
    ] {
        refused_by_both(&other, b"sample", &signature(SAMPLE), why);
    }
}

#[test]
fn der_must_be_der() {
    let good = Signature::from_slice(&signature(SAMPLE)).unwrap().to_der();
    let good = good.as_bytes();
    let trailing = [good, &[0]].concat();
    let indefinite = [&[0x30, 0x80], &good[2..], &[0, 0]].concat();
    for es384 in BOTH {
        let refused = |der: &[u8]| {
            assert_eq!(
                es384.verify_der(&bytes(KEY), b"sample", der),
                Err(InvalidSignature)
            );
        };
        refused(&[]);
        refused(&signature(SAMPLE));
        refused(&trailing);
        refused(&indefinite);
        for length in 0..good.len() {
            refused(&good[..length]);
        }
    }
}
