//! Frames and the end of a message.

use std::io::{self, Read};

use zeroize::{Zeroize, Zeroizing};

use super::reader::FrameReader;
use super::verified::{MessageRef, Verified};
use crate::body::{self, FINAL_MARK, Kind, UNFRAMED_NUMBER};
use crate::context::EncryptionContext;
use crate::crypto::{Aead, Hash, NONCE_LENGTH, POINT_LENGTH, Provider, SHA384_LENGTH, TAG_LENGTH};
use crate::error::OpenError;
use crate::header::{Content, MessageId, read_exact};
use crate::limits::{Limits, MAX_SIGNATURE};
use crate::suite::Suite;
use crate::unreleased::{Unreleased, UnreleasedSink};

/// Memory for a frame grows in steps of this many bytes as its bytes arrive, so that a header that
/// announces long frames costs nothing until somebody sends them.
const GROWTH: usize = 64 * 1024;

/// A message whose header is authentic, giving its frames one by one.
///
/// Memory: one frame. After a refusal nothing more comes out of it.
pub struct Opener<R> {
    pub(super) input: R,
    pub(super) limits: Limits,
    pub(super) provider: &'static dyn Provider,
    pub(super) aead: Box<dyn Aead>,
    pub(super) signature: Option<([u8; POINT_LENGTH], Box<dyn Hash>)>,
    pub(super) suite: Suite,
    pub(super) content: Content,
    pub(super) message_id: MessageId,
    pub(super) context: EncryptionContext,
    pub(super) header_sha384: [u8; SHA384_LENGTH],
    pub(super) message: MessageRef,
    pub(super) buffer: Zeroizing<Vec<u8>>,
    pub(super) next_number: u32,
    pub(super) plaintext_length: u64,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Frames are due.
    Body,
    /// The end has verified.
    Verified,
    /// Something was refused.
    Refused,
}

impl<R: Read> Opener<R> {
    /// The message's suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The message's id.
    #[must_use]
    pub const fn message_id(&self) -> &MessageId {
        &self.message_id
    }

