//! The Recipient flow against the real server, with documents of the real security module.

mod support;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::enclave::{Machine, RsaKey, Wish, pcr};
use support::{ACCOUNT, Client, Credentials, Kms, Reply};

/// A server that trusts two machines' roots, a key for image 1 under the first one,
/// and a ciphertext of it.
struct Scene {
    kms: Kms,
    machine: Machine,
    other_machine: Machine,
    untrusted: Machine,
    rsa: RsaKey,
}

const SECRET: &[u8] = b"records key";

impl Scene {
    fn new() -> Self {
        let kms = Kms::new();
        let dir = kms.temp.path();
        Self {
            machine: Machine::new(dir, "machine"),
            other_machine: Machine::new(dir, "other"),
            untrusted: Machine::new(dir, "untrusted"),
            rsa: RsaKey::new(dir),
            kms,
        }
    }

    fn serve(&self, more: &[&str]) -> support::Server {
        let roots = [&self.machine, &self.other_machine].map(|m| m.root.to_str().expect("a path"));
        let mut arguments = vec!["--trust-root", roots[0], "--trust-root", roots[1]];
        arguments.extend(more);
        self.kms.serve(&arguments)
    }

    /// Decrypt to image 1 under the first machine's root, everything else to the administrator.
    fn policy(&self, enclave: &Credentials, conditions: Value) -> String {
        json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "Owner",
                    "Effect": "Allow",
                    "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
                    "NotAction": "kms:Decrypt",
                    "Resource": "*"
                },
                {
                    "Sid": "Enclave",
                    "Effect": "Allow",
                    "Principal": { "AWS": enclave.arn },
                    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                    "Resource": "*",
                    "Condition": { "StringEquals": conditions }
                }
            ]
        })
        .to_string()
    }

    fn pinned(&self) -> Value {
        json!({
            "kms:RecipientAttestation:PCR0": pcr(1).to_string(),
            "anchorhold:RecipientAttestation:RootSha256": self.machine.root_sha256,
        })
    }

    fn recipient(&self, document: &[u8]) -> Value {
        json!({
            "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
            "AttestationDocument": BASE64_STANDARD.encode(document),
        })
    }
}

/// The key's id and a ciphertext of [`SECRET`] under it.
fn prepare(owner: &Client, policy: &str) -> (String, String) {
    let key = owner.call("CreateKey", &json!({ "Policy": policy })).ok();
    let key = key["KeyMetadata"]["Arn"]
        .as_str()
        .expect("an ARN")
        .to_owned();
    let sealed = owner.call(
        "Encrypt",
        &json!({
            "KeyId": key,
            "Plaintext": BASE64_STANDARD.encode(SECRET),
            "EncryptionContext": { "purpose": "records" },
        }),
    );
    let sealed = sealed.ok()["CiphertextBlob"]
        .as_str()
        .expect("a blob")
        .to_owned();
    (key, sealed)
}

fn decrypt(client: &Client, sealed: &str, recipient: Option<Value>) -> Reply {
    let mut input = json!({
        "CiphertextBlob": sealed,
        "EncryptionContext": { "purpose": "records" },
    });
    if let Some(recipient) = recipient {
        input["Recipient"] = recipient;
    }
    client.call("Decrypt", &input)
}

