//! What the writer may change, and on which condition.

use std::time::SystemTime;

use anchorhold_kms_core::arn::{AliasName, KeyId};
use anchorhold_kms_core::key::KeyMetadata;
use sqlx::{Row, SqliteConnection};

use super::{ReleaseName, StoreError};
use crate::clock::to_ms;

/// One change. A call's changes are committed together with its audit event.
pub enum Change {
    /// A new key with its first material.
    InsertKey(Box<NewKey>),
    /// State, deletion date and description of an existing key.
    UpdateKey(Box<KeyMetadata>),
    /// A key's policy.
    SetPolicy {
        /// The key.
        key: KeyId,
        /// The policy as the caller sent it.
        policy: String,
    },
    /// A key with its material and its aliases, for good.
    DestroyKey(KeyId),
    /// A new alias.
    InsertAlias {
        /// Its name.
        name: AliasName,
        /// The key that it stands for.
        key: KeyId,
        /// Now.
        at: SystemTime,
    },
    /// An existing alias, pointed at another key.
    PointAlias {
        /// Its name.
        name: AliasName,
        /// The key that it now stands for.
        key: KeyId,
        /// Now.
        at: SystemTime,
    },
    /// An alias, removed.
    RemoveAlias(AliasName),
    /// A release of a key to a document, counted once however often it is made.
    CountRelease {
        /// Which.
        release: ReleaseName,
        /// Now.
        at: SystemTime,
    },
    /// A new user.
    InsertPrincipal {
        /// Its name.
        name: String,
        /// Its unique id.
        user_id: String,
        /// Its identity policy.
        policy: Option<String>,
        /// Now.
        at: SystemTime,
    },
    /// A new access key of a user.
    InsertAccessKey {
        /// Its id.
        id: String,
        /// The user's name.
        principal: String,
        /// The secret access key, wrapped under the root key.
        wrapped_secret: Vec<u8>,
        /// Now.
        at: SystemTime,
    },
    /// A user's identity policy.
    SetPrincipalPolicy {
        /// The user's name.
        principal: String,
        /// The policy, `None` to take it away.
        policy: Option<String>,
    },
    /// A user with its access keys, removed. Its name is never given again: key policies may still
    /// name it, and whoever came to have it would have what they allow.
    RemovePrincipal {
        /// The user's name.
        name: String,
        /// Now.
        at: SystemTime,
    },
}

/// A key to be stored.
pub struct NewKey {
    /// State, dates, description and the id of the material.
    pub metadata: KeyMetadata,
    /// The key policy.
    pub policy: String,
    /// The material, wrapped under the root key.
    pub wrapped_material: Vec<u8>,
}

/// What a decision was based on and must still hold when it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// The key has this revision.
    KeyRevision {
        /// The key.
        key: KeyId,
        /// Its revision when it was read.
        revision: i64,
    },
    /// The alias stands for this key, or does not exist.
    AliasTarget {
        /// The alias.
        name: AliasName,
        /// What it stood for when it was read.
        key: Option<KeyId>,
    },
    /// A user of this name exists.
    Principal(String),
    /// So many other documents of the contract have been released to.
    PriorReleases {
        /// The release that is to be made.
        release: ReleaseName,
        /// How many others there were when they were counted.
        prior: u64,
    },
    /// No user has or had this name.
    UnusedName(String),
    /// The caller is who it was when it was authenticated, and its identity policy is the one that
    /// was evaluated.
    Caller {
        /// The user's name.
        name: String,
        /// Its unique id.
        user_id: String,
        /// Its identity policy.
        policy: Option<String>,
    },
}

impl Expectation {
    /// Whether it still holds.
    pub(super) async fn holds(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<bool, StoreError> {
        match self {
            Self::KeyRevision { key, revision } => {
                let row = sqlx::query("SELECT revision FROM keys WHERE id = ?")
                    .bind(key.to_string())
                    .fetch_optional(connection)
                    .await?;
                Ok(row.map(|row| row.try_get::<i64, _>(0)).transpose()? == Some(*revision))
            }
            Self::AliasTarget { name, key } => {
                let row = sqlx::query("SELECT key_id FROM aliases WHERE name = ?")
                    .bind(name.as_str())
                    .fetch_optional(connection)
                    .await?;
                let target = row.map(|row| row.try_get::<String, _>(0)).transpose()?;
                Ok(target == key.map(|key| key.to_string()))
            }
            Self::Principal(name) => {
                let row = sqlx::query("SELECT 1 FROM principals WHERE name = ?")
                    .bind(name)
                    .fetch_optional(connection)
                    .await?;
                Ok(row.is_some())
            }
            Self::PriorReleases { release, prior } => {
                Ok(super::release::prior(connection, release).await? == *prior)
            }
            Self::UnusedName(name) => {
                let sql = "SELECT 1 FROM principals WHERE name = ?1 \
                           UNION ALL SELECT 1 FROM former_principals WHERE name = ?1";
                let row = sqlx::query(sql)
                    .bind(name)
                    .fetch_optional(connection)
                    .await?;
                Ok(row.is_none())
            }
            Self::Caller {
                name,
                user_id,
                policy,
            } => {
                let sql = "SELECT 1 FROM principals WHERE name = ? AND user_id = ? AND policy IS ?";
                let row = sqlx::query(sql)
                    .bind(name)
                    .bind(user_id)
                    .bind(policy)
                    .fetch_optional(connection)
                    .await?;
                Ok(row.is_some())
            }
        }
    }
}

impl Change {
    /// Makes the change inside the transaction that the caller has opened.
    pub(super) async fn apply(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        match self {
            Self::InsertKey(key) => insert_key(connection, key).await,
            Self::UpdateKey(metadata) => update_key(connection, metadata).await,
            Self::SetPolicy { key, policy } => {
                let sql = "UPDATE keys SET policy = ?, revision = revision + 1 WHERE id = ?";
                let query = sqlx::query(sql).bind(policy).bind(key.to_string());
                run(connection, query).await
            }
            Self::DestroyKey(key) => {
                let query = sqlx::query("DELETE FROM keys WHERE id = ?").bind(key.to_string());
                run(connection, query).await
            }
            Self::InsertAlias { name, key, at } => {
                let sql = "INSERT INTO aliases (name, key_id, created_ms, updated_ms) \
                           VALUES (?1, ?2, ?3, ?3)";
                let query = sqlx::query(sql)
                    .bind(name.as_str())
                    .bind(key.to_string())
                    .bind(to_ms(*at));
                run(connection, query).await?;
                touch(connection, *key).await
            }
            Self::PointAlias { name, key, at } => {
                touch_target(connection, name).await?;
                let sql = "UPDATE aliases SET key_id = ?, updated_ms = ? WHERE name = ?";
                let query = sqlx::query(sql)
                    .bind(key.to_string())
                    .bind(to_ms(*at))
                    .bind(name.as_str());
                run(connection, query).await?;
                touch(connection, *key).await
            }
            Self::RemoveAlias(name) => {
                touch_target(connection, name).await?;
                let query = sqlx::query("DELETE FROM aliases WHERE name = ?").bind(name.as_str());
                run(connection, query).await
            }
            Self::CountRelease { release, at } => {
                super::release::record(connection, release, *at).await
            }
            principal => principal.apply_to_principals(connection).await,
        }
    }

