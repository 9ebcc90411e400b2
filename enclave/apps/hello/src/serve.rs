//! Connections: many at once, none for ever.

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anchorhold_enclave::serve::Acceptor;
use anchorhold_enclave_sys::vsock::VsockStream;

use crate::answer::{self, LINE_LIMIT};

/// Connections at once; whoever comes then waits in the kernel's queue.
const CONNECTIONS: usize = 16;

/// How long a line may take to arrive whole, and an answer to leave.
const LINE_TIME: Duration = Duration::from_secs(30);

/// How long to wait for a connection to end.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers whoever connects. Returns only if accepting fails again and again.
pub fn forever<E: Error>(
    acceptor: &Acceptor,
    attest: &(impl Fn(&[u8]) -> Result<Vec<u8>, E> + Sync),
) -> ExitCode {
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        loop {
            if open.load(Ordering::Acquire) >= CONNECTIONS {
                thread::sleep(PAUSE);
                continue;
            }
            match acceptor.accept() {
                Ok(stream) => {
                    open.fetch_add(1, Ordering::AcqRel);
                    let connection = || {
                        // What a client does to its own connection is its own affair.
                        let _gone = converse(Timed(stream), LINE_TIME, attest);
                        open.fetch_sub(1, Ordering::AcqRel);
                    };
                    if let Err(error) = thread::Builder::new().spawn_scoped(scope, connection) {
                        eprintln!("hello: {error}");
                        open.fetch_sub(1, Ordering::AcqRel);
                    }
                }
                Err(error) => {
                    eprintln!("hello: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
    })
}

/// A stream whose reads and writes can be given a limit.
trait Limited: Read + Write {
    fn limit(&mut self, time: Duration) -> io::Result<()>;
}

/// A vsock stream as a [`Limited`] one.
struct Timed(VsockStream);

impl Limited for Timed {
    fn limit(&mut self, time: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(time))?;
        self.0.set_write_timeout(Some(time))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Answers line after line until the client ends, or sends one that is too long or too
/// slow.
fn converse<E: Error>(
    mut stream: impl Limited,
    line_time: Duration,
    attest: &impl Fn(&[u8]) -> Result<Vec<u8>, E>,
) -> io::Result<()> {
    let mut pending = Vec::new();
    loop {
        let deadline = Instant::now() + line_time;
        let (line, whole) = match next_line(&mut stream, &mut pending, deadline)? {
            Line::Whole(line) => (line, true),
            Line::Last(line) if line.is_empty() => return Ok(()),
            Line::Last(line) => (line, false),
            Line::Long => return say(&mut stream, line_time, &answer::to_long_line()),
        };
        say(&mut stream, line_time, &answer::to(&line, attest))?;
        if !whole {
            return Ok(());
        }
    }
}

/// What has arrived.
enum Line {
    /// A line, its end taken off.
    Whole(Vec<u8>),
    /// What there was when the client ended.
    Last(Vec<u8>),
    /// More than a line may have.
    Long,
}

/// Reads up to the next line end; `pending` keeps what follows it.
fn next_line(
    stream: &mut impl Limited,
    pending: &mut Vec<u8>,
    deadline: Instant,
) -> io::Result<Line> {
    loop {
        if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            let mut line = std::mem::replace(pending, rest);
            line.pop();
            return Ok(if line.len() > LINE_LIMIT {
                Line::Long
            } else {
                Line::Whole(line)
            });
        }
        if pending.len() > LINE_LIMIT {
            return Ok(Line::Long);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.limit(left)?;
        let mut chunk = [0; LINE_LIMIT];
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(Line::Last(std::mem::take(pending))),
            Ok(length) => pending.extend(chunk.iter().take(length)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn say(stream: &mut impl Limited, time: Duration, answer: &str) -> io::Result<()> {
    stream.limit(time)?;
    stream.write_all(format!("{answer}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    impl Limited for UnixStream {
        fn limit(&mut self, time: Duration) -> io::Result<()> {
            self.set_read_timeout(Some(time))?;
            self.set_write_timeout(Some(time))
        }
    }

    fn attest(nonce: &[u8]) -> Result<Vec<u8>, fmt::Error> {
        Ok(nonce.to_vec())
    }

    /// What a client that sends these pieces is told.
    fn told(pieces: &[&[u8]]) -> String {
        let (mut client, server) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || converse(server, Duration::from_secs(20), &attest));
        for piece in pieces {
            client.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        client.shutdown(Shutdown::Write).unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        server.join().unwrap().unwrap();
        answers
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_conversation() {
        let long = vec![b'a'; LINE_LIMIT + 1];
        let refusal = "error line.length: at most 1024 bytes expected\n";
        assert_eq!(told(&[&long]), refusal);
        let with_end = [&long[..], b"\n"].concat();
        assert_eq!(told(&[&with_end]), refusal);
    }

    #[test]
    fn a_line_that_never_ends_runs_out_of_time() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || converse(server, Duration::from_millis(200), &attest));
        // At the length limit, most of a minute later, it would end without an error.
        while client.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
        let error = server.join().unwrap().unwrap_err();
        assert!([io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock].contains(&error.kind()));
    }

    #[test]
    fn lines_may_come_in_pieces_or_together_and_the_last_without_its_end() {
        let hello = "hello from the enclave, you said:";
        let answers = told(&[b"on", b"e\ntwo\natt", b"est 00\n", b"last"]);
        assert_eq!(
            answers,
            format!("{hello} one\n{hello} two\nAA==\n{hello} last\n")
        );
        let longest = "a".repeat(LINE_LIMIT);
        let line = format!("{longest}\n");
        assert_eq!(told(&[line.as_bytes()]), format!("{hello} {longest}\n"));
        assert_eq!(told(&[]), "");
    }
}