    /// The message's encryption context, authentic.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        &self.context
    }

    /// SHA-384 of the header with its tag.
    #[must_use]
    pub const fn header_sha384(&self) -> &[u8; SHA384_LENGTH] {
        &self.header_sha384
    }

    /// Marks a value as made from this message, to be released by its [`Verified`] only.
    pub const fn unreleased<T>(&self, value: T) -> Unreleased<T> {
        Unreleased::new(value, self.message)
    }

    /// Reads and checks the next frame and gives its plaintext; `None` after the last one.
    ///
    /// The plaintext of the last frame is given only after signature and end of input were checked,
    /// so a message of one frame never gives unverified plaintext.
    ///
    /// # Errors
    /// The frame, the signature or the end was refused; the opener is of no more use then.
    pub fn next_frame(&mut self) -> Result<Option<Unreleased<&[u8]>>, OpenError> {
        let Some(length) = self.advance()? else {
            return Ok(None);
        };
        let plaintext = self.buffer.get(..length).unwrap_or_default();
        Ok(Some(Unreleased::new(plaintext, self.message)))
    }

    /// The unreleased plaintext as one stream, for parsers. Call [`finish`](Self::finish) when it
    /// has ended.
    pub const fn reader(&mut self) -> FrameReader<'_, R> {
        FrameReader::new(self)
    }

    /// Writes all plaintext into an unreleased sink and demands the end.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame), or the sink failed.
    pub fn open_into(mut self, sink: &mut impl UnreleasedSink) -> Result<Verified, OpenError> {
        while let Some(frame) = self.next_frame()? {
            sink.write_unreleased(frame.peek())
                .map_err(OpenError::Write)?;
        }
        self.finish()
    }

    /// Demands that the message has ended as it must, and proves it.
    ///
    /// # Errors
    /// [`OpenError::Unfinished`] when frames are left, [`OpenError::AlreadyRefused`] after a refusal.
    pub fn finish(self) -> Result<Verified, OpenError> {
        match self.state {
            State::Body => Err(OpenError::Unfinished),
            State::Refused => Err(OpenError::AlreadyRefused),
            State::Verified => Ok(Verified {
                suite: self.suite,
                message_id: self.message_id,
                context: self.context,
                header_sha384: self.header_sha384,
                plaintext_length: self.plaintext_length,
                message: self.message,
            }),
        }
    }

    /// Brings the next frame's plaintext to the front of the buffer and gives its length.
    pub(super) fn advance(&mut self) -> Result<Option<usize>, OpenError> {
        match self.state {
            State::Verified => return Ok(None),
            State::Refused => return Err(OpenError::AlreadyRefused),
            State::Body => {}
        }
        let outcome = match self.content {
            Content::Framed(length) => self.read_frame(length),
            Content::Unframed => self.read_unframed(),
        };
        match outcome {
            Ok(length) => {
                self.plaintext_length = self.plaintext_length.saturating_add(length as u64);
                Ok(Some(length))
            }
            Err(error) => {
                self.buffer.zeroize();
                self.state = State::Refused;
                Err(error)
            }
        }
    }

    fn read_frame(&mut self, frame_length: u32) -> Result<usize, OpenError> {
        let first = u32::from_be_bytes(self.read_array("frame number")?);
        let is_final = first == FINAL_MARK;
        let number = if is_final {
            u32::from_be_bytes(self.read_array("frame number")?)
        } else {
            first
        };
        if number != self.next_number {
            return Err(OpenError::FrameNumber {
                expected: self.next_number,
                found: number,
            });
        }
        self.read_nonce(number)?;
        let length = if is_final {
            let length = u32::from_be_bytes(self.read_array("final frame length")?);
            if length > frame_length {
                let (limit, found) = (frame_length.into(), length.into());
                return Err(OpenError::ContentLength {
                    part: "final frame",
                    limit,
                    found,
                });
            }
            length
        } else {
            // The number after the last one that may stand in front of a frame marks the end.
            self.next_number = number.checked_add(1).ok_or(OpenError::TooManyFrames)?;
            frame_length
        };
        let kind = if is_final {
            Kind::FinalFrame
        } else {
            Kind::Frame
        };
        let length = usize::try_from(length).map_err(|_| OpenError::TooManyFrames)?;
        self.read_content(kind, number, length)?;
        if is_final {
            self.read_end()?;
        }
        Ok(length)
    }

    fn read_unframed(&mut self) -> Result<usize, OpenError> {
        self.read_nonce(UNFRAMED_NUMBER)?;
        let found = u64::from_be_bytes(self.read_array("body length")?);
        let limit = self.limits.unframed_length;
        let too_long = OpenError::ContentLength {
            part: "unframed body",
            limit,
            found,
        };
        let length = match usize::try_from(found) {
            Ok(length) if found <= limit => length,
            _ => return Err(too_long),
        };
        self.read_content(Kind::Unframed, UNFRAMED_NUMBER, length)?;
        self.read_end()?;
        Ok(length)
    }

    fn read_nonce(&mut self, number: u32) -> Result<(), OpenError> {
        let nonce: [u8; NONCE_LENGTH] = self.read_array("frame nonce")?;
        if nonce != body::nonce(number) {
            return Err(OpenError::FrameNonce { number });
        }
        Ok(())
    }

    /// Reads ciphertext and tag, and decrypts in place.
    fn read_content(&mut self, kind: Kind, number: u32, length: usize) -> Result<(), OpenError> {
        let limit = self.limits.plaintext_length;
        if self.plaintext_length.saturating_add(length as u64) > limit {
            return Err(OpenError::PlaintextLength { limit });
        }
        let mut filled = 0;
        while filled < length {
            let step = length.min(filled.saturating_add(GROWTH));
            if self.buffer.len() < step {
                self.buffer.resize(step, 0);
            }
            let part = self.buffer.get_mut(filled..step).unwrap_or_default();
            read_exact(&mut self.input, part, "frame content")?;
            filled = step;
        }
        let mut tag = [0; TAG_LENGTH];
        read_exact(&mut self.input, &mut tag, "frame tag")?;
        let content = self.buffer.get_mut(..length).unwrap_or_default();
        if let Some((_, hash)) = &mut self.signature {
            hash.update(content);
            hash.update(&tag);
        }
        let aad = body::aad(&self.message_id, kind, number, length as u64);
        self.aead
            .open(&body::nonce(number), &aad, content, &tag)
            .map_err(|_| OpenError::FrameTag { number })
    }

    /// The footer, if the suite signs, and the end of the input.
    fn read_end(&mut self) -> Result<(), OpenError> {
        if let Some((point, hash)) = self.signature.take() {
            let mut length = [0; 2];
            read_exact(&mut self.input, &mut length, "footer")?;
            let found = usize::from(u16::from_be_bytes(length));
            let mut signature = [0; MAX_SIGNATURE];
            let signature = match signature.get_mut(..found) {
                Some(signature) if found > 0 => signature,
                _ => {
                    return Err(OpenError::SignatureLength {
                        limit: MAX_SIGNATURE,
                        found,
                    });
                }
            };
            read_exact(&mut self.input, signature, "footer")?;
            self.provider
                .verify(&point, &hash.finish(), signature)
                .map_err(|_| OpenError::Signature)?;
        }
        if read_one(&mut self.input)? {
            return Err(OpenError::TrailingBytes);
        }
        self.state = State::Verified;
        Ok(())
    }

    /// Reads a fixed field of the body; signed like all of it.
    fn read_array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], OpenError> {
        let mut out = [0; N];
        read_exact(&mut self.input, &mut out, part)?;
        if let Some((_, hash)) = &mut self.signature {
            hash.update(&out);
        }
        Ok(out)
    }
}

