//! Shares at rest, under the owner's KMS key.

use std::sync::Arc;

use anchorhold_enclave::kms::{Attester, Client, Endpoint, NonceSource};
use anchorhold_enclave::nsm::Nsm;
use anchorhold_enclave::recipient::RecipientKey;
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Vsock;
use anchorhold_enclave::{AccessKey, Credentials};
use anchorhold_envelope::{DataKey, EncryptedDataKey, EncryptionContext};
use anchorhold_threshold::Share;
use anchorhold_threshold::seal::{self, Identity, Wanted};

use crate::agreement::Kms;
use crate::error::{Refusal, chain};

/// The parent's vsock port that leads to the owner's KMS.
pub const KMS_PORT: u32 = 8000;

/// An owner's key, which this enclave may use as far as its policy goes.
pub trait KeyService: Send {
    /// A data key for this enclave alone, and its wrapped form under the context.
    ///
    /// # Errors
    /// The service refuses: its policy does not name this group or epoch.
    fn generate(&self, context: &EncryptionContext)
    -> Result<(DataKey, EncryptedDataKey), Refusal>;

    /// The data key of a wrapped form, for this enclave alone.
    ///
    /// # Errors
    /// The service refuses: another context, or one that its policy does not name.
    fn unwrap(
        &self,
        wrapped: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<DataKey, Refusal>;
}

/// The owner's KMS, by attested requests over vsock.
pub struct AttestedKms {
    client: Client<Vsock>,
    key_arn: String,
    nonce: NonceSource<'static>,
    nsm: Arc<Nsm>,
}

impl AttestedKms {
    /// The KMS of the agreement.
    ///
    /// # Errors
    /// The agreement's KMS or the credentials cannot be used.
    pub fn new(kms: &Kms, key: &AccessKey, nsm: Arc<Nsm>) -> Result<Self, Refusal> {
        let tls = PinnedTls::from_pem(kms.ca_pem.as_bytes())
            .map_err(|error| Refusal::new("agreement.kms-ca", chain(&error)))?;
        let credentials = Credentials::try_from(key)?;
        let endpoint = Endpoint::of_key(&kms.host, &kms.key_arn)?;
        let nonce = match kms.gives_nonces {
            true => NonceSource::Kms,
            false => NonceSource::None,
        };
        Ok(Self {
            client: Client::new(Vsock::parent(KMS_PORT), endpoint, tls, credentials),
            key_arn: kms.key_arn.clone(),
            nonce,
            nsm,
        })
    }
}

impl KeyService for AttestedKms {
    fn generate(
        &self,
        context: &EncryptionContext,
    ) -> Result<(DataKey, EncryptedDataKey), Refusal> {
        let recipient = recipient()?;
        let attester = Attester::new(&self.nsm, &recipient, self.nonce);
        let pair = self
            .client
            .generate_data_key_attested(&self.key_arn, context, &attester)?;
        let key = data_key(&pair.plaintext)?;
        let wrapped = EncryptedDataKey::aws_kms(&pair.key_arn, pair.ciphertext)
            .map_err(|error| Refusal::new("share.seal", chain(&error)))?;
        Ok((key, wrapped))
    }

    fn unwrap(
        &self,
        wrapped: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<DataKey, Refusal> {
        let recipient = recipient()?;
        let attester = Attester::new(&self.nsm, &recipient, self.nonce);
        let ciphertext = wrapped.ciphertext();
        let key = self
            .client
            .decrypt_attested(ciphertext, context, &self.key_arn, &attester)?;
        data_key(&key)
    }
}

/// Seals and opens one participant's shares.
pub struct Vault {
    keys: Box<dyn KeyService>,
    key_arn: String,
}

impl Vault {
    /// A vault under the agreement's key, which `keys` serves.
    pub fn new(kms: &Kms, keys: Box<dyn KeyService>) -> Self {
        let key_arn = kms.key_arn.clone();
        Self { keys, key_arn }
    }

    /// Seals a share under a data key that the KMS makes for this enclave alone.
    ///
    /// # Errors
    /// The KMS refuses: its policy does not name this group or epoch.
    pub fn seal(&self, share: &Share) -> Result<Vec<u8>, Refusal> {
        let context = Identity::of(share).context()?;
        let (key, wrapped) = self.keys.generate(&context)?;
        Ok(seal::seal(share, &key, vec![wrapped])?)
    }

    /// Opens a share that is exactly what is wanted.
    ///
    /// # Errors
    /// It is another one, or the KMS refuses: its policy names another epoch.
    pub fn open(&self, bytes: &[u8], identity: Identity) -> Result<Share, Refusal> {
        let wanted = Wanted::begin(bytes, identity)?;
        let wrapped = wanted
            .encrypted_data_keys()
            .iter()
            .find(|key| key.kms_key_arn() == Some(&self.key_arn))
            .ok_or_else(|| {
                let message = format!("the sealed share is not wrapped under {}", self.key_arn);
                Refusal::new("share.key", message)
            })?;
        let key = self.keys.unwrap(wrapped, wanted.encryption_context())?;
        Ok(wanted.open(&key)?)
    }
}

/// The key of one release.
fn recipient() -> Result<RecipientKey, Refusal> {
    Ok(RecipientKey::generate()?)
}

fn data_key(bytes: &[u8]) -> Result<DataKey, Refusal> {
    DataKey::from_bytes(bytes).map_err(|error| Refusal::new(error.rule(), chain(&error)))
}
