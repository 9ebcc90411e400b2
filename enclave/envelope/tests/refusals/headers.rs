//! Headers: commitment, context, limits.

use anchorhold_envelope::limits::{Limits, MAX_CONTEXT, MAX_ENCRYPTED_DATA_KEYS, MAX_FRAME_LENGTH};
use anchorhold_envelope::{
    ContextError, ContextRule, DataKey, EncryptionContext, OpenError, SealPlan, Suite,
    UnverifiedMessage,
};

use crate::common::{PROVIDERS, Parts, SUITES, context, data_key, open, open_with, seal};
use crate::{FRAME, PLAINTEXT};

#[test]
fn another_data_key_breaks_the_commitment() {
    for provider in PROVIDERS {
        for suite in SUITES {
            let message = seal(provider, suite, 8, PLAINTEXT);
            let other = DataKey::from_bytes(&[0x5b; 32]).unwrap();
            let opening = open_with(provider, &message, &other, &ContextRule::Exactly(context()));
            assert_eq!(opening.rule(), "header.commitment");
        }
    }
}

#[test]
fn a_changed_commitment_is_refused_before_the_tag() {
    let mut message = seal(PROVIDERS[0], Suite::Committed, 8, PLAINTEXT);
    let header = Parts::of(&message, Suite::Committed, FRAME).header.len();
    message[header - 16 - 1] ^= 1;
    assert_eq!(open(PROVIDERS[0], &message).rule(), "header.commitment");
    message[header - 16 - 1] ^= 1;
    message[header - 1] ^= 1;
    assert_eq!(open(PROVIDERS[0], &message).rule(), "header.tag");
}

#[test]
fn contexts_must_be_the_ones_demanded() {
    let message = seal(PROVIDERS[0], Suite::CommittedSigned, 8, PLAINTEXT);
    let pairs =
        |pairs: &[(&str, &str)]| EncryptionContext::from_pairs(pairs.iter().copied()).unwrap();
    let check = |rule: &ContextRule| {
        let opening = open_with(PROVIDERS[0], &message, &data_key(), rule);
        assert!(opening.outcome.is_ok() || opening.seen.is_empty());
        opening.outcome.map(|_| ()).map_err(|error| error.rule())
    };
    let own = [("purpose", "records"), ("data-set", "7")];
    let more = [own[0], own[1], ("region", "eu")];
    let other = [own[0], ("data-set", "8")];
    assert_eq!(check(&ContextRule::Exactly(pairs(&own))), Ok(()));
    assert_eq!(check(&ContextRule::AtLeast(pairs(&own[..1]))), Ok(()));
    assert_eq!(check(&ContextRule::AtLeast(pairs(&[]))), Ok(()));
    assert_eq!(
        check(&ContextRule::Exactly(pairs(&own[..1]))),
        Err("context.unexpected")
    );
    assert_eq!(
        check(&ContextRule::Exactly(pairs(&[]))),
        Err("context.unexpected")
    );
    for rule in [ContextRule::Exactly, ContextRule::AtLeast] {
        assert_eq!(check(&rule(pairs(&more))), Err("context.missing"));
        assert_eq!(check(&rule(pairs(&other))), Err("context.mismatch"));
    }
}

#[test]
fn contexts_with_reserved_or_endless_pairs_are_not_sealed() {
    let reserved = [("aws-crypto-public-key", "x"), ("aws-crypto-anything", "x")];
    for pair in reserved {
        let refusal = EncryptionContext::from_pairs([pair]).unwrap_err();
        assert_eq!(refusal.rule(), "context.reserved");
    }
    let twice = EncryptionContext::from_pairs([("a", "1"), ("a", "2")]).unwrap_err();
    assert_eq!(
        twice,
        ContextError::Duplicate {
            key: "a".to_owned()
        }
    );
    for length in [MAX_CONTEXT, MAX_CONTEXT - 6] {
        let refusal = EncryptionContext::from_pairs([("k", "v".repeat(length))]).unwrap_err();
        assert_eq!(refusal.rule(), "context.length");
    }
    // It fits alone, but not with the public key of the signature.
    let full = EncryptionContext::from_pairs([("k", "v".repeat(MAX_CONTEXT - 7))]).unwrap();
    assert!(SealPlan::new(Suite::Committed, full.clone()).is_ok());
    let refusal = SealPlan::new(Suite::CommittedSigned, full).err().unwrap();
    assert_eq!(refusal.rule(), "context.length");
}

/// A header up to the point where the encrypted data keys begin, with a context of these bytes.
fn header_with_context(suite: Suite, context: &[u8]) -> Vec<u8> {
    let mut header = vec![0x02];
    header.extend_from_slice(&suite.id().to_be_bytes());
    header.extend_from_slice(&[7; 32]);
    header.extend_from_slice(&u16::try_from(context.len()).unwrap().to_be_bytes());
    header.extend_from_slice(context);
    header
}

fn begin_rule(message: &[u8]) -> &'static str {
    UnverifiedMessage::begin(message)
        .err()
        .expect("the header was to be refused")
        .rule()
}

