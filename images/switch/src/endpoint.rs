//! The host's side of a stream: its socket and the bytes that the socket did not take.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::epoll::EpollFlags;
use vm_memory::VolatileSlice;

use crate::io::{receive, send};
use crate::poller::{Poller, Token};
use crate::protocol::StreamId;

/// Events of a stream's socket, each told once per change.
const READ_EVENTS: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

/// Bytes moved from guest memory into the buffer at a time.
const COPY: usize = 4096;

/// Where the bytes of a stream come from and go to on the host.
#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    socket: Option<UnixStream>,
    /// Bytes of the guest's that the socket did not take; the stream's window bounds them. Its
    /// memory is given back whenever it runs empty.
    buffer: VecDeque<u8>,
    /// The socket took less than it was given and has not said that it takes more.
    full: bool,
    /// The peer ended its sending; whether all of it was read is for the reader to find out.
    pub(crate) read_hangup: bool,
    /// The peer ended both directions.
    pub(crate) hangup: bool,
    /// The end of the peer's bytes was read.
    pub(crate) read_end: bool,
    /// How many bytes the last read gave: a guess at what the next one will.
    pub(crate) read_hint: usize,
}

impl Endpoint {
    /// An endpoint over a connected, non-blocking socket.
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self {
            socket: Some(socket),
            ..Self::default()
        }
    }

    /// Gives the endpoint its socket.
    pub(crate) fn attach(&mut self, socket: UnixStream) {
        self.socket = Some(socket);
    }

    /// The socket, once connected.
    pub(crate) fn socket(&self) -> Option<&UnixStream> {
        self.socket.as_ref()
    }

    /// Begins to watch the socket as that of stream `id`; `known` if it is watched as another.
    pub(crate) fn watch(&self, poller: &Poller, id: StreamId, known: bool) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        if known {
            poller.modify(socket, Token::Stream(id), READ_EVENTS)
        } else {
            poller.add(socket, Token::Stream(id), READ_EVENTS)
        }
    }

    /// Bytes that wait for the socket.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Sends `pieces`, of which the socket takes what it can and the buffer the rest. The number
    /// of bytes that are the socket's comes back.
    ///
    /// # Errors
    /// The socket's, when it will never take anything again.
    pub(crate) fn push(
        &mut self,
        pieces: &[VolatileSlice<'_>],
        poller: &Poller,
        id: StreamId,
    ) -> io::Result<usize> {
        let Some(socket) = &self.socket else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let total: usize = pieces.iter().map(VolatileSlice::len).sum();
        let taken = if self.full {
            0
        } else {
            would_block_is_zero(send(socket.as_fd(), pieces))?
        };
        if taken < total {
            if !self.full {
                let events = READ_EVENTS | EpollFlags::EPOLLOUT;
                poller.modify(socket, Token::Stream(id), events)?;
                self.full = true;
            }
            self.keep(pieces, taken);
        }
        Ok(taken)
    }

    /// Copies `pieces` without their first `skip` bytes into the buffer.
    fn keep(&mut self, pieces: &[VolatileSlice<'_>], mut skip: usize) {
        let mut block = [0; COPY];
        for piece in pieces {
            let mut offset = skip.min(piece.len());
            skip -= offset;
            while let Ok(rest) = piece.offset(offset) {
                let copied = rest.copy_to(&mut block);
                self.make_room(copied);
                self.buffer.extend(&block[..copied]);
                offset += copied;
                if copied < COPY {
                    break;
                }
            }
        }
    }

    /// Grows the buffer to a power of two, so that it is never larger than the stream's window,
    /// which is one.
    fn make_room(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed > self.buffer.capacity() {
            self.buffer
                .reserve_exact(needed.next_power_of_two() - self.buffer.len());
        }
    }

    /// Sends from the buffer what the socket takes now that it takes something again; the number
    /// of bytes comes back.
    ///
    /// # Errors
    /// The socket's, when it will never take anything again.
    pub(crate) fn flush(&mut self, poller: &Poller, id: StreamId) -> io::Result<usize> {
        let Some(socket) = &self.socket else {
            return Ok(0);
        };
        let mut flushed = 0;
        while !self.buffer.is_empty() {
            let (front, back) = self.buffer.as_mut_slices();
            let pieces = [VolatileSlice::from(front), VolatileSlice::from(back)];
            let taken = would_block_is_zero(send(socket.as_fd(), &pieces))?;
            if taken == 0 {
                return Ok(flushed);
            }
            self.buffer.drain(..taken);
            flushed += taken;
        }
        self.buffer = VecDeque::new();
        if self.full {
            self.full = false;
            poller.modify(socket, Token::Stream(id), READ_EVENTS)?;
        }
        Ok(flushed)
    }

    /// Drops what is buffered: the socket will not take it.
    pub(crate) fn discard(&mut self) {
        self.buffer = VecDeque::new();
    }

    /// Reads into `pieces` what is there; 0 is the end.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` when nothing is there now.
    pub(crate) fn pull(&mut self, pieces: &[VolatileSlice<'_>]) -> io::Result<usize> {
        match &self.socket {
            Some(socket) => receive(socket.as_fd(), pieces),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket with what is still to go out on it, if there is anything.
    pub(crate) fn into_rest(self) -> Option<(UnixStream, VecDeque<u8>)> {
        let socket = self.socket?;
        (!self.buffer.is_empty()).then_some((socket, self.buffer))
    }
}

fn would_block_is_zero(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
