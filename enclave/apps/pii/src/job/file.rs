//! The fields of a job file, and what they may say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    AnswerTo, Column, DEFAULT_K, FORMAT, JobError, MAX_COLUMNS, MAX_JOB, MAX_RECIPIENTS, MIN_K,
};

const MAX_NAME: usize = 128;
const MAX_GROUP_BY: usize = 4;

/// Field order is alphabetical: it is the canonical order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobFile {
    pub(super) answer_to: AnswerTo,
    pub(super) columns: Vec<Column>,
    pub(super) data_set: String,
    pub(super) format: String,
    #[serde(default)]
    pub(super) group_by: Vec<String>,
    #[serde(default = "default_k")]
    pub(super) k: u32,
    #[serde(default)]
    pub(super) pass_through: Vec<String>,
    #[serde(default)]
    pub(super) token_key_sha384: String,
}

impl JobFile {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, JobError> {
        if bytes.len() > MAX_JOB {
            return Err(JobError::TooLarge { got: bytes.len() });
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Gives the token key's hash, the one field that is parsed to another form.
    pub(super) fn check(&self) -> Result<[u8; 48], JobError> {
        field(self.format == FORMAT, "format", FORMAT, &self.format)?;
        let id = &self.data_set;
        let id_ok = !id.is_empty()
            && id.len() <= MAX_NAME
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
        field(id_ok, "data_set", "1 to 128 of [A-Za-z0-9-_./]", id)?;
        field(self.k >= MIN_K, "k", "at least 2", self.k)?;
        let names = self.check_names()?;
        let groups: BTreeSet<_> = self.group_by.iter().collect();
        let unique = groups.len() == self.group_by.len() && groups.len() <= MAX_GROUP_BY;
        field(
            unique,
            "group_by",
            "at most 4 different columns",
            groups.len(),
        )?;
        for group in &self.group_by {
            field(
                names.contains(group.as_str()),
                "group_by",
                "columns of the job",
                group,
            )?;
        }
        self.answer_to.check()?;
        let text = &self.token_key_sha384;
        let mut hash = [0; 48];
        let plain = hex::decode_to_slice(text, &mut hash).is_ok() && hex::encode(hash) == *text;
        field(plain, "token_key_sha384", "96 lower-case hex digits", text)?;
        Ok(hash)
    }

    fn check_names(&self) -> Result<BTreeSet<&str>, JobError> {
        let all = || {
            self.columns
                .iter()
                .map(|c| &c.name)
                .chain(&self.pass_through)
        };
        let count = all().count();
        field(
            (1..=MAX_COLUMNS).contains(&count),
            "columns",
            "1 to 256 in number",
            count,
        )?;
        let mut names = BTreeSet::new();
        for name in all() {
            let ok = !name.is_empty() && name.len() <= MAX_NAME;
            field(ok, "columns", "names of 1 to 128 bytes", name.len())?;
            field(
                names.insert(name.as_str()),
                "columns",
                "names that occur once",
                name,
            )?;
        }
        Ok(names)
    }
}

impl AnswerTo {
    fn check(&self) -> Result<(), JobError> {
        let Self::Recipients(recipients) = self else {
            return Ok(());
        };
        let count = recipients.len();
        field(
            (1..=MAX_RECIPIENTS).contains(&count),
            "answer_to",
            "\"anyone\" or 1 to 16 recipients",
            count,
        )?;
        let mut names = BTreeSet::new();
        for recipient in recipients {
            let name_ok = !recipient.name.is_empty() && recipient.name.len() <= MAX_NAME;
            field(
                name_ok,
                "answer_to",
                "names of 1 to 128 bytes",
                recipient.name.len(),
            )?;
            field(
                names.insert(&recipient.name),
                "answer_to",
                "names that occur once",
                &recipient.name,
            )?;
            let key_ok = recipient.encrypting_key().is_some();
            field(
                key_ok,
                "answer_to",
                "RSA public keys (base64 of SubjectPublicKeyInfo, 2048 to 8192 bits)",
                &recipient.name,
            )?;
        }
        Ok(())
    }
}

pub(super) fn field(
    holds: bool,
    field: &'static str,
    expected: &str,
    got: impl std::fmt::Display,
) -> Result<(), JobError> {
    if holds {
        return Ok(());
    }
    Err(JobError::Field {
        field,
        expected: expected.to_owned(),
        got: got.to_string(),
    })
}

fn default_k() -> u32 {
    DEFAULT_K
}
