//! Queries.

use anchorhold_kms_core::arn::{AliasName, KeyId};
use anchorhold_kms_core::key::{KeyMetadata, KeySpec, KeyState, KeyUsage, Origin};
use anchorhold_kms_core::material::MaterialId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, Row, Sqlite};
use std::str::FromStr;
use std::time::SystemTime;

use super::{
    AliasRecord, CredentialRecord, Home, KeyRecord, PrincipalRecord, Store, StoreError, StoredEvent,
};
use crate::clock::{from_ms, to_ms};

impl Store {
    /// The key with this id.
    ///
    /// # Errors
    /// A database error, or [`StoreError::Corrupt`].
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let sql = "SELECT k.id, k.revision, k.state, k.spec, k.usage, k.origin, k.description, \
                   k.policy, k.created_ms, k.deletion_ms, m.id FROM keys k \
                   JOIN materials m ON m.key_id = k.id AND m.current = 1 WHERE k.id = ?";
        sqlx::query(sql)
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await?
            .map(|row| key_record(&row, &self.home))
            .transpose()
    }

    /// The wrapped bytes of a key's material; `None` when the key has no such material.
    ///
    /// # Errors
    /// A database error.
    pub async fn wrapped_material(
        &self,
        key: KeyId,
        material: MaterialId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT wrapped FROM materials WHERE id = ? AND key_id = ?";
        let row = sqlx::query(sql)
            .bind(material.to_string())
            .bind(key.to_string())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// The alias of this name.
    ///
    /// # Errors
    /// A database error, or [`StoreError::Corrupt`].
    pub async fn alias(&self, name: &AliasName) -> Result<Option<AliasRecord>, StoreError> {
        let sql = "SELECT name, key_id, created_ms, updated_ms FROM aliases WHERE name = ?";
        sqlx::query(sql)
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await?
            .map(|row| alias_record(&row))
            .transpose()
    }

    /// How many aliases stand for a key.
    ///
    /// # Errors
    /// A database error.
    pub async fn alias_count(&self, key: KeyId) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM aliases WHERE key_id = ?")
            .bind(key.to_string())
            .fetch_one(&self.readers)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// At most `limit` key ids, in order, after `after`.
    ///
    /// # Errors
    /// A database error, or [`StoreError::Corrupt`].
    pub async fn keys_after(
        &self,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<KeyId>, StoreError> {
        sqlx::query("SELECT id FROM keys WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after.unwrap_or_default())
            .bind(limit)
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| parsed(row, 0, "key id"))
            .collect()
    }

    /// At most `limit` aliases (of one key, if given), in the order of their names, after `after`.
    ///
    /// # Errors
    /// A database error, or [`StoreError::Corrupt`].
    pub async fn aliases_after(
        &self,
        key: Option<KeyId>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<AliasRecord>, StoreError> {
        let sql = "SELECT name, key_id, created_ms, updated_ms FROM aliases \
                   WHERE name > ?1 AND (?2 IS NULL OR key_id = ?2) ORDER BY name LIMIT ?3";
        sqlx::query(sql)
            .bind(after.unwrap_or_default())
            .bind(key.map(|key| key.to_string()))
            .bind(limit)
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(alias_record)
            .collect()
    }

    /// At most `limit` keys whose waiting period has ended.
    ///
    /// # Errors
    /// A database error, or [`StoreError::Corrupt`].
    pub async fn keys_due(
        &self,
        now: SystemTime,
        limit: i64,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let sql = "SELECT k.id, k.revision, k.state, k.spec, k.usage, k.origin, k.description, \
                   k.policy, k.created_ms, k.deletion_ms, m.id FROM keys k \
                   JOIN materials m ON m.key_id = k.id AND m.current = 1 \
                   WHERE k.deletion_ms <= ? ORDER BY k.deletion_ms LIMIT ?";
        sqlx::query(sql)
            .bind(to_ms(now))
            .bind(limit)
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(|row| key_record(row, &self.home))
            .collect()
    }

    /// The access key with this id and its user.
    ///
    /// # Errors
    /// A database error.
    pub async fn credential(&self, id: &str) -> Result<Option<CredentialRecord>, StoreError> {
        let sql = "SELECT p.name, p.user_id, p.policy, p.created_ms, a.wrapped_secret \
                   FROM access_keys a JOIN principals p ON p.name = a.principal WHERE a.id = ?";
        let row = sqlx::query(sql)
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| {
            Ok(CredentialRecord {
                principal: principal_record(&row)?,
                wrapped_secret: row.try_get(4)?,
            })
        })
        .transpose()
    }

    /// The user of this name.
    ///
    /// # Errors
    /// A database error.
    pub async fn principal(&self, name: &str) -> Result<Option<PrincipalRecord>, StoreError> {
        sqlx::query("SELECT name, user_id, policy, created_ms FROM principals WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?
            .map(|row| principal_record(&row))
            .transpose()
    }

    /// Every user, in the order of their names.
    ///
    /// # Errors
    /// A database error.
    pub async fn principals(&self) -> Result<Vec<PrincipalRecord>, StoreError> {
        sqlx::query("SELECT name, user_id, policy, created_ms FROM principals ORDER BY name")
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(principal_record)
            .collect()
    }

    /// At most `limit` audit events after number `after`, in order.
    ///
    /// # Errors
    /// A database error.
    pub async fn events_after(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let sql = "SELECT sequence, event, hash, seal FROM audit \
                   WHERE sequence > ? ORDER BY sequence LIMIT ?";
        let rows = sqlx::query(sql)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredEvent {
                    sequence: row.try_get(0)?,
                    event: row.try_get(1)?,
                    hash: row.try_get(2)?,
                    seal: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// A value of `meta`.
    ///
    /// # Errors
    /// [`StoreError::MissingMeta`] or a database error.
    pub async fn meta(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
        meta(&self.readers, name).await
    }
}

/// Whether a user of this name has been removed.
///
/// # Errors
/// A database error.
pub async fn is_former_principal<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    name: &str,
) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 FROM former_principals WHERE name = ?")
        .bind(name.to_owned())
        .fetch_optional(executor)
        .await?;
    Ok(row.is_some())
}

/// A value of `meta`.
///
/// # Errors
/// [`StoreError::MissingMeta`] or a database error.
pub async fn meta<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    name: &'static str,
) -> Result<Vec<u8>, StoreError> {
    let row = sqlx::query("SELECT value FROM meta WHERE name = ?")
        .bind(name)
        .fetch_optional(executor)
        .await?
        .ok_or(StoreError::MissingMeta { name })?;
    Ok(row.try_get(0)?)
}

/// Sets a value of `meta` for good.
///
/// # Errors
/// A database error, also when the value is set.
pub async fn set_meta<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    name: &'static str,
    value: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?)")
        .bind(name)
        .bind(value.to_vec())
        .execute(executor)
        .await?;
    Ok(())
}

