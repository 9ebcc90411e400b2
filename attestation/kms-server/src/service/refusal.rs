//! Answers, and the events of refusals.

use anchorhold_kms_core::{Exception, KmsError};
use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::{Caller, Request, Service};
use crate::audit::event::{Deed, Event, Failure, Identity, Source, Trail};
use crate::store::Entry;
use crate::wire::{AnswerBody, Target};

/// The HTTP answer to one call.
pub struct Answer {
    /// `x-amzn-RequestId`.
    pub request_id: Uuid,
    /// The HTTP status.
    pub status: u16,
    /// The rule that refused, for `x-anchorhold-rule`.
    pub rule: Option<&'static str>,
    /// The JSON body; its memory is zeroized when the answer has been sent.
    pub body: Bytes,
}

impl Answer {
    /// A successful answer.
    pub(super) fn success(request_id: Uuid, body: AnswerBody) -> Self {
        Self {
            request_id,
            status: 200,
            rule: None,
            body: Bytes::from_owner(body.into_bytes()),
        }
    }

    /// A refusal, in AWS's words.
    pub fn refusal(request_id: Uuid, error: &KmsError) -> Self {
        Self {
            request_id,
            status: error.status(),
            rule: Some(error.rule()),
            body: error.body().into(),
        }
    }
}

impl Service {
    /// Commits the event of a refused call and gives the answer.
    pub(super) async fn refuse(
        &self,
        caller: &Caller,
        request: &Request,
        target: Target,
        trail: Trail,
        error: KmsError,
    ) -> Answer {
        let event = self.event(caller, request, target, trail, Some(&error));
        self.answer_after(event, request, error).await
    }

    /// Refuses a call of nobody we know. Beyond the meter's bound it is counted only.
    pub(super) async fn refuse_anybody(
        &self,
        request: &Request,
        target: Target,
        error: KmsError,
    ) -> Answer {
        let Some(unrecorded) = self.meter.admit(request.origin.at) else {
            return Answer::refusal(request.origin.request_id, &error);
        };
        let mut trail = Trail::default();
        if unrecorded > 0 {
            let count = json!(unrecorded);
            trail
                .additional
                .insert("unrecordedRefusals".to_owned(), count);
        }
        let deed = deed(target, Identity::Unknown);
        let failure = Some(failure(&error));
        let event = Event::new(self.home(), deed, &request.origin, trail, failure);
        let answer = self.answer_after(event.to_json(), request, error).await;
        if answer.rule == Some(AUDIT_FAILED) {
            self.meter.give_back(unrecorded.saturating_add(1));
        }
        answer
    }

    async fn answer_after(&self, event: String, request: &Request, error: KmsError) -> Answer {
        let entry = Entry {
            expectations: Vec::new(),
            changes: Vec::new(),
            event,
        };
        let request_id = request.origin.request_id;
        match self.writer.commit(entry).await {
            Ok(_) => Answer::refusal(request_id, &error),
            // Not even the reason leaves without its event.
            Err(_) => Answer::refusal(request_id, &KmsError::internal(AUDIT_FAILED)),
        }
    }
}

/// The rule of a call whose event could not be written.
const AUDIT_FAILED: &str = "audit.not-written";

/// A call of the API, for its event.
pub(super) fn deed(target: Target, identity: Identity) -> Deed<'static> {
    Deed {
        source: Source::Api,
        name: target.name(),
        read_only: matches!(target, Target::Operation(o) if o.is_read_only()),
        identity,
    }
}

/// A refusal as its event says it.
pub(super) fn failure(error: &KmsError) -> Failure {
    Failure {
        code: error.exception().name().to_owned(),
        message: error.to_string(),
        rule: error.rule(),
    }
}

/// Logs a fault of the machine and gives what the caller is told of it.
pub(super) fn internal(rule: &'static str, error: &dyn std::error::Error) -> KmsError {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    log::error!("{rule}: {message}");
    KmsError::internal(rule)
}

/// A call whose time is over before it is decided. Nothing of it has been committed.
pub(super) fn late() -> KmsError {
    KmsError::other(
        Exception::KmsInternal,
        "server.timeout",
        "The request took too long.",
    )
}

/// A server that has no room for this call at present.
pub fn busy() -> KmsError {
    KmsError::other(
        Exception::Throttling,
        "server.busy",
        "The server is busy. Try again.",
    )
}
