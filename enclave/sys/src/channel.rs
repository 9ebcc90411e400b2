//! The private port over which the security module is asked: a virtio serial port whose
//! other end only the hypervisor holds.
//!
//! Both directions carry frames: a big-endian `u32` with the length of what follows, then
//! that much CBOR. A request is 1 to [`MAX_REQUEST`] bytes long, its one response 1 to
//! [`MAX_RESPONSE`], and no request is sent before the last one's response has come.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use nix::poll::PollFlags;

use crate::wait::until_ready;

/// Name of the port, as the hypervisor gives it.
pub const PORT_NAME: &str = "nsm.0";

/// How long a response may take. Linux's driver waits two minutes for the hardware
/// (`NSM_DEFAULT_TIMEOUT_MSECS`); the same here, as applications are used to it.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

const LENGTH_SIZE: usize = 4;

/// Why a request got no response. After any of these the two sides may disagree about
/// where the next frame begins, so the channel stays closed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The request's length is out of bounds. Nothing was sent: the channel stays open.
    #[error("channel.request-size: 1 to {MAX_REQUEST} bytes expected, the request has {got}")]
    RequestSize {
        /// Length of the request in bytes.
        got: usize,
    },
    /// The response's length is out of bounds.
    #[error("channel.response-size: 1 to {MAX_RESPONSE} bytes expected, {got} announced")]
    ResponseSize {
        /// The length announced, in bytes.
        got: u32,
    },
    /// The other end is gone.
    #[error("channel.closed: the security module's end is closed")]
    Closed,
    /// Reading or writing failed, or took too long.
    #[error("channel.io: the security module cannot be reached")]
    Io(#[source] io::Error),
    /// An earlier exchange failed.
    #[error("channel.failed: an earlier exchange failed, so no frame can be told from another")]
    FailedBefore,
}

impl ChannelError {
    /// The rule that was broken, as a stable name.
    pub fn rule(&self) -> &'static str {
        match self {
            ChannelError::RequestSize { .. } => "channel.request-size",
            ChannelError::ResponseSize { .. } => "channel.response-size",
            ChannelError::Closed => "channel.closed",
            ChannelError::Io(_) => "channel.io",
            ChannelError::FailedBefore => "channel.failed",
        }
    }
}

/// The guest's end of the port. The stream must not block: reading and writing answer
/// `WouldBlock`, and the channel waits itself, with a deadline.
#[derive(Debug)]
pub struct Channel<S> {
    port: S,
    timeout: Duration,
    failed: bool,
}

impl<S: Read + Write + AsFd> Channel<S> {
    /// A channel over a fresh port; each exchange may take `timeout`.
    pub fn new(port: S, timeout: Duration) -> Self {
        Self {
            port,
            timeout,
            failed: false,
        }
    }

    /// Sends one request and returns its response.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, ChannelError> {
        if self.failed {
            return Err(ChannelError::FailedBefore);
        }
        let frame = frame(request)?;
        let deadline = Instant::now() + self.timeout;
        let outcome = self
            .send(&frame, deadline)
            .and_then(|()| self.receive(deadline));
        self.failed = outcome.is_err();
        outcome
    }

    fn send(&mut self, mut frame: &[u8], deadline: Instant) -> Result<(), ChannelError> {
        while !frame.is_empty() {
            match self.port.write(frame) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(sent) => frame = frame.get(sent..).unwrap_or_default(),
                Err(error) => self.wait_after(error, PollFlags::POLLOUT, deadline)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>, ChannelError> {
        let mut length = [0; LENGTH_SIZE];
        self.fill(&mut length, deadline)?;
        let mut response = vec![0; response_length(length)?];
        self.fill(&mut response, deadline)?;
        Ok(response)
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), ChannelError> {
        while !buffer.is_empty() {
            match self.port.read(buffer) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(received) => buffer = buffer.get_mut(received..).unwrap_or_default(),
                Err(error) => self.wait_after(error, PollFlags::POLLIN, deadline)?,
            }
        }
        Ok(())
    }

    /// Waits if `error` only says that it is too early.
    fn wait_after(
        &self,
        error: io::Error,
        wanted: PollFlags,
        deadline: Instant,
    ) -> Result<(), ChannelError> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock => until_ready(&self.port, wanted, deadline)
                .map(drop)
                .map_err(ChannelError::Io),
            _ => Err(ChannelError::Io(error)),
        }
    }
}

