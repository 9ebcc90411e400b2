//! Sealing: frames and footer, behind the header that a plan wrote.

use std::io::{self, Write};
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::body::{self, FINAL_MARK, Kind};
use crate::context::EncryptionContext;
use crate::crypto::{Aead, Hash, SHA384_LENGTH, Signer};
use crate::error::SealError;
use crate::header::MessageId;
use crate::suite::Suite;

/// Takes plaintext and writes frames. Memory: one frame.
///
/// A sealer that is dropped without [`finish`](Self::finish) leaves a message without an end, which
/// every opener refuses.
#[must_use = "a message ends with `finish`"]
pub struct Sealer<W> {
    pub(crate) output: W,
    pub(crate) aead: Box<dyn Aead>,
    pub(crate) signature: Option<(Arc<dyn Signer>, Box<dyn Hash>)>,
    pub(crate) buffer: Zeroizing<Vec<u8>>,
    pub(crate) frame_length: usize,
    pub(crate) number: u32,
    pub(crate) failed: bool,
    /// Bytes of plaintext that may still come.
    pub(crate) left: u64,
    pub(crate) plaintext_limit: u64,
    pub(crate) sealed: Sealed,
}

impl<W: Write> Sealer<W> {
    /// Writes the final frame and the footer, flushes, and gives the output back.
    ///
    /// # Errors
    /// The output failed, now or before.
    pub fn finish(mut self) -> Result<(W, Sealed), SealError> {
        if self.failed {
            return Err(SealError::AlreadyFailed);
        }
        self.write_frame(Kind::FinalFrame)?;
        if let Some((signer, hash)) = self.signature.take() {
            let signature = signer.sign(&hash.finish())?;
            let length = u16::try_from(signature.len()).unwrap_or(u16::MAX);
            self.output.write_all(&length.to_be_bytes())?;
            self.output.write_all(&signature)?;
            self.sealed.message_length += 2 + signature.len() as u64;
        }
        self.output.flush()?;
        Ok((self.output, self.sealed))
    }

    /// Seals what the buffer holds as one frame. A full buffer stays until more plaintext comes, so
    /// that the final frame is empty only when the message is.
    fn write_frame(&mut self, kind: Kind) -> Result<(), SealError> {
        let length = self.buffer.len();
        let aad = body::aad(&self.sealed.message_id, kind, self.number, length as u64);
        let nonce = body::nonce(self.number);
        let tag = self.aead.seal(&nonce, &aad, &mut self.buffer)?;

        let mut head = Vec::with_capacity(24);
        if kind == Kind::FinalFrame {
            head.extend_from_slice(&FINAL_MARK.to_be_bytes());
        }
        head.extend_from_slice(&self.number.to_be_bytes());
        head.extend_from_slice(&nonce);
        if kind == Kind::FinalFrame {
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            head.extend_from_slice(&length.to_be_bytes());
        } else {
            // The highest number marks the end where a frame begins: only a final frame can bear it.
            self.number = self.number.checked_add(1).ok_or(SealError::TooManyFrames)?;
        }
        for part in [&head[..], &self.buffer, &tag] {
            self.output.write_all(part)?;
            if let Some((_, hash)) = &mut self.signature {
                hash.update(part);
            }
            self.sealed.message_length += part.len() as u64;
        }
        self.sealed.plaintext_length += length as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other(SealError::AlreadyFailed));
        }
        if plaintext.is_empty() {
            return Ok(0);
        }
        if plaintext.len() as u64 > self.left {
            self.failed = true;
            self.buffer.zeroize();
            let limit = self.plaintext_limit;
            return Err(io::Error::other(SealError::PlaintextLength { limit }));
        }
        if self.buffer.len() == self.frame_length {
            let written = self.write_frame(Kind::Frame);
            if let Err(error) = written {
                self.failed = true;
                self.buffer.zeroize();
                return Err(io::Error::other(error));
            }
        }
        let space = self.frame_length - self.buffer.len();
        let taken = plaintext.get(..space).unwrap_or(plaintext);
        self.buffer.extend_from_slice(taken);
        self.left -= taken.len() as u64;
        Ok(taken.len())
    }

    /// Flushes the output. Plaintext that does not fill a frame stays until it does.
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// What was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(crate) suite: Suite,
    pub(crate) message_id: MessageId,
    pub(crate) context: EncryptionContext,
    pub(crate) header_sha384: [u8; SHA384_LENGTH],
    pub(crate) plaintext_length: u64,
    pub(crate) message_length: u64,
}

impl Sealed {
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

    /// SHA-384 of the header with its tag, as [`Verified::header_sha384`](crate::Verified).
    #[must_use]
    pub const fn header_sha384(&self) -> &[u8; SHA384_LENGTH] {
        &self.header_sha384
    }

    /// The message's encryption context, with the public key of its signature.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        &self.context
    }

    /// Length of the plaintext, in bytes.
    #[must_use]
    pub const fn plaintext_length(&self) -> u64 {
        self.plaintext_length
    }

    /// Length of the message, in bytes.
    #[must_use]
    pub const fn message_length(&self) -> u64 {
        self.message_length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive::DataKey;
    use crate::edk::EncryptedDataKey;
    use crate::plan::SealPlan;

    impl<W> Sealer<W> {
        /// Goes on as if so many frames had been written.
        pub(crate) fn skip_to(&mut self, number: u32) {
            self.number = number;
        }
    }

    #[test]
    fn more_frames_than_numbers_fail_the_message() {
        let key = DataKey::from_bytes(&[1; 32]).unwrap();
        let plan = SealPlan::new(Suite::Committed, EncryptionContext::empty()).unwrap();
        let plan = plan.with_frame_length(1).unwrap();
        let wrapped = EncryptedDataKey::new("p", [], [0]).unwrap();
        let mut sealer = plan.seal_to(Vec::new(), &key, vec![wrapped]).unwrap();
        sealer.skip_to(u32::MAX);
        sealer.write_all(b"a").unwrap();
        let refusal = sealer.write_all(b"b").unwrap_err();
        let refusal = refusal
            .into_inner()
            .unwrap()
            .downcast::<SealError>()
            .unwrap();
        assert_eq!(refusal.rule(), "frame.count");
        assert_eq!(sealer.finish().err().unwrap().rule(), "message.failed");
    }
}
