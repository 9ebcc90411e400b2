//! Two streams joined: bytes both ways, half-close honoured, memory bounded, never stuck.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, MsgFlags};

/// Bytes that wait in each direction at most.
pub const BUFFER: usize = 64 * 1024;

/// How long both streams may be silent before they are closed. A KMS call takes less than a second;
/// this only frees what nobody uses.
pub const IDLE: Duration = Duration::from_secs(15 * 60);

/// How a pair of streams ended, when neither broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Both sides closed, or one is gone and all it sent was handed on.
    Closed,
    /// Nothing came from either side for too long.
    Idle,
    /// The stop descriptor became readable.
    Stopped,
}

/// What was copied, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Bytes from the first stream to the second.
    pub forward: u64,
    /// Bytes from the second stream to the first.
    pub backward: u64,
    /// How it ended.
    pub ended: Ended,
}

/// Copies between two sockets until both directions are closed, they are silent for `idle`, or
/// `stop` becomes readable. Both sockets are made non-blocking.
///
/// When one side ends its direction, what it sent is handed on first, then the end is.
///
/// # Errors
/// A socket that broke.
pub fn join(
    first: BorrowedFd<'_>,
    second: BorrowedFd<'_>,
    stop: BorrowedFd<'_>,
    idle: Duration,
) -> io::Result<Copied> {
    nonblocking(first)?;
    nonblocking(second)?;
    let mut forward = Direction::new();
    let mut backward = Direction::new();
    let mut hung_up = [false; 2];
    let ended = loop {
        let directions = [&forward, &backward];
        if let Some(over) = wait([first, second], stop, directions, &mut hung_up, idle)? {
            break over;
        }
        forward.step(first, second)?;
        backward.step(second, first)?;
        let closed = forward.closed && backward.closed;
        // Nobody is left to take the other direction; what it sent has been handed on.
        let left = (hung_up[0] && forward.closed) || (hung_up[1] && backward.closed);
        if closed || left {
            break Ended::Closed;
        }
    };
    Ok(Copied {
        forward: forward.total,
        backward: backward.total,
        ended,
    })
}

/// Waits until something can be done, or says why nothing will be any more.
fn wait(
    sockets: [BorrowedFd<'_>; 2],
    stop: BorrowedFd<'_>,
    [forward, backward]: [&Direction; 2],
    hung_up: &mut [bool; 2],
    idle: Duration,
) -> io::Result<Option<Ended>> {
    let interests = [interest(forward, backward), interest(backward, forward)];
    let mut fds = vec![PollFd::new(stop, PollFlags::POLLIN)];
    let mut polled = Vec::with_capacity(2);
    for side in [0, 1] {
        // poll(2) reports a hang-up whether asked to or not: once known, it is asked about no more.
        if !interests[side].is_empty() || !hung_up[side] {
            fds.push(PollFd::new(sockets[side], interests[side]));
            polled.push(side);
        }
    }
    let timeout = PollTimeout::try_from(idle).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(0) => return Ok(Some(Ended::Idle)),
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    if fds[0].any() == Some(true) {
        return Ok(Some(Ended::Stopped));
    }
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    for (fd, side) in fds.iter().skip(1).zip(polled) {
        hung_up[side] |= fd.revents().is_some_and(|events| events.intersects(gone));
    }
    Ok(None)
}

/// What to wait for on a socket that `out` reads from and `back` writes to.
fn interest(out: &Direction, back: &Direction) -> PollFlags {
    let mut flags = PollFlags::empty();
    if out.wants_more() {
        flags |= PollFlags::POLLIN;
    }
    if back.has_bytes() {
        flags |= PollFlags::POLLOUT;
    }
    flags
}

/// One way: a bounded buffer between a reader and a writer.
struct Direction {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    total: u64,
    /// The reader's end was seen.
    ended: bool,
    /// The end was handed on.
    closed: bool,
}

impl Direction {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            total: 0,
            ended: false,
            closed: false,
        }
    }

    fn wants_more(&self) -> bool {
        !self.ended && self.end < self.buffer.len()
    }

    fn has_bytes(&self) -> bool {
        self.start < self.end
    }

    /// Reads once, writes what is there, and hands on the end when everything before it is out.
    fn step(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        if self.wants_more() {
            self.read(from)?;
        }
        if self.has_bytes() {
            self.write(to)?;
        }
        if self.ended && !self.has_bytes() && !self.closed {
            self.closed = true;
            shutdown_write(to)?;
        }
        Ok(())
    }

    fn read(&mut self, from: BorrowedFd<'_>) -> io::Result<()> {
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match ready(nix::unistd::read(from, room))? {
            Some(0) => self.ended = true,
            Some(count) => self.end = self.end.saturating_add(count),
            None => {}
        }
        Ok(())
    }

    fn write(&mut self, to: BorrowedFd<'_>) -> io::Result<()> {
        let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
        let sent = socket::send(to.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL);
        if let Some(count) = ready(sent)? {
            self.start = self.start.saturating_add(count);
            self.total = self.total.saturating_add(count as u64);
        }
        if !self.has_bytes() {
            (self.start, self.end) = (0, 0);
        }
        Ok(())
    }
}

