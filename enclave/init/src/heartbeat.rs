//! Telling the parent that the enclave has booted, as AWS's init does: one byte each way.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anchorhold_enclave_sys::vsock::{self, VsockError};

use crate::failure::Failure;

/// The port on which the parent's side listens before it starts an enclave.
const PORT: u32 = 9000;

/// What is said and what must be answered.
const HEARTBEAT: u8 = 0xB7;

/// How long all attempts together may take: AWS's init gives up after 20 seconds.
const LIMIT: Duration = Duration::from_secs(20);

/// How long one peer may take to accept. The kernel's own vhost-vsock never answers for
/// the parent's CID on Nitro, so this is what that costs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the answer may take once connected.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses between rounds of attempts, doubled up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why no heartbeat was heard.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// Neither CID accepted a connection.
    #[error("no connection")]
    Connect(#[source] VsockError),
    /// The connection did not last.
    #[error("the connection did not last")]
    Exchange(#[source] io::Error),
    /// Whoever answers there does not know heartbeats.
    #[error("0xB7 expected, {got:#04X} came")]
    Answer {
        /// The byte that came.
        got: u8,
    },
}

impl HeartbeatError {
    /// Whether another attempt would be in vain: another service answers, or the machine
    /// has no vsock device, or the kernel no driver for one.
    fn is_final(&self) -> bool {
        match self {
            HeartbeatError::Answer { .. } => true,
            HeartbeatError::Connect(VsockError::Connect { source, .. }) => {
                matches!(source.raw_os_error(), Some(ENODEV | EAFNOSUPPORT))
            }
            HeartbeatError::Connect(_) | HeartbeatError::Exchange(_) => false,
        }
    }
}

const ENODEV: i32 = 19;
const EAFNOSUPPORT: i32 = 97;

/// Sends the heartbeat and waits for its answer.
///
/// # Errors
/// [`Failure::Heartbeat`] with the last attempt's reason.
pub fn send() -> Result<(), Failure> {
    let deadline = Instant::now() + LIMIT;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match try_once() {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.is_final() || Instant::now() + pause >= deadline {
            return Err(Failure::Heartbeat(error));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn try_once() -> Result<(), HeartbeatError> {
    let stream = vsock::connect_parent(PORT, CONNECT_TIMEOUT).map_err(HeartbeatError::Connect)?;
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIMEOUT)))
        .map_err(HeartbeatError::Exchange)?;
    exchange(stream)
}

fn exchange(mut stream: impl Read + Write) -> Result<(), HeartbeatError> {
    let mut answer = [0];
    stream
        .write_all(&[HEARTBEAT])
        .and_then(|()| stream.read_exact(&mut answer))
        .map_err(HeartbeatError::Exchange)?;
    match answer {
        [HEARTBEAT] => Ok(()),
        [got] => Err(HeartbeatError::Answer { got }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn against(answer: &[u8]) -> (Result<(), HeartbeatError>, Vec<u8>) {
        let (guest, mut parent) = UnixStream::pair().unwrap();
        parent.write_all(answer).unwrap();
        parent.shutdown(std::net::Shutdown::Write).unwrap();
        let outcome = exchange(guest);
        let mut said = Vec::new();
        parent.read_to_end(&mut said).unwrap();
        (outcome, said)
    }

    #[test]
    fn another_answer_is_refused() {
        let (outcome, _) = against(&[0xB6]);
        assert_eq!(outcome.unwrap_err().to_string(), "0xB7 expected, 0xB6 came");
    }

    #[test]
    fn no_answer_is_refused() {
        let (outcome, _) = against(&[]);
        assert!(matches!(outcome, Err(HeartbeatError::Exchange(_))));
    }

    #[test]
    fn a_machine_without_vsock_is_given_up_at_once() {
        let refused = |errno| {
            let source = io::Error::from_raw_os_error(errno);
            let timeout = CONNECT_TIMEOUT;
            HeartbeatError::Connect(VsockError::Connect {
                cid: 2,
                port: PORT,
                timeout,
                source,
            })
        };
        assert!(refused(ENODEV).is_final() && refused(EAFNOSUPPORT).is_final());
        let reset = 104;
        assert!(!refused(reset).is_final());
    }

    #[test]
    fn one_byte_goes_each_way() {
        let (outcome, said) = against(&[0xB7]);
        outcome.unwrap();
        assert_eq!(said, [0xB7]);
    }
}
