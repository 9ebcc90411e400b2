//! The answers, as they come.

use std::io::Read;

use anchorhold_carrier::SubmitError;
use anchorhold_carrier::exchange::waiting;
use anchorhold_carrier::frame;
use anchorhold_carrier::output::{Part, Staged};

use crate::wire;

/// The most that an enclave may send for one file, in bytes: an answer has some KiB.
const MAX_PART: u64 = 16 * 1024 * 1024;
/// The most answers that are taken: a contract has at most 16 parties.
const MAX_ANSWERS: usize = 16;

/// Who keeps the enclave's pages.
pub trait PageKeeper {
    /// Keeps a page: its place and its bytes.
    ///
    /// # Errors
    /// It is not kept.
    fn put(&mut self, payload: &[u8]) -> Result<(), SubmitError>;

    /// Sends the page of a place to the enclave.
    ///
    /// # Errors
    /// There is none, or it cannot be sent.
    fn get(&mut self, payload: &[u8]) -> Result<(), SubmitError>;
}

/// Receives all answers, `statement.json` and `document.cose`, and gives the parties' names.
/// Pages on the way to them are the keeper's.
///
/// # Errors
/// The enclave refuses, or sends what does not belong there; those of the keeper.
pub fn receive(
    from: &mut impl Read,
    staged: &Staged,
    keeper: &mut impl PageKeeper,
) -> Result<Vec<String>, SubmitError> {
    let mut parties = Vec::new();
    let mut answer: Option<Part> = None;
    let mut statement = staged.part("statement.json", MAX_PART)?;
    let mut document = staged.part("document.cose", MAX_PART)?;
    let mut payload = Vec::new();
    loop {
        match frame::read(from, &mut payload).map_err(waiting)? {
            wire::ANSWER_TO => {
                answer.take().map_or(Ok(()), |mut part| part.finish())?;
                let name = party(&payload, parties.len())?;
                answer = Some(staged.part(&format!("{name}.esdk"), MAX_PART)?);
                parties.push(name);
            }
            wire::ANSWER => {
                let missing = || SubmitError::protocol("a party's name", "an answer");
                answer.as_mut().ok_or_else(missing)?.append(&payload)?;
            }
            wire::STATEMENT => statement.append(&payload)?,
            wire::DOCUMENT => document.append(&payload)?,
            wire::PAGE_PUT => keeper.put(&payload)?,
            wire::PAGE_GET => keeper.get(&payload)?,
            wire::REFUSED => return Err(SubmitError::refused(&payload)),
            wire::DONE => break,
            got => {
                let got = format!("frame {got:#04x}");
                return Err(SubmitError::protocol("a part of its answers", got));
            }
        }
    }
    for part in answer.iter_mut().chain([&mut statement, &mut document]) {
        part.finish()?;
    }
    Ok(parties)
}

/// A party's name, which becomes a file's: `[a-z0-9-]`, as contracts have them.
fn party(payload: &[u8], before: usize) -> Result<String, SubmitError> {
    let inside = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let ok = (1..=32).contains(&payload.len()) && payload.iter().all(inside);
    if !ok || before >= MAX_ANSWERS {
        let expected = "at most 16 answers to named parties";
        return Err(SubmitError::protocol(expected, "another"));
    }
    Ok(String::from_utf8_lossy(payload).into_owned())
}
