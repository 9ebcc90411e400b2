//! One module for each command.

pub mod connect;
pub mod console;
pub mod describe;
pub mod forward;
pub mod image;
pub mod pcr;
pub mod run;
pub mod terminate;
pub mod vsock_proxy;

use std::io::{self, Write};

use serde::Serialize;

use crate::error::AgentError;

/// What a command comes to.
pub type Outcome = Result<(), AgentError>;

/// Prints a result as nitro-cli does: indented JSON on standard output.
///
/// # Errors
/// [`AgentError::Io`] when nobody takes it.
pub(crate) fn print(value: &impl Serialize) -> Outcome {
    write(serde_json::to_vec_pretty(value))
}

/// Prints JSON on one line, for those who wait for it.
///
/// # Errors
/// [`AgentError::Io`] when nobody takes it.
pub(crate) fn print_line(value: &impl Serialize) -> Outcome {
    write(serde_json::to_vec(value))
}

fn write(json: serde_json::Result<Vec<u8>>) -> Outcome {
    let mut text = json.map_err(|error| AgentError::io("making JSON")(error.into()))?;
    text.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&text)
        .and_then(|()| out.flush())
        .map_err(AgentError::io("writing to standard output"))
}

/// Tells people what happens, on standard error.
pub(crate) fn progress(text: &str) {
    // Nobody may be there to read it, which is no reason to stop.
    let _ = writeln!(io::stderr(), "{text}");
}
