//! Counting releases: to how many documents of one contract a key has been released.
//!
//! A contract is a document's user_data. What is counted are documents, by what the security
//! module signed in them, so that a retry with the same document counts once. The count is read
//! for the decision, and the release is committed, together with its audit event, only if the
//! count is still the same: else the decision is taken again.

use std::time::SystemTime;

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::KeyId;
use anchorhold_kms_core::policy::Context;

use super::access::stored;
use super::{Call, Decided, Service};
use crate::store::{Change, Expectation, ReleaseName};

/// A release that a decision is about, and how many others there were when it was taken.
pub(super) struct Counted {
    release: ReleaseName,
    prior: u64,
}

impl Service {
    /// Counts for a call with a recipient, and notes the count for the event; `None` without one.
    pub(super) async fn count(
        &self,
        call: &mut Call<'_>,
        key: KeyId,
    ) -> Result<Option<Counted>, KmsError> {
        let Some(claims) = call.recipient else {
            return Ok(None);
        };
        let release = ReleaseName {
            key,
            contract: claims.user_data().map(hex::encode),
            document: *claims.statement_sha384(),
        };
        let prior = self.store.prior_releases(&release).await.map_err(stored)?;
        if let Some(recipient) = call.trail.additional.get_mut("recipient") {
            recipient["priorReleases"] = prior.into();
        }
        Ok(Some(Counted { release, prior }))
    }
}

impl Counted {
    /// The context in which the count is a condition key.
    pub(super) fn in_context(&self, context: Context) -> Context {
        context.prior_releases(self.prior)
    }

    /// Makes the release part of what is committed, on the ground of its count.
    pub(super) fn join(self, decided: &mut Decided, at: SystemTime) {
        decided.expectations.push(Expectation::PriorReleases {
            release: self.release.clone(),
            prior: self.prior,
        });
        decided.changes.push(Change::CountRelease {
            release: self.release,
            at,
        });
    }
}