/// `None` when the call would have waited.
fn ready(result: nix::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn shutdown_write(to: BorrowedFd<'_>) -> io::Result<()> {
    match socket::shutdown(to.as_raw_fd(), socket::Shutdown::Write) {
        // It is gone already, which its own direction shows.
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::thread::{self, JoinHandle};

    use proptest::prelude::*;

    use super::*;

    /// Two clients whose streams are joined, the stop's other end, and the result.
    struct Joined {
        first: UnixStream,
        second: UnixStream,
        stop: UnixStream,
        result: JoinHandle<io::Result<Copied>>,
    }

    fn joined(idle: Duration) -> Joined {
        let (first, a) = UnixStream::pair().expect("socket pair");
        let (second, b) = UnixStream::pair().expect("socket pair");
        let (stop, stopped) = UnixStream::pair().expect("socket pair");
        let result = thread::spawn(move || join(a.as_fd(), b.as_fd(), stopped.as_fd(), idle));
        Joined {
            first,
            second,
            stop,
            result,
        }
    }

    fn ended(result: JoinHandle<io::Result<Copied>>) -> Copied {
        result.join().expect("no panic").expect("no broken stream")
    }

    #[test]
    fn silence_ends_it() {
        let joined = joined(Duration::from_millis(30));
        assert_eq!(ended(joined.result).ended, Ended::Idle);
    }

    #[test]
    fn stopping_ends_it() {
        let joined = joined(IDLE);
        drop(joined.stop);
        assert_eq!(ended(joined.result).ended, Ended::Stopped);
    }

    #[test]
    fn half_a_close_leaves_the_other_half_open() {
        let mut joined = joined(IDLE);
        joined.first.write_all(b"question").expect("write");
        joined.first.shutdown(Shutdown::Write).expect("half-close");
        let mut question = String::new();
        joined.second.read_to_string(&mut question).expect("read");
        joined.second.write_all(b"answer").expect("write");
        drop(joined.second);
        let mut answer = String::new();
        joined.first.read_to_string(&mut answer).expect("read");
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        let copied = ended(joined.result);
        assert_eq!((copied.forward, copied.backward), (8, 6));
        assert_eq!(copied.ended, Ended::Closed);
    }

    #[test]
    fn what_was_sent_before_leaving_arrives() {
        let mut joined = joined(IDLE);
        let sent = vec![7; 3 * BUFFER];
        let writer = {
            let sent = sent.clone();
            thread::spawn(move || joined.first.write_all(&sent))
        };
        thread::sleep(Duration::from_millis(20));
        let mut got = Vec::new();
        joined.second.read_to_end(&mut got).expect("read");
        writer.join().expect("thread").expect("write");
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        assert_eq!(ended(joined.result).ended, Ended::Closed);
    }

    #[test]
    fn a_reader_that_waits_holds_back_its_writer() {
        let mut joined = joined(IDLE);
        let timeout = Some(Duration::from_millis(200));
        joined.first.set_write_timeout(timeout).expect("timeout");
        let chunk = [0; 4096];
        let taken = (0..10_000)
            .take_while(|_| joined.first.write_all(&chunk).is_ok())
            .count();
        // Two socket buffers and one of ours, not the 40 MB that were offered.
        assert!(taken * chunk.len() < 2 << 20, "{taken} chunks were taken");
        drop(joined.first);
        drop(joined.second);
        // The reader left with bytes unread: either end is right, a hang is not.
        let _ = joined.result.join().expect("no panic");
    }

    #[test]
    fn bulk_both_ways_at_once_over_tcp_arrives_whole() {
        const SIZE: usize = 8 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut reader = stream.try_clone().expect("clone");
            let source = thread::spawn(move || {
                stream.write_all(&vec![2; SIZE]).expect("write");
                stream.shutdown(Shutdown::Write).expect("half-close");
            });
            let mut got = Vec::new();
            reader.read_to_end(&mut got).expect("read");
            source.join().expect("source");
            got
        });
        let (guest, host) = UnixStream::pair().expect("socket pair");
        let (_stop, stopped) = UnixStream::pair().expect("socket pair");
        let tcp = TcpStream::connect(address).expect("connect");
        let result = thread::spawn(move || join(host.as_fd(), tcp.as_fd(), stopped.as_fd(), IDLE));
        let mut writer = guest.try_clone().expect("clone");
        let source = thread::spawn(move || {
            for _ in 0..SIZE / (64 << 10) {
                writer.write_all(&[1; 64 << 10]).expect("write");
            }
            writer.shutdown(Shutdown::Write).expect("half-close");
        });
        let mut got = Vec::new();
        (&guest).read_to_end(&mut got).expect("read");
        source.join().expect("source");
        assert!(got.len() == SIZE && got.iter().all(|&byte| byte == 2));
        let there = echo.join().expect("echo");
        assert!(there.len() == SIZE && there.iter().all(|&byte| byte == 1));
        let copied = ended(result);
        assert_eq!(
            (copied.forward, copied.backward),
            (SIZE as u64, SIZE as u64)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_cut_of_the_bytes_arrives_in_order(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..8),
        ) {
            let mut joined = joined(IDLE);
            let all: Vec<u8> = chunks.concat();
            let writer = thread::spawn(move || {
                for chunk in chunks {
                    joined.first.write_all(&chunk).expect("write");
                }
            });
            let mut got = Vec::new();
            joined.second.read_to_end(&mut got).expect("read");
            writer.join().expect("writer");
            prop_assert_eq!(got, all);
        }
    }
}