#[test]
fn malformed_contexts_are_refused() {
    let cases: [(&str, &[u8]); 8] = [
        ("context.encoding", &[0, 0]),
        ("context.encoding", &[0]),
        ("context.encoding", &[0, 1, 0, 1, b'k']),
        ("context.encoding", &[0, 1, 0, 1, b'k', 0, 9, b'v']),
        ("context.encoding", &[0, 1, 0, 1, b'k', 0, 1, b'v', 0]),
        ("context.encoding", &[0, 2, 0, 1, b'k', 0, 1, b'v']),
        ("context.encoding", &[0, 1, 0, 1, 0xff, 0, 1, b'v']),
        (
            "context.duplicate",
            &[0, 2, 0, 1, b'k', 0, 0, 0, 1, b'k', 0, 0],
        ),
    ];
    for (rule, bytes) in cases {
        assert_eq!(
            begin_rule(&header_with_context(Suite::Committed, bytes)),
            rule,
            "{bytes:?}"
        );
    }
}

/// The rest of a header after the context: one key, frames of 16 bytes.
fn rest_of_header() -> Vec<u8> {
    let mut rest = vec![0, 1, 0, 1, b'p', 0, 1, b'i', 0, 1, b'c', 2, 0, 0, 0, 16];
    rest.extend_from_slice(&[0; 32 + 16]);
    rest
}

#[test]
fn the_public_key_belongs_to_the_signing_suite() {
    let field = |value: &str| {
        let key = b"aws-crypto-public-key";
        let mut bytes = vec![0, 1, 0, key.len() as u8];
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes
    };
    let message =
        |suite, context: &[u8]| [header_with_context(suite, context), rest_of_header()].concat();
    // The generator of the curve (FIPS 186-5), compressed; then no point, then not base64.
    let generator = "A6qHyiK+iwU3jrHHHvMgrXRuHTtii6ebmFn3QeCCVCo4VQLyXb9VKWw6VF44cnYKtw==";
    let no_point = "Av//////////////////////////////////////////////////////////////////";
    assert!(
        UnverifiedMessage::begin(&message(Suite::CommittedSigned, &field(generator))[..]).is_ok()
    );
    assert_eq!(
        begin_rule(&message(Suite::Committed, &field(generator))),
        "context.public-key"
    );
    assert_eq!(
        begin_rule(&message(Suite::CommittedSigned, &[])),
        "context.public-key"
    );
    for provider in PROVIDERS {
        for bad in [no_point, "not base64!", "", "AAAA", &generator[..64]] {
            let message = message(Suite::CommittedSigned, &field(bad));
            let begun = UnverifiedMessage::begin_with(&message[..], Limits::default(), provider);
            assert_eq!(begun.err().unwrap().rule(), "context.public-key", "{bad:?}");
        }
    }
}

#[test]
fn headers_over_a_limit_are_refused() {
    let start = header_with_context(Suite::Committed, &[]);
    let with = |rest: &[u8]| [&start[..], rest].concat();
    assert_eq!(begin_rule(&with(&[0, 0])), "edk.count");
    let over = u16::try_from(MAX_ENCRYPTED_DATA_KEYS + 1).unwrap();
    assert_eq!(begin_rule(&with(&over.to_be_bytes())), "edk.count");
    assert_eq!(begin_rule(&with(&[0xff, 0xff])), "edk.count");
    // Provider id, provider info and ciphertext: refused by the length alone.
    assert_eq!(begin_rule(&with(&[0, 1, 1, 1])), "edk.length");
    assert_eq!(
        begin_rule(&with(&[0, 1, 0, 1, b'p', 0x10, 1])),
        "edk.length"
    );
    assert_eq!(
        begin_rule(&with(&[0, 1, 0, 1, b'p', 0, 0, 0x20, 1])),
        "edk.length"
    );
    assert_eq!(
        begin_rule(&with(&[0, 1, 0, 1, 0xff, 0, 0, 0, 1, 0])),
        "edk.provider-id"
    );
    assert_eq!(
        begin_rule(&with(&[0, 1, 0, 1, b'p', 0, 0, 0, 0])),
        "edk.ciphertext"
    );

    let content = |kind: u8, length: u32| {
        let key = [0, 1, 0, 1, b'p', 0, 0, 0, 1, b'c'];
        with(&[&key[..], &[kind], &length.to_be_bytes()].concat())
    };
    assert_eq!(begin_rule(&content(0, 16)), "header.content-type");
    assert_eq!(begin_rule(&content(3, 16)), "header.content-type");
    assert_eq!(begin_rule(&content(1, 1)), "header.frame-length");
    assert_eq!(begin_rule(&content(2, 0)), "header.frame-length");
    assert_eq!(
        begin_rule(&content(2, MAX_FRAME_LENGTH + 1)),
        "header.frame-length"
    );
    assert_eq!(
        begin_rule(&content(2, MAX_FRAME_LENGTH)),
        "message.truncated"
    );
}

#[test]
fn versions_other_than_2_are_refused() {
    for version in [0u8, 1, 3, b'A'] {
        let refusal = UnverifiedMessage::begin(&[version][..]).err().unwrap();
        assert!(matches!(refusal, OpenError::Version { found } if found == version));
    }
}

#[test]
fn a_caller_with_less_memory_sets_lower_limits() {
    let message = seal(PROVIDERS[0], Suite::Committed, 4096, PLAINTEXT);
    let limits = Limits {
        frame_length: 4095,
        ..Limits::default()
    };
    let refusal = UnverifiedMessage::begin_with(&message[..], limits, PROVIDERS[0])
        .err()
        .unwrap();
    assert_eq!(refusal.rule(), "header.frame-length");
    let limits = Limits {
        encrypted_data_keys: 0,
        ..Limits::default()
    };
    let refusal = UnverifiedMessage::begin_with(&message[..], limits, PROVIDERS[0])
        .err()
        .unwrap();
    assert_eq!(refusal.rule(), "edk.count");
}
