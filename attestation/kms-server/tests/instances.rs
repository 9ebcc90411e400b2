//! Several KMSs on one machine: each with its own directory, account, root key and trusted roots.

mod support;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::enclave::{Machine, RsaKey, Wish, pcr};
use support::{Client, Credentials, REGION, Reply, Server, anchorhold_kms, stderr};

/// One owner's KMS, and the platform that it trusts.
struct Owner {
    temp: tempfile::TempDir,
    administrator: Credentials,
    machine: Machine,
}

impl Owner {
    fn new(account: &str) -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let arguments = ["--account", account, "--region", REGION];
        let output = anchorhold_kms(&["init"], &temp.path().join("kms"), &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        Self {
            administrator: Credentials::from_json(&output.stdout),
            machine: Machine::new(temp.path(), "machine"),
            temp,
        }
    }

    fn serve(&self) -> Server {
        let root = self.machine.root.to_str().expect("a path");
        Server::start(&self.temp.path().join("kms"), &["--trust-root", root])
    }

    /// A key of this owner that its administrator decrypts with in image 1 only.
    fn key(&self, client: &Client) -> (String, String) {
        let account = self
            .administrator
            .arn
            .replace(":user/administrator", ":root");
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": { "AWS": account },
                    "NotAction": "kms:Decrypt",
                    "Resource": "*"
                },
                {
                    "Effect": "Allow",
                    "Principal": { "AWS": self.administrator.arn },
                    "Action": "kms:Decrypt",
                    "Resource": "*",
                    "Condition": { "StringEquals": {
                        "kms:RecipientAttestation:PCR0": pcr(1).to_string(),
                    } }
                }
            ]
        });
        let input = json!({ "Policy": policy.to_string() });
        let made = client.call("CreateKey", &input).ok();
        let key = made["KeyMetadata"]["Arn"].as_str().expect("an ARN");
        let input = json!({ "KeyId": key, "Plaintext": BASE64_STANDARD.encode("secret") });
        let sealed = client.call("Encrypt", &input).ok()["CiphertextBlob"].clone();
        (key.to_owned(), sealed.as_str().expect("a blob").to_owned())
    }
}

fn decrypt(client: &Client, sealed: &str, document: &[u8]) -> Reply {
    let recipient = json!({
        "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
        "AttestationDocument": BASE64_STANDARD.encode(document),
    });
    let input = json!({ "CiphertextBlob": sealed, "Recipient": recipient });
    client.call("Decrypt", &input)
}

#[test]
fn two_instances_side_by_side_know_nothing_of_each_other() {
    let owners = [Owner::new("111111111111"), Owner::new("222222222222")];
    let servers = owners.each_ref().map(Owner::serve);
    assert_ne!(servers[0].url, servers[1].url);
    let clients = [0, 1].map(|i| servers[i].client(&owners[i].administrator));
    let keys = [0, 1].map(|i| owners[i].key(&clients[i]));
    let rsa = RsaKey::new(owners[0].temp.path());
    let documents = owners
        .each_ref()
        .map(|owner| owner.machine.document(&rsa.public, Wish::default()));

    for (own, other) in [(0, 1), (1, 0)] {
        let client = &clients[own];
        let rule = |reply: Reply| (reply.exception().to_owned(), reply.rule());
        let refusal = |exception: &str, rule: &str| (exception.to_owned(), rule.to_owned());
        // The other's key, by ARN; its credentials; its ciphertext; its platform's documents.
        for (operation, more) in [
            ("DescribeKey", json!({})),
            ("Encrypt", json!({ "Plaintext": "AAAA" })),
            ("GetKeyPolicy", json!({})),
        ] {
            let mut input = more;
            input["KeyId"] = keys[other].0.clone().into();
            assert_eq!(
                rule(client.call(operation, &input)),
                refusal("NotFoundException", "key.not-found"),
                "{operation}"
            );
        }
        let stranger = servers[own].client(&owners[other].administrator);
        assert_eq!(
            rule(stranger.call("ListKeys", &json!({}))),
            refusal("UnrecognizedClientException", "signature.unknown-key")
        );
        assert_eq!(
            rule(decrypt(client, &keys[other].1, &documents[own])),
            refusal("AccessDeniedException", "ciphertext.key")
        );
        assert_eq!(
            rule(decrypt(client, &keys[own].1, &documents[other])),
            refusal("AccessDeniedException", "root.untrusted")
        );
        let opened = decrypt(client, &keys[own].1, &documents[own]);
        assert_eq!(rsa.open(&opened.blob("CiphertextForRecipient")), b"secret");
        let listed = client.call("ListKeys", &json!({})).ok();
        let arns: Vec<&Value> = listed["Keys"]
            .as_array()
            .expect("keys")
            .iter()
            .map(|key| &key["KeyArn"])
            .collect();
        assert_eq!(arns, [keys[own].0.as_str()]);
    }
    // Neither ends, or holds up, the other.
    let [first, second] = servers;
    assert!(first.stop().success());
    clients[1].call("ListKeys", &json!({})).ok();
    assert!(second.stop().success());
}

/// A policy names principals of another account freely, but no key of another account is served,
/// and a principal's ARN counts for nothing where its access key is unknown.
#[test]
fn the_other_accounts_principals_have_no_way_in() {
    let owners = [Owner::new("111111111111"), Owner::new("222222222222")];
    let server = owners[0].serve();
    let client = server.client(&owners[0].administrator);
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": ["arn:aws:iam::111111111111:root", owners[1].administrator.arn] },
            "Action": "kms:*",
            "Resource": "*"
        }]
    });
    let made = client.call("CreateKey", &json!({ "Policy": policy.to_string() }));
    let key = made.ok()["KeyMetadata"]["Arn"].clone();
    let stranger = server.client(&owners[1].administrator);
    let refused = stranger.call("DescribeKey", &json!({ "KeyId": key }));
    assert_eq!(refused.exception(), "UnrecognizedClientException");
}
