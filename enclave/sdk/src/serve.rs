//! Serving whoever connects: no failed accept ends a server, and no client holds it for ever.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use anchorhold_enclave_sys::vsock::{VsockError, VsockListener, VsockStream, listen};

use crate::frame::PIECE;
use crate::transport::Stream;

/// How long accepting may fail without an end before the server gives up: a client that is gone again
/// before it is accepted costs one failure, a listener that is broken costs all.
const FAILURES: usize = 100;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a client may keep the one session waiting, beyond what [`RATE`] gives it: one that is
/// silent for this long has gone. A parent that reads records from a slow disk still keeps to it.
pub const ALLOWANCE: Duration = Duration::from_secs(120);

/// The slowest that bytes may move on from there, in bytes per second: a thousandth of what an
/// emulated machine's vsock carries. With it a session ends where its content does: what
/// comes must be bounded, or verify under its owner's key.
pub const RATE: u32 = 16 * 1024;

/// A vsock port that is listened on.
pub struct Acceptor {
    listener: VsockListener,
}

impl Acceptor {
    /// Listens on a port for whoever connects.
    ///
    /// # Errors
    /// The port is taken, or there is no vsock.
    pub fn listen(port: u32) -> Result<Self, VsockError> {
        let listener = listen(port)?;
        Ok(Self { listener })
    }

    /// The next connection.
    ///
    /// # Errors
    /// The last of 100 failures in a row.
    pub fn accept(&self) -> io::Result<VsockStream> {
        patiently(|| self.listener.accept(), PAUSE).map(|(stream, _)| stream)
    }
}

/// A client's bytes at their [`Pace`].
pub type FromClient<'a> = BufReader<Paced<'a, VsockStream>>;

/// The bytes to a client at their [`Pace`].
pub type ToClient<'a> = BufWriter<Paced<'a, VsockStream>>;

/// Serves a port for ever, one client at a time, each within [`ALLOWANCE`] and [`RATE`].
///
/// # Errors
/// Those of [`Acceptor::accept`].
pub fn sessions(
    acceptor: &Acceptor,
    mut session: impl FnMut(FromClient<'_>, &mut ToClient<'_>),
) -> io::Result<Infallible> {
    loop {
        let stream = acceptor.accept()?;
        let pace = Pace::new(ALLOWANCE, RATE);
        let mut to = BufWriter::with_capacity(PIECE, Paced::new(&stream, &pace));
        let from = BufReader::with_capacity(PIECE, Paced::new(&stream, &pace));
        session(from, &mut to);
        // The client may have gone: its loss.
        let _ = to.flush();
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn patiently<T>(mut accept: impl FnMut() -> io::Result<T>, pause: Duration) -> io::Result<T> {
    let mut failures = 0;
    loop {
        match accept() {
            Err(_) if failures + 1 < FAILURES => failures += 1,
            outcome => return outcome,
        }
        thread::sleep(pause);
    }
}

/// How long a client may keep its server waiting in all: a time, and longer for each byte that moves.
/// A client that sends or takes a byte now and then does not stay longer by that. Only waiting
/// counts: what the server itself does with the bytes takes its time.
#[derive(Debug)]
pub struct Pace {
    allowance: Duration,
    /// Bytes in each second of waiting beyond the allowance.
    rate: u32,
    waited: Cell<Duration>,
    moved: Cell<u64>,
}

impl Pace {
    /// An allowance, and bytes per second (not zero).
    #[must_use]
    pub const fn new(allowance: Duration, rate: u32) -> Self {
        Self {
            allowance,
            rate,
            waited: Cell::new(Duration::ZERO),
            moved: Cell::new(0),
        }
    }

    /// How much longer it may be waited.
    fn left(&self) -> Duration {
        let earned = self.moved.get() / u64::from(self.rate.max(1));
        let until = self.allowance.saturating_add(Duration::from_secs(earned));
        until.saturating_sub(self.waited.get())
    }

    fn wait(
        &self,
        stream: &impl Stream,
        transfer: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let left = self.left();
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_timeout(left.max(Duration::from_millis(1)))?;
        let begun = Instant::now();
        let moved = transfer();
        self.waited
            .set(self.waited.get().saturating_add(begun.elapsed()));
        let moved = moved.map_err(|error| match error.kind() {
            // What a socket's time-out is called differs between reads and systems.
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        self.moved
            .set(self.moved.get().saturating_add(moved as u64));
        Ok(moved)
    }
}

/// One direction of a connection that keeps to a [`Pace`]; both directions share it.
pub struct Paced<'a, S> {
    stream: &'a S,
    pace: &'a Pace,
}

impl<'a, S> Paced<'a, S> {
    /// A stream at a pace.
    #[must_use]
    pub const fn new(stream: &'a S, pace: &'a Pace) -> Self {
        Self { stream, pace }
    }
}

impl<'a, S: Stream> Read for Paced<'a, S>
where
    &'a S: Read,
{
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        self.pace.wait(self.stream, || stream.read(out))
    }
}

impl<'a, S: Stream> Write for Paced<'a, S>
where
    &'a S: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        self.pace.wait(self.stream, || stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stream = self.stream;
        self.pace
            .wait(self.stream, || stream.flush().map(|()| 0))
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn failed_accepts_are_borne_until_they_do_not_end() {
        let after = |failures: usize| {
            let mut calls = 0;
            let accepted = patiently(
                || {
                    calls += 1;
                    if calls > failures {
                        Ok(calls)
                    } else {
                        Err(io::ErrorKind::ConnectionAborted.into())
                    }
                },
                Duration::ZERO,
            );
            accepted.map_err(|error| error.kind())
        };
        assert_eq!(after(FAILURES), Err(io::ErrorKind::ConnectionAborted));
        assert_eq!(after(FAILURES - 1), Ok(FAILURES));
        assert_eq!(after(0), Ok(1));
    }

    #[test]
    fn a_client_that_trickles_runs_out_of_time() {
        let (mut client, server) = pair();
        let server = thread::spawn(move || {
            let pace = Pace::new(Duration::from_millis(100), 1 << 20);
            Paced::new(&server, &pace).read_to_end(&mut Vec::new())
        });
        // A minute's bytes if it may send them, and then the end, which is no time-out.
        let cut_off = (0..12_000).any(|_| {
            thread::sleep(Duration::from_millis(5));
            client.write_all(b"a").is_err()
        });
        drop(client);
        let error = server.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(cut_off);
    }

    #[test]
    fn a_client_that_takes_nothing_runs_out_of_time() {
        let (_client, server) = pair();
        let pace = Pace::new(Duration::from_millis(50), u32::MAX);
        let mut to = Paced::new(&server, &pace);
        let error = loop {
            if let Err(error) = to.write_all(&[0; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Reading has no time of its own.
        let read = Paced::new(&server, &pace).read(&mut [0]);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_moves_earns_time() {
        let (mut client, server) = pair();
        let pace = Pace::new(Duration::from_secs(10), 100);
        client.write_all(&[1; 5000]).unwrap();
        drop(client);
        let mut got = Vec::new();
        Paced::new(&server, &pace).read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), 5000);
        let all = Duration::from_secs(10 + 50);
        assert_eq!(pace.left() + pace.waited.get(), all);
        pace.waited.set(all);
        let read = Paced::new(&server, &pace).read(&mut [0]);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
