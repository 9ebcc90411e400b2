//! One submission: from the first frame to the last.

use std::io::{BufReader, BufWriter, Read, Write};

use anchorhold_enclave::frame::{self, FrameError, FrameWriter, PIECE, Pieces};
pub use anchorhold_enclave::refusal::Refusal;
use anchorhold_enclave::refusal::chain;
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, EncryptionContext, OpenError, Opener, UnverifiedMessage,
};
use zeroize::Zeroizing;

use crate::answer::{AnswerError, PartWriter, Release};
use crate::contexts;
use crate::job::{Job, MAX_JOB};
use crate::processor::Processor;
use crate::report::RowCounts;
use crate::statement::Statement;
use crate::token::{KEY_LEN, TokenKey, TokenKeySink};
use crate::wire;

/// A challenge below this could be guessed; above, it does not fit a short document.
const CHALLENGE: std::ops::RangeInclusive<usize> = 16..=64;
/// The largest credentials in bytes: a session token may have 4 KiB.
const MAX_CREDENTIALS: usize = 16 * 1024;
/// The largest sealed token key in bytes; one is under 2 KiB.
const MAX_TOKEN_KEY: usize = 64 * 1024;

/// What a session needs of the world: keys that the KMS releases, and documents.
pub trait Services {
    /// The plaintext of a data key, released to this enclave.
    ///
    /// # Errors
    /// The KMS refuses or cannot be reached.
    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal>;

    /// An attestation document over `user_data` and `nonce`.
    ///
    /// # Errors
    /// The security module fails.
    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal>;
}

/// A data key to be released.
pub struct KeyRequest<'a> {
    /// JSON of the enclave principal's credentials, as the parent gave it.
    pub credentials: &'a [u8],
    /// The ARN of the KMS key.
    pub key_arn: &'a str,
    /// The wrapped data key.
    pub ciphertext: &'a [u8],
    /// What it was wrapped under.
    pub context: &'a EncryptionContext,
}

/// Runs one submission on a connection. On a refusal its last frame says why.
///
/// # Errors
/// The refusal.
pub fn serve(
    from: impl Read,
    to: &mut impl Write,
    services: &mut impl Services,
) -> Result<RowCounts, Refusal> {
    let result = answer(from, to, services);
    if let Err(refusal) = &result {
        refusal.send(to, wire::REFUSED);
    }
    result
}

fn answer(
    mut from: impl Read,
    to: &mut impl Write,
    services: &mut impl Services,
) -> Result<RowCounts, Refusal> {
    let job = expect(&mut from, wire::JOB, MAX_JOB)?;
    let job = Job::parse_canonical(&job).map_err(|e| Refusal::because(e.rule(), &e))?;
    let challenge = expect(&mut from, wire::CHALLENGE, *CHALLENGE.end())?;
    if challenge.len() < *CHALLENGE.start() {
        let message = format!(
            "expected 16 to 64 bytes of challenge, got {}",
            challenge.len()
        );
        return Err(Refusal::new("challenge.length", message));
    }
    let credentials = Zeroizing::new(expect(&mut from, wire::CREDENTIALS, MAX_CREDENTIALS)?);
    let token_key = expect(&mut from, wire::TOKEN_KEY, MAX_TOKEN_KEY)?;
    let records = BufReader::with_capacity(PIECE, Pieces::new(from, wire::RECORD_FRAMES));

    let (tokens, opener) = keys(&job, &credentials, &token_key, records, services)?;
    let key = DataKey::generate().map_err(|e| Refusal::new("machine.random", e))?;
    let processed = process(&job, tokens, opener, &key, to)?;
    let document = services.attest(&processed.statement.user_data(), &challenge)?;
    let release = Release::of(&key, &job).map_err(|e| Refusal::new(e.rule(), e))?;
    let release = serde_json::to_vec(&release).map_err(|e| Refusal::new("answer.release", e))?;
    frame::write(to, wire::DOCUMENT, &document)
        .and_then(|()| frame::write(to, wire::RELEASE, &release))
        .and_then(|()| frame::write(to, wire::DONE, b""))
        .and_then(|()| to.flush())
        .map_err(|e| Refusal::new("wire.connection", e))?;
    Ok(processed.rows)
}

