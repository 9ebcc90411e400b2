//! The tables, as numbered migrations.

use sqlx::{Connection, Row, SqliteConnection};

use super::StoreError;

/// `PRAGMA application_id` of our databases: "ANKM".
const APPLICATION_ID: i64 = 0x414e_4b4d;

/// Script `n` takes a database from version `n` to `n + 1`. Scripts are never changed, only added.
const MIGRATIONS: [&str; 3] = [V1, V2, V3];

/// The first version. `revision` counts the changes of a key, its aliases included: a
/// decision taken on one revision is committed on that revision or not at all.
const V1: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    spec TEXT NOT NULL,
    usage TEXT NOT NULL,
    origin TEXT NOT NULL,
    description TEXT NOT NULL,
    policy TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    deletion_ms INTEGER,
    CHECK ((state = 'PendingDeletion') = (deletion_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_deletion ON keys (deletion_ms) WHERE deletion_ms IS NOT NULL;

CREATE TABLE materials (
    id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    current INTEGER NOT NULL CHECK (current IN (0, 1)),
    wrapped BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX materials_by_key ON materials (key_id);
CREATE UNIQUE INDEX one_current_material ON materials (key_id) WHERE current = 1;

CREATE TABLE aliases (
    name TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_by_key ON aliases (key_id, name);

CREATE TABLE principals (
    name TEXT PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE,
    policy TEXT,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    principal TEXT NOT NULL REFERENCES principals (name) ON DELETE CASCADE,
    wrapped_secret BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX access_keys_by_principal ON access_keys (principal);

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
    event TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    seal BLOB NOT NULL CHECK (length(seal) = 32)
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit events are not changed'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit events are not removed'); END;
";

/// The second version remembers the names of removed users; those removed before it stand in the
/// audit trail.
const V2: &str = "
CREATE TABLE former_principals (
    name TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    removed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO former_principals
    SELECT name, 'unknown', 0 FROM (
        SELECT json_extract(event, '$.requestParameters.name') AS name FROM audit
        WHERE json_extract(event, '$.eventSource') = 'anchorhold-kms'
            AND json_extract(event, '$.eventName') = 'RemovePrincipal'
    ) WHERE name IS NOT NULL AND name NOT IN (SELECT name FROM principals);
";

/// The third version counts to which documents a key has been released. The number of a release is
/// its place among those of its key and contract.
const V3: &str = "
CREATE TABLE releases (
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    contract TEXT NOT NULL,
    document BLOB NOT NULL CHECK (length(document) = 48),
    number INTEGER NOT NULL CHECK (number > 0),
    released_ms INTEGER NOT NULL,
    PRIMARY KEY (key_id, contract, document),
    UNIQUE (key_id, contract, number)
) STRICT, WITHOUT ROWID;
";

/// Brings a database to the newest version; does nothing to one that has it.
///
/// # Errors
/// [`StoreError::ForeignDatabase`] or [`StoreError::NewerSchema`] when the file is
/// not ours to change, or a database error.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let newest = MIGRATIONS.len();
    loop {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let version = version(&mut transaction).await?;
        if version > newest {
            return Err(StoreError::NewerSchema {
                got: version,
                newest,
            });
        }
        let Some(script) = MIGRATIONS.get(version) else {
            return Ok(());
        };
        sqlx::raw_sql(*script).execute(&mut *transaction).await?;
        let mark = format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {};",
            version + 1
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(mark))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
}

/// Refuses a database of another version than the newest: for those who may not migrate
/// it, because they do not hold the lock.
///
/// # Errors
/// As [`migrate`], and [`StoreError::OlderSchema`].
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let newest = MIGRATIONS.len();
    match version(connection).await? {
        got if got > newest => Err(StoreError::NewerSchema { got, newest }),
        got if got < newest => Err(StoreError::OlderSchema { got, newest }),
        _ => Ok(()),
    }
}

/// Version of the schema: 0 for an empty file.
async fn version(connection: &mut SqliteConnection) -> Result<usize, StoreError> {
    let application = pragma(connection, "PRAGMA application_id").await?;
    let version = pragma(connection, "PRAGMA user_version").await?;
    let tables: i64 = sqlx::query("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let empty = application == 0 && version == 0 && tables == 0;
    if application == APPLICATION_ID || empty {
        Ok(usize::try_from(version).unwrap_or(usize::MAX))
    } else {
        Err(StoreError::ForeignDatabase)
    }
}

async fn pragma(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, StoreError> {
    let row = sqlx::query(sql).fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    async fn memory() -> SqliteConnection {
        SqliteConnectOptions::new()
            .in_memory(true)
            .connect()
            .await
            .expect("an in-memory database")
    }

    #[tokio::test]
    async fn a_database_of_something_else_is_not_touched() {
        let mut connection = memory().await;
        sqlx::raw_sql("CREATE TABLE holiday_photos (id INTEGER)")
            .execute(&mut connection)
            .await
            .expect("create");
        let refused = migrate(&mut connection).await.expect_err("foreign");
        assert_eq!(refused.rule(), "store.foreign-database");
    }

    #[tokio::test]
    async fn a_newer_schema_is_not_touched() {
        let mut connection = memory().await;
        migrate(&mut connection).await.expect("migrate");
        sqlx::raw_sql("PRAGMA user_version = 1000")
            .execute(&mut connection)
            .await
            .expect("pragma");
        let refused = migrate(&mut connection).await.expect_err("newer");
        assert_eq!(refused.rule(), "store.newer-schema");
    }

    #[tokio::test]
    async fn an_older_schema_is_migrated_by_its_server_only() {
        let mut connection = memory().await;
        let refused = check(&mut connection).await.expect_err("empty");
        assert_eq!(refused.rule(), "store.older-schema");
        migrate(&mut connection).await.expect("migrate");
        check(&mut connection).await.expect("newest");
    }

    #[tokio::test]
    async fn names_of_users_removed_before_they_were_remembered_are_taken_from_the_trail() {
        let mut connection = memory().await;
        let mark = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;");
        let script = format!(
            "{V1}{mark}
            INSERT INTO principals VALUES ('back', 'AHDA', NULL, 0);
            INSERT INTO audit VALUES (1, '{}', zeroblob(32), zeroblob(32)), \
            (2, '{}', zeroblob(32), zeroblob(32)), (3, '{}', zeroblob(32), zeroblob(32));",
            r#"{"eventSource":"anchorhold-kms","eventName":"RemovePrincipal","requestParameters":{"name":"gone"}}"#,
            r#"{"eventSource":"anchorhold-kms","eventName":"RemovePrincipal","requestParameters":{"name":"back"}}"#,
            r#"{"eventSource":"kms.amazonaws.com","eventName":"RemovePrincipal","requestParameters":{"name":"x"}}"#,
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(script))
            .execute(&mut connection)
            .await
            .expect("the first version");
        migrate(&mut connection).await.expect("migrate");
        let rows = sqlx::query("SELECT name FROM former_principals")
            .fetch_all(&mut connection)
            .await
            .expect("rows");
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(names, ["gone"]);
    }

    #[tokio::test]
    async fn migrating_twice_changes_nothing() {
        let mut connection = memory().await;
        migrate(&mut connection).await.expect("first");
        migrate(&mut connection).await.expect("second");
        let version = version(&mut connection).await.expect("version");
        assert_eq!(version, MIGRATIONS.len());
    }

    #[tokio::test]
    async fn audit_events_cannot_be_changed_or_removed() {
        let mut connection = memory().await;
        migrate(&mut connection).await.expect("migrate");
        sqlx::raw_sql("INSERT INTO audit VALUES (1, '{}', zeroblob(32), zeroblob(32))")
            .execute(&mut connection)
            .await
            .expect("insert");
        for sql in ["UPDATE audit SET event = '[]'", "DELETE FROM audit"] {
            let refused = sqlx::raw_sql(sql).execute(&mut connection).await;
            assert!(refused.is_err(), "{sql}");
        }
    }
}
