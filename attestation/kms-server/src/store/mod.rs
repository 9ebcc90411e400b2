//! Storage: one SQLite database in write-ahead mode, every commit synced.
//!
//! Readers see the last committed state. All changes go through one
//! [writer](Writer), each with the audit event of the call that caused it, in one
//! transaction: what is acknowledged is on disk, and so is its event.
//!
//! Nothing here is secret in clear: key material and secret access keys come and
//! go wrapped under the root key.

mod change;
mod read;
mod record;
mod release;
mod schema;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use thiserror::Error;

use crate::data_dir::Lock;

pub use change::{Change, Expectation, NewKey};
pub use read::{is_former_principal, meta, set_meta};
pub use record::{AliasRecord, CredentialRecord, Home, KeyRecord, PrincipalRecord, StoredEvent};
pub use release::ReleaseName;
pub use writer::{CommitError, Entry, Writer, commit_one};

/// Connections that read. The machine's disk cache does the rest.
const READERS: u32 = 4;
/// How long a statement waits for another process's transaction (the command
/// line's), before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the write-ahead log that are kept after a checkpoint.
const JOURNAL_SIZE_LIMIT: &str = "4194304";

/// Why the database cannot be used, or an operation on it failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// SQLite's or the driver's error.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The file is an SQLite database of another program.
    #[error("the database was not made by anchorhold-kms")]
    ForeignDatabase,
    /// The file was written by a newer version of this program.
    #[error("the database has schema version {got}, this program knows versions up to {newest}")]
    NewerSchema {
        /// Version found.
        got: usize,
        /// Newest version known.
        newest: usize,
    },
    /// The file was written by an older version of this program and not migrated yet.
    #[error(
        "the database has schema version {got}, this program needs {newest}: start the server once, it brings the database up to date"
    )]
    OlderSchema {
        /// Version found.
        got: usize,
        /// Version needed.
        newest: usize,
    },
    /// A stored value does not parse: the database was changed by something else.
    #[error("the database holds a {what} that is none")]
    Corrupt {
        /// What was read.
        what: &'static str,
    },
    /// A value in `meta` is missing.
    #[error("the database has no {name}")]
    MissingMeta {
        /// Its name.
        name: &'static str,
    },
}

impl StoreError {
    /// Stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Database(_) => "store.database",
            Self::ForeignDatabase => "store.foreign-database",
            Self::NewerSchema { .. } => "store.newer-schema",
            Self::OlderSchema { .. } => "store.older-schema",
            Self::Corrupt { .. } => "store.corrupt",
            Self::MissingMeta { .. } => "store.missing-meta",
        }
    }
}

/// The reading half of the storage. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: SqlitePool,
    home: Home,
}

impl Store {
    /// Opens the database, of the newest schema, for reading.
    ///
    /// # Errors
    /// A database error.
    pub async fn open(path: &Path, home: Home) -> Result<Self, StoreError> {
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options(path).pragma("query_only", "ON"))
            .await?;
        Ok(Self { readers, home })
    }

    /// The account and region served.
    pub fn home(&self) -> &Home {
        &self.home
    }

    fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.readers.close().await;
    }
}

/// A connection that may write, on a database of the newest schema.
///
/// # Errors
/// [`StoreError::ForeignDatabase`], [`StoreError::NewerSchema`], [`StoreError::OlderSchema`]
/// or a database error.
pub async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut connection = writing(path).connect().await?;
    schema::check(&mut connection).await?;
    Ok(connection)
}

/// As [`connect`], after bringing the database to the newest schema. `_lock` shows that no
/// server of another version is using it.
///
/// # Errors
/// [`StoreError::ForeignDatabase`], [`StoreError::NewerSchema`] or a database error.
pub async fn migrate(path: &Path, _lock: &Lock) -> Result<SqliteConnection, StoreError> {
    let mut connection = writing(path).connect().await?;
    schema::migrate(&mut connection).await?;
    Ok(connection)
}

/// Closes a connection made by [`connect`]; the last one to close folds the log into the database.
///
/// # Errors
/// A database error.
pub async fn disconnect(connection: SqliteConnection) -> Result<(), StoreError> {
    Ok(connection.close().await?)
}

fn writing(path: &Path) -> SqliteConnectOptions {
    options(path)
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

/// A database error that several waiting callers are told about.
pub type SharedStoreError = Arc<StoreError>;

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::data_dir::DataDir;

    #[tokio::test]
    async fn what_durability_rests_on_is_switched_on() {
        let temp = tempfile::tempdir().expect("a directory");
        let (dir, lock) = DataDir::create(&temp.path().join("kms")).expect("create");
        let path = dir.begin_database().expect("a file");
        let connection = migrate(&path, &lock).await.expect("migrate");
        disconnect(connection).await.expect("close");
        let mut connection = connect(&path).await.expect("connect");
        for (pragma, expected) in [
            ("PRAGMA journal_mode", "wal"),
            ("PRAGMA synchronous", "2"),
            ("PRAGMA foreign_keys", "1"),
            ("PRAGMA secure_delete", "1"),
        ] {
            let row = sqlx::query(pragma).fetch_one(&mut connection).await;
            let row = row.expect("a value");
            let number = row.try_get::<i64, _>(0).map(|number| number.to_string());
            let value = number
                .or_else(|_| row.try_get(0))
                .expect("a number or text");
            assert_eq!(value, expected, "{pragma}");
        }
    }
}
