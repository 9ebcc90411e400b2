//! Sending and receiving at once.

use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::SubmitError;
use crate::frame::{PIECE, Unreadable};

/// How long no byte may move in either direction: releases by a KMS and generating an RSA key take
/// seconds under software emulation.
pub const SILENCE: Duration = Duration::from_secs(300);

/// The bytes to the enclave.
pub type ToEnclave<'a> = BufWriter<Counted<'a>>;

/// The bytes from the enclave.
pub type FromEnclave<'a> = BufReader<Patient<'a, &'a UnixStream>>;

/// Sends and receives on one connection at once, since an enclave answers while it reads: whoever
/// sends all before it reads blocks both. Gives what both sides came to.
///
/// # Errors
/// A file that cannot be read on first, since all else follows from it; then the receiver's error,
/// because the enclave's refusal explains a broken pipe.
pub fn exchange<S: Send, R>(
    stream: &UnixStream,
    send: impl FnOnce(&mut ToEnclave<'_>) -> io::Result<S> + Send,
    receive: impl FnOnce(&mut FromEnclave<'_>) -> Result<R, SubmitError>,
) -> Result<(S, R), SubmitError> {
    exchange_within(SILENCE, stream, send, receive)
}

fn exchange_within<S: Send, R>(
    silence: Duration,
    stream: &UnixStream,
    send: impl FnOnce(&mut ToEnclave<'_>) -> io::Result<S> + Send,
    receive: impl FnOnce(&mut FromEnclave<'_>) -> Result<R, SubmitError>,
) -> Result<(S, R), SubmitError> {
    let timeouts = stream
        .set_read_timeout(Some(silence))
        .and_then(|()| stream.set_write_timeout(Some(silence)));
    timeouts.map_err(|e| connection("setting it up", e))?;
    let sent_bytes = AtomicU64::new(0);
    let (sent, received) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let count = &sent_bytes;
            let mut to = BufWriter::with_capacity(PIECE, Counted { stream, count });
            let sent = send(&mut to).and_then(|sent| to.flush().map(|()| sent));
            if sent.as_ref().is_err_and(Unreadable::is) {
                // The enclave would wait for what never comes.
                let _ = stream.shutdown(Shutdown::Both);
            }
            sent
        });
        let received = receive(&mut BufReader::new(Patient {
            stream,
            sent: &sent_bytes,
            seen: 0,
        }));
        if received.is_err() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let sent = sending.join();
        let sent = sent.unwrap_or_else(|_| Err(io::Error::other("the sender ended")));
        (sent, received)
    });
    match sent {
        Err(error) if Unreadable::is(&error) => Err(SubmitError::Unreadable { source: error }),
        sent => {
            let received = received?;
            let sent = sent.map_err(|e| connection("sending", e))?;
            Ok((sent, received))
        }
    }
}

/// Counts what leaves.
pub struct Counted<'a> {
    stream: &'a UnixStream,
    count: &'a AtomicU64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        let sent = stream.write(bytes)?;
        self.count.fetch_add(sent as u64, Ordering::Relaxed);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits on while bytes leave: an enclave that is given a large file has nothing to say for as long.
pub struct Patient<'a, S> {
    stream: S,
    sent: &'a AtomicU64,
    /// How much had left when nothing came the last time.
    seen: u64,
}

impl<S: Read> Read for Patient<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    let sent = self.sent.load(Ordering::Relaxed);
                    if sent == self.seen {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    self.seen = sent;
                }
                outcome => return outcome,
            }
        }
    }
}

/// The connection failed while waiting for the answer.
#[must_use]
pub fn waiting(source: io::Error) -> SubmitError {
    connection("waiting for its answer", source)
}

