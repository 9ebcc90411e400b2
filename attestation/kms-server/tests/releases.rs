//! Release counting: never more documents of a contract than the owner approved, whatever happens at
//! the same time or to the server.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::enclave::{Machine, RsaKey, Wish, pcr};
use support::{ACCOUNT, Client, Credentials, Kms, Reply, Server};

const CONTRACT: [u8; 48] = [0xd0; 48];
const PRIOR: &str = "anchorhold:RecipientAttestation:PriorReleases";
const USER_DATA: &str = "anchorhold:RecipientAttestation:UserData";
const ROOT: &str = "anchorhold:RecipientAttestation:RootSha256";

/// A machine, a recipient's key, and the principal of the enclave.
struct Scene {
    kms: Kms,
    machine: Machine,
    rsa: RsaKey,
    enclave: Credentials,
}

impl Scene {
    fn new() -> Self {
        let kms = Kms::new();
        let dir = kms.temp.path();
        Self {
            machine: Machine::new(dir, "machine"),
            rsa: RsaKey::new(dir),
            enclave: kms.add_principal("enclave", None),
            kms,
        }
    }

    fn serve(&self) -> Server {
        let root = self.machine.root.to_str().expect("a path");
        self.kms.serve(&["--trust-root", root])
    }

    /// A key that the image gets for [`CONTRACT`], in so many runs, and a ciphertext of it.
    fn key(&self, server: &Server, budget: u64) -> (String, String) {
        let owner = server.client(&self.kms.administrator);
        let input = json!({ "Policy": self.policy(budget) });
        let key = owner.call("CreateKey", &input).ok()["KeyMetadata"]["KeyId"].clone();
        let input = json!({ "KeyId": key, "Plaintext": BASE64_STANDARD.encode("secret") });
        let sealed = owner.call("Encrypt", &input).ok()["CiphertextBlob"].clone();
        let text = |value: Value| value.as_str().expect("text").to_owned();
        (text(key), text(sealed))
    }

    fn policy(&self, budget: u64) -> String {
        json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
                    "NotAction": "kms:Decrypt",
                    "Resource": "*"
                },
                {
                    "Effect": "Allow",
                    "Principal": { "AWS": self.enclave.arn },
                    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                    "Resource": "*",
                    "Condition": {
                        "StringEquals": {
                            "kms:RecipientAttestation:PCR0": pcr(1).to_string(),
                            ROOT: self.machine.root_sha256,
                            USER_DATA: hex::encode(CONTRACT),
                        },
                        "NumericLessThan": { PRIOR: budget.to_string() },
                    }
                }
            ]
        })
        .to_string()
    }

    /// The `Recipient` of a fresh document with this user_data.
    fn recipient(&self, user_data: Option<&[u8]>) -> Value {
        let wish = Wish {
            user_data,
            ..Wish::default()
        };
        let document = self.machine.document(&self.rsa.public, wish);
        json!({
            "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
            "AttestationDocument": BASE64_STANDARD.encode(document),
        })
    }

    fn fresh(&self) -> Value {
        self.recipient(Some(&CONTRACT))
    }
}

fn decrypt(client: &Client, sealed: &str, recipient: &Value) -> Reply {
    let input = json!({ "CiphertextBlob": sealed, "Recipient": recipient });
    client.call("Decrypt", &input)
}

