//! The `CONNECT <port>\n` line with which a client of the host's asks for a port of the guest's
//! (Firecracker's convention, `docs/vsock.md` there).

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// The longest line, its end included: `CONNECT 4294967295\r\n` has 20 bytes.
const MAX_LINE: usize = 32;

/// A client that has not finished its line.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) socket: UnixStream,
    pub(crate) deadline: Instant,
    line: [u8; MAX_LINE],
    len: usize,
}

/// How far the line has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More bytes are needed.
    Waiting,
    /// The client asked for this port.
    Port(u32),
    /// The client hung up, or what it said is no `CONNECT` line.
    Refused,
}

impl Handshake {
    /// A client that has said nothing yet; the socket is non-blocking.
    pub(crate) fn new(socket: UnixStream, deadline: Instant) -> Self {
        Self {
            socket,
            deadline,
            line: [0; MAX_LINE],
            len: 0,
        }
    }

    /// Reads what is there of the line and nothing behind it: that is the stream's.
    pub(crate) fn advance(&mut self) -> Progress {
        loop {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Progress::Waiting,
                Err(_) => return Progress::Refused,
            }
            let line = self.line.get(..self.len).unwrap_or_default();
            if let Some(line) = line.strip_suffix(b"\n") {
                return parse(line).map_or(Progress::Refused, Progress::Port);
            }
            if self.len == MAX_LINE {
                return Progress::Refused;
            }
        }
    }

    /// Takes some bytes, at most to the end of the line; `false` when none are there.
    fn read(&mut self) -> io::Result<bool> {
        let fd = self.socket.as_raw_fd();
        let space = self.line.get_mut(self.len..).unwrap_or_default();
        let flags = MsgFlags::MSG_DONTWAIT;
        let peeked = match recv(fd, space, flags | MsgFlags::MSG_PEEK) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            result => result?,
        };
        let seen = space.get(..peeked).unwrap_or_default();
        let wanted = seen
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(peeked, |end| end + 1);
        let Some(space) = space.get_mut(..wanted) else {
            return Ok(false);
        };
        self.len += recv(fd, space, flags)?;
        Ok(true)
    }
}

/// The port of a line without its end: `CONNECT`, one space, decimal digits. A carriage return
/// before the end is allowed, as in Firecracker.
fn parse(line: &[u8]) -> Option<u32> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = line.strip_prefix(b"CONNECT ")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The answer to a client whose port accepted; `port` is the host's side.
pub(crate) fn accepted(port: u32) -> String {
    format!("OK {port}\n")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::*;

    fn pair() -> (Handshake, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Handshake::new(near, Instant::now()), far)
    }

    #[test]
    fn what_is_no_connect_line_is_refused() {
        let lines: [&[u8]; 9] = [
            b"\n",
            b"CONNECT\n",
            b"CONNECT \n",
            b"connect 5\n",
            b"CONNECT +5\n",
            b"CONNECT 5 \n",
            b"CONNECT 4294967296\n",
            b"CONNECT 5\0\n",
            b"CONNECT 00000000000000000000000000000000000005\n",
        ];
        for line in lines {
            let (mut handshake, mut far) = pair();
            far.write_all(line).unwrap();
            assert_eq!(handshake.advance(), Progress::Refused, "{line:?}");
        }
    }

    #[test]
    fn a_client_that_hangs_up_is_refused() {
        let (mut handshake, mut far) = pair();
        far.write_all(b"CONNECT 5").unwrap();
        assert_eq!(handshake.advance(), Progress::Waiting);
        drop(far);
        assert_eq!(handshake.advance(), Progress::Refused);
    }

    #[test]
    fn a_line_in_pieces_is_read_to_its_end_and_not_beyond() {
        let (mut handshake, mut far) = pair();
        for piece in ["CON", "NECT 42949", "67295\r"] {
            far.write_all(piece.as_bytes()).unwrap();
            assert_eq!(handshake.advance(), Progress::Waiting);
        }
        far.write_all(b"\nthe stream's").unwrap();
        assert_eq!(handshake.advance(), Progress::Port(u32::MAX));
        let mut rest = [0; 12];
        handshake.socket.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"the stream's");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let (mut handshake, mut far) = pair();
            far.write_all(&bytes).unwrap();
            let verdict = handshake.advance();
            let undecided = !bytes.contains(&b'\n') && bytes.len() < MAX_LINE;
            prop_assert_eq!(verdict == Progress::Waiting, undecided);
        }

        #[test]
        fn every_port_is_understood(port: u32) {
            let line = format!("CONNECT {port}");
            prop_assert_eq!(parse(line.as_bytes()), Some(port));
        }
    }
}
