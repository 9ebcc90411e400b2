use snow::{Builder, HandshakeState};

use super::*;
use crate::keys::PROTOCOL;

/// Cacophony's vectors for this very protocol, as snow's repository holds them
/// (`tests/vectors/cacophony.txt`): private key and prologue of both, messages and payloads.
const INITIATOR: &str = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
const RESPONDER: &str = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
const PROLOGUE: &str = "4a6f686e2047616c74";
const HASH: &str = "6301958d25cd7d1ffe6ad7d0ca2ad284b4e478d9acd9198f7750432d225043d0";
const HANDSHAKE: [(&str, &str); 2] = [
    (
        "4c756477696720766f6e204d69736573",
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e\
         204d69736573",
    ),
    (
        "4d757272617920526f746862617264",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843934ff73eebb9d930ebf6\
         2b8e4db8133ca936872b5551efd7c9989c646d8cf0",
    ),
];
const TRANSPORT: [(&str, &str); 4] = [
    (
        "462e20412e20486179656b",
        "8d372b94914e80018211a344b8b1c5a2869492a0db46990c0362f3",
    ),
    (
        "4361726c204d656e676572",
        "e183b0abd55550f9955fb05476d988c6f27628d7bbde111c39ccbc",
    ),
    (
        "4a65616e2d426170746973746520536179",
        "167293a79ad6a647114c4f4eb55bdf713a0d44ae48765c07fc4e57743100825021",
    ),
    (
        "457567656e2042f6686d20766f6e2042617765726b",
        "2b67a18ae246069c51687bee89141041d9d35a821f852975d169a4f80f75c735807a1fd157",
    ),
];

fn party(seed: &str) -> Builder<'static> {
    let seed = hex::decode(seed).unwrap().try_into().unwrap();
    let primitives = Primitives::new(Box::new(Zeroizing::new(seed)));
    Builder::with_resolver(PROTOCOL.parse().unwrap(), Box::new(primitives))
}

fn pair() -> (HandshakeState, HandshakeState) {
    let prologue = hex::decode(PROLOGUE).unwrap();
    let initiator = party(INITIATOR).prologue(&prologue).unwrap();
    let responder = party(RESPONDER).prologue(&prologue).unwrap();
    (
        initiator.build_initiator().unwrap(),
        responder.build_responder().unwrap(),
    )
}

#[test]
fn a_failure_to_seal_leaves_nothing_to_send() {
    let cipher = AesGcm::default();
    let mut out = [7; 24];
    assert_eq!(cipher.encrypt(0, &[], b"no key yet", &mut out[..4]), 0);
    assert_eq!(cipher.encrypt(0, &[], b"plain", &mut out), 0);
    assert_eq!(out[..5 + TAG], [0; 5 + TAG]);
}

#[test]
fn a_new_key_comes_of_the_old_one_alone() {
    let mut cipher = AesGcm::default();
    cipher.rekey();
    assert!(cipher.0.is_none());
    cipher.set(&[1; 32]);
    let mut expected = [0; KEY + TAG];
    assert_eq!(
        cipher.encrypt(u64::MAX, &[], &[0; KEY], &mut expected),
        KEY + TAG
    );
    let mut renewed = AesGcm::default();
    renewed.set(expected.first_chunk().unwrap());
    cipher.rekey();
    let mut sealed = [[0; 5 + TAG]; 2];
    cipher.encrypt(7, &[], b"plain", &mut sealed[0]);
    renewed.encrypt(7, &[], b"plain", &mut sealed[1]);
    assert_eq!(sealed[0], sealed[1]);
}

#[test]
fn what_does_not_open_leaves_no_plaintext() {
    let mut cipher = AesGcm::default();
    cipher.set(&[1; 32]);
    let mut sealed = [0; 5 + TAG];
    assert_eq!(cipher.encrypt(3, b"aad", b"plain", &mut sealed), 5 + TAG);
    let mut out = [7; 5];
    for (nonce, aad) in [(2, &b"aad"[..]), (3, b"AAD"), (4, b"aad")] {
        let opened = cipher.decrypt(nonce, aad, &sealed, &mut out);
        assert_eq!(opened, Err(Error::Decrypt));
        assert_eq!(out, [0; 5]);
    }
    assert_eq!(
        cipher.decrypt(3, b"aad", &sealed[..15], &mut out),
        Err(Error::Decrypt)
    );
    assert_eq!(cipher.decrypt(3, b"aad", &sealed, &mut out), Ok(5));
    assert_eq!(&out, b"plain");
}

#[test]
fn randomness_is_given_once() {
    let mut once = Once(Some(Box::new(Zeroizing::new([1; 32]))));
    let mut bytes = [0; 32];
    once.try_fill_bytes(&mut bytes).unwrap();
    assert_eq!(bytes, [1; 32]);
    assert_eq!(once.try_fill_bytes(&mut bytes), Err(Error::Rng));
}

#[test]
fn the_published_vectors_hold() {
    let (mut a, mut b) = pair();
    let mut buffer = [0; 256];
    for (payload, ciphertext) in HANDSHAKE {
        let payload = hex::decode(payload).unwrap();
        let length = a.write_message(&payload, &mut buffer).unwrap();
        assert_eq!(hex::encode(&buffer[..length]), ciphertext);
        let mut read = [0; 256];
        let got = b.read_message(&buffer[..length], &mut read).unwrap();
        assert_eq!(read[..got], payload);
        std::mem::swap(&mut a, &mut b);
    }
    assert_eq!(hex::encode(a.get_handshake_hash()), HASH);
    let mut a = a.into_stateless_transport_mode().unwrap();
    let mut b = b.into_stateless_transport_mode().unwrap();
    for (number, (payload, ciphertext)) in (0..).zip(TRANSPORT) {
        let payload = hex::decode(payload).unwrap();
        let length = a.write_message(number / 2, &payload, &mut buffer).unwrap();
        assert_eq!(hex::encode(&buffer[..length]), ciphertext);
        let mut read = [0; 256];
        let got = b
            .read_message(number / 2, &buffer[..length], &mut read)
            .unwrap();
        assert_eq!(read[..got], payload);
        std::mem::swap(&mut a, &mut b);
    }
}