fn key_record(row: &SqliteRow, home: &Home) -> Result<KeyRecord, StoreError> {
    let created = from_ms(row.try_get(8)?);
    let deletion: Option<i64> = row.try_get(9)?;
    let state: KeyState = parsed(row, 2, "key state")?;
    let mut metadata = KeyMetadata::new(
        home.key_arn(parsed(row, 0, "key id")?),
        created,
        row.try_get(6)?,
        parsed(row, 10, "material id")?,
    )
    .with_state(state, deletion.map(from_ms))
    .map_err(|_| StoreError::Corrupt { what: "key state" })?;
    metadata.spec = parsed::<KeySpec>(row, 3, "key spec")?;
    metadata.usage = parsed::<KeyUsage>(row, 4, "key usage")?;
    metadata.origin = parsed::<Origin>(row, 5, "key origin")?;
    Ok(KeyRecord {
        metadata,
        revision: row.try_get(1)?,
        policy: row.try_get(7)?,
    })
}

fn alias_record(row: &SqliteRow) -> Result<AliasRecord, StoreError> {
    Ok(AliasRecord {
        name: parsed(row, 0, "alias name")?,
        key: parsed(row, 1, "key id")?,
        created: from_ms(row.try_get(2)?),
        updated: from_ms(row.try_get(3)?),
    })
}

fn principal_record(row: &SqliteRow) -> Result<PrincipalRecord, StoreError> {
    Ok(PrincipalRecord {
        name: row.try_get(0)?,
        user_id: row.try_get(1)?,
        policy: row.try_get(2)?,
        created: from_ms(row.try_get(3)?),
    })
}

fn parsed<T: FromStr>(row: &SqliteRow, index: usize, what: &'static str) -> Result<T, StoreError> {
    let text: &str = row.try_get(index)?;
    text.parse().map_err(|_| StoreError::Corrupt { what })
}
