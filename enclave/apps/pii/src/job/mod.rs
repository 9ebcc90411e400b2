//! The owner's job: what each column is, what may be disclosed, and to whom.
//!
//! A job is one canonical JSON file. Its SHA-384 stands in the encryption context of the records,
//! so the enclave runs only the job that the records were sealed under: whoever carries the
//! records cannot widen the answer. The job names the sealed token key as well, so whoever carries
//! that cannot choose an older one, under which other tokens are known.

mod error;
mod file;

use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha384};

use crate::column::ColumnType;

pub use error::JobError;
use file::{JobFile, field};

/// The value of a job's `format` field.
pub const FORMAT: &str = "anchorhold-pii-job/1";
/// The largest job file in bytes: 256 columns with long names and 16 recipients fit in a quarter.
pub const MAX_JOB: usize = 256 * 1024;
/// The most columns a job may name.
pub const MAX_COLUMNS: usize = 256;
/// The most recipients a job may name.
pub const MAX_RECIPIENTS: usize = 16;
/// The k-anonymity floor of a draft that names none.
pub const DEFAULT_K: u32 = 5;
/// Below two, a "group" is one person.
pub const MIN_K: u32 = 2;

/// A checked job. Only [`Job::parse_canonical`] and [`Job::from_draft`] make one.
#[derive(Clone, Debug)]
pub struct Job {
    file: JobFile,
    canonical: Vec<u8>,
    sha384: [u8; 48],
    token_key_sha384: [u8; 48],
}

/// Who may have the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnswerTo {
    /// `"anyone"`: the answer's key is released in the clear.
    Keyword(Anyone),
    /// The answer's key is released only under these public keys.
    Recipients(Vec<Recipient>),
}

/// The one keyword that [`AnswerTo`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anyone {
    /// Whoever holds the answer may read it.
    Anyone,
}

/// Somebody who may have the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// A name for people, unique in the job.
    pub name: String,
    /// The base64 of an RSA SubjectPublicKeyInfo in DER, 2048 to 8192 bits.
    pub public_key: String,
}

/// A column of the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The column's name, as in the CSV header.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub column_type: Declared,
}

/// What the owner says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Declared {
    /// Decide by the column's name and content; withhold it when neither tells.
    Recognise,
    /// Leave the column out of the answer.
    Withhold,
    /// As [`ColumnType::Identifier`].
    Identifier,
    /// As [`ColumnType::Name`].
    Name,
    /// As [`ColumnType::Email`].
    Email,
    /// As [`ColumnType::Phone`].
    Phone,
    /// As [`ColumnType::Ssn`].
    Ssn,
    /// As [`ColumnType::Card`].
    Card,
    /// As [`ColumnType::DateOfBirth`].
    DateOfBirth,
    /// As [`ColumnType::Postcode`].
    Postcode,
}

impl Declared {
    /// The type, where the owner named one.
    pub fn column_type(self) -> Option<ColumnType> {
        Some(match self {
            Self::Recognise => return None,
            Self::Withhold => ColumnType::Withheld,
            Self::Identifier => ColumnType::Identifier,
            Self::Name => ColumnType::Name,
            Self::Email => ColumnType::Email,
            Self::Phone => ColumnType::Phone,
            Self::Ssn => ColumnType::Ssn,
            Self::Card => ColumnType::Card,
            Self::DateOfBirth => ColumnType::DateOfBirth,
            Self::Postcode => ColumnType::Postcode,
        })
    }
}

impl Job {
    /// Takes a job file only in its canonical form: compact JSON, fields in alphabetical order,
    /// every default written out.
    ///
    /// # Errors
    /// [`JobError`] with the rule that the file breaks.
    pub fn parse_canonical(bytes: &[u8]) -> Result<Self, JobError> {
        let job = Self::of(JobFile::read(bytes)?)?;
        if job.canonical != bytes {
            let same = job.canonical.iter().zip(bytes).take_while(|(a, b)| a == b);
            return Err(JobError::NotCanonical { at: same.count() });
        }
        Ok(job)
    }

    /// Takes a job file in any JSON form, with defaults left out, and makes it canonical. The sealed
    /// token key is named by the SHA-384 of its message's header; a draft that names one must name
    /// this one.
    ///
    /// # Errors
    /// [`JobError`] with the rule that the file breaks.
    pub fn from_draft(draft: &[u8], token_key_sha384: &[u8; 48]) -> Result<Self, JobError> {
        let mut file = JobFile::read(draft)?;
        let given = hex::encode(token_key_sha384);
        let named = std::mem::replace(&mut file.token_key_sha384, given.clone());
        let same = named.is_empty() || named == given;
        field(same, "token_key_sha384", &given, named)?;
        Self::of(file)
    }

    fn of(file: JobFile) -> Result<Self, JobError> {
        let token_key_sha384 = file.check()?;
        let canonical = serde_json::to_vec(&file)?;
        let sha384 = Sha384::digest(&canonical).into();
        Ok(Self {
            file,
            canonical,
            sha384,
            token_key_sha384,
        })
    }

    /// The canonical bytes.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// SHA-384 of the canonical bytes.
    pub fn sha384(&self) -> [u8; 48] {
        self.sha384
    }

    /// The data set that records and token key must name.
    pub fn data_set(&self) -> &str {
        &self.file.data_set
    }

    /// SHA-384 of the header of the sealed token key.
    pub fn token_key_sha384(&self) -> [u8; 48] {
        self.token_key_sha384
    }

    /// The typed columns, without those passed through.
    pub fn columns(&self) -> &[Column] {
        &self.file.columns
    }

    /// Columns that the owner discloses as they are.
    pub fn pass_through(&self) -> &[String] {
        &self.file.pass_through
    }

    /// Columns whose disclosed values make the groups of the report.
    pub fn group_by(&self) -> &[String] {
        &self.file.group_by
    }

    /// The k-anonymity floor: no smaller group is reported.
    pub fn k(&self) -> u32 {
        self.file.k
    }

    /// Who may have the answer.
    pub fn answer_to(&self) -> &AnswerTo {
        &self.file.answer_to
    }

    /// The type that the job gives a column: `None` when the job does not name it,
    /// `Some(None)` when it is to be recognised.
    pub fn declared(&self, name: &str) -> Option<Option<ColumnType>> {
        if self.file.pass_through.iter().any(|n| n == name) {
            return Some(Some(ColumnType::PassThrough));
        }
        let column = self.file.columns.iter().find(|c| c.name == name)?;
        Some(column.column_type.column_type())
    }
}

impl Recipient {
    /// The key, ready to encrypt to; `None` when it is no RSA public key.
    pub fn encrypting_key(&self) -> Option<OaepPublicEncryptingKey> {
        use base64::Engine as _;
        let der = base64::engine::general_purpose::STANDARD
            .decode(&self.public_key)
            .ok()?;
        let key = PublicEncryptingKey::from_der(&der).ok()?;
        OaepPublicEncryptingKey::new(key).ok()
    }
}

#[cfg(test)]
mod tests;
