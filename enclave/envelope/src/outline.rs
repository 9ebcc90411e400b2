//! What a message says of itself, to whoever has no key.

use std::io::{self, Read};

use crate::body::{self, FINAL_MARK, UNFRAMED_NUMBER};
use crate::context::EncryptionContext;
use crate::crypto::{NONCE_LENGTH, TAG_LENGTH, default_provider};
use crate::edk::EncryptedDataKey;
use crate::error::OpenError;
use crate::header::{Content, MessageId, read_exact};
use crate::limits::{Limits, MAX_SIGNATURE};
use crate::open::UnverifiedMessage;
use crate::suite::Suite;

/// The parts of a message, counted without its key.
///
/// This establishes that the message has the form of one, to its end. It establishes nothing else:
/// no tag and no signature was checked, and all of it may be anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    suite: Suite,
    message_id: MessageId,
    context: EncryptionContext,
    data_keys: Vec<EncryptedDataKey>,
    frame_length: Option<u32>,
    frames: u64,
    plaintext_length: u64,
    signature_length: Option<usize>,
}

impl Outline {
    /// Reads a message to its end. Memory: the header. Give it a buffered reader.
    ///
    /// # Errors
    /// The message is malformed, goes beyond a limit, or does not end where it should.
    pub fn read(input: impl Read, limits: Limits) -> Result<Self, OpenError> {
        let begun = UnverifiedMessage::begin_with(input, limits, default_provider())?;
        let (mut input, header) = begun.into_parts();
        let mut outline = Self {
            suite: header.suite,
            message_id: header.message_id,
            context: header.context,
            data_keys: header.data_keys,
            frame_length: match header.content {
                Content::Framed(length) => Some(length),
                Content::Unframed => None,
            },
            frames: 0,
            plaintext_length: 0,
            signature_length: None,
        };
        match outline.frame_length {
            Some(length) => while !outline.frame(&mut input, length, &limits)? {},
            None => outline.unframed(&mut input, &limits)?,
        }
        outline.end(&mut input)?;
        Ok(outline)
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The id.
    #[must_use]
    pub const fn message_id(&self) -> &MessageId {
        &self.message_id
    }

    /// The encryption context that stands in the header.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        &self.context
    }

    /// The wrapped forms of the data key.
    #[must_use]
    pub fn encrypted_data_keys(&self) -> &[EncryptedDataKey] {
        &self.data_keys
    }

    /// Length of a frame in bytes, or `None` for an unframed body.
    #[must_use]
    pub const fn frame_length(&self) -> Option<u32> {
        self.frame_length
    }

    /// Number of frames, the final one included; 1 for an unframed body.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Length of the plaintext, in bytes: GCM keeps lengths.
    #[must_use]
    pub const fn plaintext_length(&self) -> u64 {
        self.plaintext_length
    }

    /// Length of the signature in bytes, for a suite that signs.
    #[must_use]
    pub const fn signature_length(&self) -> Option<usize> {
        self.signature_length
    }

    /// Passes one frame, and tells whether it was the final one.
    fn frame(
        &mut self,
        input: &mut impl Read,
        frame_length: u32,
        limits: &Limits,
    ) -> Result<bool, OpenError> {
        let first = u32::from_be_bytes(array(input, "frame number")?);
        let is_final = first == FINAL_MARK;
        let found = if is_final {
            u32::from_be_bytes(array(input, "frame number")?)
        } else {
            first
        };
        let expected = u32::try_from(self.frames + 1).map_err(|_| OpenError::TooManyFrames)?;
        if found != expected {
            return Err(OpenError::FrameNumber { expected, found });
        }
        nonce(input, found)?;
        let mut length = frame_length;
        if is_final {
            length = u32::from_be_bytes(array(input, "final frame length")?);
            if length > frame_length {
                return Err(OpenError::ContentLength {
                    part: "final frame",
                    limit: frame_length.into(),
                    found: length.into(),
                });
            }
        }
        self.content(input, length.into(), limits)?;
        Ok(is_final)
    }

    fn unframed(&mut self, input: &mut impl Read, limits: &Limits) -> Result<(), OpenError> {
        nonce(input, UNFRAMED_NUMBER)?;
        let found = u64::from_be_bytes(array(input, "body length")?);
        let limit = limits.unframed_length;
        if found > limit {
            return Err(OpenError::ContentLength {
                part: "unframed body",
                limit,
                found,
            });
        }
        self.content(input, found, limits)
    }

    /// Passes a ciphertext and its tag.
    fn content(
        &mut self,
        input: &mut impl Read,
        length: u64,
        limits: &Limits,
    ) -> Result<(), OpenError> {
        self.plaintext_length = self.plaintext_length.saturating_add(length);
        if self.plaintext_length > limits.plaintext_length {
            let limit = limits.plaintext_length;
            return Err(OpenError::PlaintextLength { limit });
        }
        let passed = io::copy(&mut input.take(length), &mut io::sink());
        if passed.map_err(OpenError::Read)? != length {
            return Err(OpenError::Truncated {
                part: "frame content",
            });
        }
        array::<TAG_LENGTH>(input, "frame tag")?;
        self.frames += 1;
        Ok(())
    }

    fn end(&mut self, input: &mut impl Read) -> Result<(), OpenError> {
        if self.suite.is_signed() {
            let found = usize::from(u16::from_be_bytes(array(input, "footer")?));
            let mut signature = [0; MAX_SIGNATURE];
            let limit = MAX_SIGNATURE;
            match signature.get_mut(..found) {
                Some(signature) if found > 0 => read_exact(input, signature, "footer")?,
                _ => return Err(OpenError::SignatureLength { limit, found }),
            }
            self.signature_length = Some(found);
        }
        let more = io::copy(&mut input.take(1), &mut io::sink()).map_err(OpenError::Read)?;
        if more > 0 {
            return Err(OpenError::TrailingBytes);
        }
        Ok(())
    }
}

fn nonce(input: &mut impl Read, number: u32) -> Result<(), OpenError> {
    let nonce: [u8; NONCE_LENGTH] = array(input, "frame nonce")?;
    if nonce != body::nonce(number) {
        return Err(OpenError::FrameNonce { number });
    }
    Ok(())
}

fn array<const N: usize>(input: &mut impl Read, part: &'static str) -> Result<[u8; N], OpenError> {
    let mut out = [0; N];
    read_exact(input, &mut out, part)?;
    Ok(out)
}
