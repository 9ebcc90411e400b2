//! The cache of materials counts as the SDKs' does: by its rules, and against the Python SDK.

mod common;

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anchorhold_envelope::keyring::Keyrings;
use anchorhold_envelope::materials::{
    CacheLimits, Caching, LocalCache, MAX_BYTES_PER_KEY, MAX_CACHE_CAPACITY, MAX_MESSAGES_PER_KEY,
    Partition, decryption_cache_key, encryption_cache_key,
};
use anchorhold_envelope::{
    ContextRule, EncryptedDataKey, EncryptionContext, PUBLIC_KEY_FIELD, Suite, UnverifiedMessage,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::SUITES;
use common::kms::Kms;
use common::python::Python;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);
const SUITE: Suite = Suite::Committed;

fn limits(max_messages: u64, max_bytes: u64) -> CacheLimits {
    CacheLimits {
        max_age: MINUTE,
        max_messages,
        max_bytes,
    }
}

fn shared(capacity: usize) -> Arc<Mutex<LocalCache>> {
    Arc::new(Mutex::new(LocalCache::new(capacity).unwrap()))
}

fn caching(kms: &Kms, capacity: usize, limits: CacheLimits) -> Caching {
    let partition = Partition::named("test");
    Caching::new(
        Keyrings::of(kms.clone()),
        shared(capacity),
        limits,
        partition,
    )
    .unwrap()
}

fn number(number: u64) -> EncryptionContext {
    EncryptionContext::from_pairs([("number", number.to_string())]).unwrap()
}

#[test]
fn messages_and_bytes_are_counted_before_the_use() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let cache = caching(&kms, 10, limits(3, MAX_BYTES_PER_KEY));
    for calls in [1, 1, 1, 2, 2, 2, 3] {
        cache.encryption(SUITE, &number(1), Some(0), now).unwrap();
        assert_eq!(kms.calls().0, calls);
    }
    // 10 bytes are allowed: 4 + 6 reach the bound, one more goes beyond it.
    let kms = Kms::new("a");
    let cache = caching(&kms, 10, limits(MAX_MESSAGES_PER_KEY, 10));
    for (bytes, calls) in [
        (4, 1),
        (6, 1),
        (0, 1),
        (1, 2),
        (9, 2),
        (1, 3),
        (10, 4),
        (1, 5),
    ] {
        cache
            .encryption(SUITE, &number(1), Some(bytes), now)
            .unwrap();
        assert_eq!(kms.calls().0, calls, "{bytes} bytes");
    }
}

#[test]
fn what_is_as_long_as_the_bound_or_of_unknown_length_is_not_kept() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let cache = caching(&kms, 10, limits(9, 10));
    for (bytes, calls) in [
        (Some(10), 1),
        (Some(10), 2),
        (Some(9), 3),
        (None, 4),
        (Some(1), 4),
    ] {
        cache.encryption(SUITE, &number(1), bytes, now).unwrap();
        assert_eq!(kms.calls().0, calls, "{bytes:?}");
    }
    let kms = Kms::new("a");
    let cache = caching(&kms, 10, limits(9, 0));
    for calls in [1, 2] {
        cache.encryption(SUITE, &number(1), Some(0), now).unwrap();
        assert_eq!(kms.calls().0, calls);
    }
}

#[test]
fn the_greatest_age_is_still_young_enough() {
    let start = Instant::now();
    let kms = Kms::new("a");
    let cache = caching(&kms, 10, limits(99, MAX_BYTES_PER_KEY));
    let made = cache.encryption(SUITE, &number(1), Some(0), start).unwrap();
    cache
        .encryption(SUITE, &number(1), Some(0), start + MINUTE)
        .unwrap();
    assert_eq!(kms.calls().0, 1);
    let later = start + MINUTE + Duration::from_nanos(1);
    cache.encryption(SUITE, &number(1), Some(0), later).unwrap();
    assert_eq!(kms.calls().0, 2);
    let open = |at, calls| {
        let (keys, context) = (made.encrypted_data_keys(), made.encryption_context());
        let key = cache.decryption(SUITE, keys, context, at).unwrap();
        assert!(key.expose() == made.data_key().expose());
        assert_eq!(kms.calls().2, calls);
    };
    open(start, 1);
    open(start + MINUTE, 1);
    open(later, 2);
}

