//! Opening: the header here, frames and end in [`Opener`].

mod opener;
mod reader;
mod verified;

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::body::HEADER_NONCE;
use crate::context::{ContextError, ContextRule, EncryptionContext, PUBLIC_KEY_FIELD};
use crate::crypto::{POINT_LENGTH, Provider, SHA384_LENGTH, default_provider};
use crate::derive::{DataKey, DerivedKeys};
use crate::edk::EncryptedDataKey;
use crate::error::OpenError;
use crate::header::{self, Header, MessageId, ReadHeader};
use crate::limits::Limits;
use crate::suite::Suite;

use opener::State;

pub use opener::Opener;
pub use reader::FrameReader;
pub(crate) use verified::MessageRef;
pub use verified::Verified;

/// A message of which only the header was read. Everything it tells is a claim.
///
/// This establishes that the header is well formed and within [`Limits`]. It does not establish who
/// made it, for whom, or that a body follows.
pub struct UnverifiedMessage<R> {
    input: R,
    limits: Limits,
    provider: &'static dyn Provider,
    read: ReadHeader,
    reproduced: Vec<u8>,
    signer: Option<[u8; POINT_LENGTH]>,
}

impl<R: Read> UnverifiedMessage<R> {
    /// Reads a header, and not one byte more. Reads are small: give it a buffered reader.
    ///
    /// # Errors
    /// Not a version 2 message of one of the two suites, malformed, or over a limit.
    pub fn begin(input: R) -> Result<Self, OpenError> {
        Self::begin_with(input, Limits::default(), default_provider())
    }

    /// As [`begin`](Self::begin), with limits and primitives of the caller's choice.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn begin_with(
        mut input: R,
        limits: Limits,
        provider: &'static dyn Provider,
    ) -> Result<Self, OpenError> {
        let read = header::read(&mut input, &limits)?;
        let signer = signer_of(&read, provider)?;
        Ok(Self {
            input,
            limits,
            provider,
            read,
            reproduced: Vec::new(),
            signer,
        })
    }

    /// Adds pairs that the sealer authenticated without writing them into the header, as the SDKs'
    /// *required encryption context* does: whoever opens the message must know them. They become
    /// part of the encryption context.
    ///
    /// # Errors
    /// The header has one of the keys, or the pairs are too long.
    pub fn with_reproduced_context(mut self, pairs: &EncryptionContext) -> Result<Self, OpenError> {
        self.read.header.context.extend(pairs)?;
        self.reproduced = pairs.to_bytes()?;
        Ok(self)
    }

    /// The rest of the input, and the header's claims.
    pub(crate) fn into_parts(self) -> (R, Header) {
        (self.input, self.read.header)
    }

    /// The message's suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.read.header.suite
    }

    /// The message's id.
    #[must_use]
    pub const fn message_id(&self) -> &MessageId {
        &self.read.header.message_id
    }

    /// The message's encryption context, with the public key of its signature: what a KMS wrapped
    /// the data key under.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        &self.read.header.context
    }

    /// SHA-384 of the header with its tag, as [`Verified::header_sha384`]. Whoever holds somebody's
    /// word on it knows which message lies there before any key is asked for; that the header is
    /// authentic, only [`authenticate`](Self::authenticate) establishes.
    #[must_use]
    pub fn header_sha384(&self) -> [u8; SHA384_LENGTH] {
        let mut hash = self.provider.sha384();
        hash.update(&self.read.bytes);
        hash.update(&self.read.tag);
        hash.finish()
    }

    /// The wrapped forms of the data key, at least one.
    #[must_use]
    pub fn encrypted_data_keys(&self) -> &[EncryptedDataKey] {
        &self.read.header.data_keys
    }

    /// Checks the claimed context, so that no KMS is asked about a message that would be refused
    /// anyway. [`authenticate`](Self::authenticate) checks it again.
    ///
    /// # Errors
    /// The context breaks the rule.
    pub fn check_context(&self, rule: &ContextRule) -> Result<(), OpenError> {
        Ok(rule.check(self.encryption_context())?)
    }

    /// Checks the context against the caller's rule, the key commitment and the header's tag.
    ///
    /// This establishes that somebody who knew `data_key` made this header. It does not establish
    /// anything about the body.
    ///
    /// # Errors
    /// [`OpenError::Context`], [`OpenError::Commitment`] or [`OpenError::HeaderTag`].
    pub fn authenticate(
        self,
        data_key: &DataKey,
        rule: &ContextRule,
    ) -> Result<Opener<R>, OpenError> {
        self.check_context(rule)?;
        let header_sha384 = self.header_sha384();
        let ReadHeader { header, bytes, tag } = self.read;
        let provider = self.provider;
        let keys = DerivedKeys::derive(provider, header.suite, data_key, &header.message_id)?;
        if !bool::from(keys.commitment.ct_eq(&header.commitment)) {
            return Err(OpenError::Commitment);
        }
        let aead = provider.aes_256_gcm(&keys.encryption)?;
        let aad = [&bytes[..], &self.reproduced].concat();
        aead.open(&HEADER_NONCE, &aad, &mut [], &tag)
            .map_err(|_| OpenError::HeaderTag)?;

        let signature = self.signer.map(|point| {
            let mut hash = provider.sha384();
            hash.update(&bytes);
            hash.update(&tag);
            (point, hash)
        });
        Ok(Opener {
            input: self.input,
            limits: self.limits,
            provider,
            aead,
            signature,
            suite: header.suite,
            content: header.content,
            message_id: header.message_id,
            context: header.context,
            header_sha384,
            message: MessageRef::next(),
            buffer: Zeroizing::new(Vec::new()),
            next_number: 1,
            plaintext_length: 0,
            state: State::Body,
        })
    }
}

/// The point under which the message is signed; a suite that does not sign must not name one.
fn signer_of(
    read: &ReadHeader,
    provider: &dyn Provider,
) -> Result<Option<[u8; POINT_LENGTH]>, ContextError> {
    let field = read.header.context.get(PUBLIC_KEY_FIELD);
    match (read.header.suite.is_signed(), field) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(ContextError::UnusedPublicKey),
        (true, None) => Err(ContextError::NoPublicKey),
        (true, Some(text)) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| ContextError::BadPublicKey)?;
            let point = bytes.try_into().map_err(|_| ContextError::BadPublicKey)?;
            if !provider.is_point(&point) {
                return Err(ContextError::BadPublicKey);
            }
            Ok(Some(point))
        }
    }
}
