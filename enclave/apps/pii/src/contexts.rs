//! The encryption contexts of what the owner seals and of what the enclave seals.

use anchorhold_envelope::{ContextError, EncryptionContext};

use crate::job::Job;

/// Names the data set.
pub const DATA_SET: &str = "anchorhold:data-set";
/// Names the job by its SHA-384, in hex.
pub const JOB: &str = "anchorhold:job-sha384";
/// Keeps records and token key apart: one cannot be given for the other.
pub const PURPOSE: &str = "anchorhold:purpose";
/// [`PURPOSE`] of the records.
pub const RECORDS: &str = "pii-records";
/// [`PURPOSE`] of the token key.
pub const TOKEN_KEY: &str = "pii-token-key";
/// [`PURPOSE`] of the answer's rows.
pub const ANSWER_ROWS: &str = "pii-answer-rows";
/// [`PURPOSE`] of the answer's report.
pub const ANSWER_REPORT: &str = "pii-answer-report";

/// What records of a job are sealed under: the job's hash is in it, so no other job opens them.
///
/// # Errors
/// Never for a checked job.
pub fn records(job: &Job) -> Result<EncryptionContext, ContextError> {
    of_job(job, RECORDS)
}

/// What a token key is sealed under. It outlives jobs, so that tokens are stable across runs; which
/// of a data set's token keys a job means is said in the job.
///
/// # Errors
/// The data set's name is too long for a context.
pub fn token_key(data_set: &str) -> Result<EncryptionContext, ContextError> {
    EncryptionContext::from_pairs([(DATA_SET, data_set), (PURPOSE, TOKEN_KEY)])
}

/// What a part of the answer is sealed under.
///
/// # Errors
/// Never for a checked job.
pub fn answer(job: &Job, part: &str) -> Result<EncryptionContext, ContextError> {
    of_job(job, part)
}

fn of_job(job: &Job, purpose: &str) -> Result<EncryptionContext, ContextError> {
    let hash = hex::encode(job.sha384());
    EncryptionContext::from_pairs([
        (DATA_SET, job.data_set()),
        (JOB, hash.as_str()),
        (PURPOSE, purpose),
    ])
}
