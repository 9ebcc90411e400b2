//! What is decided before a message is sealed, and its header.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::body::HEADER_NONCE;
#[cfg(doc)]
use crate::context::ContextError;
use crate::context::EncryptionContext;
use crate::crypto::{Provider, Signer, default_provider};
use crate::derive::{DataKey, DerivedKeys};
use crate::edk::EncryptedDataKey;
use crate::error::SealError;
use crate::header::{Content, Header, MessageId};
use crate::limits::{DEFAULT_FRAME_LENGTH, MAX_ENCRYPTED_DATA_KEYS, MAX_FRAME_LENGTH};
use crate::seal::{Sealed, Sealer};
use crate::suite::Suite;

/// A context with a signer's public key in it, and the signer.
pub(crate) type Signing = (EncryptionContext, Option<Arc<dyn Signer>>);

/// A message that is about to be sealed: its id and, for suite `0x0578`, its signing key exist, its
/// data key need not.
///
/// The signature's public key is part of the encryption context, and a KMS wraps the data key under
/// the whole context: ask it with [`encryption_context`](Self::encryption_context), then
/// [`seal_to`](Self::seal_to).
pub struct SealPlan {
    provider: &'static dyn Provider,
    suite: Suite,
    message_id: MessageId,
    context: EncryptionContext,
    serialized_context: Vec<u8>,
    /// What the header does not hold and its tag covers.
    required: EncryptionContext,
    signer: Option<Arc<dyn Signer>>,
    frame_length: u32,
    plaintext_limit: u64,
}

impl SealPlan {
    /// Plans a message in frames of [`DEFAULT_FRAME_LENGTH`] bytes.
    ///
    /// # Errors
    /// No randomness, or a context that is too long with the public key in it.
    pub fn new(suite: Suite, context: EncryptionContext) -> Result<Self, SealError> {
        Self::new_with(suite, context, default_provider())
    }

    /// As [`new`](Self::new), with primitives of the caller's choice.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_with(
        suite: Suite,
        context: EncryptionContext,
        provider: &'static dyn Provider,
    ) -> Result<Self, SealError> {
        let (context, signer) = signing(suite, context, provider)?;
        Self::of(provider, suite, context, signer)
    }

    /// A plan with a message id of its own, for a context that has its public key.
    pub(crate) fn of(
        provider: &'static dyn Provider,
        suite: Suite,
        context: EncryptionContext,
        signer: Option<Arc<dyn Signer>>,
    ) -> Result<Self, SealError> {
        let mut id = [0; MessageId::LENGTH];
        provider.fill_random(&mut id)?;
        Ok(Self {
            provider,
            suite,
            message_id: MessageId::new(id),
            serialized_context: context.to_bytes()?,
            context,
            required: EncryptionContext::empty(),
            signer,
            frame_length: DEFAULT_FRAME_LENGTH,
            plaintext_limit: u64::MAX,
        })
    }

    /// Leaves the pairs with these keys out of the header. They stay part of the context that the
    /// data key is wrapped under and that the header's tag covers, so that only who knows them opens
    /// the message ([`with_reproduced_context`](crate::UnverifiedMessage::with_reproduced_context)):
    /// the *required encryption context* of the SDKs.
    ///
    /// # Errors
    /// [`ContextError::Missing`] for a key that the context has not, [`ContextError::Reserved`] for
    /// the format's own: a reader needs them before it can check anything.
    pub fn with_required_context<K: AsRef<str>>(
        mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Self, SealError> {
        let keys: BTreeSet<String> = keys.into_iter().map(|k| k.as_ref().to_owned()).collect();
        let (required, stored) = self.context.split(&keys)?;
        self.serialized_context = stored.to_bytes()?;
        self.required = required;
        Ok(self)
    }

    /// Bounds the plaintext, in bytes. The write that goes beyond fails the message.
    #[must_use]
    pub const fn with_plaintext_limit(mut self, limit: u64) -> Self {
        self.plaintext_limit = limit;
        self
    }

    /// Plans frames of another length, in bytes.
    ///
    /// # Errors
    /// 0, or more than [`MAX_FRAME_LENGTH`].
    pub fn with_frame_length(mut self, length: u32) -> Result<Self, SealError> {
        if length == 0 || length > MAX_FRAME_LENGTH {
            return Err(SealError::FrameLength {
                limit: MAX_FRAME_LENGTH,
                found: length,
            });
        }
        self.frame_length = length;
        Ok(self)
    }

    /// The context that the data key must be wrapped under.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        &self.context
    }

    /// The message's id.
    #[must_use]
    pub const fn message_id(&self) -> &MessageId {
        &self.message_id
    }

    /// Writes the header and gives the writer of the body. `data_keys` are wrapped forms of
    /// `data_key`, one per party that shall be able to open the message.
    ///
    /// # Errors
    /// No wrapped key or more than [`MAX_ENCRYPTED_DATA_KEYS`], or the output failed.
    pub fn seal_to<W: Write>(
        self,
        mut output: W,
        data_key: &DataKey,
        data_keys: Vec<EncryptedDataKey>,
    ) -> Result<Sealer<W>, SealError> {
        let found = data_keys.len();
        if found == 0 || found > MAX_ENCRYPTED_DATA_KEYS {
            return Err(SealError::DataKeyCount {
                limit: MAX_ENCRYPTED_DATA_KEYS,
                found,
            });
        }
        let keys = DerivedKeys::derive(self.provider, self.suite, data_key, &self.message_id)?;
        let header = Header {
            suite: self.suite,
            message_id: self.message_id,
            context: self.context,
            data_keys,
            content: Content::Framed(self.frame_length),
            commitment: keys.commitment,
        };
        let mut bytes = header.to_bytes(&self.serialized_context);
        let aead = self.provider.aes_256_gcm(&keys.encryption)?;
        let aad = [&bytes[..], &self.required.to_bytes()?].concat();
        let tag = aead.seal(&HEADER_NONCE, &aad, &mut [])?;
        bytes.extend_from_slice(&tag);
        output.write_all(&bytes)?;

        let mut header_hash = self.provider.sha384();
        header_hash.update(&bytes);
        let signature = self.signer.map(|signer| {
            let mut hash = self.provider.sha384();
            hash.update(&bytes);
            (signer, hash)
        });
        let frame_length = usize::try_from(self.frame_length).unwrap_or(usize::MAX);
        Ok(Sealer {
            output,
            aead,
            signature,
            buffer: Zeroizing::new(Vec::with_capacity(frame_length)),
            frame_length,
            number: 1,
            failed: false,
            left: self.plaintext_limit,
            plaintext_limit: self.plaintext_limit,
            sealed: Sealed {
                suite: self.suite,
                message_id: self.message_id,
                context: header.context,
                header_sha384: header_hash.finish(),
                plaintext_length: 0,
                message_length: bytes.len() as u64,
            },
        })
    }
}

/// The context with the public key of a new signing key, for a suite that signs.
pub(crate) fn signing(
    suite: Suite,
    context: EncryptionContext,
    provider: &'static dyn Provider,
) -> Result<Signing, SealError> {
    if !suite.is_signed() {
        return Ok((context, None));
    }
    let signer: Arc<dyn Signer> = provider.generate_signing_key()?.into();
    let context = context.with_public_key(STANDARD.encode(signer.public_point()))?;
    Ok((context, Some(signer)))
}
