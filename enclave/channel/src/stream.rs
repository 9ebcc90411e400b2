//! A channel over a blocking byte stream.

use std::io;
use std::io::{ErrorKind, Read, Write};
use std::ops::RangeInclusive;

use anchorhold_verifier::Timestamp;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::attestor::Attestor;
use crate::binding::{Role, Transcript};
use crate::error::ChannelError;
use crate::frame::Deframer;
use crate::handshake::{Established, Handshake, Progress};
use crate::policy::{Peer, Terms};
use crate::record::{Opened, Opener, Sealer};

/// A channel whose peer was appraised, over a stream that is read at one end and written at another
/// (two clones of a socket, or two references to it).
///
/// Nothing here waits by a clock: deadlines are the transport's. A socket's read timeout bounds
/// each read; [`Timed`](crate::Timed) bounds all of them together.
pub struct Channel<R, W> {
    sender: Sender<W>,
    receiver: Receiver<R>,
    peer: Peer,
    transcript: Transcript,
}

impl<R: Read, W: Write> Channel<R, W> {
    /// Runs the handshake as the side that begins. `clock` says the present when the peer's
    /// document has come.
    pub fn initiate(
        reader: R,
        mut writer: W,
        terms: Terms,
        attestor: &mut impl Attestor,
        clock: impl Fn() -> Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, ChannelError> {
        let (first, handshake) = Handshake::initiate(terms, rng)?;
        write(&mut writer, &first, "to send the first message")?;
        Self::run(handshake, reader, writer, attestor, clock)
    }

    /// Runs the handshake as the side that answers.
    pub fn respond(
        reader: R,
        writer: W,
        terms: Terms,
        attestor: &mut impl Attestor,
        clock: impl Fn() -> Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, ChannelError> {
        let handshake = Handshake::respond(terms, rng)?;
        Self::run(handshake, reader, writer, attestor, clock)
    }

    fn run(
        mut handshake: Handshake,
        reader: R,
        mut writer: W,
        attestor: &mut impl Attestor,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Self, ChannelError> {
        let mut frames = Frames::new(reader);
        loop {
            let waiting = match handshake.role() {
                Role::Initiator => "the responder's part of the handshake",
                Role::Responder => "the initiator's part of the handshake",
            };
            let body = frames.take(handshake.bounds(), waiting)?;
            match handshake.receive(body, attestor, clock())? {
                Progress::Continue {
                    send,
                    handshake: next,
                } => {
                    write(&mut writer, &send, "to send the handshake")?;
                    handshake = next;
                }
                Progress::Established(established) => {
                    return Self::established(*established, frames, writer);
                }
            }
        }
    }

    fn established(
        established: Established,
        frames: Frames<R>,
        mut writer: W,
    ) -> Result<Self, ChannelError> {
        if let Some(evidence) = established.send {
            write(&mut writer, &evidence, "to send the own evidence")?;
        }
        let transcript = established.session.transcript();
        let (sealer, opener) = established.session.split();
        Ok(Self {
            sender: Sender { sealer, writer },
            receiver: Receiver { opener, frames },
            peer: established.peer,
            transcript,
        })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What names this session and no other.
    pub fn transcript(&self) -> Transcript {
        self.transcript
    }

    /// [`Sender::send`].
    pub fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        self.sender.send(message)
    }

    /// [`Receiver::receive`].
    pub fn receive(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, ChannelError> {
        self.receiver.receive()
    }

    /// [`Receiver::receive_into`].
    pub fn receive_into(&mut self, message: &mut Zeroizing<Vec<u8>>) -> Result<bool, ChannelError> {
        self.receiver.receive_into(message)
    }

    /// [`Sender::close`].
    pub fn close(&mut self) -> Result<(), ChannelError> {
        self.sender.close()
    }

    /// The two directions, for a thread each. Where both sides send more than the transport
    /// buffers before they read, one thread would wait for ever.
    pub fn split(self) -> (Sender<W>, Receiver<R>) {
        (self.sender, self.receiver)
    }
}

/// The direction to the peer. Dropping it closes nothing: without [`Sender::close`] the peer is
/// told that the stream was cut.
pub struct Sender<W> {
    sealer: Sealer,
    writer: W,
}

impl<W: Write> Sender<W> {
    /// Sends a message. Returns when the transport has taken it, which says nothing about the
    /// peer. After a failure the direction is over.
    pub fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        let writer = &mut self.writer;
        self.sealer.seal_with(message, |frames| {
            writer
                .write_all(frames)
                .map_err(|error| failure("to send a message", error))
        })?;
        writer.flush().map_err(|error| {
            self.sealer.end();
            failure("to send a message", error)
        })
    }

    /// Tells the peer that no more comes. The other direction goes on.
    pub fn close(&mut self) -> Result<(), ChannelError> {
        let frame = self.sealer.close()?;
        write(&mut self.writer, &frame, "to send the close record")
    }

    /// The transport, to set its deadlines.
    pub fn transport(&self) -> &W {
        &self.writer
    }
}

/// The direction from the peer.
pub struct Receiver<R> {
    opener: Opener,
    frames: Frames<R>,
}

impl<R: Read> Receiver<R> {
    /// Waits for the next whole message; none after the peer's close record.
    ///
    /// A stream that ends without one is refused as truncated. After a passed deadline the same
    /// call may be made again; after any other failure it must not.
    pub fn receive(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, ChannelError> {
        if self.opener.is_closed() {
            return Ok(None);
        }
        loop {
            let body = self
                .frames
                .take(self.opener.bounds(), "a record or the close record")?;
            match self.opener.open(body)? {
                Opened::Part => {}
                Opened::Message(message) => return Ok(Some(message)),
                Opened::Closed => return Ok(None),
            }
        }
    }

    /// As [`Receiver::receive`], in the memory of an earlier message: for many or large ones, whose
    /// memory costs more to have, and to wipe each time, than the messages cost to open. Says
    /// whether one came; where none did, `message` is empty.
    ///
    /// Behind a message that is shorter than an earlier one some of that lies on in the spare
    /// capacity, until it is overwritten, or wiped with the rest when the memory is dropped.
    pub fn receive_into(&mut self, message: &mut Zeroizing<Vec<u8>>) -> Result<bool, ChannelError> {
        self.opener.reuse(std::mem::take(message));
        match self.receive()? {
            Some(received) => *message = received,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// The transport, to set its deadlines.
    pub fn transport(&self) -> &R {
        &self.frames.reader
    }
}

/// A stream cut into frames.
struct Frames<R> {
    reader: R,
    deframer: Deframer,
}

impl<R: Read> Frames<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            deframer: Deframer::new(),
        }
    }

    fn take(
        &mut self,
        bounds: RangeInclusive<usize>,
        expected: &'static str,
    ) -> Result<&[u8], ChannelError> {
        while !self.deframer.peek(&bounds)? {
            match self.reader.read(self.deframer.space()) {
                Ok(0) => {
                    return Err(ChannelError::Truncated {
                        expected,
                        got: self.deframer.pending(),
                    });
                }
                Ok(count) => self.deframer.filled(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(expected, error)),
            }
        }
        Ok(self.deframer.take(&bounds)?.unwrap_or_default())
    }
}

fn write(writer: &mut impl Write, frame: &[u8], what: &'static str) -> Result<(), ChannelError> {
    writer
        .write_all(frame)
        .and_then(|()| writer.flush())
        .map_err(|error| failure(what, error))
}

/// Sockets say `WouldBlock` when their timeout passes, other transports `TimedOut`.
fn failure(expected: &'static str, source: io::Error) -> ChannelError {
    match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ChannelError::Deadline { expected, source },
        _ => ChannelError::Transport { expected, source },
    }
}