#[track_caller]
fn refused(reply: &Reply, expected: &str) {
    assert_eq!(reply.rule(), "policy.attestation", "{}", reply.body);
    let message = reply.body["Message"].as_str().expect("a message");
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_run_beyond_the_budget_is_refused_and_a_retry_counts_once() {
    let scene = Scene::new();
    let server = scene.serve();
    let client = server.client(&scene.enclave);
    let (key, sealed) = scene.key(&server, 2);
    let [first, second, third] = [scene.fresh(), scene.fresh(), scene.fresh()];

    let bare = client.call("Decrypt", &json!({ "CiphertextBlob": sealed }));
    refused(&bare, "got no attestation document");
    for other in [Some(&[0xd1; 48][..]), Some(&[]), None] {
        refused(
            &decrypt(&client, &sealed, &scene.recipient(other)),
            USER_DATA,
        );
    }
    // What was refused is not counted; what was released is counted once.
    for recipient in [&first, &first, &second, &first, &second] {
        let reply = decrypt(&client, &sealed, recipient);
        let opened = scene.rsa.open(&reply.blob("CiphertextForRecipient"));
        assert_eq!(opened, b"secret");
    }
    refused(&decrypt(&client, &sealed, &third), PRIOR);
    // A data key for the enclave is a release as well.
    let input = json!({ "KeyId": key, "KeySpec": "AES_256", "Recipient": third });
    refused(&client.call("GenerateDataKey", &input), PRIOR);

    // A dry run releases nothing. A wider budget lets the next one through, a narrower one none.
    let owner = server.client(&scene.kms.administrator);
    let put = |budget| {
        let input = json!({ "KeyId": key, "Policy": scene.policy(budget) });
        assert_eq!(owner.call("PutKeyPolicy", &input).status, 200);
    };
    put(3);
    let dry = json!({ "CiphertextBlob": sealed, "Recipient": scene.fresh(), "DryRun": true });
    assert_eq!(
        client.call("Decrypt", &dry).exception(),
        "DryRunOperationException"
    );
    client.call("GenerateDataKey", &input).ok();
    refused(
        &decrypt(&client, &sealed, &scene.fresh()),
        "expected 3, got 3",
    );
    put(2);
    refused(&decrypt(&client, &sealed, &first), "expected 2, got 2");

    // Another key has a count of its own, and it goes with its key.
    let (_, other) = scene.key(&server, 1);
    decrypt(&client, &other, &third).ok();
    drop(server);
    check_events(&scene);
}

/// The bound may stand in a Deny as well, beside an Allow that names the contract.
#[test]
fn a_deny_beyond_the_budget_denies() {
    let scene = Scene::new();
    let server = scene.serve();
    let owner = server.client(&scene.kms.administrator);
    let (key, sealed) = scene.key(&server, 1000);
    let mut policy: Value = serde_json::from_str(&scene.policy(1000)).expect("JSON");
    let statements = policy["Statement"].as_array_mut().expect("statements");
    let allow = statements[1]["Condition"]
        .as_object_mut()
        .expect("conditions");
    allow.remove("NumericLessThan");
    statements.push(json!({
        "Effect": "Deny",
        "Principal": { "AWS": scene.enclave.arn },
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": { "NumericGreaterThanEquals": { PRIOR: "1" } },
    }));
    let input = json!({ "KeyId": key, "Policy": policy.to_string() });
    assert_eq!(owner.call("PutKeyPolicy", &input).status, 200);
    let client = server.client(&scene.enclave);
    let [first, second] = [scene.fresh(), scene.fresh()];
    for _ in 0..2 {
        decrypt(&client, &sealed, &first).ok();
        let denied = decrypt(&client, &sealed, &second);
        assert_eq!(denied.exception(), "AccessDeniedException");
        assert_eq!(denied.rule(), "policy.explicit-deny", "{}", denied.body);
    }
    // Nobody gets around the Deny without a document: the Allow asks for one.
    let bare = client.call("Decrypt", &json!({ "CiphertextBlob": sealed }));
    refused(&bare, "got no attestation document");
}

/// Count and contract stand in the events, of refusals too.
fn check_events(scene: &Scene) {
    let events = scene.kms.events();
    let counts: Vec<(bool, u64)> = events
        .iter()
        .filter(|event| event["eventName"] == "Decrypt")
        .filter(|event| {
            let recipient = &event["additionalEventData"]["recipient"];
            recipient["userData"] == hex::encode(CONTRACT)
        })
        .map(|event| {
            let count = &event["additionalEventData"]["recipient"]["priorReleases"];
            let released = event.get("errorCode").is_none();
            (released, count.as_u64().expect("a count"))
        })
        .collect();
    let expected = [
        (true, 0),
        (true, 0),
        (true, 1),
        (true, 1),
        (true, 1),
        (false, 2),
        (false, 2),
        (false, 3),
        (false, 2),
        (true, 0),
    ];
    assert_eq!(counts, expected);
    scene.kms.verify();
}

/// 32 documents at the same time, a budget of 3: exactly three are released, and asking again
/// changes nothing.
#[test]
fn of_many_runs_at_once_exactly_the_budget_is_released() {
    let scene = Scene::new();
    let server = scene.serve();
    let client = server.client(&scene.enclave);
    let (_, sealed) = scene.key(&server, 3);
    let recipients: Vec<Value> = (0..32).map(|_| scene.fresh()).collect();
    let mut winners = None;
    for _ in 0..2 {
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let ask = |recipient| {
                let (client, sealed) = (&client, &sealed);
                scope.spawn(move || decrypt(client, sealed, recipient))
            };
            let calls: Vec<_> = recipients.iter().map(ask).collect();
            calls
                .into_iter()
                .map(|call| call.join().expect("no panic"))
                .collect()
        });
        let released: Vec<bool> = replies.iter().map(|reply| reply.status == 200).collect();
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            refused(reply, PRIOR);
        }
        assert_eq!(released.iter().filter(|released| **released).count(), 3);
        assert_eq!(winners.get_or_insert_with(|| released.clone()), &released);
    }
    scene.kms.verify();
}

