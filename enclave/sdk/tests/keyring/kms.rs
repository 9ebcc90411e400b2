//! The real KMS over TLS, in a thread of the test.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use anchorhold_kms::instance::{self, Credentials, Instance};
use anchorhold_kms::server::{Limits, Server, load_tls};
use anchorhold_kms_core::attestation::RecipientRules;
use anchorhold_verifier::TrustRoots;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "us-east-1";
pub const HOST: &str = "kms.anchorhold.internal";

/// A KMS that trusts one platform and takes each nonce once, with an administrator and an enclave's
/// principal. It ends when dropped.
pub struct Kms {
    dir: tempfile::TempDir,
    pub address: SocketAddr,
    pub administrator: Credentials,
    pub enclave: Credentials,
    end: Option<oneshot::Sender<()>>,
    server: Option<thread::JoinHandle<()>>,
}

type Told = (SocketAddr, Credentials, Credentials);

impl Kms {
    pub fn new(platform_root: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let roots = TrustRoots::from_pem(platform_root).unwrap();
        let rules = RecipientRules::new(roots).with_required_nonce();
        let (end, ended) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let path = dir.path().to_owned();
        let server = thread::spawn(move || {
            let mut runtime = Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(serve(path, rules, tell, ended));
        });
        let (address, administrator, enclave) = told.recv().unwrap();
        Self {
            dir,
            address,
            administrator,
            enclave,
            end: Some(end),
            server: Some(server),
        }
    }

    pub fn ca(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("ca.pem")).unwrap()
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

async fn serve(
    path: PathBuf,
    rules: RecipientRules,
    tell: mpsc::Sender<Told>,
    ended: oneshot::Receiver<()>,
) {
    let data = path.join("kms");
    let now = SystemTime::now();
    let (account, region) = (ACCOUNT.parse().unwrap(), REGION.parse().unwrap());
    let administrator = instance::init(&data, account, region, now).await.unwrap();
    let (instance, lock) = Instance::open_to_serve(&data).await.unwrap();
    let enclave = instance.add_principal("enclave", None, now).await.unwrap();
    let tls = load_tls(&path.join("server.pem"), &path.join("server-key.pem")).unwrap();
    let address = ([127, 0, 0, 1], 0).into();
    let server = Server::listen(address, Some(tls), Limits::default()).await;
    let server = server.unwrap();
    let running = instance.start(lock, rules).await.unwrap();
    let url = server.url();
    let address = url.trim_start_matches("https://").parse().unwrap();
    tell.send((address, administrator, enclave)).unwrap();
    let end = async {
        let _ = ended.await;
    };
    server.run(running.service, end).await;
}

fn certificates(dir: &Path) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let server = server.signed_by(&key, &ca).unwrap();
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("server.pem", server.pem()),
        ("server-key.pem", key.serialize_pem()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(dir.join(name), private).unwrap();
    }
}
