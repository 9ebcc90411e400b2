//! A client of hypervisors' control sockets.
//!
//! One line of JSON each way: `{"command":"describe"}` or `{"command":"terminate"}`, and
//! `{"ok":…}` or `{"error":…}` back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anchorhold_proxy::socket_path::SocketPath;
use anchorhold_proxy::{EnclaveId, StateDir};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::AgentError;
use crate::report::{DescribeInfo, Response};

/// Longest answer that is read, in bytes: metadata is at most 1 MiB, and JSON may escape each byte
/// of it to six.
const MAX_ANSWER: u64 = 8 << 20;

/// How long a hypervisor may take to describe its enclave.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an enclave may take to end before its hypervisor is killed.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(20);

/// Asks a hypervisor for its enclave's description.
///
/// # Errors
/// [`AgentError::Control`] when nobody answers, [`AgentError::Answer`] when it is no answer.
pub fn describe(state: &StateDir, id: &EnclaveId) -> Result<DescribeInfo, AgentError> {
    let stream = connect(state, id)?;
    ask(&stream, id, "describe", DESCRIBE_TIMEOUT)
}

/// Has a hypervisor end its enclave, and waits until nothing of it is left. A hypervisor that does
/// not answer is killed, which kills its virtual machine.
///
/// # Errors
/// [`AgentError::Control`] when nobody is there, [`AgentError::NotTerminated`] when it can neither
/// be asked nor killed.
pub fn terminate(state: &StateDir, id: &EnclaveId) -> Result<(), AgentError> {
    let stream = connect(state, id)?;
    let answer: Result<Value, AgentError> = ask(&stream, id, "terminate", TERMINATE_TIMEOUT);
    match answer {
        Ok(_) => Ok(()),
        // It ended before it could answer.
        Err(AgentError::Answer { got, .. }) if got.is_empty() => Ok(()),
        Err(AgentError::Control { source, .. }) if is_timeout(&source) => kill_peer(&stream)
            .map_err(|_| AgentError::NotTerminated {
                id: id.to_string(),
                waited: TERMINATE_TIMEOUT,
            }),
        Err(error) => Err(error),
    }
}

fn connect(state: &StateDir, id: &EnclaveId) -> Result<UnixStream, AgentError> {
    let path = state.enclave(id).join("control.sock");
    SocketPath::new(&path)
        .and_then(|short| UnixStream::connect(short.as_path()))
        .map_err(control(id))
}

fn ask<T: DeserializeOwned>(
    mut stream: &UnixStream,
    id: &EnclaveId,
    command: &str,
    timeout: Duration,
) -> Result<T, AgentError> {
    let mut line = Vec::new();
    let mut exchange = || {
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.write_all(format!("{{\"command\":\"{command}\"}}\n").as_bytes())?;
        BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut line)
    };
    exchange().map_err(control(id))?;
    match serde_json::from_slice(&line) {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Error(failure)) => Err(AgentError::Refused(failure)),
        Err(_) => Err(AgentError::Answer {
            id: id.to_string(),
            got: String::from_utf8_lossy(&line).chars().take(200).collect(),
        }),
    }
}

/// Kills the process that listens on the other end: the kernel recorded it when it made the socket.
fn kill_peer(stream: &UnixStream) -> nix::Result<()> {
    let peer = getsockopt(stream, PeerCredentials)?;
    kill(Pid::from_raw(peer.pid()), Signal::SIGKILL)
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

fn control(id: &EnclaveId) -> impl FnOnce(io::Error) -> AgentError {
    let id = id.to_string();
    move |source| AgentError::Control { id, source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A hypervisor that reads a line and answers with these bytes.
    fn answering(answer: &'static [u8]) -> (tempfile::TempDir, StateDir, EnclaveId) {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = StateDir::new(root.path().join("state"));
        let id: EnclaveId = "i-0-enc1".parse().expect("id");
        fs::create_dir_all(state.enclave(&id)).expect("directory");
        let path = state.enclave(&id).join("control.sock");
        let listener = UnixListener::bind(path).expect("bind");
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("accept");
            let mut line = String::new();
            let mut reader = BufReader::new(&stream);
            reader.read_line(&mut line).expect("line");
            let mut writer = &stream;
            writer.write_all(answer).expect("answer");
        });
        (root, state, id)
    }

    #[test]
    fn an_enclave_that_is_not_there_is_an_error() {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = StateDir::new(root.path().to_owned());
        let id = "i-0-enc1".parse().expect("id");
        let error = describe(&state, &id).expect_err("absent");
        assert_eq!(error.rule(), "control.io");
    }

    #[test]
    fn what_is_no_answer_is_shown() {
        for (answer, rule) in [
            (&b"rubbish\n"[..], "control.answer"),
            (b"", "control.answer"),
            (b"{\"ok\":{}}\n", "control.answer"),
            (b"{\"error\":{\"rule\":\"x.y\",\"message\":\"m\"}}\n", "x.y"),
        ] {
            let (_root, state, id) = answering(answer);
            let error = describe(&state, &id).expect_err("no description");
            assert_eq!(error.rule(), rule);
        }
    }

    #[test]
    fn ending_takes_the_answer_or_the_end_of_the_stream() {
        for answer in [&b"{\"ok\":{\"Terminated\":true}}\n"[..], b""] {
            let (_root, state, id) = answering(answer);
            terminate(&state, &id).expect("ended");
        }
        let (_root, state, id) = answering(b"no\n");
        let error = terminate(&state, &id).expect_err("no answer");
        assert_eq!(error.rule(), "control.answer");
    }
}
