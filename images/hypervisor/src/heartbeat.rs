//! The heartbeat: a booted enclave connects to port 9000 of its parent, sends 0xB7 and wants 0xB7
//! back before it starts its application (AWS's init does the same).
//!
//! Each enclave has a listener of its own, so that starts at the same time do not meet.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vsock::{VMADDR_CID_ANY, VsockListener};

use crate::event::{VmEvent, VmEvents};
use crate::sockets::SocketDirectory;
use crate::vm::VsockMode;

/// The parent's port.
pub const PORT: u32 = 9000;

/// The byte that goes both ways.
pub const BYTE: u8 = 0xB7;

/// How long a connection may take for its byte. It holds up only its own enclave.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a taken AF_VSOCK port is tried again, while another enclave boots.
const PORT_RETRY: Duration = Duration::from_millis(100);

/// A listener for one attempt's heartbeat. Dropping it ends it.
///
/// Each attempt has a listener of its own, so that what an attempt that was given up said is never
/// taken for the next one's.
#[derive(Debug)]
pub struct Listening {
    /// The socket, where it is a file.
    path: Option<PathBuf>,
    /// Closing it ends the thread.
    _alive: UnixStream,
}

impl Listening {
    /// Listens, on a thread of its own, on the enclave's own socket or, where the kernel serves its
    /// vsock, on the host's AF_VSOCK port for the enclave's CID. When the byte has come and before
    /// it is answered, `before_answer` is called; the enclave's application starts after the answer.
    /// Then `events` are told.
    ///
    /// # Errors
    /// The socket or the thread cannot be made.
    pub fn start(
        directory: &SocketDirectory,
        vsock: VsockMode,
        cid: u32,
        before_answer: impl Fn() + Send + 'static,
        events: VmEvents,
    ) -> io::Result<Self> {
        let (alive, ended) = UnixStream::pair()?;
        let (path, wait): (_, Wait) = match vsock {
            VsockMode::Switch => {
                let path = directory.join(&format!("vsock.sock_{PORT}"));
                let listener = UnixListener::bind(&path)?;
                let wait = move || wait_hybrid(&listener, &ended, &before_answer);
                (Some(path), Box::new(wait))
            }
            VsockMode::Kernel => {
                let wait = move || wait_kernel(&kernel_port(&ended)?, cid, &ended, &before_answer);
                (None, Box::new(wait))
            }
        };
        let listening = Self {
            path,
            _alive: alive,
        };
        thread::Builder::new()
            .name("heartbeat".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || {
                // A listener that fails is a heartbeat that does not come: the deadline's affair.
                if wait().is_ok() {
                    events.send(VmEvent::Heartbeat);
                }
            })?;
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // The next attempt's bind, or the directory's end, would say more.
            let _ = fs::remove_file(path);
        }
    }
}

type Wait = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// Waits on the enclave's own socket for its heartbeat, as long as the other end of `ended` is open.
fn wait_hybrid(
    listener: &UnixListener,
    ended: &UnixStream,
    before_answer: &dyn Fn(),
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    loop {
        wait_for(listener, ended)?;
        let Some((stream, _)) = taken(listener.accept())? else {
            continue;
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        if exchange(stream, before_answer).is_ok() {
            return Ok(());
        }
    }
}

/// Waits on the host's AF_VSOCK port for the heartbeat of the enclave with this CID.
fn wait_kernel(
    listener: &VsockListener,
    cid: u32,
    ended: &UnixStream,
    before_answer: &dyn Fn(),
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    loop {
        wait_for(listener, ended)?;
        let Some((stream, peer)) = taken(listener.accept())? else {
            continue;
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        if peer.cid() == cid && exchange(stream, before_answer).is_ok() {
            return Ok(());
        }
    }
}

/// Listens on the one AF_VSOCK heartbeat port that all enclaves of the host share, waiting while
/// another enclave boots.
fn kernel_port(ended: &UnixStream) -> io::Result<VsockListener> {
    loop {
        match VsockListener::bind_with_cid_port(VMADDR_CID_ANY, PORT) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                ended.set_read_timeout(Some(PORT_RETRY))?;
                match (&*ended).read(&mut [0]) {
                    Err(error) if is_not_yet(&error) => {}
                    _ => return Err(io::ErrorKind::Interrupted.into()),
                }
            }
            result => return result,
        }
    }
}

