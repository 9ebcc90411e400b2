//! TLS that ends in the enclave, against one pinned CA.
//!
//! The parent forwards the connection and sees ciphertext. Which CA is trusted is decided by a file
//! in the image, that is, by the measurement; no system store is read.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Longest PEM file that is read, in bytes.
pub const MAX_PEM: usize = 64 * 1024;

/// A client configuration that trusts exactly one CA: TLS 1.3 and 1.2, HTTP/1.1, no resumption.
#[derive(Clone)]
pub struct PinnedTls(Arc<ClientConfig>);

impl PinnedTls {
    /// Pins the one certificate of a PEM file.
    ///
    /// # Errors
    /// [`TlsError`]: no certificate, more than one, or one that cannot be a CA's.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        if pem.len() > MAX_PEM {
            return Err(TlsError::PemLength {
                limit: MAX_PEM,
                found: pem.len(),
            });
        }
        let mut certificates = CertificateDer::pem_slice_iter(pem);
        let first = certificates.next().ok_or(TlsError::NoCertificate)?;
        let first = first.map_err(TlsError::Pem)?;
        if certificates.next().is_some() {
            return Err(TlsError::SecondCertificate);
        }
        let mut roots = RootCertStore::empty();
        roots.add(first).map_err(TlsError::Certificate)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Configuration)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// Why a CA was not pinned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file is too long.
    #[error("the CA file has {found} bytes, at most {limit} are read")]
    PemLength {
        /// [`MAX_PEM`].
        limit: usize,
        /// The file's length, in bytes.
        found: usize,
    },
    /// The file is not PEM.
    #[error("the CA file is not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The file has no certificate.
    #[error("the CA file has no certificate")]
    NoCertificate,
    /// The file has more than one certificate: which of them is pinned would be unclear.
    #[error("the CA file has more than one certificate")]
    SecondCertificate,
    /// The certificate cannot be a trust anchor.
    #[error("the CA file's certificate cannot be a trust anchor")]
    Certificate(#[source] rustls::Error),
    /// The TLS library refused its configuration.
    #[error("TLS could not be configured")]
    Configuration(#[source] rustls::Error),
}

impl TlsError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::PemLength { .. } => "tls.ca-length",
            Self::Pem(_) => "tls.ca-pem",
            Self::NoCertificate | Self::SecondCertificate => "tls.ca-count",
            Self::Certificate(_) => "tls.ca-certificate",
            Self::Configuration(_) => "tls.configuration",
        }
    }
}
