//! Whose keys: KMS keys under one owner's credentials, or several owners'.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anchorhold_access::{AccessError, KMS_HOST, KmsArgs, REGION, read};
use anchorhold_enclave::keyring::KmsKeyring;
use anchorhold_enclave::kms::Client;
use anchorhold_enclave::transport::Tcp;
use anchorhold_envelope::{ContextError, EncryptionContext};
use serde::Deserialize;

use crate::error::ToolError;

/// One owner: a KMS, an access key for it, and keys in it. As JSON, the form of an `--owner` file;
/// paths in it are relative to the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// ARNs of the keys.
    pub keys: Vec<String>,
    /// The KMS's address, host:port.
    pub kms: String,
    /// The name in the KMS's certificate.
    #[serde(default = "kms_host")]
    pub kms_host: String,
    /// The KMS's authority, PEM.
    pub kms_ca: PathBuf,
    /// The KMS's region.
    #[serde(default = "region")]
    pub region: String,
    /// JSON with access_key_id and secret_access_key.
    pub credentials: PathBuf,
}

fn kms_host() -> String {
    KMS_HOST.to_owned()
}

fn region() -> String {
    REGION.to_owned()
}

impl Owner {
    /// Reads an `--owner` file.
    ///
    /// # Errors
    /// [`ToolError::Access`].
    pub fn read(path: &Path) -> Result<Self, ToolError> {
        let malformed = || AccessError::Content {
            path: path.to_owned(),
            expected: "JSON of an owner: keys (one at least), kms, kms_ca, credentials",
        };
        let parsed = serde_json::from_slice(&read(path)?);
        let mut owner: Self = parsed.map_err(|_| malformed())?;
        // It could not open what is sealed for it.
        if owner.keys.is_empty() {
            return Err(malformed().into());
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        owner.kms_ca = dir.join(owner.kms_ca);
        owner.credentials = dir.join(owner.credentials);
        Ok(owner)
    }

    fn client(&self) -> Result<Client<Tcp>, AccessError> {
        let settings = KmsArgs {
            kms: self.kms.clone(),
            kms_host: self.kms_host.clone(),
            kms_ca: self.kms_ca.clone(),
            region: self.region.clone(),
            credentials: self.credentials.clone(),
        };
        settings.client()
    }

    /// One keyring for each key.
    pub(crate) fn keyrings(&self) -> Result<Vec<KmsKeyring<Tcp>>, ToolError> {
        let of = |arn: &String| Ok(KmsKeyring::new(self.client()?, arn.clone()));
        self.keys.iter().map(of).collect()
    }
}

/// The pairs of a context with these keys.
///
/// # Errors
/// [`ContextError::Missing`] for a key that it has not.
pub fn subset(
    context: &EncryptionContext,
    keys: &BTreeSet<String>,
) -> Result<EncryptionContext, ContextError> {
    let pairs: Result<Vec<_>, _> = keys
        .iter()
        .map(|key| match context.get(key) {
            Some(value) => Ok((key.clone(), value.to_owned())),
            None => Err(ContextError::Missing { key: key.clone() }),
        })
        .collect();
    EncryptionContext::from_pairs(pairs?)
}
