//! As much of BER (X.690) as the envelope uses: one-byte tags, shortest definite lengths, and
//! indefinite lengths where the caller demands them.

use thiserror::Error;

use super::CmsError;

/// Reads elements from the front of a slice. Nothing recurses; nesting is the caller's.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn next_is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// The content of an element with this tag and a definite length (8.1.3.3 to 8.1.3.5), in the
    /// shortest form (10.1).
    pub(super) fn definite(&mut self, tag: u8, part: &'static str) -> Result<&'a [u8], CmsError> {
        self.tag(tag, part)?;
        let length = match self.byte(part)? {
            short @ 0..=0x7f => usize::from(short),
            0x81 => match self.byte(part)? {
                length @ 0x80..=0xff => usize::from(length),
                _ => return Err(refuse(part, BerError::LongLength)),
            },
            0x82 => match u16::from_be_bytes([self.byte(part)?, self.byte(part)?]) {
                length @ 0x100..=0xffff => usize::from(length),
                _ => return Err(refuse(part, BerError::LongLength)),
            },
            0x80 => return Err(refuse(part, BerError::Indefinite)),
            _ => return Err(refuse(part, BerError::Truncated)),
        };
        let split = self.rest.split_at_checked(length);
        let (content, rest) = split.ok_or_else(|| refuse(part, BerError::Truncated))?;
        self.rest = rest;
        Ok(content)
    }

    /// Enters an element with this tag and an indefinite length (8.1.3.6).
    pub(super) fn open_indefinite(&mut self, tag: u8, part: &'static str) -> Result<(), CmsError> {
        self.tag(tag, part)?;
        if self.byte(part)? != 0x80 {
            return Err(refuse(part, BerError::Definite));
        }
        Ok(())
    }

    /// Leaves an element of indefinite length: its end-of-contents octets (8.1.5).
    pub(super) fn close_indefinite(&mut self, part: &'static str) -> Result<(), CmsError> {
        if [self.byte(part)?, self.byte(part)?] != [0, 0] {
            return Err(refuse(part, BerError::NoEnd));
        }
        Ok(())
    }

    /// Demands that nothing is left.
    pub(super) fn end(&self, part: &'static str) -> Result<(), CmsError> {
        if !self.rest.is_empty() {
            return Err(refuse(part, BerError::Trailing));
        }
        Ok(())
    }

    fn tag(&mut self, expected: u8, part: &'static str) -> Result<(), CmsError> {
        let found = self.byte(part)?;
        if found != expected {
            return Err(refuse(part, BerError::Tag { expected, found }));
        }
        Ok(())
    }

    fn byte(&mut self, part: &'static str) -> Result<u8, CmsError> {
        let split = self.rest.split_first();
        let (byte, rest) = split.ok_or_else(|| refuse(part, BerError::Truncated))?;
        self.rest = rest;
        Ok(*byte)
    }
}

const fn refuse(part: &'static str, reason: BerError) -> CmsError {
    CmsError::Encoding { part, reason }
}

/// What is wrong with an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BerError {
    /// Another tag.
    #[error("tag {found:#04x} instead of {expected:#04x}")]
    Tag {
        /// The tag that was due.
        expected: u8,
        /// The tag that came.
        found: u8,
    },
    /// The element ends beyond the input, or has a length that no envelope has.
    #[error("it ends beyond the input")]
    Truncated,
    /// A length that is not in its shortest form.
    #[error("its length is not in the shortest form")]
    LongLength,
    /// An indefinite length where a definite one was expected.
    #[error("its length is indefinite")]
    Indefinite,
    /// A definite length where an indefinite one was expected.
    #[error("its length is definite")]
    Definite,
    /// No end-of-contents octets.
    #[error("something follows where it should end")]
    NoEnd,
    /// Bytes follow the last element.
    #[error("bytes follow its last element")]
    Trailing,
}
