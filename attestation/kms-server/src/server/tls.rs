//! TLS (RFC 8446, and TLS 1.2) with rustls and aws-lc-rs.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// Why the certificate or its key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM of what it should be.
    #[error("cannot read {what} from {}", path.display())]
    Pem {
        /// `certificates` or `a private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// Others than the server's user can read the private key. Whoever has it can answer in the KMS's
    /// name, and enclaves believe the name.
    #[error("{} has mode {got:04o}, expected {expected:04o} or less: others could read the private key (chmod {expected:o} {})", path.display(), path.display())]
    Mode {
        /// The key's file.
        path: PathBuf,
        /// The widest mode allowed.
        expected: u32,
        /// The mode it has.
        got: u32,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// rustls does not take the pair.
    #[error("the certificate in {} and the key in {} cannot serve", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong, for instance that they do not belong together.
        source: rustls::Error,
    },
}

impl TlsError {
    /// Stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Pem { .. } => "tls.pem",
            Self::Mode { .. } => "tls.key-mode",
            Self::NoCertificate { .. } => "tls.no-certificate",
            Self::Unusable { .. } => "tls.unusable",
        }
    }
}

/// Loads a certificate chain and its key, both PEM, and offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// A [`TlsError`].
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let chain = read_chain(certificate)?;
    let private_key = read_key(key)?;
    let unusable = |source| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The widest mode of a private key's file, by its owner. One of root's may be a group's to read, as
/// PostgreSQL has it and Debian's `ssl-cert` group needs it; anybody else's is its owner's alone.
fn widest(owner: u32) -> u32 {
    match owner {
        0 => 0o640,
        _ => 0o600,
    }
}

/// A private key that nobody else reads.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = |source| TlsError::Pem {
        what: "a private key",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(|error| pem(pem::Error::Io(error)))?;
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| pem(pem::Error::Io(error)))?;
    let expected = widest(metadata.uid());
    let got = metadata.mode() & 0o7777;
    if got & 0o077 & !expected != 0 {
        return Err(TlsError::Mode {
            path: path.to_owned(),
            expected,
            got,
        });
    }
    PrivateKeyDer::from_pem_reader(BufReader::new(file)).map_err(pem)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |source| TlsError::Pem {
        what: "certificates",
        path: path.to_owned(),
        source,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(pem)?
        .collect::<Result<_, _>>()
        .map_err(pem)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("write");
        set_mode(&path, 0o600);
        path
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    }

    fn rule(certificate: &Path, key: &Path) -> &'static str {
        load(certificate, key).expect_err("must be refused").rule()
    }

    #[test]
    fn a_group_reads_only_what_is_root_s() {
        assert_eq!((widest(0), widest(1), widest(1000)), (0o640, 0o600, 0o600));
    }

    #[test]
    fn bad_files_are_refused_by_name() {
        let temp = tempfile::tempdir().expect("a directory");
        let signed = |name: &str| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
            let certificate = params.self_signed(&key).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        let (first, second) = (signed("a.example"), signed("b.example"));
        let certificate = write(temp.path(), "a.pem", &first.0);
        let key = write(temp.path(), "a.key", &first.1);
        let other_key = write(temp.path(), "b.key", &second.1);
        let empty = write(temp.path(), "empty", "");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let garbage = write(temp.path(), "garbage", garbage);
        let missing = temp.path().join("missing");

        assert_eq!(rule(&missing, &key), "tls.pem");
        assert_eq!(rule(&certificate, &missing), "tls.pem");
        assert_eq!(rule(&empty, &key), "tls.no-certificate");
        assert_eq!(rule(&certificate, &certificate), "tls.pem");
        assert_eq!(rule(&certificate, &other_key), "tls.unusable");
        assert_eq!(rule(&garbage, &key), "tls.unusable");
        // Whatever its owner, a key that anybody reads is no secret.
        for mode in [0o604, 0o644, 0o660, 0o602] {
            set_mode(&key, mode);
            assert_eq!(rule(&certificate, &key), "tls.key-mode", "{mode:o}");
        }
        let owner = std::fs::metadata(&key).expect("metadata").uid();
        set_mode(&key, 0o640);
        assert_eq!(load(&certificate, &key).is_ok(), owner == 0);
        set_mode(&key, 0o400);
        let config = load(&certificate, &key).expect("a sound pair");
        assert_eq!(
            config.alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
    }
}
