//! Frames between an application and whoever carries its data: `type u8 | length u32 | payload`,
//! big-endian. What the types are, and their order, is the application's.
//!
//! ```
//! use anchorhold_enclave::frame::{self, Pieces, PieceFrames};
//! use std::io::Read;
//!
//! const RECORDS: u8 = 0x05;
//! const END: u8 = 0x06;
//! let mut sent = Vec::new();
//! frame::write_pieces(&mut sent, RECORDS, b"a,b\n1,2\n")?;
//! frame::write(&mut sent, END, b"")?;
//!
//! let frames = PieceFrames { piece: RECORDS, end: END };
//! let mut records = String::new();
//! Pieces::new(&sent[..], frames).read_to_string(&mut records)?;
//! assert_eq!(records, "a,b\n1,2\n");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, Read, Write};

/// The largest payload in bytes that any frame may have; most have a smaller bound of their own.
pub const MAX_PAYLOAD: usize = 256 * 1024;

/// The payload size in bytes in which long content is sent.
pub const PIECE: usize = 64 * 1024;

/// Why a frame is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed or ended.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// A payload above what its frame may carry.
    #[error("frame {frame:#04x} announces {got} bytes, at most {max} are allowed")]
    TooLarge {
        /// The frame's type.
        frame: u8,
        /// The limit in bytes.
        max: usize,
        /// The announced length in bytes.
        got: usize,
    },
    /// Another frame than the protocol has in this place.
    #[error("expected frame {expected:#04x}, got {got:#04x}")]
    Unexpected {
        /// The type that belongs here.
        expected: u8,
        /// The type that came.
        got: u8,
    },
    /// A piece without content: endless ones would be a stream without an end.
    #[error("expected a piece of at least one byte in frame {frame:#04x}, got none")]
    Empty {
        /// The frame's type.
        frame: u8,
    },
}

impl FrameError {
    /// The rule that refused.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Io(_) => "wire.connection",
            Self::TooLarge { .. } => "wire.size",
            Self::Unexpected { .. } | Self::Empty { .. } => "wire.order",
        }
    }

    /// The frame's error that a reader of [`Pieces`] failed with, if that was why.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

/// Reads a frame's type, and its payload of at most `max` bytes.
///
/// # Errors
/// [`FrameError`]; the stream is of no use then.
pub fn read(from: &mut impl Read, payload: &mut Vec<u8>, max: usize) -> Result<u8, FrameError> {
    let mut head = [0_u8; 5];
    from.read_exact(&mut head)?;
    let [frame, length @ ..] = head;
    let got = u32::from_be_bytes(length) as usize;
    let max = max.min(MAX_PAYLOAD);
    if got > max {
        return Err(FrameError::TooLarge { frame, max, got });
    }
    payload.resize(got, 0);
    from.read_exact(payload)?;
    Ok(frame)
}

/// Reads the frame that must come next.
///
/// # Errors
/// [`FrameError`], also for a frame of another type or a payload above `max` bytes.
pub fn expect(from: &mut impl Read, expected: u8, max: usize) -> Result<Vec<u8>, FrameError> {
    let mut payload = Vec::new();
    let got = read(from, &mut payload, max)?;
    if got != expected {
        return Err(FrameError::Unexpected { expected, got });
    }
    Ok(payload)
}

/// Writes a frame. The payload must not exceed [`MAX_PAYLOAD`].
///
/// # Errors
/// Those of the stream, and `InvalidInput` for a payload that is too large.
pub fn write(to: &mut impl Write, frame: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= MAX_PAYLOAD)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "payload above the frame's"))?;
    let mut head = [0; 5];
    head[0] = frame;
    head[1..].copy_from_slice(&length.to_be_bytes());
    to.write_all(&head)?;
    to.write_all(payload)
}

/// Writes bytes as frames of one type, in pieces of [`PIECE`].
///
/// # Errors
/// Those of the stream.
pub fn write_pieces(to: &mut impl Write, frame: u8, bytes: &[u8]) -> io::Result<()> {
    bytes
        .chunks(PIECE)
        .try_for_each(|piece| write(to, frame, piece))
}

/// The types of the frames that one long content comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceFrames {
    /// A piece of it, of 1 to [`MAX_PAYLOAD`] bytes.
    pub piece: u8,
    /// The end of it; empty.
    pub end: u8,
}

/// Long content as one stream: the payloads of its pieces up to its end. A stream that stops before
/// the end fails.
pub struct Pieces<R> {
    from: R,
    frames: PieceFrames,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    /// Reads content from a stream whose next frame is one of its pieces, or its end.
    pub const fn new(from: R, frames: PieceFrames) -> Self {
        Self::after(Vec::new(), from, frames)
    }

    /// The same for content whose beginning came before.
    pub const fn after(start: Vec<u8>, from: R, frames: PieceFrames) -> Self {
        Self {
            from,
            frames,
            piece: start,
            at: 0,
            ended: false,
        }
    }

    fn next(&mut self) -> Result<(), FrameError> {
        self.at = 0;
        let PieceFrames { piece, end } = self.frames;
        let got = read(&mut self.from, &mut self.piece, MAX_PAYLOAD)?;
        match (got, self.piece.is_empty()) {
            (got, false) if got == piece => Ok(()),
            (frame, true) if frame == piece => Err(FrameError::Empty { frame }),
            (got, true) if got == end => {
                self.ended = true;
                Ok(())
            }
            (frame, false) if frame == end => Err(FrameError::TooLarge {
                frame,
                max: 0,
                got: self.piece.len(),
            }),
            (got, _) => Err(FrameError::Unexpected {
                expected: piece,
                got,
            }),
        }
    }
}

