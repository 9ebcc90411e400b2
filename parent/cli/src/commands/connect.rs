//! `connect`: standard input and output as one end of a vsock stream.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anchorhold_proxy::{hybrid, state_dir};
use vsock::VsockStream;

use super::Outcome;
use crate::args::{ConnectArgs, wanted};
use crate::enclaves;
use crate::error::AgentError;

/// Copies both ways until the enclave closes its side. The end of standard input is handed on as
/// the end of what the enclave reads.
///
/// # Errors
/// [`AgentError`]: no such enclave, nobody on that port, or a stream that broke.
pub fn run(args: &ConnectArgs) -> Outcome {
    let state = state_dir()?;
    let Some(wanted) = wanted(&args.enclave_id, &args.enclave_name, args.enclave_cid) else {
        return Ok(());
    };
    let (id, enclave) = enclaves::find(&state, &wanted)?;
    let path = state.enclave_vsock(&id);
    if path.exists() {
        let wait = Duration::from_secs(args.wait);
        let stream = Arc::new(hybrid::connect_when_ready(&path, args.port, wait)?);
        let (reader, writer) = (stream.clone(), stream);
        return both_ways(reader, writer, |stream| stream.shutdown(Shutdown::Write));
    }
    // With --vsock kernel the host's own vsock leads to the enclave.
    let stream = VsockStream::connect_with_cid_port(enclave.run.enclave_cid, args.port)
        .map_err(AgentError::io("connecting over the kernel's vsock"))?;
    let stream = Arc::new(stream);
    both_ways(stream.clone(), stream, |stream| {
        stream.shutdown(Shutdown::Write)
    })
}

fn both_ways<S>(
    reader: Arc<S>,
    writer: Arc<S>,
    close: impl FnOnce(&S) -> io::Result<()> + Send + 'static,
) -> Outcome
where
    S: Send + Sync + 'static,
    for<'a> &'a S: Read + Write,
{
    // It may wait for a key that is never typed: the process ends without it.
    thread::spawn(move || {
        // A stream that broke shows on the side that reads.
        let _ = io::copy(&mut io::stdin().lock(), &mut &*writer);
        let _ = close(&writer);
    });
    let mut out = io::stdout().lock();
    copy_promptly(&mut &*reader, &mut out).map_err(AgentError::io("copying from the enclave"))
}

/// Hands on what comes when it comes: an answer is not held back for the next one.
fn copy_promptly(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(chunk.get(..count).unwrap_or_default())?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
