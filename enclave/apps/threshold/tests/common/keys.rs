//! An owner's KMS key as far as a vault sees it: data keys under a context, for as long as the
//! policy names the context's group and epoch. The KMS itself is tried in its own crates and in
//! microVMs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anchorhold_envelope::{DataKey, EncryptedDataKey, EncryptionContext};
use anchorhold_threshold::seal::{EPOCH_FIELD, GROUP_FIELD, SHARING_FIELD};
use anchorhold_threshold_app::Refusal;
use anchorhold_threshold_app::vault::KeyService;

type Made = (BTreeMap<String, String>, [u8; 32]);

/// A key, and what its policy names.
pub struct OwnersKey {
    pub arn: String,
    policy: Mutex<(String, u64, Option<String>)>,
    made: Mutex<Vec<Made>>,
}

impl OwnersKey {
    pub fn new(name: &str) -> Self {
        Self {
            arn: format!("arn:aws:kms:eu-central-1:111122223333:key/{name}"),
            policy: Mutex::default(),
            made: Mutex::default(),
        }
    }

    /// Names a group, the present epoch, and by choice the one sharing of it that opens.
    pub fn set(&self, group: &str, epoch: u64, sharing: Option<&str>) {
        let policy = (group.to_owned(), epoch, sharing.map(str::to_owned));
        *self.policy.lock().unwrap() = policy;
    }

    fn allows(&self, context: &EncryptionContext, seals: bool) -> Result<(), Refusal> {
        let policy = self.policy.lock().unwrap();
        let (group, epoch, sharing) = &*policy;
        let got: Option<u64> = context.get(EPOCH_FIELD).and_then(|e| e.parse().ok());
        let timely = got == Some(*epoch) || seals && got == Some(epoch + 1);
        let sharing = sharing.as_deref();
        let the_one = seals || sharing.is_none() || context.get(SHARING_FIELD) == sharing;
        match context.get(GROUP_FIELD) == Some(group) && timely && the_one {
            true => Ok(()),
            false => Err(Refusal::new("kms.AccessDeniedException", "not by policy")),
        }
    }
}

/// The key, as one enclave reaches it.
pub struct Served(pub Arc<OwnersKey>);

impl KeyService for Served {
    fn generate(
        &self,
        context: &EncryptionContext,
    ) -> Result<(DataKey, EncryptedDataKey), Refusal> {
        self.0.allows(context, true)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        let mut made = self.0.made.lock().unwrap();
        let name = made.len().to_be_bytes().to_vec();
        made.push((context.as_map().clone(), key));
        let wrapped = EncryptedDataKey::aws_kms(&self.0.arn, name).unwrap();
        Ok((DataKey::from_bytes(&key).unwrap(), wrapped))
    }

    fn unwrap(
        &self,
        wrapped: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<DataKey, Refusal> {
        let made = self.0.made.lock().unwrap();
        let refused = || Refusal::new("kms.InvalidCiphertextException", "no such ciphertext");
        let name = wrapped.ciphertext().try_into().map(usize::from_be_bytes);
        let name = name.map_err(|_| refused())?;
        let (under, key) = made.get(name).ok_or_else(refused)?;
        if under != context.as_map() {
            return Err(refused());
        }
        self.0.allows(context, false)?;
        Ok(DataKey::from_bytes(key).unwrap())
    }
}
