//! Sealing for the enclave: a data key of the KMS, and a message that any AWS Encryption SDK opens.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anchorhold_access::AccessError;
use anchorhold_access::output::Output;
use anchorhold_enclave::kms::{Client, KmsError};
use anchorhold_enclave::transport::Connector;
use anchorhold_envelope::crypto::CryptoFailure;
use anchorhold_envelope::{
    ContextError, ContextRule, DataKey, EdkError, EncryptedDataKey, EncryptionContext, OpenError,
    SealError, SealPlan, Sealed, Suite, UnverifiedMessage,
};
use anchorhold_pii::contexts;
use anchorhold_pii::job::{Job, JobError, Recipient};
use anchorhold_pii::token::KEY_LEN;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// Why something could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The KMS refuses or cannot be reached.
    #[error("the KMS gives no data key")]
    Kms(#[from] KmsError),
    /// The data key is none.
    #[error("the KMS's data key does not fit")]
    DataKey(#[from] OpenError),
    /// The wrapped data key does not fit a message.
    #[error("the KMS's wrapped data key does not fit")]
    Wrapped(#[from] EdkError),
    /// The message could not be made.
    #[error("the message could not be sealed")]
    Seal(#[from] SealError),
    /// The encryption context is none.
    #[error("the encryption context could not be made")]
    Context(#[from] ContextError),
    /// The job is none.
    #[error("no job can be made of the draft")]
    Job(#[from] JobError),
    /// Not a sealed token key of the job's data set.
    #[error("{path:?} is no token key of the job's data set")]
    TokenKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// No randomness.
    #[error("no random numbers")]
    Random(#[from] CryptoFailure),
    /// Something stands where a file is to be written. Sealing overwrites nothing: a token key
    /// written over is lost, and with it the sense of every token made with it.
    #[error("{path:?} is there already, and sealing overwrites nothing: name another file")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot use {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl SealingError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Kms(error) => error.rule(),
            Self::DataKey(error) => error.rule(),
            Self::Wrapped(_) => "seal.data-key",
            Self::Seal(error) => error.rule(),
            Self::Context(error) => error.rule(),
            Self::Job(error) => error.rule(),
            Self::TokenKey { .. } => "seal.token-key",
            Self::Random(_) => "machine.random",
            Self::Exists { .. } => "seal.exists",
            Self::File { .. } => "seal.file",
        }
    }
}

/// Makes a job of a draft and the sealed token key that it is to run with. Receivers, where there are
/// any, stand in place of the draft's.
///
/// # Errors
/// [`SealingError`]: the draft is none, or the file is no token key of the draft's data set.
pub fn job(draft: &[u8], token_key: &Path, receivers: Vec<Recipient>) -> Result<Job, SealingError> {
    let at = |source| SealingError::File {
        path: token_key.to_path_buf(),
        source,
    };
    let refused = |source| SealingError::TokenKey {
        path: token_key.to_path_buf(),
        source,
    };
    let file = BufReader::new(File::open(token_key).map_err(at)?);
    let message = UnverifiedMessage::begin(file).map_err(refused)?;
    let header = message.header_sha384();
    let mut job = Job::from_draft(draft, &header)?;
    if !receivers.is_empty() {
        let mut file: Map<String, Value> =
            serde_json::from_slice(job.canonical()).map_err(JobError::from)?;
        file.insert("answer_to".to_owned(), json!(receivers));
        job = Job::from_draft(json!(file).to_string().as_bytes(), &header)?;
    }
    let rule = ContextRule::Exactly(contexts::token_key(job.data_set())?);
    message.check_context(&rule).map_err(refused)?;
    Ok(job)
}

/// Seals records under a job. Streamed: memory does not grow with the file. The output stands only
/// when it is whole, and never in the place of another file.
///
/// # Errors
/// [`SealingError`].
pub fn records<C: Connector>(
    kms: &Client<C>,
    key_arn: &str,
    job: &Job,
    records: &Path,
    output: &Path,
) -> Result<Sealed, SealingError> {
    let file = File::open(records).map_err(|source| SealingError::File {
        path: records.to_path_buf(),
        source,
    })?;
    seal(
        kms,
        key_arn,
        contexts::records(job)?,
        BufReader::new(file),
        output,
    )
}

/// Makes and seals a token key for a data set. Nobody sees the key in clear, its owner included.
///
/// # Errors
/// [`SealingError`].
pub fn token_key<C: Connector>(
    kms: &Client<C>,
    key_arn: &str,
    data_set: &str,
    output: &Path,
) -> Result<Sealed, SealingError> {
    const { assert!(KEY_LEN == 32) };
    let key = DataKey::generate()?;
    seal(
        kms,
        key_arn,
        contexts::token_key(data_set)?,
        key.expose().as_slice(),
        output,
    )
}

/// Refuses where something stands at `path`, before anything is asked of the KMS.
///
/// # Errors
/// [`SealingError::Exists`].
pub fn refuse_existing(path: &Path) -> Result<(), SealingError> {
    match path.symlink_metadata() {
        Ok(_) => Err(SealingError::Exists {
            path: path.to_path_buf(),
        }),
        Err(_) => Ok(()),
    }
}

/// Seals what is read under a new data key of the KMS. The output stands only when it is whole, and
/// never in the place of another file.
///
/// # Errors
/// [`SealingError`].
pub fn seal<C: Connector>(
    kms: &Client<C>,
    key_arn: &str,
    context: EncryptionContext,
    mut plaintext: impl Read,
    output: &Path,
) -> Result<Sealed, SealingError> {
    refuse_existing(output)?;
    let plan = SealPlan::new(Suite::CommittedSigned, context)?;
    let pair = kms.generate_data_key(key_arn, plan.encryption_context())?;
    let data_key = DataKey::from_bytes(&pair.plaintext)?;
    let wrapped = EncryptedDataKey::aws_kms(&pair.key_arn, pair.ciphertext)?;
    let at = |source| SealingError::File {
        path: output.to_path_buf(),
        source,
    };
    let refused = |error| match error {
        AccessError::Exists { path } => SealingError::Exists { path },
        AccessError::File { source, .. } => at(source),
        other => at(io::Error::other(other)),
    };
    let file = Output::file(output, false, 0o600).map_err(refused)?;
    let mut sealer = plan.seal_to(file, &data_key, vec![wrapped])?;
    let mut piece = Zeroizing::new(vec![0; 1 << 16]);
    loop {
        let count = plaintext.read(&mut piece).map_err(at)?;
        if count == 0 {
            break;
        }
        sealer
            .write_all(piece.get(..count).unwrap_or_default())
            .map_err(SealError::Write)?;
    }
    let (file, sealed) = sealer.finish()?;
    file.keep().map_err(refused)?;
    Ok(sealed)
}