/// Whatever is acknowledged before a kill -9, and whatever was under way, is counted.
#[test]
fn a_killed_server_never_releases_more_than_the_budget() {
    const BUDGET: usize = 40;
    let scene = Scene::new();
    let server = scene.serve();
    let (_, sealed) = scene.key(&server, BUDGET as u64);
    let mut server = Some(server);
    let released = AtomicUsize::new(0);
    for round in 0..3 {
        // Killed in the middle, however fast the machine: after a few more releases.
        let enough = released.load(Ordering::Relaxed) + 2 + 3 * round;
        let ended = AtomicUsize::new(0);
        let serving = server.take().unwrap_or_else(|| scene.serve());
        let client = serving.client(&scene.enclave);
        let recipients: Vec<Value> = (0..20).map(|_| scene.fresh()).collect();
        std::thread::scope(|scope| {
            for some in recipients.chunks(5) {
                let (client, sealed, released, ended) = (&client, &sealed, &released, &ended);
                scope.spawn(move || {
                    for recipient in some {
                        let input = json!({ "CiphertextBlob": sealed, "Recipient": recipient });
                        let reply = client.try_send("TrentService.Decrypt", &input.to_string());
                        if reply.is_some_and(|reply| reply.status == 200) {
                            released.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
            while released.load(Ordering::Relaxed) < enough && ended.load(Ordering::Relaxed) < 4 {
                std::thread::sleep(Duration::from_millis(1));
            }
            serving.kill();
        });
    }
    let before = released.load(Ordering::Relaxed);
    assert!(before > 0, "nothing was released before the kills");
    let server = scene.serve();
    let client = server.client(&scene.enclave);
    let mut after = 0;
    loop {
        let reply = decrypt(&client, &sealed, &scene.fresh());
        if reply.status != 200 {
            refused(&reply, PRIOR);
            break;
        }
        after += 1;
        assert!(before + after <= BUDGET, "{before} and {after}");
    }
    drop(server);
    let events = scene.kms.events();
    let told = events
        .iter()
        .filter(|event| event["eventName"] == "Decrypt" && event.get("errorCode").is_none())
        .count();
    assert_eq!(
        told, BUDGET,
        "each release has its event, and each event its release"
    );
    scene.kms.verify();
}
