//! vsock over Unix sockets, in Firecracker's convention.
//!
//! Parent → guest: connect to the enclave's socket, write `CONNECT <port>\n`, read
//! `OK <port>\n`; then the stream is the guest's. A closed stream in place of the `OK` means that
//! nobody listens on that port. Guest → parent: the guest's connection to port P arrives at
//! `<prefix>_P`.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::socket_path::SocketPath;
use crate::state::{StateDir, StateError};

/// How long [`connect`] waits for the answer. A guest under software emulation takes its time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest answer line to `CONNECT`, in bytes with its newline: `OK 4294967295\n` is 14.
pub const MAX_ANSWER: usize = 32;

/// How long [`connect_when_ready`] rests before it dials again.
const REDIAL: Duration = Duration::from_millis(20);

/// How long a listener waits for its turn to bind, while others bind theirs.
const BIND_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a vsock port could not be dialled or listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HybridError {
    /// The socket is not there, or nobody serves it: the enclave is not running.
    #[error("cannot reach {path:?}: is the enclave running?")]
    Unreachable {
        /// The enclave's socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The switch closed the stream: nobody in the enclave listens on the port.
    #[error("nobody listens on port {port} of the enclave at {path:?}")]
    Refused {
        /// The enclave's socket.
        path: PathBuf,
        /// The vsock port that was dialled.
        port: u32,
    },
    /// The answer was not `OK <port>`.
    #[error("expected \"OK <port>\" of {path:?} for port {port}, got {got:?}")]
    Answer {
        /// The enclave's socket.
        path: PathBuf,
        /// The vsock port that was dialled.
        port: u32,
        /// What came, at most [`MAX_ANSWER`] bytes.
        got: String,
    },
    /// No answer came in time.
    #[error("no answer for port {port} of {path:?} within {} s", waited.as_secs_f32())]
    Timeout {
        /// The enclave's socket.
        path: PathBuf,
        /// The vsock port that was dialled.
        port: u32,
        /// How long the caller was ready to wait.
        waited: Duration,
    },
    /// Another process listens there.
    #[error("port {port} is in use: another process listens on {path:?}")]
    InUse {
        /// The listener's socket.
        path: PathBuf,
        /// The vsock port.
        port: u32,
    },
    /// The state directory could not be used.
    #[error("the state directory cannot be used")]
    State(#[from] StateError),
    /// The system refused.
    #[error("input or output on {path:?} failed")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl HybridError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "hybrid.unreachable",
            Self::Refused { .. } => "hybrid.refused",
            Self::Answer { .. } => "hybrid.answer",
            Self::Timeout { .. } => "hybrid.timeout",
            Self::InUse { .. } => "hybrid.in-use",
            Self::State(error) => error.rule(),
            Self::Io { .. } => "hybrid.io",
        }
    }
}

/// Dials `port` of the enclave whose socket is `vsock_sock`, waiting at most [`CONNECT_TIMEOUT`].
///
/// The stream that comes back blocks and has no time limits of its own.
///
/// # Errors
/// [`HybridError`]: the enclave is not there, nobody listens on the port, or no answer in time.
pub fn connect(vsock_sock: &Path, port: u32) -> Result<UnixStream, HybridError> {
    connect_within(vsock_sock, port, CONNECT_TIMEOUT)
}

/// [`connect`], tried again while nobody listens on the port, for at most `wait`: an application
/// that has just been started takes a moment to listen.
///
/// # Errors
/// [`connect`]'s; the last one when the time is over.
pub fn connect_when_ready(
    vsock_sock: &Path,
    port: u32,
    wait: Duration,
) -> Result<UnixStream, HybridError> {
    let until = Instant::now() + wait;
    loop {
        match connect(vsock_sock, port) {
            Err(HybridError::Refused { .. }) if Instant::now() < until => {
                std::thread::sleep(REDIAL);
            }
            result => return result,
        }
    }
}