/// Whether there is another byte.
fn read_one<R: Read>(input: &mut R) -> Result<bool, OpenError> {
    loop {
        match input.read(&mut [0]) {
            Ok(count) => return Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OpenError::Read(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::context::ContextRule;
    use crate::derive::DataKey;
    use crate::edk::EncryptedDataKey;
    use crate::open::UnverifiedMessage;
    use crate::plan::SealPlan;

    #[test]
    fn memory_follows_what_arrives_not_what_is_announced() {
        let key = DataKey::from_bytes(&[1; 32]).unwrap();
        let plan = SealPlan::new(Suite::Committed, EncryptionContext::empty()).unwrap();
        let plan = plan
            .with_frame_length(crate::limits::MAX_FRAME_LENGTH)
            .unwrap();
        let wrapped = EncryptedDataKey::new("p", [], [0]).unwrap();
        let header = plan.seal_to(Vec::new(), &key, vec![wrapped]).unwrap();
        let mut message = header.finish().unwrap().0;
        // Instead of the empty final frame, the beginning of a whole one.
        message.truncate(message.len() - 24 - TAG_LENGTH);
        message.write_all(&1u32.to_be_bytes()).unwrap();
        message.write_all(&body::nonce(1)).unwrap();
        message.write_all(&[0; 3 * GROWTH + 1]).unwrap();

        let rule = ContextRule::Exactly(EncryptionContext::empty());
        let begun = UnverifiedMessage::begin(&message[..]).unwrap();
        let mut opener = begun.authenticate(&key, &rule).unwrap();
        let frame_length = crate::limits::MAX_FRAME_LENGTH;
        assert!(matches!(
            opener.read_frame(frame_length),
            Err(OpenError::Truncated {
                part: "frame content"
            })
        ));
        assert_eq!(opener.buffer.len(), 4 * GROWTH);
    }

    #[test]
    fn the_numbers_end_where_the_mark_begins() {
        let key = DataKey::from_bytes(&[1; 32]).unwrap();
        let plan = SealPlan::new(Suite::Committed, EncryptionContext::empty()).unwrap();
        let plan = plan.with_frame_length(1).unwrap();
        let wrapped = EncryptedDataKey::new("p", [], [0]).unwrap();
        let mut sealer = plan.seal_to(Vec::new(), &key, vec![wrapped]).unwrap();
        sealer.skip_to(u32::MAX - 1);
        sealer.write_all(b"ab").unwrap();
        let message = sealer.finish().unwrap().0;

        let rule = ContextRule::Exactly(EncryptionContext::empty());
        let begun = UnverifiedMessage::begin(&message[..]).unwrap();
        let mut opener = begun.authenticate(&key, &rule).unwrap();
        opener.next_number = u32::MAX - 1;
        assert_eq!(opener.next_frame().unwrap().unwrap().peek(), &b"a");
        assert_eq!(opener.next_frame().unwrap().unwrap().peek(), &b"b");
        assert!(opener.next_frame().unwrap().is_none());
        assert!(opener.finish().is_ok());
    }
}
