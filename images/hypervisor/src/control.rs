//! The control socket: what the agent may ask of a running hypervisor.
//!
//! ```text
//! request  = {"command":"describe"} | {"command":"terminate"}       one line, at most 256 bytes
//! response = {"ok": …} | {"error":{"rule":…,"message":…}}           one line
//! ```
//!
//! `describe` answers with [`Description`]; `terminate` answers when the virtual machine is gone.
//! The socket lies in a directory of mode 0700: only the hypervisor's own user reaches it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::accept;
use crate::report::{Description, Failure};

/// Longest request line, in bytes with its newline.
pub const MAX_REQUEST: u64 = 256;

/// How long a client may take for its line, and to take its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    command: Command,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Command {
    Describe,
    Terminate,
}

/// What goes back on the control socket, and on the standard output of a starting hypervisor.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Response<T> {
    /// It was done.
    Ok(T),
    /// It was not.
    Error(Failure),
}

impl<T: Serialize> Response<T> {
    /// The response as one line of JSON.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// A client that waits for the enclave's end.
#[derive(Debug)]
pub struct Waiting(UnixStream);

impl Waiting {
    /// Tells the client that the enclave is gone.
    pub fn done(mut self) {
        let line = Response::Ok(serde_json::json!({ "Terminated": true })).to_line();
        // A client that went away does not wait.
        let _ = self.0.write_all(&line);
    }
}

/// Answers clients one after the other, on a thread of its own. `terminate` is called with every
/// client that asks for the enclave's end.
///
/// # Errors
/// The thread cannot be made.
pub fn serve(
    listener: UnixListener,
    description: Arc<Mutex<Description>>,
    terminate: impl Fn(Waiting) + Send + 'static,
) -> io::Result<()> {
    let body = move || {
        accept::forever(&listener, |stream| {
            // A client's trouble is the client's.
            let _ = answer(stream, &description, &terminate);
        });
    };
    thread::Builder::new()
        .name("control".to_owned())
        .stack_size(128 * 1024)
        .spawn(body)
        .map(drop)
}

fn answer(
    mut stream: UnixStream,
    description: &Mutex<Description>,
    terminate: &impl Fn(Waiting),
) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let line = read_line(&mut stream)?;
    match serde_json::from_slice(&line).map(|request: Request| request.command) {
        Ok(Command::Describe) => {
            let now = description
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            stream.write_all(&Response::Ok(now).to_line())
        }
        Ok(Command::Terminate) => {
            terminate(Waiting(stream));
            Ok(())
        }
        Err(_) => {
            let message = "expected {\"command\":\"describe\"} or {\"command\":\"terminate\"}";
            let failure = Failure::new("control.request", message.to_owned());
            stream.write_all(&Response::<()>::Error(failure).to_line())
        }
    }
}

/// Reads up to a newline, the stream's end or the limit.
fn read_line(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_REQUEST)).read_until(b'\n', &mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn ask(request: &[u8]) -> (String, bool) {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("control.sock");
        let listener = UnixListener::bind(&path).expect("bind");
        let (sender, receiver) = mpsc::channel();
        let description = Arc::new(Mutex::new(Description::default()));
        serve(listener, description, move |waiting| {
            sender.send(()).expect("receiver");
            waiting.done();
        })
        .expect("serve");
        let mut stream = UnixStream::connect(&path).expect("connect");
        // A refused request may be answered before it is written to its end.
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        (answer, receiver.try_recv().is_ok())
    }

    #[test]
    fn other_requests_are_refused() {
        let long = [b'x'; 1000];
        for request in [
            &b"\n"[..],
            b"{}\n",
            b"describe\n",
            b"{\"command\":\"stop\"}\n",
            b"{\"command\":\"describe\",\"x\":1}\n",
            b"\xff\xff\n",
            &long,
        ] {
            let (answer, terminated) = ask(request);
            assert!(answer.contains("control.request"), "{answer}");
            assert!(!terminated);
        }
    }

    #[test]
    fn describe_and_terminate_are_answered() {
        let (answer, terminated) = ask(b"{\"command\":\"describe\"}\n");
        assert!(answer.starts_with("{\"ok\":{\"EnclaveName\""), "{answer}");
        assert!(!terminated);
        let (answer, terminated) = ask(b"{\"command\":\"terminate\"}\n");
        assert_eq!(answer, "{\"ok\":{\"Terminated\":true}}\n");
        assert!(terminated);
    }
}
