//! `terminate-enclave`: ends one enclave, or all.

use anchorhold_proxy::{StateDir, state_dir};

use super::{Outcome, print, progress};
use crate::args::{TerminateArgs, wanted};
use crate::control;
use crate::enclaves;
use crate::error::{AgentError, chain};
use crate::report::{DescribeInfo, TerminateInfo};

/// Ends what is wanted and prints an object for each that ended: with `--all` one after the other, as
/// nitro-cli does, and nothing when none runs.
///
/// # Errors
/// [`AgentError`]: no such enclave, or the last one that could not be ended.
pub fn run(args: &TerminateArgs) -> Outcome {
    let state = state_dir()?;
    match wanted(&args.enclave_id, &args.enclave_name, None) {
        Some(wanted) => {
            let (_, enclave) = enclaves::find(&state, &wanted)?;
            print(&end(&state, &enclave)?)
        }
        None => all(&state),
    }
}

/// Ends all that run; one that cannot be ended does not save the others.
fn all(state: &StateDir) -> Outcome {
    let mut failed = None;
    let mut printed = Ok(());
    for enclave in enclaves::list(state)? {
        match end(state, &enclave) {
            // Nobody to read it saves no enclave either.
            Ok(info) => printed = printed.and(print(&info)),
            Err(error) => {
                progress(&chain(&error));
                failed = Some(error);
            }
        }
    }
    failed.map_or(printed, Err)
}

fn end(state: &StateDir, enclave: &DescribeInfo) -> Result<TerminateInfo, AgentError> {
    control::terminate(state, &enclave.run.enclave_id.parse()?)?;
    Ok(TerminateInfo {
        enclave_name: Some(enclave.run.enclave_name.clone()),
        enclave_id: enclave.run.enclave_id.clone(),
        terminated: true,
    })
}