#[test]
fn only_the_agreed_image_under_the_agreed_root_gets_the_plaintext() {
    let scene = Scene::new();
    let enclave = scene.kms.add_principal("enclave", None);
    let server = scene.serve(&[]);
    let owner = server.client(&scene.kms.administrator);
    let client = server.client(&enclave);
    let (key, sealed) = prepare(&owner, &scene.policy(&enclave, scene.pinned()));
    let public = &scene.rsa.public;

    let document = |machine: &Machine, wish| machine.document(public, wish);
    let refusals = [
        (
            "no document",
            None,
            "AccessDeniedException",
            "policy.attestation",
        ),
        (
            "another image",
            Some(document(
                &scene.machine,
                Wish {
                    image: 2,
                    ..Wish::default()
                },
            )),
            "AccessDeniedException",
            "policy.attestation",
        ),
        (
            "the image under another trusted root",
            Some(document(&scene.other_machine, Wish::default())),
            "AccessDeniedException",
            "policy.attestation",
        ),
        (
            "a root that is not trusted",
            Some(document(&scene.untrusted, Wish::default())),
            "AccessDeniedException",
            "root.untrusted",
        ),
        (
            "debug mode",
            Some(document(
                &scene.machine,
                Wish {
                    debug: true,
                    ..Wish::default()
                },
            )),
            "AccessDeniedException",
            "debug.refused",
        ),
        (
            "a stale document",
            Some(document(
                &scene.machine,
                Wish {
                    at: -310,
                    ..Wish::default()
                },
            )),
            "AccessDeniedException",
            "freshness.too-old",
        ),
        (
            "a document of the future",
            Some(document(
                &scene.machine,
                Wish {
                    // A minute is tolerated, and the document gets older until it is presented.
                    at: 600,
                    ..Wish::default()
                },
            )),
            "AccessDeniedException",
            "freshness.future",
        ),
        (
            "no document at all",
            Some(b"{}".to_vec()),
            "ValidationException",
            "cbor.truncated",
        ),
    ];
    let mut rules = Vec::new();
    for (what, document, exception, rule) in refusals {
        let recipient = document
            .as_deref()
            .map(|document| scene.recipient(document));
        let reply = decrypt(&client, &sealed, recipient);
        assert_eq!(
            (reply.status, reply.exception()),
            (400, exception),
            "{what}: {}",
            reply.body
        );
        assert_eq!(reply.rule(), rule, "{what}: {}", reply.body);
        rules.push(reply.rule());
    }
    // A bit of the signature, and the owner with the enclave's document.
    let good = scene.machine.document(public, Wish::default());
    let mut forged = good.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    let reply = decrypt(&client, &sealed, Some(scene.recipient(&forged)));
    assert_eq!(reply.rule(), "document.signature", "{}", reply.body);
    let reply = decrypt(&owner, &sealed, Some(scene.recipient(&good)));
    assert_eq!(reply.exception(), "AccessDeniedException", "{}", reply.body);

    let reply = decrypt(&client, &sealed, Some(scene.recipient(&good)));
    let envelope = reply.blob("CiphertextForRecipient");
    assert_eq!(scene.rsa.open(&envelope), SECRET);
    let body = reply.ok();
    assert_eq!(body["KeyId"], key);
    let members: Vec<_> = body.as_object().expect("an object").keys().collect();
    assert_eq!(
        members,
        ["CiphertextForRecipient", "EncryptionAlgorithm", "KeyId"]
    );

    drop(server);
    check_events(&scene, &rules);
}

fn check_events(scene: &Scene, rules: &[String]) {
    let events = scene.kms.events();
    let decrypts: Vec<_> = events
        .iter()
        .filter(|e| e["eventName"] == "Decrypt")
        .collect();
    for (event, rule) in decrypts.iter().zip(rules) {
        assert_eq!(event["additionalEventData"]["rule"], *rule);
        assert!(event["errorCode"].is_string());
    }
    let last = decrypts.last().expect("an event");
    let recipient = &last["additionalEventData"]["recipient"];
    assert_eq!(last.get("errorCode"), None);
    assert_eq!(
        recipient["attestationDocumentEnclaveImageDigest"],
        pcr(1).to_string()
    );
    assert_eq!(recipient["rootSha256"], scene.machine.root_sha256);
    let module = recipient["attestationDocumentModuleId"]
        .as_str()
        .expect("an id");
    assert!(module.ends_with("-enc0123456789abcdef"), "{module}");
    assert_eq!(
        last["requestParameters"]["encryptionContext"]["purpose"],
        "records"
    );
    let text = serde_json::to_string(&events).expect("JSON");
    assert!(!text.contains(&BASE64_STANDARD.encode(SECRET)));
    assert_eq!(scene.kms.verify(), events.len() as i64);
}

#[test]
fn data_keys_and_random_bytes_go_to_the_enclave_alone() {
    let scene = Scene::new();
    let allow_random = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "kms:GenerateRandom", "Resource": "*" }]
    });
    let enclave = scene
        .kms
        .add_principal("enclave", Some(&allow_random.to_string()));
    let server = scene.serve(&[]);
    let owner = server.client(&scene.kms.administrator);
    let client = server.client(&enclave);
    let (key, _) = prepare(&owner, &scene.policy(&enclave, scene.pinned()));
    let recipient = || {
        let document = scene.machine.document(&scene.rsa.public, Wish::default());
        scene.recipient(&document)
    };

    let input = json!({ "KeyId": key, "KeySpec": "AES_256", "Recipient": recipient() });
    let made = client.call("GenerateDataKey", &input);
    let plaintext = scene.rsa.open(&made.blob("CiphertextForRecipient"));
    let sealed = made.body["CiphertextBlob"]
        .as_str()
        .expect("a blob")
        .to_owned();
    let made = made.ok();
    let members: Vec<_> = made.as_object().expect("an object").keys().collect();
    assert_eq!(
        members,
        ["CiphertextBlob", "CiphertextForRecipient", "KeyId"]
    );
    assert_eq!(plaintext.len(), 32);
    let input = json!({ "CiphertextBlob": sealed, "Recipient": recipient() });
    let opened = client.call("Decrypt", &input);
    assert_eq!(
        scene.rsa.open(&opened.blob("CiphertextForRecipient")),
        plaintext
    );

    let input = json!({ "NumberOfBytes": 1000, "Recipient": recipient() });
    let random = client.call("GenerateRandom", &input);
    assert_eq!(
        scene.rsa.open(&random.blob("CiphertextForRecipient")).len(),
        1000
    );
    assert_eq!(random.body.get("Plaintext"), None);

    // Operations without a Recipient ignore one, as AWS does, and do not get its powers.
    let input = json!({ "KeyId": key, "Plaintext": "AAAA", "Recipient": recipient() });
    assert_eq!(
        client.call("Encrypt", &input).exception(),
        "AccessDeniedException"
    );
}

