//! Attestation documents by the real security module, and keys by OpenSSL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use getrandom::SysRng;
use rand_core::UnwrapErr;

/// A platform with its root certificate in a file.
pub struct Machine {
    pem: String,
    pub root: PathBuf,
    pub root_sha256: String,
}

/// What differs between the documents of a test.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    pub image: u8,
    pub debug: bool,
    /// Seconds after now; negative for the past.
    pub at: i64,
    pub nonce: Option<&'a [u8]>,
    pub user_data: Option<&'a [u8]>,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            image: 1,
            debug: false,
            at: 0,
            nonce: None,
            user_data: None,
        }
    }
}

impl Machine {
    pub fn new(dir: &Path, name: &str) -> Self {
        // Made an hour ago, so that it can sign documents of the past.
        let made = SystemTime::now() - Duration::from_secs(3600);
        let platform = Platform::generate(made, &mut UnwrapErr(SysRng)).expect("a platform");
        let root = dir.join(format!("{name}.pem"));
        std::fs::write(&root, platform.root_certificate_pem()).expect("write");
        Self {
            root,
            root_sha256: hex::encode(platform.root_sha256()),
            pem: platform.to_pem().expect("PEM").to_string(),
        }
    }

    /// A document of an enclave on this machine.
    pub fn document(&self, public_key: &[u8], wish: Wish<'_>) -> Vec<u8> {
        let platform = Platform::from_pem(&self.pem).expect("a platform");
        let boot = Boot {
            module_id: platform.module_id(0x0123_4567_89ab_cdef),
            pcr0: pcr(wish.image),
            pcr1: pcr(wish.image.wrapping_add(100)),
            pcr2: pcr(wish.image.wrapping_add(200)),
            pcr3: None,
            pcr8: None,
            debug: wish.debug,
        };
        let mut module = SecurityModule::new(platform, boot).expect("a module");
        let request = Request::Attestation(AttestationRequest {
            user_data: wish.user_data.map(<[u8]>::to_vec),
            nonce: wish.nonce.map(<[u8]>::to_vec),
            public_key: Some(public_key.to_vec()),
        });
        let now = SystemTime::now();
        let shift = Duration::from_secs(wish.at.unsigned_abs());
        let at = if wish.at < 0 {
            now - shift
        } else {
            now + shift
        };
        if wish.at > 0 {
            // Certificates of the present: only the document's own time is wrong.
            module.handle(&request.to_cbor(), now, &mut UnwrapErr(SysRng));
        }
        let answer = module.handle(&request.to_cbor(), at, &mut UnwrapErr(SysRng));
        match Response::from_cbor(&answer).expect("a response") {
            Response::Attestation { document } => document,
            other => panic!("no document: {other:?}"),
        }
    }
}

/// PCR0 of image `number`.
pub fn pcr(number: u8) -> Pcr {
    Pcr([number; 48])
}

/// An RSA-2048 key in a file, and its SubjectPublicKeyInfo in DER.
pub struct RsaKey {
    file: PathBuf,
    pub public: Vec<u8>,
}

impl RsaKey {
    pub fn new(dir: &Path) -> Self {
        let file = dir.join("recipient.key");
        let path = file.to_str().expect("a path");
        openssl(&["genrsa", "-out", path, "2048"]);
        let public = openssl(&["rsa", "-in", path, "-pubout", "-outform", "DER"]);
        Self { file, public }
    }

    /// Opens a CMS answer with OpenSSL.
    pub fn open(&self, envelope: &[u8]) -> Vec<u8> {
        let cms = self.file.with_extension("cms");
        std::fs::write(&cms, envelope).expect("write");
        let [cms, key] = [&cms, &self.file].map(|path| path.to_str().expect("a path"));
        openssl(&[
            "cms", "-decrypt", "-inform", "DER", "-in", cms, "-inkey", key, "-binary",
        ])
    }
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.expect("openssl is missing: run `cargo xtask setup`");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
