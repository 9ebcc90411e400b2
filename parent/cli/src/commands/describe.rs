//! `describe-enclaves`: what runs here, or what ended.

use std::fs::{self, File};
use std::io::{self, Read};

use anchorhold_proxy::{StateDir, state_dir};
use serde_json::Value;

use super::{Outcome, print};
use crate::args::DescribeArgs;
use crate::enclaves;
use crate::error::AgentError;

/// Largest record of an ended enclave that is read, in bytes.
const MAX_RECORD: u64 = 64 * 1024;

/// Prints an array of enclaves.
///
/// # Errors
/// [`AgentError`] when the state directory cannot be read.
pub fn run(args: &DescribeArgs) -> Outcome {
    let state = state_dir()?;
    let running = enclaves::list(&state)?;
    if args.ended {
        return print(&ended(&state)?);
    }
    if args.metadata {
        return print(&running);
    }
    let plain: Vec<_> = running
        .into_iter()
        .map(|enclave| enclave.without_metadata())
        .collect();
    print(&plain)
}

/// The records of ended enclaves, the oldest first.
fn ended(state: &StateDir) -> Result<Vec<Value>, AgentError> {
    let directory = state.path().join("ended");
    let reading = || AgentError::io(format!("reading {directory:?}"));
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(reading())?,
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.map_err(reading())?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut text = String::new();
        let file = File::open(&path).map_err(reading())?;
        file.take(MAX_RECORD)
            .read_to_string(&mut text)
            .map_err(reading())?;
        records.extend(serde_json::from_str::<Value>(&text).ok());
    }
    records.sort_by_key(|record| record["EndedAt"].as_str().map(str::to_owned));
    Ok(records)
}
