//! One submission: all parties' packages in, sealed answers out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anchorhold_carrier::SubmitError;
use anchorhold_carrier::exchange::{connection, exchange};
use anchorhold_carrier::frame::{self, MAX_PAYLOAD, PIECE};
use anchorhold_carrier::input::{load, open};
use anchorhold_carrier::output::Staged;
use serde::Serialize;

use crate::answers::{self, PageKeeper};
use crate::pages::Pages;
use crate::wire;

/// A party's files within its package.
const APPROVAL: &str = "approval.json";
const CHALLENGE: &str = "challenge";
const CREDENTIALS: &str = "credentials.json";
const RECORDS: &str = "records.esdk";
/// The largest approval, challenge and credentials in bytes.
const MAX_SMALL: u64 = 16 * 1024;

/// What is handed to the enclave.
#[derive(Debug)]
pub struct Submission {
    /// The contract.
    pub contract: PathBuf,
    /// The parties' packages, as `anchorhold-party submit` makes them: directories with
    /// `approval.json`, `challenge`, `credentials.json` and `records.esdk`.
    pub packages: Vec<PathBuf>,
    /// The most bytes of pages that are kept for an enclave whose memory is short.
    pub max_pages: u64,
}

/// What came back.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Submitted {
    /// The directory that holds `NAME.esdk` for each party, `statement.json` and `document.cose`.
    pub answers: PathBuf,
    /// Pages that were kept for the enclave.
    pub pages: u32,
    /// Bytes of all pages.
    pub page_bytes: u64,
    /// Who is answered.
    pub parties: Vec<String>,
    /// Bytes of sealed files sent.
    pub sent: u64,
}

/// A package, ready to be sent.
struct Package {
    approval: Vec<u8>,
    challenge: Vec<u8>,
    credentials: Vec<u8>,
    /// The file's first bytes; empty where there is none.
    start: Vec<u8>,
    rest: Option<File>,
}

impl Submission {
    /// Hands everything to the enclave behind `stream` and leaves its answers in the new directory
    /// `answers`. On a failure no directory is left.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn run(&self, stream: UnixStream, answers: &Path) -> Result<Submitted, SubmitError> {
        let contract = load("the contract", &self.contract, MAX_PAYLOAD as u64)?;
        let packages: Vec<_> = self
            .packages
            .iter()
            .map(|dir| package(dir))
            .collect::<Result<_, _>>()?;
        let staged = Staged::create(answers)?;
        let all_sent = AtomicBool::new(false);
        let mut keeper = Keeper {
            pages: Pages::new(staged.partial(), self.max_pages),
            all_sent: &all_sent,
            to: &stream,
            page: Vec::new(),
        };
        let (sent, parties) = exchange(
            &stream,
            |to| send(to, &contract, packages, &all_sent),
            |from| answers::receive(from, &staged, &mut keeper),
        )?;
        staged.publish()?;
        let (pages, page_bytes) = keeper.pages.kept();
        Ok(Submitted {
            answers: answers.to_path_buf(),
            pages,
            page_bytes,
            parties,
            sent,
        })
    }
}

/// Keeps pages and answers on the connection, once the files are through.
struct Keeper<'a> {
    pages: Pages,
    all_sent: &'a AtomicBool,
    to: &'a UnixStream,
    page: Vec<u8>,
}

impl PageKeeper for Keeper<'_> {
    fn put(&mut self, payload: &[u8]) -> Result<(), SubmitError> {
        self.pages.put(payload)
    }

    fn get(&mut self, payload: &[u8]) -> Result<(), SubmitError> {
        // An enclave that has read all files' ends has them all from us.
        if !self.all_sent.load(Ordering::Acquire) {
            let expected = "questions for pages once all files are through";
            return Err(SubmitError::protocol(expected, "one before"));
        }
        self.pages.get(payload, &mut self.page)?;
        let mut to = self.to;
        let sent = frame::write(&mut to, wire::PAGE, &self.page);
        sent.map_err(|e| connection("giving its pages back", e))
    }
}

fn package(dir: &Path) -> Result<Package, SubmitError> {
    let small = |what, name: &str| load(what, &dir.join(name), MAX_SMALL);
    let mut package = Package {
        approval: small("the approval", APPROVAL)?,
        challenge: small("the challenge", CHALLENGE)?,
        credentials: small("the credentials", CREDENTIALS)?,
        start: Vec::new(),
        rest: None,
    };
    // Whether a file may be missing, the enclave says.
    let path = dir.join(RECORDS);
    if !path.exists() {
        return Ok(package);
    }
    let what = "the sealed file";
    let mut file = open(what, &path)?;
    let mut head = (&mut file).take(PIECE as u64);
    head.read_to_end(&mut package.start)
        .map_err(|source| SubmitError::Input { what, path, source })?;
    package.rest = Some(file);
    Ok(package)
}

fn send(
    to: &mut impl Write,
    contract: &[u8],
    packages: Vec<Package>,
    all_sent: &AtomicBool,
) -> io::Result<u64> {
    frame::write(to, wire::CONTRACT, contract)?;
    for package in &packages {
        frame::write(to, wire::APPROVAL, &package.approval)?;
        frame::write(to, wire::CHALLENGE, &package.challenge)?;
        frame::write(to, wire::CREDENTIALS, &package.credentials)?;
        frame::write(to, wire::START, &package.start)?;
    }
    frame::write(to, wire::READY, b"")?;
    let mut sent = 0_u64;
    let last = packages.len().saturating_sub(1);
    for (place, package) in packages.into_iter().enumerate() {
        sent = sent.saturating_add(package.start.len() as u64);
        if let Some(mut file) = package.rest {
            sent = sent.saturating_add(frame::write_file(to, wire::RECORDS, &mut file)?);
        }
        if place == last {
            // Before the end goes out: the enclave may ask for a page as soon as it has it.
            to.flush()?;
            all_sent.store(true, Ordering::Release);
        }
        frame::write(to, wire::END, b"")?;
    }
    Ok(sent)
}
