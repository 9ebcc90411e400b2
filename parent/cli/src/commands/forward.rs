//! `forward`: one TCP port of the parent, forwarded to one vsock port of an enclave.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use anchorhold_proxy::copy::Copied;
use anchorhold_proxy::forward::{CallError, Forwarder};
use anchorhold_proxy::state_dir;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::{Outcome, print_line, progress};
use crate::args::{ForwardArgs, wanted};
use crate::enclaves;
use crate::error::{AgentError, chain};

/// Forwards until a signal asks it to end.
///
/// # Errors
/// [`AgentError`]: no such enclave, or an address that cannot be listened on.
pub fn run(args: &ForwardArgs) -> Outcome {
    let state = state_dir()?;
    let Some(wanted) = wanted(&args.enclave_id, &args.enclave_name, args.enclave_cid) else {
        return Ok(());
    };
    let (id, _) = enclaves::find(&state, &wanted)?;
    let forwarder = Forwarder::bind(args.listen, state.enclave_vsock(&id), args.port)
        .map_err(AgentError::io(format!("listening on {}", args.listen)))?
        .workers(usize::from(args.workers));
    let (stop, stopped) = UnixStream::pair().map_err(AgentError::io("handling signals"))?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let stop = stop
            .try_clone()
            .map_err(AgentError::io("handling signals"))?;
        pipe::register(signal, stop).map_err(AgentError::io("handling signals"))?;
    }
    let address = forwarder
        .address()
        .map_err(AgentError::io("asking for the address"))?;
    print_line(&json!({ "listening": [address.to_string()] }))?;
    let report = |event: Result<Copied, CallError>| match event {
        Ok(copied) => progress(&format!(
            "call ended ({:?}): {} bytes in, {} bytes back",
            copied.ended, copied.forward, copied.backward
        )),
        Err(error) => progress(&chain(&error)),
    };
    forwarder
        .run(stopped.into(), Arc::new(report))
        .map_err(AgentError::io("starting a worker"))
}
