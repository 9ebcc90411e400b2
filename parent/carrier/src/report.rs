//! What came of it, for whoever called the program.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anchorhold_proxy::hybrid::{self, HybridError};
use anchorhold_proxy::state::{EnclaveId, enclave_vsock_path};
use serde::Serialize;

use crate::error::SubmitError;

/// Connects to a port of a running enclave.
///
/// # Errors
/// There is no such enclave, or nobody listens there.
pub fn connect(enclave_id: &EnclaveId, port: u32) -> anyhow::Result<UnixStream> {
    Ok(hybrid::connect(&enclave_vsock_path(enclave_id)?, port)?)
}

/// Prints the outcome as one line of JSON, `{"error": {"rule", "message"}}` where there is none, and
/// gives the exit code 0 or 1.
#[must_use]
pub fn outcome(result: anyhow::Result<impl Serialize>) -> ExitCode {
    match result {
        Ok(done) => {
            println!("{}", serde_json::json!(done));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let submit = error.downcast_ref::<SubmitError>();
            let hybrid = error.downcast_ref::<HybridError>();
            let rule = submit
                .map(SubmitError::rule)
                .or_else(|| hybrid.map(HybridError::rule))
                .unwrap_or("submit.machine");
            let error = serde_json::json!({"rule": rule, "message": format!("{error:#}")});
            println!("{}", serde_json::json!({ "error": error }));
            ExitCode::FAILURE
        }
    }
}
