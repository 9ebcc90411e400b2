//! Aliases: each change needs permission on the alias and on every key concerned.

use anchorhold_kms_core::arn::{AliasName, KeyId, KeyRef};
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::Resource;
use anchorhold_kms_core::{Exception, KmsError};

use super::access::{Found, stored};
use super::{Call, Decided, Service};
use crate::store::{AliasRecord, Change, Expectation};
use crate::wire::{AliasListEntry, AliasTarget, AnswerBody, ListAliasesOutput, Marker, Page};

/// Most aliases of one key (KMS quota).
const MAX_ALIASES: i64 = 50;

impl Service {
    pub(super) async fn create_alias(
        &self,
        call: &mut Call<'_>,
        input: &AliasTarget,
    ) -> Result<Decided, KmsError> {
        let operation = Operation::CreateAlias;
        self.authorize_alias(call, operation, &input.name)?;
        let target = self.alias_target(call, operation, &input.target).await?;
        let existing = self.store.alias(&input.name).await.map_err(stored)?;
        if existing.is_some() {
            return Err(KmsError::AliasExists {
                arn: self.home().alias_arn(&input.name),
            });
        }
        self.check_room(target.key.id()).await?;
        let mut expectations = target.grounds();
        expectations.push(stands_for(&input.name, None));
        let change = Change::InsertAlias {
            name: input.name.clone(),
            key: target.key.id(),
            at: call.request.origin.at,
        };
        Ok(Decided::change(change, expectations))
    }

    pub(super) async fn update_alias(
        &self,
        call: &mut Call<'_>,
        input: &AliasTarget,
    ) -> Result<Decided, KmsError> {
        let operation = Operation::UpdateAlias;
        self.authorize_alias(call, operation, &input.name)?;
        let existing = self.existing(&input.name).await?;
        let mut expectations = vec![stands_for(&input.name, Some(existing.key))];
        expectations.extend(self.authorize_target(call, operation, existing.key).await?);
        let target = self.alias_target(call, operation, &input.target).await?;
        if target.key.id() != existing.key {
            self.check_room(target.key.id()).await?;
            expectations.extend(target.grounds());
        }
        let change = Change::PointAlias {
            name: input.name.clone(),
            key: target.key.id(),
            at: call.request.origin.at,
        };
        Ok(Decided::change(change, expectations))
    }

    pub(super) async fn delete_alias(
        &self,
        call: &mut Call<'_>,
        name: &AliasName,
    ) -> Result<Decided, KmsError> {
        let operation = Operation::DeleteAlias;
        self.authorize_alias(call, operation, name)?;
        let existing = self.existing(name).await?;
        let mut expectations = vec![stands_for(name, Some(existing.key))];
        expectations.extend(self.authorize_target(call, operation, existing.key).await?);
        Ok(Decided::change(
            Change::RemoveAlias(name.clone()),
            expectations,
        ))
    }

    pub(super) async fn list_aliases(
        &self,
        call: &mut Call<'_>,
        key: Option<&KeyRef>,
        page: &Page,
    ) -> Result<Decided, KmsError> {
        let account = Resource::Account(self.home().account.clone());
        let context = self.context(call);
        self.authorize_elsewhere(call, Operation::ListAliases, account, context)?;
        let key = match key {
            Some(key) => Some(self.find(call, key).await?.key.id()),
            None => None,
        };
        let after = page.marker.as_ref().map(Marker::name);
        let aliases = self.store.aliases_after(key, after, page.and_one()).await;
        let mut aliases = aliases.map_err(stored)?;
        let next_marker = page.cut(&mut aliases, |alias| Marker::after(&alias.name));
        let output = ListAliasesOutput {
            aliases: aliases
                .iter()
                .map(|alias| AliasListEntry::new(self.home(), alias))
                .collect(),
            truncated: next_marker.is_some(),
            next_marker,
        };
        Ok(Decided::answer(AnswerBody::new(&output), Vec::new()))
    }

    fn authorize_alias(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        name: &AliasName,
    ) -> Result<(), KmsError> {
        let resource = Resource::Alias(self.home().alias_arn(name));
        let context = self.context(call);
        self.authorize_elsewhere(call, operation, resource, context)
    }

    /// The key that an alias is to stand for; the caller may, and its state permits it.
    async fn alias_target(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        key: &KeyRef,
    ) -> Result<Found, KmsError> {
        let found = self.managed(call, operation, key).await?;
        found.key.metadata.permits(operation)?;
        Ok(found)
    }

    /// Permission on the key that an alias stands for now. A key whose waiting period
    /// is over has nothing to say any more.
    async fn authorize_target(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        key: KeyId,
    ) -> Result<Vec<Expectation>, KmsError> {
        let Some(key) = self.living_key(call, key).await? else {
            return Ok(Vec::new());
        };
        let found = Found { key, alias: None };
        let context = self.key_context(call, &found);
        self.authorize_key(call, operation, &found.key, context)?;
        Ok(found.grounds())
    }

    async fn existing(&self, name: &AliasName) -> Result<AliasRecord, KmsError> {
        let alias = self.store.alias(name).await.map_err(stored)?;
        alias.ok_or_else(|| KmsError::AliasNotFound {
            arn: self.home().alias_arn(name),
        })
    }

    async fn check_room(&self, key: KeyId) -> Result<(), KmsError> {
        if self.store.alias_count(key).await.map_err(stored)? < MAX_ALIASES {
            return Ok(());
        }
        Err(KmsError::other(
            Exception::LimitExceeded,
            "alias.quota",
            format!("A key has at most {MAX_ALIASES} aliases."),
        ))
    }
}

fn stands_for(name: &AliasName, key: Option<KeyId>) -> Expectation {
    Expectation::AliasTarget {
        name: name.clone(),
        key,
    }
}
