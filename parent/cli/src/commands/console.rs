//! `console`: what a debug enclave prints.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anchorhold_proxy::socket_path::SocketPath;
use anchorhold_proxy::{EnclaveId, StateDir, state_dir};

use super::Outcome;
use crate::args::{ConsoleArgs, wanted};
use crate::enclaves;
use crate::error::AgentError;

/// Copies the console to standard output until the enclave ends or falls silent for too long.
///
/// # Errors
/// [`AgentError::ConsoleProduction`] for an enclave that does not run in debug mode.
pub fn run(args: &ConsoleArgs) -> Outcome {
    let state = state_dir()?;
    let Some(wanted) = wanted(&args.enclave_id, &args.enclave_name, None) else {
        return Ok(());
    };
    let (id, enclave) = enclaves::find(&state, &wanted)?;
    if !enclave.is_debug() {
        return Err(AgentError::ConsoleProduction { id: id.to_string() });
    }
    show(
        &state,
        &id,
        args.disconnect_timeout.map(Duration::from_secs),
    )
}

/// Copies the console of this enclave to standard output.
pub(crate) fn show(state: &StateDir, id: &EnclaveId, silence: Option<Duration>) -> Outcome {
    let path = state.enclave(id).join("console.sock");
    let mut console = SocketPath::new(&path)
        .and_then(|short| UnixStream::connect(short.as_path()))
        .map_err(AgentError::io(format!("connecting to {path:?}")))?;
    console
        .set_read_timeout(silence)
        .map_err(AgentError::io("setting a time limit"))?;
    let mut out = io::stdout().lock();
    let mut chunk = [0; 4096];
    loop {
        let count = match console.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(AgentError::io("reading the console")(error)),
        };
        out.write_all(chunk.get(..count).unwrap_or_default())
            .and_then(|()| out.flush())
            .map_err(AgentError::io("writing to standard output"))?;
    }
}