/// The connection failed at something.
#[must_use]
pub const fn connection(doing: &'static str, source: io::Error) -> SubmitError {
    SubmitError::Connection { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_refusal_is_told_though_sending_failed_too() {
        let (stream, enclave) = UnixStream::pair().unwrap();
        drop(enclave);
        let ended = exchange(
            &stream,
            |to| to.write_all(&vec![0; 1 << 20]),
            |from| -> Result<(), _> {
                let _ = from.read(&mut [0]);
                Err(SubmitError::refused(
                    br#"{"rule":"job.rows","message":"none"}"#,
                ))
            },
        );
        assert_eq!(ended.unwrap_err().rule(), "job.rows");
    }

    #[test]
    fn an_answer_to_half_a_submission_is_none() {
        let (stream, enclave) = UnixStream::pair().unwrap();
        drop(enclave);
        let ended = exchange(&stream, |to| to.write_all(&vec![0; 1 << 20]), |_| Ok(()));
        assert_eq!(ended.unwrap_err().rule(), "submit.connection");
    }

    /// The receiver's first byte, within so short a silence.
    fn first_byte(
        stream: &UnixStream,
        send: impl FnOnce(&mut ToEnclave<'_>) -> io::Result<()> + Send,
    ) -> Result<u8, SubmitError> {
        let silence = Duration::from_secs(1);
        let receive = |from: &mut FromEnclave<'_>| {
            let mut byte = [0];
            from.read_exact(&mut byte).map_err(waiting)?;
            Ok(byte[0])
        };
        exchange_within(silence, stream, send, receive).map(|((), byte)| byte)
    }

    /// How many bytes leave while the enclave is waited for, and what comes of it.
    type Turn = (u64, Result<u8, ErrorKind>);

    struct Scripted<'a> {
        script: std::slice::Iter<'a, Turn>,
        sent: &'a AtomicU64,
    }

    impl Read for Scripted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (leaves, comes) = self.script.next().unwrap();
            self.sent.fetch_add(*leaves, Ordering::Relaxed);
            buffer[0] = (*comes)?;
            Ok(1)
        }
    }

    /// What a patient reader makes of a script, and how much of it is left.
    fn patiently(script: &[Turn]) -> (io::Result<u8>, usize) {
        let sent = AtomicU64::new(0);
        let mut from = Patient {
            stream: Scripted {
                script: script.iter(),
                sent: &sent,
            },
            sent: &sent,
            seen: 0,
        };
        let mut byte = [0];
        let read = from.read_exact(&mut byte).map(|()| byte[0]);
        (read, from.stream.script.len())
    }

    #[test]
    fn an_enclave_may_be_silent_while_files_go_out_and_not_otherwise() {
        let silence = Err(ErrorKind::WouldBlock);
        let other = Err(ErrorKind::TimedOut);
        let script = [(2, silence), (1, other), (40, silence), (0, Ok(7))];
        assert_eq!(patiently(&script).0.unwrap(), 7);
        let script = [(2, silence), (0, silence), (1, Ok(7))];
        let (silent, left) = patiently(&script);
        assert_eq!(silent.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(left, 1, "it waited on");
        let broken = patiently(&[(1, Err(ErrorKind::ConnectionReset))]).0;
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn what_leaves_is_counted() {
        let (stream, _enclave) = UnixStream::pair().unwrap();
        let count = AtomicU64::new(0);
        let mut to = Counted {
            stream: &stream,
            count: &count,
        };
        to.write_all(&[0; 40]).unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 40);
    }

    #[test]
    fn an_enclave_that_is_silent_for_good_is_given_up() {
        let (stream, _enclave) = UnixStream::pair().unwrap();
        let silent = first_byte(&stream, |_| Ok(())).unwrap_err();
        assert_eq!(silent.rule(), "submit.connection");
    }

    #[test]
    fn a_file_that_cannot_be_read_on_is_said_at_once() {
        let (stream, enclave) = UnixStream::pair().unwrap();
        // A directory opens, and does not read.
        let mut file = File::open("/").unwrap();
        let ended = first_byte(&stream, |to| {
            crate::frame::write_file(to, 5, &mut file).map(|_| ())
        });
        assert_eq!(ended.unwrap_err().rule(), "submit.input");
        assert_eq!(
            (&enclave).read(&mut [0]).unwrap(),
            0,
            "nothing is left open"
        );
    }
}
