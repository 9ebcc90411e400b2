//! The owner's check of an answer: who computed it, of what, for which challenge.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anchorhold_access::AccessError;
use anchorhold_access::output::Output;
use anchorhold_envelope::DataKey;
use anchorhold_pii::answer::{AnswerError, Release, open_part};
use anchorhold_pii::contexts;
use anchorhold_pii::job::Job;
use anchorhold_pii::report::Report;
use anchorhold_pii::statement::Statement;
use anchorhold_verifier::{
    AppraisalPolicy, Appraised, TrustRoots, UnverifiedDocument, VerifyError,
};
use serde::Serialize;
use sha2::{Digest, Sha384};

use crate::receipt::Receipt;

/// The largest document or release that is read, in bytes: a release of 16 wrapped keys has less
/// than 32 KiB, a document at most 16 KiB.
const MAX_SMALL: u64 = 256 * 1024;
/// The largest report that is read, in bytes: the application's bound on groups, each of the
/// longest values.
const MAX_REPORT: usize = 128 * 1024 * 1024;

/// What the owner expects of an answer.
pub struct Expected<'a> {
    /// The job that the records were sealed under.
    pub job: &'a Job,
    /// The receipt of the sealed records.
    pub receipt: &'a Receipt,
    /// The roots that may have signed.
    pub roots: &'a TrustRoots,
    /// Measurements, challenge (as nonce) and age of the document. `user_data` is set here.
    pub appraisal: AppraisalPolicy,
    /// The receiver's private key, PKCS#8 in DER, where the job names receivers.
    pub private_key: Option<&'a [u8]>,
}

/// An answer that has verified.
#[derive(Debug, Serialize)]
pub struct VerifiedAnswer {
    /// Where the rows were written.
    pub output: PathBuf,
    /// The report.
    pub report: Report,
    /// What the document says of who computed it.
    pub document: DocumentSummary,
}

/// The document of a verified answer.
#[derive(Debug, Serialize)]
pub struct DocumentSummary {
    /// Always true: a document that does not verify gives no answer.
    pub verified: bool,
    /// SHA-384 of the document.
    pub sha384: String,
    /// The enclave.
    pub module_id: String,
    /// The root that it chains to.
    pub root_sha256: String,
    /// When it was signed, RFC 3339.
    pub signed_at: String,
}

/// Why an answer is not believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The receipt is none, or of records under another job.
    #[error("the receipt is not of records sealed under this job")]
    Receipt,
    /// The document does not verify.
    #[error("the answer's document is refused")]
    Document(#[from] VerifyError),
    /// The answer does not open.
    #[error("the answer does not open")]
    Answer(#[from] AnswerError),
    /// A part is longer than any answer's.
    #[error("{path:?} has more than {limit} bytes")]
    TooLong {
        /// The part.
        path: PathBuf,
        /// The most that is taken, in bytes.
        limit: u64,
    },
    /// The report is no report.
    #[error("the report is not the JSON of a report")]
    Report(#[source] serde_json::Error),
    /// A file could not be read or written.
    #[error("cannot use {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl CheckError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Receipt => "receipt.job",
            Self::Document(error) => error.rule(),
            Self::Answer(error) => error.rule(),
            Self::TooLong { .. } => "answer.size",
            Self::Report(_) => "answer.report",
            Self::File { .. } => "answer.file",
        }
    }
}

