//! Frames out of a byte stream, however it is chopped.

use std::ops::RangeInclusive;

use crate::error::FrameError;
use crate::limits::{FRAME_HEADER, MAX_FRAME};

/// Room for so many of the longest frames, so that a stream is read in large pieces, and what is
/// read of a frame that is not whole is seldom moved.
const CAPACITY: usize = 4 * (FRAME_HEADER + MAX_FRAME);

/// Cuts a byte stream into frames: `length u16 big-endian | body`.
///
/// ```
/// use anchorhold_channel::Deframer;
///
/// let mut deframer = Deframer::new();
/// deframer.space()[..4].copy_from_slice(&[0, 3, b'a', b'b']);
/// deframer.filled(4);
/// assert_eq!(deframer.take(&(1..=8))?, None);
/// deframer.space()[..3].copy_from_slice(&[b'c', 0, 9]);
/// deframer.filled(3);
/// assert_eq!(deframer.take(&(1..=8))?, Some(&b"abc"[..]));
/// assert_eq!(deframer.take(&(1..=8)).unwrap_err().rule(), "frame.length");
/// # Ok::<(), anchorhold_channel::FrameError>(())
/// ```
pub struct Deframer {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deframer {
    /// With room for four frames of the greatest length, 256 KiB.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; CAPACITY],
            start: 0,
            end: 0,
        }
    }

    /// Where the stream's next bytes go. Never empty once [`Deframer::take`] has found no whole
    /// frame.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.buffer.len() - self.end < FRAME_HEADER + MAX_FRAME {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that so many bytes were put at the beginning of [`Deframer::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Whether the next frame is whole. A length outside `bounds` is refused as soon as it is there.
    pub fn peek(&self, bounds: &RangeInclusive<usize>) -> Result<bool, FrameError> {
        self.next(bounds).map(|body| body.is_some())
    }

    /// The body of the next frame, if it is whole. A length outside `bounds` is refused as soon as
    /// it is there, again with every call.
    pub fn take(&mut self, bounds: &RangeInclusive<usize>) -> Result<Option<&[u8]>, FrameError> {
        let Some(length) = self.next(bounds)?.map(<[u8]>::len) else {
            return Ok(None);
        };
        let body = self.start + FRAME_HEADER;
        self.start = body + length;
        Ok(self.buffer.get(body..self.start))
    }

    fn next(&self, bounds: &RangeInclusive<usize>) -> Result<Option<&[u8]>, FrameError> {
        let pending = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some((header, rest)) = pending.split_first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*header));
        if !bounds.contains(&length) {
            return Err(FrameError {
                expected: bounds.clone(),
                got: length,
            });
        }
        Ok(rest.get(..length))
    }

    /// Bytes that are there and not taken yet.
    pub fn pending(&self) -> usize {
        self.end - self.start
    }
}
