//! Calls per second of the real server process on loopback, every event synced to disk.
//!
//! `cargo bench -p anchorhold-kms` prints one JSON object.

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use support::enclave::{Machine, RsaKey, Wish};
use support::{Client, Kms};

const TIME: Duration = Duration::from_secs(3);

fn main() {
    let kms = Kms::new();
    let machine = Machine::new(kms.temp.path(), "machine");
    let rsa = RsaKey::new(kms.temp.path());
    let server = kms.serve(&["--trust-root", machine.root.to_str().expect("a path")]);
    let client = server.client(&kms.administrator);
    let key = client.call("CreateKey", &json!({})).ok()["KeyMetadata"]["KeyId"].clone();
    let encrypt = json!({ "KeyId": key, "Plaintext": "AAAA" });
    let sealed = client.call("Encrypt", &encrypt).ok()["CiphertextBlob"].clone();
    let decrypt = json!({ "CiphertextBlob": sealed });
    let document = machine.document(&rsa.public, Wish::default());
    let attested = json!({
        "CiphertextBlob": sealed,
        "Recipient": {
            "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
            "AttestationDocument": BASE64_STANDARD.encode(document),
        },
    });
    let rate = |callers, operation, input| rate(&client, callers, operation, input).round();
    let result = json!({
        "Encrypt": { "1": rate(1, "Encrypt", &encrypt), "32": rate(32, "Encrypt", &encrypt) },
        "Decrypt": { "1": rate(1, "Decrypt", &decrypt), "32": rate(32, "Decrypt", &decrypt) },
        "DecryptWithRecipient": {
            "1": rate(1, "Decrypt", &attested),
            "32": rate(32, "Decrypt", &attested),
        },
    });
    println!("{result}");
}

/// Calls per second by so many callers at a time, a connection each call.
fn rate(client: &Client, callers: usize, operation: &str, input: &serde_json::Value) -> f64 {
    let calls = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                while begin.elapsed() < TIME {
                    client.call(operation, input).ok();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    calls.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}