/// Waits for a connection; refuses when nobody waits for the heartbeat any more.
fn wait_for(listener: &impl AsFd, ended: &UnixStream) -> io::Result<()> {
    let mut fds = [
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        PollFd::new(ended.as_fd(), PollFlags::POLLIN),
    ];
    while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
    match fds[1].any() {
        Some(false) => Ok(()),
        _ => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// A connection, if it is still there.
fn taken<T>(accepted: io::Result<T>) -> io::Result<Option<T>> {
    match accepted {
        Err(error) if is_not_yet(&error) => Ok(None),
        accepted => accepted.map(Some),
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, TimedOut, WouldBlock};
    [ConnectionAborted, Interrupted, TimedOut, WouldBlock].contains(&error.kind())
}

fn exchange(mut stream: impl Read + Write, before_answer: &dyn Fn()) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte != [BYTE] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    before_answer();
    stream.write_all(&byte)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
    use std::time::Instant;

    use super::*;
    use crate::event::{self, Event};

    const LIMIT: Duration = Duration::from_secs(10);

    /// A listener for attempt 3 whose answer waits for a word.
    struct Bench {
        root: tempfile::TempDir,
        listening: Option<Listening>,
        events: Receiver<Event>,
        asked: Receiver<()>,
        go: Sender<()>,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("temporary directory");
            let directory = SocketDirectory::new(root.path()).expect("directory");
            let (sender, events) = event::channel();
            let (ask, asked) = channel();
            let (go, wait) = channel();
            let before_answer = move || {
                ask.send(()).expect("the test waits");
                wait.recv_timeout(LIMIT).expect("the word");
            };
            let attempt = VmEvents::new(&sender, 3);
            let listening =
                Listening::start(&directory, VsockMode::Switch, 16, before_answer, attempt);
            Self {
                root,
                listening: Some(listening.expect("listening")),
                events,
                asked,
                go,
            }
        }

        fn path(&self) -> PathBuf {
            self.root.path().join("vsock.sock_9000")
        }
    }

    #[test]
    fn wrong_bytes_and_hang_ups_are_no_heartbeat() {
        let bench = Bench::new();
        drop(UnixStream::connect(bench.path()).expect("connect"));
        let mut wrong = UnixStream::connect(bench.path()).expect("connect");
        wrong.write_all(&[0xB6]).expect("write");
        let mut nothing = Vec::new();
        // Closed with our byte read: the end, or a reset.
        let _ = wrong.read_to_end(&mut nothing);
        assert!(nothing.is_empty());
        assert!(bench.asked.try_recv().is_err());
        assert!(bench.events.try_recv().is_err());
    }

    #[test]
    fn what_comes_before_the_answer_is_done_before_it() {
        let bench = Bench::new();
        let mut guest = UnixStream::connect(bench.path()).expect("connect");
        guest.write_all(&[BYTE]).expect("write");
        bench.asked.recv_timeout(LIMIT).expect("the byte came");
        let short = Duration::from_millis(50);
        guest.set_read_timeout(Some(short)).expect("timeout");
        assert!(guest.read(&mut [0]).is_err(), "answered too early");
        assert!(bench.events.try_recv().is_err());

        bench.go.send(()).expect("listening");
        guest.set_read_timeout(Some(LIMIT)).expect("timeout");
        let mut answer = [0];
        guest.read_exact(&mut answer).expect("answer");
        assert_eq!(answer, [BYTE]);
        let event = bench.events.recv_timeout(LIMIT).expect("heartbeat");
        assert!(matches!(event, Event::Vm(3, VmEvent::Heartbeat)));
    }

    #[test]
    fn an_attempt_that_is_over_is_not_listened_for() {
        let mut bench = Bench::new();
        drop(bench.listening.take());
        assert!(!bench.path().exists());
        let until = Instant::now() + LIMIT;
        // The thread has dropped what it would have told.
        while !matches!(bench.events.try_recv(), Err(TryRecvError::Disconnected)) {
            assert!(Instant::now() < until, "it listens on");
            thread::sleep(Duration::from_millis(5));
        }
        UnixListener::bind(bench.path()).expect("the next attempt's");
    }
}
