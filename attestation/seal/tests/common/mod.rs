//! A real KMS over TLS, in a thread of the test.
#![allow(dead_code, reason = "tests and examples use a part of this each")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use anchorhold_enclave::Credentials;
use anchorhold_enclave::kms::{Client, Endpoint};
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Tcp;
use anchorhold_kms::audit::trail::export;
use anchorhold_kms::instance::{self, Instance};
use anchorhold_kms::server::{Limits, Server, load_tls};
use anchorhold_kms_core::attestation::RecipientRules;
use anchorhold_verifier::TrustRoots;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::oneshot;

const ACCOUNT: &str = "111122223333";
const REGION: &str = "us-east-1";

/// What an owner has: a KMS of its own with an administrator, and one key.
pub struct Owner {
    dir: tempfile::TempDir,
    pub address: SocketAddr,
    pub key_arn: String,
    access_key_id: String,
    secret_access_key: String,
    end: Option<oneshot::Sender<()>>,
    server: Option<thread::JoinHandle<()>>,
}

impl Owner {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        certificates(dir.path());
        let (end, ended) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let path = dir.path().to_owned();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(serve(path, tell, ended));
        });
        let (address, access_key_id, secret_access_key) = told.recv().expect("the KMS starts");
        let mut owner = Self {
            dir,
            address,
            key_arn: String::new(),
            access_key_id,
            secret_access_key,
            end: Some(end),
            server: Some(server),
        };
        let credentials = serde_json::json!({
            "access_key_id": owner.access_key_id,
            "secret_access_key": owner.secret_access_key,
        });
        std::fs::write(owner.file("credentials.json"), credentials.to_string()).expect("a file");
        let created = owner.client().create_key("the test's", None);
        owner.key_arn = created.expect("a key").arn;
        let settings = serde_json::json!({
            "keys": [owner.key_arn],
            "kms": owner.address.to_string(),
            "kms_ca": "ca.pem",
            "credentials": "credentials.json",
        });
        std::fs::write(owner.file("owner.json"), settings.to_string()).expect("a file");
        owner
    }

    /// A file in the owner's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How many calls of each name the KMS has done, as its audit trail has it.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        let trail = runtime.block_on(async {
            let instance = Instance::open(&self.file("kms")).await.expect("the KMS");
            let store = instance.store().await.expect("the store");
            let mut trail = Vec::new();
            export(&store, &mut trail).await.expect("the trail");
            String::from_utf8(trail).expect("JSON lines")
        });
        let mut calls = BTreeMap::new();
        for line in trail.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let event = &line["event"];
            if event.get("errorCode").is_none() {
                let name = event["eventName"].as_str().expect("a name").to_owned();
                *calls.entry(name).or_insert(0) += 1;
            }
        }
        calls
    }

    pub fn client(&self) -> Client<Tcp> {
        let ca = std::fs::read(self.file("ca.pem")).expect("a file");
        let tls = PinnedTls::from_pem(&ca).expect("an authority");
        let endpoint = Endpoint::new("kms.anchorhold.internal", REGION).expect("an endpoint");
        let (id, secret) = (&self.access_key_id, &self.secret_access_key);
        let credentials = Credentials::new(id, secret, None).expect("an access key");
        Client::new(
            Tcp::new(self.address.to_string()),
            endpoint,
            tls,
            credentials,
        )
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

async fn serve(
    path: PathBuf,
    tell: mpsc::Sender<(SocketAddr, String, String)>,
    ended: oneshot::Receiver<()>,
) {
    let data = path.join("kms");
    let (account, region) = (
        ACCOUNT.parse().expect("an id"),
        REGION.parse().expect("one"),
    );
    let made = instance::init(&data, account, region, SystemTime::now()).await;
    let made = made.expect("a KMS");
    let tls = load_tls(&path.join("server.pem"), &path.join("server-key.pem")).expect("TLS");
    let (instance, lock) = Instance::open_to_serve(&data).await.expect("the KMS");
    let address = ([127, 0, 0, 1], 0).into();
    let server = Server::listen(address, Some(tls), Limits::default()).await;
    let server = server.expect("a port");
    let rules = RecipientRules::new(TrustRoots::new());
    let running = instance.start(lock, rules).await.expect("the service");
    let url = server.url();
    let address = url
        .trim_start_matches("https://")
        .parse()
        .expect("an address");
    let secret = made.secret_access_key.to_string();
    tell.send((address, made.access_key_id.clone(), secret))
        .expect("the test waits");
    let end = async {
        let _ = ended.await;
    };
    server.run(running.service, end).await;
}

fn certificates(dir: &Path) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key"));
    let ca = ca.expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["kms.anchorhold.internal".to_owned()];
    let server = CertificateParams::new(names).expect("a name");
    let server = server.signed_by(&key, &ca).expect("a certificate");
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("server.pem", server.pem()),
        ("server-key.pem", key.serialize_pem()),
    ] {
        anchorhold_access::write_new(&dir.join(name), text.as_bytes(), 0o600).expect("a file");
    }
}
