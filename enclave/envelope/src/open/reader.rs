//! Frames as one stream.

use std::io::{self, BufRead, Read};

use super::opener::Opener;
#[cfg(doc)]
use crate::error::OpenError;

/// The unreleased plaintext of a message as a stream of bytes.
///
/// A refusal comes out as [`io::ErrorKind::InvalidData`] with the [`OpenError`] inside. That the
/// stream ends without an error means that the message has verified; [`Opener::finish`] then gives
/// the proof.
pub struct FrameReader<'a, R> {
    opener: &'a mut Opener<R>,
    start: usize,
    end: usize,
}

impl<'a, R> FrameReader<'a, R> {
    pub(super) const fn new(opener: &'a mut Opener<R>) -> Self {
        Self {
            opener,
            start: 0,
            end: 0,
        }
    }
}

impl<R: Read> BufRead for FrameReader<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end {
            match self.opener.advance() {
                Ok(Some(length)) => (self.start, self.end) = (0, length),
                Ok(None) => return Ok(&[]),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(self
            .opener
            .buffer
            .get(self.start..self.end)
            .unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.start.saturating_add(amount).min(self.end);
    }
}

impl<R: Read> Read for FrameReader<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(out)?;
        self.consume(count);
        Ok(count)
    }
}