    async fn apply_to_principals(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let query = match self {
            Self::InsertPrincipal {
                name,
                user_id,
                policy,
                at,
            } => sqlx::query(
                "INSERT INTO principals (name, user_id, policy, created_ms) VALUES (?, ?, ?, ?)",
            )
            .bind(name)
            .bind(user_id)
            .bind(policy)
            .bind(to_ms(*at)),
            Self::InsertAccessKey {
                id,
                principal,
                wrapped_secret,
                at,
            } => sqlx::query(
                "INSERT INTO access_keys (id, principal, wrapped_secret, created_ms) \
                 VALUES (?, ?, ?, ?)",
            )
            .bind(id)
            .bind(principal)
            .bind(wrapped_secret)
            .bind(to_ms(*at)),
            Self::SetPrincipalPolicy { principal, policy } => {
                sqlx::query("UPDATE principals SET policy = ? WHERE name = ?")
                    .bind(policy)
                    .bind(principal)
            }
            Self::RemovePrincipal { name, at } => {
                let sql = "INSERT INTO former_principals (name, user_id, removed_ms) \
                           SELECT name, user_id, ? FROM principals WHERE name = ?";
                run(
                    &mut *connection,
                    sqlx::query(sql).bind(to_ms(*at)).bind(name),
                )
                .await?;
                sqlx::query("DELETE FROM principals WHERE name = ?").bind(name)
            }
            _ => return Ok(()),
        };
        run(connection, query).await
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

async fn run(connection: &mut SqliteConnection, query: Query<'_>) -> Result<(), StoreError> {
    query.execute(connection).await?;
    Ok(())
}

async fn insert_key(connection: &mut SqliteConnection, key: &NewKey) -> Result<(), StoreError> {
    let metadata = &key.metadata;
    let id = metadata.arn.id().to_string();
    let created = to_ms(metadata.created);
    let sql = "INSERT INTO keys (id, revision, state, spec, usage, origin, description, policy, \
               created_ms, deletion_ms) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(sql)
        .bind(&id)
        .bind(metadata.state().name())
        .bind(metadata.spec.name())
        .bind(metadata.usage.name())
        .bind(metadata.origin.name())
        .bind(&metadata.description)
        .bind(&key.policy)
        .bind(created)
        .bind(metadata.deletion_date().map(to_ms));
    run(connection, query).await?;
    let sql = "INSERT INTO materials (id, key_id, current, wrapped, created_ms) \
               VALUES (?, ?, 1, ?, ?)";
    let query = sqlx::query(sql)
        .bind(metadata.current_material.to_string())
        .bind(&id)
        .bind(&key.wrapped_material)
        .bind(created);
    run(connection, query).await
}

async fn update_key(
    connection: &mut SqliteConnection,
    metadata: &KeyMetadata,
) -> Result<(), StoreError> {
    let sql = "UPDATE keys SET state = ?, deletion_ms = ?, description = ?, \
               revision = revision + 1 WHERE id = ?";
    let query = sqlx::query(sql)
        .bind(metadata.state().name())
        .bind(metadata.deletion_date().map(to_ms))
        .bind(&metadata.description)
        .bind(metadata.arn.id().to_string());
    run(connection, query).await
}

/// Counts a change of a key's aliases.
async fn touch(connection: &mut SqliteConnection, key: KeyId) -> Result<(), StoreError> {
    let sql = "UPDATE keys SET revision = revision + 1 WHERE id = ?";
    run(connection, sqlx::query(sql).bind(key.to_string())).await
}

/// Counts a change of the aliases of the key that `name` stands for.
async fn touch_target(
    connection: &mut SqliteConnection,
    name: &AliasName,
) -> Result<(), StoreError> {
    let sql = "UPDATE keys SET revision = revision + 1 \
               WHERE id = (SELECT key_id FROM aliases WHERE name = ?)";
    run(connection, sqlx::query(sql).bind(name.as_str())).await
}
