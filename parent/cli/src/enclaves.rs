//! The enclaves that run here, found by their directories and asked one by one.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::{fs, io};

use anchorhold_proxy::{EnclaveId, StateDir};

use crate::commands::progress;
use crate::control;
use crate::error::{AgentError, chain};
use crate::report::DescribeInfo;
use crate::tools::HYPERVISOR;

/// How a command names an enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By its id.
    Id(String),
    /// By its name.
    Name(String),
    /// By its vsock address.
    Cid(u32),
}

impl Wanted {
    fn is(&self, enclave: &DescribeInfo) -> bool {
        match self {
            Self::Id(id) => enclave.run.enclave_id == *id,
            Self::Name(name) => enclave.run.enclave_name == *name,
            Self::Cid(cid) => enclave.run.enclave_cid == *cid,
        }
    }

    fn unknown(&self) -> AgentError {
        let (by, got) = match self {
            Self::Id(id) => ("id", id.clone()),
            Self::Name(name) => ("name", name.clone()),
            Self::Cid(cid) => ("CID", cid.to_string()),
        };
        AgentError::NoEnclave { by, got }
    }
}

/// All running enclaves, in the order of their CIDs. What killed hypervisors left is removed first.
///
/// # Errors
/// [`AgentError::Io`] when the state directory cannot be read.
pub fn list(state: &StateDir) -> Result<Vec<DescribeInfo>, AgentError> {
    sweep(state);
    let entries = match fs::read_dir(state.enclaves()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(AgentError::io("reading the state directory"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(AgentError::io("reading the state directory"))?;
        let Some(id) = entry.file_name().to_str().and_then(|id| id.parse().ok()) else {
            continue;
        };
        found.extend(ask(state, &id));
    }
    found.sort_by_key(|enclave| enclave.run.enclave_cid);
    Ok(found)
}

/// The running enclave that is wanted, and its id.
///
/// # Errors
/// [`AgentError::NoEnclave`] when none is it.
pub fn find(state: &StateDir, wanted: &Wanted) -> Result<(EnclaveId, DescribeInfo), AgentError> {
    if let Wanted::Id(id) = wanted {
        // Refused before anything is looked up by it.
        id.parse::<EnclaveId>()?;
    }
    let found = list(state)?.into_iter().find(|enclave| wanted.is(enclave));
    let enclave = found.ok_or_else(|| wanted.unknown())?;
    Ok((enclave.run.enclave_id.parse()?, enclave))
}

/// A description, unless the enclave has just ended. One that does not answer is named.
fn ask(state: &StateDir, id: &EnclaveId) -> Option<DescribeInfo> {
    match control::describe(state, id) {
        Ok(enclave) => Some(enclave),
        Err(error) => {
            if state.enclave(id).exists() {
                progress(&chain(&error));
            }
            None
        }
    }
}

/// Has the hypervisor's program remove what killed hypervisors left. Without it, only that is
/// missing: the command goes on with what runs.
fn sweep(state: &StateDir) {
    if !state.path().exists() {
        return;
    }
    let swept = HYPERVISOR.locate().and_then(|program| {
        let arguments = [
            OsString::from("sweep"),
            "--state-dir".into(),
            state.path().into(),
        ];
        Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|source| AgentError::ToolStart { program, source })
    });
    if let Err(error) = swept {
        progress(&format!("nothing was cleaned up: {}", chain(&error)));
    }
}
