//! One submission: sealed records in, a sealed answer out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anchorhold_carrier::SubmitError;
use anchorhold_carrier::exchange::{exchange, waiting};
use anchorhold_carrier::frame::{self, MAX_PAYLOAD};
use anchorhold_carrier::input::{load, open};
use anchorhold_carrier::output::Staged;
use serde::Serialize;

use crate::wire;

/// The largest sealed token key in bytes; one is under 2 KiB.
const MAX_TOKEN_KEY: u64 = 64 * 1024;
/// The largest credentials file in bytes.
const MAX_CREDENTIALS: u64 = 16 * 1024;
/// The most that an enclave may send for its report and its other parts, in bytes. Rows are bounded
/// by the records: see [`MAX_ROWS_FACTOR`].
const MAX_PART: u64 = 64 * 1024 * 1024;
/// Rows may grow: a one-letter name becomes a token of 36 bytes.
const MAX_ROWS_FACTOR: u64 = 64;

/// What is handed to the enclave.
#[derive(Debug)]
pub struct Submission {
    /// The owner's job file.
    pub job: PathBuf,
    /// The sealed records.
    pub records: PathBuf,
    /// The sealed token key.
    pub token_key: PathBuf,
    /// JSON of the enclave principal's credentials.
    pub credentials: PathBuf,
    /// The owner's challenge.
    pub challenge: Vec<u8>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The directory that holds `rows.esdk`, `report.esdk`, `release.json` and `document.cose`.
    pub answer: PathBuf,
    /// Bytes of sealed records sent.
    pub sent: u64,
    /// Bytes of sealed rows received.
    pub received: u64,
}

impl Submission {
    /// Hands everything to the enclave behind `stream` and leaves its answer in the new directory
    /// `answer`. On a failure no directory is left.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn run(&self, stream: UnixStream, answer: &Path) -> Result<Answer, SubmitError> {
        let job = load("the job", &self.job, MAX_PAYLOAD as u64)?;
        let token_key = load("the token key", &self.token_key, MAX_TOKEN_KEY)?;
        let credentials = load("the credentials", &self.credentials, MAX_CREDENTIALS)?;
        let records = open("the records", &self.records)?;
        let size = records.metadata().map(|m| m.len()).unwrap_or(u64::MAX);
        let max_rows = size.saturating_mul(MAX_ROWS_FACTOR).max(MAX_PART);
        let staged = Staged::create(answer)?;
        let head = [
            (wire::JOB, job.as_slice()),
            (wire::CHALLENGE, &self.challenge),
            (wire::CREDENTIALS, &credentials),
            (wire::TOKEN_KEY, &token_key),
        ];
        let (sent, received) = exchange(
            &stream,
            |to| send(to, &head, records),
            |from| receive(from, &staged, max_rows),
        )?;
        staged.publish()?;
        Ok(Answer {
            answer: answer.to_path_buf(),
            sent,
            received,
        })
    }
}

fn send(to: &mut impl Write, head: &[(u8, &[u8])], mut records: File) -> io::Result<u64> {
    for (frame, payload) in head {
        frame::write(to, *frame, payload)?;
    }
    let sent = frame::write_file(to, wire::RECORDS, &mut records)?;
    frame::write(to, wire::END, b"")?;
    Ok(sent)
}

/// Receives the answer's parts and gives the bytes of its rows.
fn receive(from: &mut impl Read, staged: &Staged, max_rows: u64) -> Result<u64, SubmitError> {
    let mut rows = staged.part("rows.esdk", max_rows)?;
    let mut report = staged.part("report.esdk", MAX_PART)?;
    let mut release = staged.part("release.json", MAX_PART)?;
    let mut document = staged.part("document.cose", MAX_PART)?;
    let mut payload = Vec::new();
    loop {
        match frame::read(from, &mut payload).map_err(waiting)? {
            wire::ROWS => rows.append(&payload)?,
            wire::REPORT => report.append(&payload)?,
            wire::RELEASE => release.append(&payload)?,
            wire::DOCUMENT => document.append(&payload)?,
            wire::REFUSED => return Err(SubmitError::refused(&payload)),
            wire::DONE => break,
            got => {
                let got = format!("frame {got:#04x}");
                return Err(SubmitError::protocol("a part of its answer", got));
            }
        }
    }
    for part in [&mut rows, &mut report, &mut release, &mut document] {
        part.finish()?;
    }
    Ok(rows.size())
}
