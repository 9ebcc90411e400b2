//! The guest's console: a bounded ring, and in debug mode a socket that shows it.
//!
//! A console may print what an application handles. So it leaves the hypervisor in debug mode only,
//! where the attestation document says so by its zero PCRs. In production it is kept for one
//! purpose, the message of a boot that failed, and only until the heartbeat, which comes before the
//! application starts: from then on it is read and dropped, so that the guest never waits for a
//! reader and a panic prints no record.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::accept;

/// Bytes of console that are kept.
pub const CAPACITY: usize = 64 * 1024;

/// Readers of a debug console at the same time; further ones are closed at once.
pub const MAX_READERS: usize = 8;

/// Lines that an error message shows.
pub const SHOWN_LINES: usize = 20;

/// Longest line that an error message shows, in characters.
const SHOWN_LINE: usize = 200;

/// How long a reader may leave its socket full before it is dropped.
const READER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the end waits for readers to take what is left.
const READERS_GRACE: Duration = Duration::from_secs(1);

/// How long the reader rests after each read. A guest that prints without end is held back by its
/// full socket; one that boots does not notice, since the socket takes what it prints meanwhile.
const REST: Duration = Duration::from_millis(1);

/// Stack of a console thread, in bytes: it holds one buffer of 4 KiB.
const STACK: usize = 64 * 1024;

/// The last [`CAPACITY`] bytes that the guest printed.
#[derive(Debug, Clone)]
pub struct Console(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    changed: Condvar,
    readers: AtomicUsize,
}

#[derive(Debug)]
struct Ring {
    /// Up to twice [`CAPACITY`], so that the last bytes are moved once for as many that come in.
    /// Only the last [`CAPACITY`] are shown.
    bytes: Vec<u8>,
    /// How many bytes came in all; the ring's end.
    total: u64,
    /// Whether bytes are still kept.
    keeps: bool,
    ended: bool,
}

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        if self.bytes.len().saturating_add(bytes.len()) > 2 * CAPACITY {
            let excess = self.bytes.len().saturating_sub(CAPACITY);
            self.bytes.drain(..excess);
        }
        let start = bytes.len().saturating_sub(CAPACITY);
        self.bytes
            .extend_from_slice(bytes.get(start..).unwrap_or_default());
    }

    /// The last `count` bytes, or all.
    fn last(&self, count: usize) -> &[u8] {
        let start = self.bytes.len().saturating_sub(count);
        self.bytes.get(start..).unwrap_or_default()
    }
}

impl Default for Console {
    fn default() -> Self {
        let ring = Ring {
            bytes: Vec::new(),
            total: 0,
            keeps: true,
            ended: false,
        };
        Self(Arc::new(Shared {
            ring: Mutex::new(ring),
            changed: Condvar::new(),
            readers: AtomicUsize::new(0),
        }))
    }
}