/// Has the KMS release both keys, after all that can be refused without it.
fn keys<R: Read>(
    job: &Job,
    credentials: &[u8],
    token_key: &[u8],
    records: R,
    services: &mut impl Services,
) -> Result<(TokenKey, Opener<R>), Refusal> {
    let records = begin("records", records)?;
    let token_key = begin("token-key", token_key)?;
    let context = |made: Result<_, anchorhold_envelope::ContextError>| {
        made.map(ContextRule::Exactly)
            .map_err(|e| Refusal::new("job.context", e))
    };
    let records_rule = context(contexts::records(job))?;
    let token_rule = context(contexts::token_key(job.data_set()))?;
    let checked = records.check_context(&records_rule);
    checked.map_err(|e| of_message("records", &e))?;
    let checked = token_key.check_context(&token_rule);
    checked.map_err(|e| of_message("token-key", &e))?;
    let (expected, got) = (job.token_key_sha384(), token_key.header_sha384());
    if expected != got {
        let [expected, got] = [expected, got].map(hex::encode);
        let message = format!(
            "expected the token key that the job names by its header, {expected}, got {got}"
        );
        return Err(Refusal::new("token-key.other", message));
    }

    let records_edk = only_kms_key("records", records.encrypted_data_keys())?;
    let token_edk = only_kms_key("token-key", token_key.encrypted_data_keys())?;
    if records_edk.0 != token_edk.0 {
        let message = format!(
            "expected records and token key under one KMS key, got {} and {}",
            records_edk.0, token_edk.0
        );
        return Err(Refusal::new("records.key-arn", message));
    }
    let mut release = |(key_arn, ciphertext): (&str, &[u8]), context: &EncryptionContext| {
        let released = services.release(&KeyRequest {
            credentials,
            key_arn,
            ciphertext,
            context,
        })?;
        DataKey::from_bytes(&released).map_err(|e| Refusal::new(e.rule(), e))
    };
    let token_data_key = release(token_edk, token_key.encryption_context())?;
    let records_data_key = release(records_edk, records.encryption_context())?;

    let authenticated = token_key.authenticate(&token_data_key, &token_rule);
    let opener = authenticated.map_err(|e| of_message("token-key", &e))?;
    let mut opened = opener.unreleased(TokenKeySink::default());
    let tokens = opener
        .open_into(&mut opened)
        .map_err(|e| of_message("token-key", &e))
        .and_then(|verified| {
            opened
                .release(&verified)
                .map_err(|e| Refusal::new(e.rule(), e))
        })?;
    let tokens = tokens.into_key().map_err(|got| {
        let message = format!("expected a token key of {KEY_LEN} bytes, got {got}");
        Refusal::new("token-key.length", message)
    })?;
    let authenticated = records.authenticate(&records_data_key, &records_rule);
    let opener = authenticated.map_err(|e| of_message("records", &e))?;
    Ok((tokens, opener))
}

struct Processed {
    statement: Statement,
    rows: RowCounts,
}

/// Opens, processes and seals, frame by frame; then the report.
fn process(
    job: &Job,
    tokens: TokenKey,
    mut opener: Opener<impl Read>,
    key: &DataKey,
    to: &mut impl Write,
) -> Result<Processed, Refusal> {
    let rows = PartWriter::new(
        FrameWriter::new(to, wire::ROWS),
        key,
        job,
        contexts::ANSWER_ROWS,
    )
    .map_err(|e| Refusal::because(e.rule(), &e))?;
    let mut processor = opener.unreleased(Processor::new(job.clone(), tokens, rows));
    let refused = |e: OpenError| of_message("records", &e);
    while let Some(frame) = opener.next_frame().map_err(refused)? {
        let fed = processor.peek_mut().feed(frame.peek());
        fed.map_err(|e| Refusal::because(e.rule(), &e))?;
    }
    let verified = opener.finish().map_err(refused)?;
    let processor = processor
        .release(&verified)
        .map_err(|e| Refusal::new(e.rule(), e))?;
    let finished = processor.finish();
    let (report, rows) = finished.map_err(|e| Refusal::because(e.rule(), &e))?;
    let rows_sha384 = rows.finish().map_err(|e| Refusal::because(e.rule(), &e))?;
    let part = FrameWriter::new(to, wire::REPORT);
    let refused = |e: AnswerError| Refusal::because(e.rule(), &e);
    let part = PartWriter::new(part, key, job, contexts::ANSWER_REPORT).map_err(refused)?;
    // Written as it is made: its JSON as a whole would be the largest thing in memory.
    let mut part = BufWriter::with_capacity(PIECE, part);
    serde_json::to_writer(&mut part, &report).map_err(|e| Refusal::new("answer.report", e))?;
    let part = part.into_inner();
    let part = part.map_err(|e| Refusal::new("answer.report", e.error()))?;
    let report_sha384 = part.finish().map_err(refused)?;
    let statement = Statement {
        rows_sha384,
        report_sha384,
        job_sha384: job.sha384(),
        message_id: *verified.message_id().as_bytes(),
        header_sha384: *verified.header_sha384(),
    };
    Ok(Processed {
        statement,
        rows: report.rows,
    })
}

fn expect(from: &mut impl Read, frame: u8, max: usize) -> Result<Vec<u8>, Refusal> {
    Ok(frame::expect(from, frame, max)?)
}

fn begin<R: Read>(what: &str, message: R) -> Result<UnverifiedMessage<R>, Refusal> {
    UnverifiedMessage::begin(message).map_err(|e| of_message(what, &e))
}

/// A refusal of a message; where the frames around it are to blame, by their rule.
fn of_message(what: &str, error: &OpenError) -> Refusal {
    let wire = match error {
        OpenError::Read(error) => FrameError::of(error),
        _ => None,
    };
    let rule = match wire {
        Some(wire) => wire.rule().to_owned(),
        None => format!("{what}.{}", error.rule()),
    };
    Refusal::new(rule, chain(error))
}

fn only_kms_key<'a>(
    what: &str,
    keys: &'a [EncryptedDataKey],
) -> Result<(&'a str, &'a [u8]), Refusal> {
    match keys {
        [key] => key.kms_key_arn().map(|arn| (arn, key.ciphertext())),
        _ => None,
    }
    .ok_or_else(|| {
        let message = format!(
            "expected one data key of provider aws-kms, got {}",
            keys.len()
        );
        Refusal::new(format!("{what}.data-key"), message)
    })
}
