//! CreateKey, DescribeKey, ListKeys, and the changes of a key's state.

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::{KeyId, KeyRef};
use anchorhold_kms_core::key::{DeletionWindow, KeyMetadata, KeySpec, KeyUsage, Origin};
use anchorhold_kms_core::material::KeyMaterial;
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{KeyPolicy, Resource};
use rand_core::Rng;
use serde_json::json;

use super::access::{Found, stored};
use super::{Call, Decided, Service};
use crate::audit::event;
use crate::random::Random;
use crate::store::{Change, NewKey};
use crate::wire::{
    AnswerBody, CreateKey, KeyIdOutput, KeyListEntry, KeyMetadataOutput, ListKeysOutput, Marker,
    Page, ScheduleKeyDeletionOutput,
};

impl Service {
    pub(super) async fn create_key(
        &self,
        call: &mut Call<'_>,
        input: &CreateKey,
    ) -> Result<Decided, KmsError> {
        let home = self.home();
        let new_key = self.context(call).new_key(
            KeySpec::SymmetricDefault,
            KeyUsage::EncryptDecrypt,
            Origin::AwsKms,
        );
        let context = new_key
            .clone()
            .bypass_policy_lockout_safety_check(input.bypass_lockout_check);
        let account = Resource::Account(home.account.clone());
        self.authorize_elsewhere(call, Operation::CreateKey, account, context)?;

        let mut id = [0; 16];
        Random.fill_bytes(&mut id);
        let arn = home.key_arn(KeyId::from_random(id));
        call.trail.touch(event::Resource::key(home, &arn));
        let default = KeyPolicy::default_for(&home.account);
        let policy = input.policy.as_deref().unwrap_or(default.text());
        let lockout = (!input.bypass_lockout_check).then_some(new_key);
        let admitted = self.admit_policy(call, &arn, policy, lockout).await?;

        let material = KeyMaterial::generate(&mut Random);
        let wrapped_material = self
            .root_key
            .wrap_material(arn.id(), &material, &mut Random);
        let now = call.request.origin.at;
        let metadata = KeyMetadata::new(arn, now, input.description.clone(), material.id());
        let mut output = KeyMetadataOutput::from(&metadata);
        call.trail.response = serde_json::to_value(&output).ok();
        output.warnings = admitted.warnings;
        Ok(Decided {
            body: AnswerBody::new(&output),
            changes: vec![Change::InsertKey(Box::new(NewKey {
                metadata,
                policy: policy.to_owned(),
                wrapped_material,
            }))],
            expectations: admitted.expectations,
        })
    }

    pub(super) async fn describe_key(
        &self,
        call: &mut Call<'_>,
        key: &KeyRef,
    ) -> Result<Decided, KmsError> {
        let found = self.find(call, key).await?;
        let context = self.key_context(call, &found);
        self.authorize_key(call, Operation::DescribeKey, &found.key, context)?;
        let output = KeyMetadataOutput::from(&found.key.metadata);
        Ok(Decided::answer(AnswerBody::new(&output), found.grounds()))
    }

    pub(super) async fn list_keys(
        &self,
        call: &mut Call<'_>,
        page: &Page,
    ) -> Result<Decided, KmsError> {
        let account = Resource::Account(self.home().account.clone());
        let context = self.context(call);
        self.authorize_elsewhere(call, Operation::ListKeys, account, context)?;
        let after = page.marker.as_ref().map(Marker::name);
        let mut keys = self
            .store
            .keys_after(after, page.and_one())
            .await
            .map_err(stored)?;
        let next_marker = page.cut(&mut keys, |id| Marker::after(id));
        let output = ListKeysOutput {
            keys: keys
                .into_iter()
                .map(|id| KeyListEntry {
                    key_id: id.to_string(),
                    key_arn: self.home().key_arn(id).to_string(),
                })
                .collect(),
            truncated: next_marker.is_some(),
            next_marker,
        };
        Ok(Decided::answer(AnswerBody::new(&output), Vec::new()))
    }

    pub(super) async fn enable_key(
        &self,
        call: &mut Call<'_>,
        key: &KeyRef,
    ) -> Result<Decided, KmsError> {
        let mut found = self.managed(call, Operation::EnableKey, key).await?;
        found.key.metadata.enable()?;
        Ok(Decided::change(found.update(), found.grounds()))
    }

    pub(super) async fn disable_key(
        &self,
        call: &mut Call<'_>,
        key: &KeyRef,
    ) -> Result<Decided, KmsError> {
        let mut found = self.managed(call, Operation::DisableKey, key).await?;
        found.key.metadata.disable()?;
        Ok(Decided::change(found.update(), found.grounds()))
    }

    pub(super) async fn schedule_key_deletion(
        &self,
        call: &mut Call<'_>,
        key: &KeyRef,
        window: DeletionWindow,
    ) -> Result<Decided, KmsError> {
        let operation = Operation::ScheduleKeyDeletion;
        let mut found = self.find(call, key).await?;
        let context = self.key_context(call, &found).deletion_window(window);
        self.authorize_key(call, operation, &found.key, context)?;
        let now = call.request.origin.at;
        let metadata = &mut found.key.metadata;
        let at = metadata.schedule_deletion(now, window)?;
        let output = ScheduleKeyDeletionOutput::new(metadata, at, window.days());
        call.trail.response = serde_json::to_value(&output).ok();
        Ok(Decided {
            body: AnswerBody::new(&output),
            changes: vec![found.update()],
            expectations: found.grounds(),
        })
    }

    pub(super) async fn cancel_key_deletion(
        &self,
        call: &mut Call<'_>,
        key: &KeyRef,
    ) -> Result<Decided, KmsError> {
        let mut found = self
            .managed(call, Operation::CancelKeyDeletion, key)
            .await?;
        found.key.metadata.cancel_deletion()?;
        let output = KeyIdOutput {
            key_id: found.key.metadata.arn.to_string(),
        };
        call.trail.response = Some(json!({ "keyId": output.key_id }));
        Ok(Decided {
            body: AnswerBody::new(&output),
            changes: vec![found.update()],
            expectations: found.grounds(),
        })
    }

    /// Finds the key of a management operation and refuses unless the caller may.
    pub(super) async fn managed(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        key: &KeyRef,
    ) -> Result<Found, KmsError> {
        let found = self.find(call, key).await?;
        let context = self.key_context(call, &found);
        self.authorize_key(call, operation, &found.key, context)?;
        Ok(found)
    }
}

impl Found {
    /// The change that stores the key's metadata as it is now.
    fn update(&self) -> Change {
        Change::UpdateKey(Box::new(self.key.metadata.clone()))
    }
}

impl Page {
    /// The limit and one more, which tells whether there is a next part.
    pub(super) fn and_one(&self) -> i64 {
        i64::try_from(self.limit)
            .unwrap_or(i64::MAX)
            .saturating_add(1)
    }

    /// Cuts what was read to the limit, and gives the marker of the next part if there is one.
    pub(super) fn cut<T>(
        &self,
        entries: &mut Vec<T>,
        marker: impl Fn(&T) -> Marker,
    ) -> Option<String> {
        if entries.len() <= self.limit {
            return None;
        }
        entries.truncate(self.limit);
        entries.last().map(|last| marker(last).encode())
    }
}
