//! Releases: which documents of which contract a key has been released to.

use std::time::SystemTime;

use anchorhold_kms_core::arn::KeyId;
use sqlx::{Executor, Row, Sqlite, SqliteConnection};

use super::{Store, StoreError};
use crate::clock::to_ms;

/// Stands for the contract of documents without user_data: not hex.
const NO_CONTRACT: &str = "none";

/// One release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseName {
    /// The key.
    pub key: KeyId,
    /// The document's user_data in hex; `None` when it has none.
    pub contract: Option<String>,
    /// SHA-384 of what the security module signed.
    pub document: [u8; 48],
}

impl ReleaseName {
    fn contract(&self) -> String {
        self.contract.as_deref().unwrap_or(NO_CONTRACT).to_owned()
    }
}

impl Store {
    /// To how many other documents of the same contract the key has been released.
    ///
    /// # Errors
    /// A database error.
    pub async fn prior_releases(&self, release: &ReleaseName) -> Result<u64, StoreError> {
        prior(self.readers(), release).await
    }
}

/// [`Store::prior_releases`] on any connection. Releases of a contract are numbered from 1 without
/// gaps, so that counting them does not take longer the more there are.
pub(super) async fn prior<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    release: &ReleaseName,
) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce((SELECT number FROM releases WHERE key_id = ?1 AND contract = ?2 \
               ORDER BY number DESC LIMIT 1), 0) \
               - EXISTS (SELECT 1 FROM releases \
               WHERE key_id = ?1 AND contract = ?2 AND document = ?3)";
    let row = sqlx::query(sql)
        .bind(release.key.to_string())
        .bind(release.contract())
        .bind(release.document.to_vec())
        .fetch_one(executor)
        .await?;
    let count: i64 = row.try_get(0)?;
    u64::try_from(count).map_err(|_| StoreError::Corrupt { what: "release" })
}

/// Counts a release, once for each document.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    release: &ReleaseName,
    at: SystemTime,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO releases (key_id, contract, document, number, released_ms) \
               SELECT ?1, ?2, ?3, 1 + coalesce((SELECT number FROM releases \
               WHERE key_id = ?1 AND contract = ?2 ORDER BY number DESC LIMIT 1), 0), ?4 \
               WHERE NOT EXISTS (SELECT 1 FROM releases \
               WHERE key_id = ?1 AND contract = ?2 AND document = ?3)";
    sqlx::query(sql)
        .bind(release.key.to_string())
        .bind(release.contract())
        .bind(release.document.to_vec())
        .bind(to_ms(at))
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;
    use crate::store::schema;

    fn name((key, contract, document): (u8, Option<u8>, u8)) -> ReleaseName {
        ReleaseName {
            key: KeyId::from_random([key; 16]),
            contract: contract.map(|contract| hex::encode([contract; 3])),
            document: [document; 48],
        }
    }

    async fn database(keys: u8) -> SqliteConnection {
        let options = SqliteConnectOptions::new().in_memory(true);
        let mut connection = options.connect().await.expect("a database");
        schema::migrate(&mut connection).await.expect("migrate");
        for key in 0..keys {
            let sql = "INSERT INTO keys VALUES (?, 1, 'Enabled', '', '', '', '', '', 0, NULL)";
            sqlx::query(sql)
                .bind(name((key, None, 0)).key.to_string())
                .execute(&mut connection)
                .await
                .expect("a key");
        }
        connection
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The count is the number of other documents of the same key and contract.
        #[test]
        fn documents_are_counted_as_in_a_set(
            releases in proptest::collection::vec(
                (0..2_u8, proptest::option::of(0..2_u8), 0..5_u8),
                0..40,
            ),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let mut connection = database(2).await;
                let mut model: BTreeMap<_, BTreeSet<u8>> = BTreeMap::new();
                for (key, contract, document) in releases {
                    let release = name((key, contract, document));
                    let documents = model.entry((key, contract)).or_default();
                    let others = documents.iter().filter(|other| **other != document).count();
                    let counted = prior(&mut connection, &release).await.expect("a count");
                    assert_eq!(counted, others as u64);
                    let at = SystemTime::UNIX_EPOCH;
                    record(&mut connection, &release, at).await.expect("recorded");
                    documents.insert(document);
                }
            });
        }
    }
}
