//! The one writer: audit event and changes of a call in one transaction, the
//! transactions of calls that wait at the same time in one commit.
//!
//! A commit is one `fsync`. Under a burst, calls that arrive while the disk is
//! busy share the next commit, and each still learns of its own outcome after its
//! own event is on disk.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Change, Expectation, SharedStoreError, StoreError, connect, disconnect};
use crate::audit::{Link, Sealer};

/// Most calls that share a commit.
const MAX_BATCH: usize = 128;
/// Most calls that wait for the writer; further ones wait to be let into the queue.
const QUEUE: usize = 1024;

/// What one call wants committed.
pub struct Entry {
    /// What the call's decision was based on.
    pub expectations: Vec<Expectation>,
    /// What the call changes.
    pub changes: Vec<Change>,
    /// The call's audit event: one JSON object.
    pub event: String,
}

/// Why nothing of an entry was committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// An expectation did not hold any more: decide again on the present state.
    #[error("the state that the decision was based on has changed")]
    Conflict,
    /// The database failed, for instance because the disk is full.
    #[error("the change could not be committed")]
    Storage(#[source] SharedStoreError),
    /// The writer has ended.
    #[error("the server is shutting down")]
    Closed,
}

impl CommitError {
    /// Stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Conflict => "commit.conflict",
            Self::Storage(error) => error.rule(),
            Self::Closed => "commit.closed",
        }
    }
}

type Outcome = Result<Link, CommitError>;

enum Job {
    Commit(Box<Entry>, oneshot::Sender<Outcome>),
    FoldLog(oneshot::Sender<()>),
}

/// Access to the writer. It ends when the last one is dropped.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the writer on a database; `connection` is its first connection.
    pub fn start(
        path: PathBuf,
        connection: SqliteConnection,
        sealer: Sealer,
    ) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let task = Task {
            path,
            connection: Some(connection),
            sealer,
        };
        (Self { jobs }, tokio::spawn(task.run(queue)))
    }

    /// Commits an entry. When this returns `Ok`, event and changes are on disk.
    ///
    /// # Errors
    /// A [`CommitError`]; then neither the event nor any change was committed.
    pub async fn commit(&self, entry: Entry) -> Outcome {
        let (sender, outcome) = oneshot::channel();
        let sent = self.jobs.send(Job::Commit(Box::new(entry), sender)).await;
        sent.map_err(|_| CommitError::Closed)?;
        outcome.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Folds the write-ahead log into the database and empties it, so that what was
    /// overwritten there is nowhere any more. Best effort: the next checkpoint does the same.
    pub async fn fold_log(&self) {
        let (sender, done) = oneshot::channel();
        if self.jobs.send(Job::FoldLog(sender)).await.is_ok() {
            let _ = done.await;
        }
    }
}

struct Task {
    path: PathBuf,
    /// `None` after a failure: the next batch begins with a new connection, so that
    /// no state of a broken transaction survives.
    connection: Option<SqliteConnection>,
    sealer: Sealer,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut next = queue.recv().await;
        while let Some(job) = next.take() {
            match job {
                Job::FoldLog(done) => {
                    self.fold_log().await;
                    let _ = done.send(());
                }
                Job::Commit(entry, sender) => {
                    let mut batch = vec![(*entry, sender)];
                    while batch.len() < MAX_BATCH {
                        match queue.try_recv() {
                            Ok(Job::Commit(entry, sender)) => batch.push((*entry, sender)),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(batch).await;
                }
            }
            if next.is_none() {
                next = queue.recv().await;
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = disconnect(connection).await
        {
            log::warn!("the database did not close cleanly: {error}");
        }
    }

    /// Commits a batch; when that fails, each entry by itself, so that one cannot take others along.
    async fn commit(&mut self, batch: Vec<(Entry, oneshot::Sender<Outcome>)>) {
        let (entries, senders): (Vec<Entry>, Vec<_>) = batch.into_iter().unzip();
        let outcomes = match self.attempt(&entries).await {
            Ok(outcomes) => outcomes,
            Err(error) if entries.len() == 1 => vec![Err(storage(error))],
            Err(_) => {
                let mut outcomes = Vec::with_capacity(entries.len());
                for entry in entries.chunks(1) {
                    outcomes.extend(match self.attempt(entry).await {
                        Ok(outcomes) => outcomes,
                        Err(error) => vec![Err(storage(error))],
                    });
                }
                outcomes
            }
        };
        for (sender, outcome) in senders.into_iter().zip(outcomes) {
            // A caller that has gone away is told nothing; what was committed stays.
            let _ = sender.send(outcome);
        }
    }

    async fn fold_log(&mut self) {
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        if let Err(error) = execute(connection, "PRAGMA wal_checkpoint(TRUNCATE)").await {
            log::warn!("the write-ahead log was not folded: {error}");
        }
    }

    async fn attempt(&mut self, entries: &[Entry]) -> Result<Vec<Outcome>, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path).await?,
        };
        let outcomes = commit_entries(&mut connection, &self.sealer, entries).await?;
        self.connection = Some(connection);
        Ok(outcomes)
    }
}