/// [`connect`] with a time limit of the caller's.
///
/// # Errors
/// [`connect`]'s.
pub fn connect_within(
    vsock_sock: &Path,
    port: u32,
    limit: Duration,
) -> Result<UnixStream, HybridError> {
    let path = vsock_sock.to_owned();
    let until = Instant::now() + limit;
    let mut stream = SocketPath::new(vsock_sock)
        .and_then(|short| UnixStream::connect(short.as_path()))
        .map_err(|source| HybridError::Unreachable {
            path: path.clone(),
            source,
        })?;
    let answer = exchange(&mut stream, port, until).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => HybridError::Timeout {
            path: path.clone(),
            port,
            waited: limit,
        },
        // The switch resets a stream that it refuses with our line unread.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => HybridError::Refused {
            path: path.clone(),
            port,
        },
        _ => HybridError::Io {
            path: path.clone(),
            source,
        },
    })?;
    check_answer(&answer, &path, port)?;
    clear_timeouts(&stream).map_err(|source| HybridError::Io { path, source })?;
    Ok(stream)
}

/// Sends the request and reads the answer's line, never a byte beyond it.
fn exchange(stream: &mut UnixStream, port: u32, until: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(remaining(until)?))?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
    let mut answer = Vec::with_capacity(MAX_ANSWER);
    let mut byte = [0];
    while answer.len() < MAX_ANSWER {
        stream.set_read_timeout(Some(remaining(until)?))?;
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => answer.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if byte == *b"\n" {
            break;
        }
    }
    Ok(answer)
}

fn remaining(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn check_answer(answer: &[u8], path: &Path, port: u32) -> Result<(), HybridError> {
    if answer.is_empty() {
        return Err(HybridError::Refused {
            path: path.to_owned(),
            port,
        });
    }
    let is_ok = answer
        .strip_prefix(b"OK ")
        .and_then(|rest| rest.strip_suffix(b"\n"))
        .and_then(|number| std::str::from_utf8(number).ok())
        .is_some_and(|number| number.parse::<u32>().is_ok());
    if is_ok {
        return Ok(());
    }
    Err(HybridError::Answer {
        path: path.to_owned(),
        port,
        got: String::from_utf8_lossy(answer).into_owned(),
    })
}

fn clear_timeouts(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)
}

/// A port of the parent that any enclave reaches: `<state>/vsock_<port>`.
///
/// Its socket is removed when the listener is dropped; a socket left by a killed process is
/// recognised, since nobody answers on it, and replaced.
#[derive(Debug)]
pub struct HybridListener {
    listener: UnixListener,
    path: PathBuf,
}

impl HybridListener {
    /// Listens on the parent's `port` for every enclave of this state directory.
    ///
    /// # Errors
    /// [`HybridError::InUse`] when another process listens there, [`HybridError::State`] when the
    /// directory is open to others, [`HybridError::Io`] when the system refuses.
    pub fn bind(state: &StateDir, port: u32) -> Result<Self, HybridError> {
        state.ensure()?;
        let path = state.shared_listener(port);
        let io = |source| HybridError::Io {
            path: path.clone(),
            source,
        };
        let _turn = lock(&state.path().join("listeners.lock")).map_err(io)?;
        let short = SocketPath::new(&path).map_err(io)?;
        match UnixStream::connect(short.as_path()) {
            Ok(_) => return Err(HybridError::InUse { path, port }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(&path).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        let listener = UnixListener::bind(short.as_path()).map_err(io)?;
        Ok(Self { listener, path })
    }

    /// The next connection of an enclave.
    ///
    /// # Errors
    /// `accept(2)`'s.
    pub fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`accept`](Self::accept) returns at once when nobody connects.
    ///
    /// # Errors
    /// `ioctl(2)`'s.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.listener.set_nonblocking(nonblocking)
    }
}

