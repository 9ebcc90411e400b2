//! Request bodies, bounded in length, in time and over all connections.

use std::time::Duration;

use anchorhold_kms_core::{Exception, KmsError};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::limits::{BODY_BUDGET, CONNECTION_BODIES, MAX_BODY, UNADMITTED_BODY};
use crate::service::busy;

/// Bytes that the budget is given out in.
const UNIT: usize = 16 * 1024;

/// A budget of memory for bodies: that of all connections, or one connection's.
pub(super) struct BodyBudget(Semaphore);

/// A body, and its share of the budgets.
pub(super) struct Received<'a> {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    _shares: [Share<'a>; 2],
}

/// What a body has of one budget.
struct Share<'a> {
    budget: &'a BodyBudget,
    held: Option<SemaphorePermit<'a>>,
}

impl BodyBudget {
    /// The budget of all connections.
    pub(super) fn of_all() -> Self {
        Self(Semaphore::new(BODY_BUDGET / UNIT))
    }

    /// The budget of one connection.
    pub(super) fn of_one() -> Self {
        Self(Semaphore::new(CONNECTION_BODIES / UNIT))
    }

    fn share(&self) -> Share<'_> {
        Share {
            budget: self,
            held: None,
        }
    }
}

/// Reads a whole body within `time`, out of both budgets. When more of it comes than anybody may
/// send, `admit` says whether this sender may.
///
/// # Errors
/// `RequestEntityTooLargeException`, `ThrottlingException` when a budget is used
/// up, `SerializationException` when the body ends early or does not come in time, and
/// whatever `admit` says.
pub(super) async fn receive<'a>(
    budgets: [&'a BodyBudget; 2],
    body: Incoming,
    time: Duration,
    admit: impl AsyncFnOnce() -> Result<(), KmsError>,
) -> Result<Received<'a>, KmsError> {
    match tokio::time::timeout(time, read(budgets, body, admit)).await {
        Ok(received) => received,
        Err(_) => Err(broken("The request's body did not come in time.")),
    }
}

async fn read<'a>(
    budgets: [&'a BodyBudget; 2],
    mut body: Incoming,
    admit: impl AsyncFnOnce() -> Result<(), KmsError>,
) -> Result<Received<'a>, KmsError> {
    // What `Content-Length` promises; nothing is reserved for promises.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let mut shares = budgets.map(BodyBudget::share);
    let mut admit = Some(admit);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken("The request's body is incomplete."))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = bytes.len().saturating_add(data.len());
        if length > MAX_BODY {
            return Err(too_large());
        }
        if length > UNADMITTED_BODY
            && let Some(admit) = admit.take()
        {
            admit().await?;
        }
        for share in &mut shares {
            share.grow(length)?;
        }
        append(&mut bytes, &data);
    }
    Ok(Received {
        bytes,
        _shares: shares,
    })
}

impl Share<'_> {
    /// Takes from the budget what a body of `length` bytes needs beyond what it has.
    fn grow(&mut self, length: usize) -> Result<(), KmsError> {
        let have = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = length.div_ceil(UNIT).saturating_sub(have);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = self.budget.0.try_acquire_many(more).map_err(|_| busy())?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

/// Appends without leaving a copy behind where the vector grows.
fn append(bytes: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    let needed = bytes.len().saturating_add(data.len());
    if needed > bytes.capacity() {
        let mut larger = Vec::with_capacity(needed.next_power_of_two());
        larger.extend_from_slice(bytes);
        // The smaller one is zeroized as it is dropped.
        *bytes = Zeroizing::new(larger);
    }
    bytes.extend_from_slice(data);
}

fn too_large() -> KmsError {
    KmsError::other(
        Exception::RequestEntityTooLarge,
        "request.body-length",
        format!("The request's body is longer than {MAX_BODY} bytes."),
    )
}

fn broken(message: &'static str) -> KmsError {
    KmsError::other(Exception::Serialization, "request.body", message)
}