#[test]
fn suites_contexts_and_partitions_share_nothing() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let cache = shared(10);
    let of = |partition: &str| {
        let keyrings = Keyrings::of(kms.clone());
        let limits = limits(99, MAX_BYTES_PER_KEY);
        Caching::new(
            keyrings,
            Arc::clone(&cache),
            limits,
            Partition::named(partition),
        )
        .unwrap()
    };
    let mut calls = 0;
    for partition in ["one", "two"] {
        for suite in SUITES {
            for context in 0..2 {
                calls += 1;
                for _ in 0..2 {
                    let caching = of(partition);
                    caching
                        .encryption(suite, &number(context), Some(1), now)
                        .unwrap();
                    assert_eq!(kms.calls().0, calls);
                }
            }
        }
    }
    assert_eq!(cache.lock().unwrap().len(), 8);
}

#[test]
fn the_least_recently_used_goes_first() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let cache = caching(&kms, 2, limits(99, MAX_BYTES_PER_KEY));
    for (context, calls) in [(1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4), (3, 5)] {
        cache
            .encryption(SUITE, &number(context), Some(0), now)
            .unwrap();
        assert_eq!(kms.calls().0, calls, "context {context}");
    }
}

#[test]
fn messages_of_shared_materials_are_messages_of_their_own() {
    let now = Instant::now();
    for suite in SUITES {
        let kms = Kms::new("a");
        let cache = caching(&kms, 2, limits(99, MAX_BYTES_PER_KEY));
        let mut ids = Vec::new();
        let mut points = Vec::new();
        for text in [&b"one"[..], b"two", b"three"] {
            let length = text.len() as u64;
            let (plan, made) = cache.seal_plan(suite, &number(1), length, now).unwrap();
            let keys = made.encrypted_data_keys().to_vec();
            let mut sealer = plan.seal_to(Vec::new(), made.data_key(), keys).unwrap();
            sealer.write_all(text).unwrap();
            let message = sealer.finish().unwrap().0;
            let begun = UnverifiedMessage::begin(&message[..]).unwrap();
            ids.push(*begun.message_id());
            let context = begun.encryption_context().clone();
            points.push(context.get(PUBLIC_KEY_FIELD).map(str::to_owned));
            let key = cache
                .decryption(suite, begun.encrypted_data_keys(), &context, now)
                .unwrap();
            let rule = ContextRule::Exactly(number(1));
            let opener = begun.authenticate(&key, &rule).unwrap();
            let mut out = opener.unreleased(Vec::new());
            let verified = opener.open_into(&mut out).unwrap();
            assert_eq!(out.release(&verified).unwrap(), text);
        }
        assert_eq!(kms.calls(), (1, 0, 1));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert_eq!(points[0], points[2]);
        assert_eq!(points[0].is_some(), suite.is_signed());
        // A message is as long as it was counted.
        let (plan, made) = cache.seal_plan(suite, &number(1), 2, now).unwrap();
        let keys = made.encrypted_data_keys().to_vec();
        let mut sealer = plan.seal_to(Vec::new(), made.data_key(), keys).unwrap();
        assert!(sealer.write_all(b"two").is_err());
    }
}

#[test]
fn a_refusal_is_not_kept() {
    let now = Instant::now();
    let kms = Kms::new("a");
    let cache = caching(&kms, 2, limits(99, MAX_BYTES_PER_KEY));
    kms.close(true);
    let refusal = cache
        .encryption(SUITE, &number(1), Some(1), now)
        .err()
        .unwrap();
    assert_eq!(refusal.rule(), "kms.AccessDeniedException");
    let refusal = cache.decryption(SUITE, &[common::wrapped()], &number(1), now);
    assert_eq!(refusal.err().unwrap().rule(), "keyring.none");
    kms.close(false);
    assert!(cache.encryption(SUITE, &number(1), Some(1), now).is_ok());
}