/// A request with its length before it.
fn frame(request: &[u8]) -> Result<Vec<u8>, ChannelError> {
    let got = request.len();
    let length = u32::try_from(got)
        .ok()
        .filter(|_| (1..=MAX_REQUEST).contains(&got));
    let length = length.ok_or(ChannelError::RequestSize { got })?;
    Ok([&length.to_be_bytes(), request].concat())
}

/// The length that a response announces.
fn response_length(announced: [u8; LENGTH_SIZE]) -> Result<usize, ChannelError> {
    let got = u32::from_be_bytes(announced);
    usize::try_from(got)
        .ok()
        .filter(|length| (1..=MAX_RESPONSE).contains(length))
        .ok_or(ChannelError::ResponseSize { got })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn pair(timeout: Duration) -> (Channel<UnixStream>, UnixStream) {
        let (guest, host) = UnixStream::pair().unwrap();
        guest.set_nonblocking(true).unwrap();
        (Channel::new(guest, timeout), host)
    }

    /// Exchanges one request with a host that first reads `expected` bytes and then sends
    /// `answer` in two parts.
    fn against(answer: Vec<u8>, expected: usize) -> (Result<Vec<u8>, ChannelError>, Vec<u8>) {
        let (mut channel, mut host) = pair(Duration::from_secs(10));
        let host = thread::spawn(move || {
            let mut seen = vec![0; expected];
            host.read_exact(&mut seen).unwrap();
            let (head, tail) = answer.split_at(answer.len() / 2);
            host.write_all(head).unwrap();
            thread::sleep(Duration::from_millis(1));
            host.write_all(tail).unwrap();
            seen
        });
        let outcome = channel.exchange(b"request");
        (outcome, host.join().unwrap())
    }

    #[test]
    fn requests_out_of_bounds_are_not_sent_and_do_no_harm() {
        let (mut channel, mut host) = pair(Duration::from_secs(10));
        for length in [0, MAX_REQUEST + 1] {
            let error = channel.exchange(&vec![1; length]).unwrap_err();
            assert!(matches!(error, ChannelError::RequestSize { got } if got == length));
        }
        host.set_nonblocking(true).unwrap();
        assert_eq!(
            host.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        host.write_all(&[0, 0, 0, 1, 9]).unwrap();
        assert_eq!(channel.exchange(&vec![1; MAX_REQUEST]).unwrap(), [9]);
    }

    #[test]
    fn responses_out_of_bounds_close_the_channel() {
        for length in [0, MAX_RESPONSE as u32 + 1, u32::MAX] {
            let (mut channel, mut host) = pair(Duration::from_secs(10));
            host.write_all(&length.to_be_bytes()).unwrap();
            let error = channel.exchange(b"request").unwrap_err();
            assert!(matches!(error, ChannelError::ResponseSize { got } if got == length));
            let error = channel.exchange(b"request").unwrap_err();
            assert_eq!(error.rule(), "channel.failed");
        }
    }

    #[test]
    fn a_silent_host_is_waited_for_until_the_deadline() {
        let (mut channel, _host) = pair(Duration::from_millis(30));
        let error = channel.exchange(b"request").unwrap_err();
        assert!(matches!(&error, ChannelError::Io(io) if io.kind() == io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_host_that_leaves_is_noticed() {
        let (mut channel, mut host) = pair(Duration::from_secs(10));
        host.write_all(&[0, 0, 0, 8, 1]).unwrap();
        drop(host);
        let rule = channel.exchange(b"request").unwrap_err().rule();
        assert!(["channel.closed", "channel.io"].contains(&rule), "{rule}");
    }

    #[test]
    fn frames_may_come_in_pieces() {
        let answer = vec![7; MAX_RESPONSE];
        let framed = [&(MAX_RESPONSE as u32).to_be_bytes()[..], &answer].concat();
        let (outcome, seen) = against(framed, 4 + 7);
        assert_eq!(outcome.unwrap(), answer);
        assert_eq!(seen, b"\0\0\0\x07request");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_the_host_sends_is_a_response_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            near in 0u32..700,
        ) {
            for answer in [bytes.clone(), [&near.to_be_bytes()[..], &bytes].concat()] {
                let complete = answer
                    .first_chunk()
                    .map(|length| u32::from_be_bytes(*length) as usize)
                    .filter(|length| (1..=answer.len() - 4).contains(length));
                let (outcome, _) = against(answer.clone(), 4 + 7);
                prop_assert_eq!(outcome.ok(), complete.map(|length| answer[4..4 + length].to_vec()));
            }
        }
    }
}