impl<R: Read> Read for Pieces<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && self.at >= self.piece.len() {
            self.next().map_err(io::Error::other)?;
        }
        let rest = self.piece.get(self.at..).filter(|_| !self.ended);
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at = self.at.saturating_add(count);
        Ok(count)
    }
}

/// A stream whose bytes leave as frames of one type, in pieces of [`PIECE`].
pub struct FrameWriter<'a, W: Write> {
    to: &'a mut W,
    frame: u8,
    piece: Vec<u8>,
}

impl<'a, W: Write> FrameWriter<'a, W> {
    /// Writes frames of type `frame` to a stream.
    pub fn new(to: &'a mut W, frame: u8) -> Self {
        Self {
            to,
            frame,
            piece: Vec::with_capacity(PIECE),
        }
    }
}

impl<W: Write> Write for FrameWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE.saturating_sub(self.piece.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.piece.extend_from_slice(taken);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            write(self.to, self.frame, &self.piece)?;
            self.piece.clear();
        }
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JOB: u8 = 0x01;
    const RECORDS: u8 = 0x05;
    const END: u8 = 0x06;
    const FRAMES: PieceFrames = PieceFrames {
        piece: RECORDS,
        end: END,
    };

    fn rule(sent: &[u8], frame: u8) -> &'static str {
        expect(&mut &sent[..], frame, 10).unwrap_err().rule()
    }

    #[test]
    fn frames_that_are_refused() {
        assert_eq!(rule(&[END, 0xFF, 0xFF, 0xFF, 0xFF], END), "wire.size");
        let mut other = Vec::new();
        write(&mut other, END, b"").unwrap();
        assert_eq!(rule(&other, JOB), "wire.order");
        assert_eq!(rule(&other[..3], END), "wire.connection");
        let mut long = Vec::new();
        write(&mut long, JOB, b"12345678901").unwrap();
        assert_eq!(rule(&long, JOB), "wire.size");
        assert_eq!(rule(&long[..8], JOB), "wire.size", "before it is read");
        assert!(write(&mut Vec::new(), JOB, &vec![0; MAX_PAYLOAD + 1]).is_err());
        let most = [JOB, 0, 4, 0, 1];
        let error = expect(&mut &most[..], JOB, usize::MAX).unwrap_err();
        assert_eq!(error.rule(), "wire.size", "no caller allows more than all");
    }

    #[test]
    fn content_must_end() {
        let mut sent = Vec::new();
        write(&mut sent, RECORDS, b"abc").unwrap();
        let failed = |sent: &[u8]| {
            let read = Pieces::new(sent, FRAMES).read_to_end(&mut Vec::new());
            FrameError::of(&read.unwrap_err()).map(FrameError::rule)
        };
        // A stream that stops without its end is no content.
        assert_eq!(failed(&sent), Some("wire.connection"));
        let whole = sent.len();
        for (frame, payload, rule) in [
            (END, &b"x"[..], "wire.size"),
            (RECORDS, b"", "wire.order"),
            (JOB, b"x", "wire.order"),
            (JOB, b"", "wire.order"),
        ] {
            sent.truncate(whole);
            write(&mut sent, frame, payload).unwrap();
            write(&mut sent, END, b"").unwrap();
            assert_eq!(failed(&sent), Some(rule), "{frame:#04x}");
        }
    }

    #[test]
    fn an_error_of_another_kind_is_not_a_frames() {
        assert!(FrameError::of(&io::Error::other("else")).is_none());
        assert!(FrameError::of(&io::ErrorKind::TimedOut.into()).is_none());
    }

    proptest! {
        #[test]
        fn content_comes_out_as_it_went_in(start in proptest::collection::vec(any::<u8>(), 0..50),
            pieces in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 1..50), 0..10))
        {
            let mut sent = Vec::new();
            for piece in &pieces {
                write(&mut sent, RECORDS, piece).unwrap();
            }
            write(&mut sent, END, b"").unwrap();
            let (mut got, mut from) = (Vec::new(), sent.as_slice());
            Pieces::after(start.clone(), &mut from, FRAMES).read_to_end(&mut got).unwrap();
            prop_assert_eq!(got, [start, pieces.concat()].concat());
            prop_assert!(from.is_empty());
        }

        #[test]
        fn written_content_is_read_again(
            writes in proptest::collection::vec(0..3 * PIECE, 0..6),
        ) {
            let mut sent = Vec::new();
            let mut writer = FrameWriter::new(&mut sent, RECORDS);
            for length in &writes {
                writer.write_all(&vec![7; *length]).unwrap();
            }
            writer.flush().unwrap();
            write(&mut sent, END, b"").unwrap();
            let mut got = Vec::new();
            Pieces::new(&sent[..], FRAMES).read_to_end(&mut got).unwrap();
            prop_assert_eq!(got.len(), writes.iter().sum::<usize>());
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = expect(&mut &bytes[..], JOB, MAX_PAYLOAD);
            let _ = Pieces::new(&bytes[..], FRAMES).read_to_end(&mut Vec::new());
        }
    }
}