impl AsFd for HybridListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for HybridListener {
    /// Removes the socket while it still answers, so that nobody else's is removed by mistake.
    fn drop(&mut self) {
        // A socket that is gone already, or a directory that is, leaves nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes an exclusive lock on the file, which the kernel gives back when the process ends.
fn lock(path: &Path) -> io::Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    let until = Instant::now() + BIND_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {
                remaining(until)?;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, JoinHandle};

    use proptest::prelude::*;

    use super::*;

    /// Serves one connection: reads a line, answers with `answer`, gives back what was read.
    fn switch_that_answers(path: &Path, answer: &'static [u8]) -> JoinHandle<Vec<u8>> {
        let listener = UnixListener::bind(path).expect("bind");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut line = Vec::new();
            let mut byte = [0];
            while byte != *b"\n" && stream.read(&mut byte).expect("read") == 1 {
                line.extend_from_slice(&byte);
            }
            stream.write_all(answer).expect("answer");
            line
        })
    }

    fn dial(answer: &'static [u8]) -> Result<UnixStream, HybridError> {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("vsock.sock");
        let switch = switch_that_answers(&path, answer);
        let result = connect_within(&path, 5005, Duration::from_secs(30));
        assert_eq!(switch.join().expect("switch"), b"CONNECT 5005\n");
        result
    }

    #[test]
    fn an_enclave_that_is_not_there_is_named() {
        let error = connect(Path::new("/nonexistent/vsock.sock"), 1).expect_err("absent");
        assert_eq!(error.rule(), "hybrid.unreachable");
        assert!(error.to_string().contains("/nonexistent/vsock.sock"));
    }

    #[test]
    fn a_closed_stream_means_that_nobody_listens() {
        assert_eq!(dial(b"").expect_err("closed").rule(), "hybrid.refused");
    }

    #[test]
    fn other_answers_are_refused() {
        for answer in [
            &b"OK\n"[..],
            b"OK x\n",
            b"NO 1\n",
            b"OK 99999999999\n",
            b"OK 7",
        ] {
            assert_eq!(dial(answer).expect_err("answer").rule(), "hybrid.answer");
        }
        let endless = b"OK 1111111111111111111111111111111111111111111111111111";
        assert_eq!(dial(endless).expect_err("endless").rule(), "hybrid.answer");
    }

    #[test]
    fn silence_ends_at_the_time_limit() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("vsock.sock");
        let _listener = UnixListener::bind(&path).expect("bind");
        let error = connect_within(&path, 1, Duration::from_millis(50)).expect_err("silence");
        assert_eq!(error.rule(), "hybrid.timeout");
    }

    #[test]
    fn bytes_after_the_answer_belong_to_the_caller() {
        let mut stream = dial(b"OK 1073741824\nhello").expect("connected");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("rest");
        assert_eq!(rest, b"hello");
    }

    #[test]
    fn a_port_without_listener_is_dialled_again_until_the_time_is_over() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("vsock.sock");
        let listener = UnixListener::bind(&path).expect("bind");
        thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("accept");
                stream.read_exact(&mut [0; 10]).expect("CONNECT 1\\n");
                if count == 2 {
                    stream.write_all(b"OK 1\n").expect("answer");
                }
            }
        });
        let now = Duration::ZERO;
        let error = connect_when_ready(&path, 1, now).expect_err("nobody listens");
        assert_eq!(error.rule(), "hybrid.refused");
        connect_when_ready(&path, 1, Duration::from_secs(30)).expect("somebody does");
    }

    #[test]
    fn a_second_listener_on_a_port_is_refused_by_name() {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = StateDir::new(root.path().join("state"));
        let first = HybridListener::bind(&state, 8000).expect("first");
        let error = HybridListener::bind(&state, 8000).expect_err("second");
        assert_eq!(error.rule(), "hybrid.in-use");
        assert!(error.to_string().contains("8000"));
        drop(first);
        assert!(!state.shared_listener(8000).exists());
    }

    #[test]
    fn a_socket_of_a_killed_process_is_replaced() {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = StateDir::new(root.path().join("state"));
        state.ensure().expect("state");
        drop(UnixListener::bind(state.shared_listener(8000)).expect("left behind"));
        let listener = HybridListener::bind(&state, 8000).expect("replaced");
        UnixStream::connect(listener.path()).expect("it answers");
    }

    proptest! {
        #[test]
        fn any_answer_is_judged_without_panic(answer in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = check_answer(&answer, Path::new("/x"), 1);
        }

        #[test]
        fn every_port_is_an_acceptable_answer(port: u32) {
            let answer = format!("OK {port}\n");
            prop_assert!(check_answer(answer.as_bytes(), Path::new("/x"), 1).is_ok());
        }
    }
}