#[test]
fn bounds_beyond_the_sdks_are_refused() {
    let made = |limits| {
        let keyrings = Keyrings::of(Kms::new("a"));
        let made = Caching::new(keyrings, shared(1), limits, Partition::named("x"));
        made.err().map(|error| error.rule())
    };
    assert_eq!(made(limits(MAX_MESSAGES_PER_KEY, MAX_BYTES_PER_KEY)), None);
    assert_eq!(made(CacheLimits::of_age(MINUTE)), None);
    for bad in [
        limits(0, 1),
        limits(MAX_MESSAGES_PER_KEY + 1, 1),
        limits(1, MAX_BYTES_PER_KEY + 1),
        CacheLimits::of_age(Duration::ZERO),
    ] {
        assert_eq!(made(bad), Some("cache.limit"));
    }
    for capacity in [0, MAX_CACHE_CAPACITY + 1] {
        assert_eq!(
            LocalCache::new(capacity).err().unwrap().rule(),
            "cache.limit"
        );
    }
}

#[test]
fn cache_keys_are_the_python_sdks() {
    let mut python = Python::start("esdk_providers.py");
    let keys = [
        ("p", "b", "two"),
        ("aws-kms", "arn", "one"),
        ("p", "a", "two"),
    ];
    for suite in SUITES {
        for pairs in [vec![], vec![("a", "1"), ("b", "ü")]] {
            let context = EncryptionContext::from_pairs(pairs).unwrap();
            let listed: Vec<_> = keys
                .map(|(p, i, c)| json!([p, i, STANDARD.encode(c)]))
                .into();
            let answer = python.ask(&json!({
                "op": "cache_keys",
                "partition": "some partition",
                "suite": suite.id(),
                "context": context.as_map(),
                "keys": listed,
            }));
            let partition = Partition::named("some partition");
            let of =
                |suite| hex::encode(encryption_cache_key(&partition, suite, &context).unwrap());
            assert_eq!(answer["encrypt"], of(Some(suite)), "{answer}");
            assert_eq!(answer["encrypt_any"], of(None));
            let keys = keys.map(|(p, i, c)| EncryptedDataKey::new(p, i, c).unwrap());
            let key = decryption_cache_key(&partition, suite, &keys, &context).unwrap();
            assert_eq!(answer["decrypt"], hex::encode(key));
        }
    }
}

#[test]
fn traces_agree_with_the_python_sdk() {
    let python = RefCell::new(Python::start("esdk_providers.py"));
    let step = (
        0..40u64,
        any::<bool>(),
        0..4u64,
        proptest::option::of(0..30u64),
    );
    let steps = proptest::collection::vec(step, 1..60);
    let bounds = (1..90u64, 1..6u64, 0..60u64);
    let config = Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&(steps, bounds), |(steps, bounds)| {
        let (age, max_messages, max_bytes) = bounds;
        let kms = Kms::new("a");
        // Room for all: which entry goes first is the one thing that differs.
        let limits = CacheLimits {
            max_age: Duration::from_secs(age),
            max_messages,
            max_bytes,
        };
        let cache = caching(&kms, 8, limits);
        let start = Instant::now();
        let wrapped = (0..4)
            .map(|context| {
                let keyrings = Keyrings::of(kms.clone());
                keyrings.generate(&number(context), start).unwrap().1
            })
            .collect::<Vec<_>>();
        let (mut at, mut asked, mut made) = (0, Vec::new(), Vec::new());
        for (pause, open, context, length) in steps {
            at += pause;
            asked.push(json!({"at": at, "open": open, "context": context, "length": length}));
            let (now, before) = (start + Duration::from_secs(at), kms.calls());
            if open {
                let keys = &wrapped[usize::try_from(context).unwrap()];
                cache
                    .decryption(SUITE, keys, &number(context), now)
                    .unwrap();
            } else {
                cache
                    .encryption(SUITE, &number(context), length, now)
                    .unwrap();
            }
            made.push(kms.calls() != before);
        }
        let answer = python.borrow_mut().ask(&json!({
            "op": "cache_trace",
            "capacity": 8,
            "max_age": age,
            "max_messages": max_messages,
            "max_bytes": max_bytes,
            "steps": asked,
        }));
        prop_assert_eq!(answer["made"].clone(), json!(made), "{}", answer);
        Ok(())
    });
    outcome.unwrap();
}
