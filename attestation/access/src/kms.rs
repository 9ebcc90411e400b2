//! The owner's KMS.

use std::path::PathBuf;

use anchorhold_enclave::kms::{Client, Endpoint};
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Tcp;
use anchorhold_enclave::{Credentials, CredentialsError};

use crate::{AccessError, read, read_secret};

/// Name in the certificate of an owner's KMS, unless another is said.
pub const KMS_HOST: &str = "kms.anchorhold.internal";

/// Region of an owner's KMS, unless another is said.
pub const REGION: &str = "us-east-1";

/// The owner's KMS.
#[derive(Clone, Debug, clap::Args)]
pub struct KmsArgs {
    /// The KMS's address, host:port.
    #[arg(long)]
    pub kms: String,
    /// The name in the KMS's certificate.
    #[arg(long, default_value = KMS_HOST)]
    pub kms_host: String,
    /// The KMS's authority, PEM.
    #[arg(long)]
    pub kms_ca: PathBuf,
    /// The KMS's region.
    #[arg(long, default_value = REGION)]
    pub region: String,
    /// JSON with access_key_id and secret_access_key, as `anchorhold-kms init` prints it.
    #[arg(long)]
    pub credentials: PathBuf,
}

impl KmsArgs {
    /// A client with the owner's credentials.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn client(&self) -> Result<Client<Tcp>, AccessError> {
        let tls = PinnedTls::from_pem(&read(&self.kms_ca)?)?;
        let endpoint = Endpoint::new(&self.kms_host, &self.region)?;
        let text = read_secret(&self.credentials)?;
        let credentials = Credentials::from_json(&text).map_err(|error| match error {
            CredentialsError::Json => AccessError::Content {
                path: self.credentials.clone(),
                expected: "JSON with access_key_id and secret_access_key",
            },
            error => error.into(),
        })?;
        Ok(Client::new(Tcp::new(&self.kms), endpoint, tls, credentials))
    }
}
