//! Why a job is refused.

use super::MAX_JOB;

/// Why a job is refused. Safe to log: a job holds no personal data.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file is larger than [`MAX_JOB`].
    #[error("the job has {got} bytes, at most {MAX_JOB} are allowed")]
    TooLarge {
        /// Its size in bytes.
        got: usize,
    },
    /// Not JSON, or not a job's fields.
    #[error("the job is not the JSON of a job")]
    Json(#[from] serde_json::Error),
    /// Written in another way than the canonical one.
    #[error(
        "the job is not in its canonical form (first difference at byte {at}); write it with the owner's tool"
    )]
    NotCanonical {
        /// The first byte that differs.
        at: usize,
    },
    /// A field's value is outside what a job may say.
    #[error("the job's {field} must be {expected}, and is {got}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
}

impl JobError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "job.size",
            Self::Json(_) => "job.json",
            Self::NotCanonical { .. } => "job.canonical",
            Self::Field { .. } => "job.field",
        }
    }
}
