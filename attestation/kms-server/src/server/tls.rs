//! TLS (RFC 8446, and TLS 1.2) with rustls and aws-lc-rs.

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
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem {
        what: "a private key",
        path: key.to_owned(),
        source,
    })?;
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
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("write");
        path
    }

    fn rule(certificate: &Path, key: &Path) -> &'static str {
        load(certificate, key).expect_err("must be refused").rule()
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
        let config = load(&certificate, &key).expect("a sound pair");
        assert_eq!(
            config.alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
    }
}