impl Expected<'_> {
    /// Opens the answer in `dir` and checks its document over what was opened; only then the rows
    /// stand at `output`.
    ///
    /// It establishes that an image of the expected measurements, on a platform of an expected
    /// root, computed these rows and this report under this job from these sealed records, and
    /// that it did so after the challenge was made. It does not establish that the records are
    /// true, nor that the platform's host was honest: see the README's limits.
    ///
    /// # Errors
    /// [`CheckError`]; nothing stands at `output` then.
    pub fn open(&self, dir: &Path, output: &Path) -> Result<VerifiedAnswer, CheckError> {
        let identity = self.receipt.identity();
        let same_job = self.receipt.job_sha384 == hex::encode(self.job.sha384());
        let (message_id, header_sha384) =
            identity.filter(|_| same_job).ok_or(CheckError::Receipt)?;
        let bytes = load(&dir.join("document.cose"))?;
        let document = UnverifiedDocument::parse(&bytes)?;
        let document = document.authenticate(self.roots, self.appraisal.now)?;
        // First who and when: nothing of an answer is opened that the agreed image did not sign.
        // Then, with what was opened, what.
        document.clone().appraise(&self.appraisal)?;
        let key = Release::parse(&load(&dir.join("release.json"))?)?.key(self.private_key)?;
        let rows = Output::file(output, true, 0o600);
        let mut rows = rows.map_err(|error| unwritten(output, error))?;
        let rows_part = ("rows", contexts::ANSWER_ROWS);
        let rows_sha384 = self.part(&dir.join("rows.esdk"), &key, rows_part, &mut rows)?;
        let mut report = Bounded::new(MAX_REPORT);
        let report_part = ("report", contexts::ANSWER_REPORT);
        let report_path = dir.join("report.esdk");
        let opened = self.part(&report_path, &key, report_part, &mut report);
        if report.is_exceeded {
            return Err(CheckError::TooLong {
                path: report_path,
                limit: MAX_REPORT as u64,
            });
        }
        let report_sha384 = opened?;
        let statement = Statement {
            rows_sha384,
            report_sha384,
            job_sha384: self.job.sha384(),
            message_id,
            header_sha384,
        };
        let user_data = Some(statement.user_data().to_vec());
        let policy = AppraisalPolicy {
            user_data,
            ..self.appraisal.clone()
        };
        let appraised = document.appraise(&policy)?;
        let report = serde_json::from_slice(&report.bytes).map_err(CheckError::Report)?;
        rows.keep().map_err(|error| unwritten(output, error))?;
        let document = summary(&appraised, &bytes);
        Ok(VerifiedAnswer {
            output: output.to_path_buf(),
            report,
            document,
        })
    }

    fn part(
        &self,
        path: &Path,
        key: &DataKey,
        part: (&'static str, &str),
        out: &mut impl Write,
    ) -> Result<[u8; 48], CheckError> {
        let mut out = BufWriter::new(out);
        let hash = open_part(BufReader::new(open(path)?), key, self.job, part, &mut out)?;
        let at = |source| CheckError::File {
            path: path.to_path_buf(),
            source,
        };
        out.flush().map_err(at)?;
        Ok(hash)
    }
}

fn summary(appraised: &Appraised, bytes: &[u8]) -> DocumentSummary {
    DocumentSummary {
        verified: true,
        sha384: hex::encode(Sha384::digest(bytes)),
        module_id: appraised.document().module_id.clone(),
        root_sha256: appraised.root_sha256().to_string(),
        signed_at: appraised.signed_at().to_string(),
    }
}

/// Bytes up to a limit; what comes beyond is refused.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    is_exceeded: bool,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            is_exceeded: false,
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.is_exceeded |= self.limit.saturating_sub(self.bytes.len()) < more.len();
        if self.is_exceeded {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritten(output: &Path, error: AccessError) -> CheckError {
    CheckError::File {
        path: output.to_path_buf(),
        source: match error {
            AccessError::File { source, .. } => source,
            other => io::Error::other(other),
        },
    }
}

fn open(path: &Path) -> Result<File, CheckError> {
    File::open(path).map_err(|source| CheckError::File {
        path: path.to_path_buf(),
        source,
    })
}

fn load(path: &Path) -> Result<Vec<u8>, CheckError> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(MAX_SMALL + 1).read_to_end(&mut bytes);
    read.map_err(|source| CheckError::File {
        path: path.to_path_buf(),
        source,
    })?;
    if bytes.len() as u64 > MAX_SMALL {
        return Err(CheckError::TooLong {
            path: path.to_path_buf(),
            limit: MAX_SMALL,
        });
    }
    Ok(bytes)
}