impl Console {
    /// Reads the guest's output until it ends, on a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn drain(&self, mut output: UnixStream) -> io::Result<JoinHandle<()>> {
        let console = self.clone();
        let body = move || {
            let mut chunk = [0; 4096];
            loop {
                match output.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(count) => {
                        console.push(chunk.get(..count).unwrap_or_default());
                        thread::sleep(REST);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        };
        spawn("console", body)
    }

    /// Keeps nothing from now on and forgets what was kept.
    pub fn forget(&self) {
        let mut ring = self.lock();
        ring.keeps = false;
        ring.bytes = Vec::new();
    }

    /// Says that nothing more comes: readers get what is left, then their streams' end. Waits a
    /// moment for readers that read.
    pub fn end(&self) {
        self.lock().ended = true;
        self.0.changed.notify_all();
        let until = Instant::now() + READERS_GRACE;
        while self.0.readers.load(Ordering::Acquire) > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last lines, printable characters only, for an error message.
    pub fn last_lines(&self) -> Vec<String> {
        let ring = self.lock();
        let text = String::from_utf8_lossy(ring.last(CAPACITY));
        let lines: Vec<String> = text
            .split(['\n', '\r'])
            .map(printable)
            .filter(|line| !line.is_empty())
            .collect();
        let first = lines.len().saturating_sub(SHOWN_LINES);
        lines.into_iter().skip(first).collect()
    }

    /// Shows the console to everyone who connects, on threads of their own: what is kept, then
    /// what comes.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn serve(&self, listener: UnixListener) -> io::Result<()> {
        let console = self.clone();
        spawn("console-listen", move || {
            accept::forever(&listener, |stream| console.admit(stream));
        })
        .map(drop)
    }

    /// Starts a reader's thread, unless there are [`MAX_READERS`].
    fn admit(&self, stream: UnixStream) {
        let console = self.clone();
        if console.0.readers.fetch_add(1, Ordering::AcqRel) >= MAX_READERS {
            console.0.readers.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let started = spawn("console-reader", move || {
            // A reader that went away is no error of the enclave's.
            let _ = console.show(stream);
            console.0.readers.fetch_sub(1, Ordering::AcqRel);
        });
        if started.is_err() {
            self.0.readers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn show(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_write_timeout(Some(READER_TIMEOUT))?;
        let mut at = 0;
        while let Some(chunk) = self.after(&mut at) {
            stream.write_all(&chunk)?;
        }
        Ok(())
    }

    /// Waits for bytes beyond `at` and moves it there. A reader that fell behind the ring goes on
    /// with the oldest byte kept. `None` at the end.
    fn after(&self, at: &mut u64) -> Option<Vec<u8>> {
        let mut ring = self.lock();
        while ring.total <= *at {
            if ring.ended {
                return None;
            }
            ring = self
                .0
                .changed
                .wait(ring)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let unread = usize::try_from(ring.total - *at).unwrap_or(usize::MAX);
        *at = ring.total;
        Some(ring.last(unread.min(CAPACITY)).to_vec())
    }

    fn push(&self, bytes: &[u8]) {
        let mut ring = self.lock();
        if !ring.keeps {
            return;
        }
        ring.push(bytes);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // A thread that panicked while it held the ring left it whole: every change is one step.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(body)
}

/// What of a line can be shown in a terminal without commanding it.
fn printable(line: &str) -> String {
    line.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_LINE)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_the_last_bytes_only() {
        let console = Console::default();
        for n in 0..100_000 {
            console.push(format!("line {n}\n").as_bytes());
        }
        let ring = console.lock();
        assert!(ring.bytes.capacity() <= 2 * CAPACITY);
        assert!(ring.bytes.len() >= CAPACITY);
        assert_eq!(ring.last(CAPACITY).len(), CAPACITY);
        drop(ring);
        let lines = console.last_lines();
        assert_eq!(lines.len(), SHOWN_LINES);
        assert_eq!(lines.last().map(String::as_str), Some("line 99999"));
    }

    #[test]
    fn a_reader_that_fell_behind_gets_the_last_bytes_only() {
        let console = Console::default();
        console.push(&vec![b'a'; 3 * CAPACITY]);
        console.push(b"b");
        let mut at = 0;
        let got = console.after(&mut at).expect("what is kept");
        assert_eq!((got.len(), got.last()), (CAPACITY, Some(&b'b')));
        assert_eq!(at, 3 * CAPACITY as u64 + 1);
    }

    #[test]
    fn a_flood_is_held_back() {
        let (mut guest, host) = UnixStream::pair().expect("socket pair");
        let console = Console::default();
        console.drain(host).expect("thread");
        let until = Instant::now() + Duration::from_millis(300);
        let mut written = 0;
        // It is held back, not stopped: more goes through in the end, however busy the host is.
        while Instant::now() < until || written <= 16 << 10 {
            written += guest.write(&[b'x'; 64]).expect("written");
        }
        assert!(written < 8 << 20, "{written} bytes");
    }

    #[test]
    fn nothing_is_kept_after_forget() {
        let console = Console::default();
        console.push(b"boot\n");
        console.forget();
        console.push(b"a record\n");
        assert!(console.last_lines().is_empty());
    }

    #[test]
    fn control_characters_never_reach_the_message() {
        let console = Console::default();
        console.push(b"\x1b[31mred\x07\r\n\xff\n");
        assert_eq!(console.last_lines(), ["[31mred", "\u{fffd}"]);
    }

    #[test]
    fn a_reader_gets_what_was_kept_what_comes_and_the_end() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("console.sock");
        let console = Console::default();
        console.push(b"before ");
        console
            .serve(UnixListener::bind(&path).expect("bind"))
            .expect("serve");
        let mut stream = UnixStream::connect(&path).expect("connect");
        let mut first = [0; 7];
        stream.read_exact(&mut first).expect("what was kept");
        console.push(b"after");
        console.end();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("what comes");
        assert_eq!((&first, rest.as_str()), (b"before ", "after"));
    }

    #[test]
    fn readers_beyond_the_limit_are_closed() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("console.sock");
        let console = Console::default();
        console.push(b"x");
        console
            .serve(UnixListener::bind(&path).expect("bind"))
            .expect("serve");
        let mut byte = [0];
        let readers: Vec<UnixStream> = (0..MAX_READERS)
            .map(|_| {
                let mut stream = UnixStream::connect(&path).expect("connect");
                stream.read_exact(&mut byte).expect("shown");
                stream
            })
            .collect();
        let mut extra = UnixStream::connect(&path).expect("connect");
        assert_eq!(extra.read(&mut byte).expect("closed"), 0);
        drop(readers);
    }
}