#[test]
fn with_two_roots_a_policy_without_one_is_refused_and_never_matches() {
    let scene = Scene::new();
    let enclave = scene.kms.add_principal("enclave", None);
    let unpinned = json!({ "kms:RecipientAttestation:PCR0": pcr(1).to_string() });
    let policy = scene.policy(&enclave, unpinned);

    // Put while one root was trusted …
    let root = scene.machine.root.to_str().expect("a path");
    let server = scene.kms.serve(&["--trust-root", root]);
    let (_, sealed) = prepare(&server.client(&scene.kms.administrator), &policy);
    let document = || scene.machine.document(&scene.rsa.public, Wish::default());
    let reply = decrypt(
        &server.client(&enclave),
        &sealed,
        Some(scene.recipient(&document())),
    );
    assert_eq!(
        scene.rsa.open(&reply.blob("CiphertextForRecipient")),
        SECRET
    );
    assert!(server.stop().success());

    // … it says nothing once there are two.
    let server = scene.serve(&[]);
    let reply = decrypt(
        &server.client(&enclave),
        &sealed,
        Some(scene.recipient(&document())),
    );
    assert_eq!(reply.exception(), "AccessDeniedException", "{}", reply.body);
    let owner = server.client(&scene.kms.administrator);
    let reply = owner.call("CreateKey", &json!({ "Policy": policy }));
    assert_eq!(
        reply.exception(),
        "MalformedPolicyDocumentException",
        "{}",
        reply.body
    );
    assert_eq!(reply.rule(), "policy.root-not-pinned");
}

#[test]
fn a_required_nonce_serves_once_and_only_its_principal() {
    let scene = Scene::new();
    let enclave = scene.kms.add_principal("enclave", None);
    let parent = scene.kms.add_principal("parent", None);
    let server = scene.serve(&["--require-nonce"]);
    let owner = server.client(&scene.kms.administrator);
    let client = server.client(&enclave);
    let (_, sealed) = prepare(&owner, &scene.policy(&enclave, scene.pinned()));
    let nonce = |credentials: &Credentials| {
        let client = server.client(credentials);
        let reply = client.send("AnchorholdService.GetAttestationNonce", "{}");
        reply.blob("Nonce")
    };
    let attempt = |nonce: Option<&[u8]>| {
        let wish = Wish {
            nonce,
            ..Wish::default()
        };
        let document = scene.machine.document(&scene.rsa.public, wish);
        decrypt(&client, &sealed, Some(scene.recipient(&document)))
    };

    assert_eq!(attempt(None).rule(), "recipient.no-nonce");
    assert_eq!(attempt(Some(&[7; 32])).rule(), "nonce.unknown");
    assert_eq!(attempt(Some(&nonce(&parent))).rule(), "nonce.unknown");

    let mine = nonce(&enclave);
    assert_eq!(mine.len(), 32);
    // A document that is not believed does not use the nonce up.
    let forged = scene.untrusted.document(
        &scene.rsa.public,
        Wish {
            nonce: Some(&mine),
            ..Wish::default()
        },
    );
    let reply = decrypt(&client, &sealed, Some(scene.recipient(&forged)));
    assert_eq!(reply.exception(), "AccessDeniedException");
    let reply = attempt(Some(&mine));
    assert_eq!(
        scene.rsa.open(&reply.blob("CiphertextForRecipient")),
        SECRET
    );
    assert_eq!(attempt(Some(&mine)).rule(), "nonce.unknown");
}

#[test]
fn a_recipient_of_the_wrong_shape_is_refused_in_aws_words() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    let owner = server.client(&scene.kms.administrator);
    for (recipient, message) in [
        (json!({}), "'recipient.keyEncryptionAlgorithm' failed"),
        (
            json!({ "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256" }),
            "Value null at 'recipient.attestationDocument' failed",
        ),
        (
            json!({ "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1", "AttestationDocument": "AAAA" }),
            "Member must satisfy enum value set: [RSAES_OAEP_SHA_256]",
        ),
        (
            json!({
                "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                "AttestationDocument": BASE64_STANDARD.encode(vec![0; 262_145]),
            }),
            "Member must have length less than or equal to 262144",
        ),
    ] {
        let input = json!({ "NumberOfBytes": 16, "Recipient": recipient });
        let reply = owner.call("GenerateRandom", &input);
        assert_eq!(reply.exception(), "ValidationException", "{}", reply.body);
        let got = reply.body["message"].as_str().unwrap_or_default();
        assert!(got.contains(message), "{got}");
    }
}
