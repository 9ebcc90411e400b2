//! What the KMS does by itself: destroying keys whose waiting period is over, and
//! recording refusals that got no event of their own.

use std::time::SystemTime;

use anchorhold_kms_core::policy::{KeyPolicy, Severity, lint};
use serde_json::json;
use uuid::Uuid;

use super::Service;
use super::access::unchanged;
use crate::audit::event::{Deed, Event, Identity, Origin, Resource, Source, Trail};
use crate::store::{Change, CommitError, Entry, KeyRecord, StoreError};

/// Keys destroyed in one round at most; the next round takes the others.
const MAX_ROUND: i64 = 100;

impl Service {
    /// Destroys the keys that are due at `now`, each with its audit event, and gives their number.
    ///
    /// Key material is overwritten in the database's pages, and the write-ahead log is
    /// folded away. Copies of the files made before, by a backup or by the file system,
    /// are beyond this.
    ///
    /// # Errors
    /// A database error. A later call goes on where this one stopped.
    pub async fn destroy_due_keys(&self, now: SystemTime) -> Result<usize, StoreError> {
        let mut destroyed = 0;
        for key in self.store.keys_due(now, MAX_ROUND).await? {
            let entry = Entry {
                expectations: vec![unchanged(&key)],
                changes: vec![Change::DestroyKey(key.id())],
                event: self.destruction_event(&key, now),
            };
            match self.writer.commit(entry).await {
                Ok(_) => destroyed += 1,
                // Its deletion was cancelled meanwhile.
                Err(CommitError::Conflict) => {}
                Err(error) => {
                    log::error!("{} could not be destroyed: {error}", key.metadata.arn);
                    break;
                }
            }
        }
        if destroyed > 0 {
            self.writer.fold_log().await;
        }
        Ok(destroyed)
    }

    /// Logs the keys whose policies ask for an attestation in a way that this server, with
    /// the roots it trusts now, never takes or should not: a policy is checked when it is put,
    /// but the roots may be others since.
    ///
    /// # Errors
    /// A database error.
    pub async fn log_policy_errors(&self) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let keys = self.store.keys_after(after.as_deref(), MAX_ROUND).await?;
            let Some(last) = keys.last() else {
                return Ok(());
            };
            after = Some(last.to_string());
            for id in keys {
                let Some(key) = self.store.key(id).await? else {
                    continue;
                };
                let Ok(policy) = KeyPolicy::parse(&key.policy) else {
                    log::error!("{}: its policy cannot be read", key.metadata.arn);
                    continue;
                };
                for finding in lint(&policy, self.trusted_roots()) {
                    if finding.kind.severity() == Severity::Error {
                        log::warn!("{}: {finding}", key.metadata.arn);
                    }
                }
            }
        }
    }

    /// Records how many refusals of unauthenticated calls got no event of their own.
    pub async fn record_refusals(&self, now: SystemTime) {
        let unrecorded = self.meter.take_unrecorded();
        if unrecorded == 0 {
            return;
        }
        let mut trail = Trail::default();
        let count = json!(unrecorded);
        trail
            .additional
            .insert("unrecordedRefusals".to_owned(), count);
        let entry = Entry {
            expectations: Vec::new(),
            changes: Vec::new(),
            event: self.own_event("RefusedCalls", true, trail, now),
        };
        if self.writer.commit(entry).await.is_err() {
            self.meter.give_back(unrecorded);
        }
    }

    fn destruction_event(&self, key: &KeyRecord, now: SystemTime) -> String {
        let mut trail = Trail::default();
        trail.touch(Resource::key(self.home(), &key.metadata.arn));
        trail.additional.insert(
            "keyMaterialId".to_owned(),
            key.metadata.current_material.to_string().into(),
        );
        self.own_event("DeleteKey", false, trail, now)
    }

    fn own_event(&self, name: &str, read_only: bool, trail: Trail, at: SystemTime) -> String {
        let origin = Origin {
            request_id: Uuid::new_v4(),
            source: "anchorhold-kms".to_owned(),
            user_agent: None,
            tls: None,
            at,
        };
        let deed = Deed {
            source: Source::Service,
            name,
            read_only,
            identity: Identity::Service {
                invoked_by: "anchorhold-kms",
            },
        };
        Event::new(self.home(), deed, &origin, trail, None).to_json()
    }
}