fn storage(error: StoreError) -> CommitError {
    match &error {
        StoreError::Database(source) => log::error!("{error}: {source}"),
        other => log::error!("{other}"),
    }
    CommitError::Storage(Arc::new(error))
}

/// Commits one entry on a connection of one's own: for the command line, beside a running server.
///
/// # Errors
/// A [`CommitError`]; then nothing was committed.
pub async fn commit_one(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    entry: Entry,
) -> Outcome {
    commit_entries(connection, sealer, &[entry])
        .await
        .map_err(|error| CommitError::Storage(Arc::new(error)))?
        .pop()
        .unwrap_or(Err(CommitError::Closed))
}

/// One transaction. An entry whose expectations fail is left out; a database error fails all.
async fn commit_entries(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    entries: &[Entry],
) -> Result<Vec<Outcome>, StoreError> {
    execute(connection, "BEGIN IMMEDIATE").await?;
    let result = apply_entries(connection, sealer, entries).await;
    match result {
        Ok(outcomes) => {
            execute(connection, "COMMIT").await?;
            Ok(outcomes)
        }
        Err(error) => {
            // SQLite may have rolled back by itself; the caller drops the connection in any case.
            let _ = execute(connection, "ROLLBACK").await;
            Err(error)
        }
    }
}

async fn apply_entries(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    entries: &[Entry],
) -> Result<Vec<Outcome>, StoreError> {
    let mut head = head(connection).await?;
    let mut outcomes = Vec::with_capacity(entries.len());
    for entry in entries {
        if !all_hold(connection, &entry.expectations).await? {
            outcomes.push(Err(CommitError::Conflict));
            continue;
        }
        for change in &entry.changes {
            change.apply(connection).await?;
        }
        head = head.next(&entry.event);
        append(connection, sealer, &head, &entry.event).await?;
        outcomes.push(Ok(head));
    }
    Ok(outcomes)
}

async fn all_hold(
    connection: &mut SqliteConnection,
    expectations: &[Expectation],
) -> Result<bool, StoreError> {
    for expectation in expectations {
        if !expectation.holds(connection).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The newest link of the audit chain. Read anew in each transaction: the command line writes too.
async fn head(connection: &mut SqliteConnection) -> Result<Link, StoreError> {
    let row = sqlx::query("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(Link::GENESIS);
    };
    let hash: &[u8] = row.try_get(1)?;
    Ok(Link {
        sequence: row.try_get(0)?,
        hash: hash
            .try_into()
            .map_err(|_| StoreError::Corrupt { what: "audit hash" })?,
    })
}

async fn append(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    link: &Link,
    event: &str,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO audit (sequence, event, hash, seal) VALUES (?, ?, ?, ?)")
        .bind(link.sequence)
        .bind(event)
        .bind(link.hash.to_vec())
        .bind(sealer.seal(link).to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::query(sql).execute(connection).await?;
    Ok(())
}
