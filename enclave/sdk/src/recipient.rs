//! The key that an answer is encrypted to: made inside, and named in a document.

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::cms::{CmsError, EnvelopedData, IDENTIFIER_LENGTH};
use crate::random::{self, RandomError};

/// Length of the modulus, in bytes: RSA-2048, as AWS's SDK for enclaves uses.
pub const MODULUS_LENGTH: usize = 256;

/// Length of the content key, in bytes: AES-256.
const CONTENT_KEY_LENGTH: usize = 32;

/// An RSA-2048 key pair whose private half never leaves this value. AWS-LC clears its memory when it
/// is dropped.
///
/// Make one for each party that is served, and drop it with the last answer for them. An answer to
/// an earlier call under the same key opens as well: what tells calls under one key apart is TLS, the
/// key's ARN and the encryption context.
pub struct RecipientKey {
    private: OaepPrivateDecryptingKey,
    public: Vec<u8>,
    identifier: [u8; IDENTIFIER_LENGTH],
}

impl RecipientKey {
    /// Makes a key pair. It takes a tenth of a second on a fast machine and seconds under emulation.
    ///
    /// # Errors
    /// [`RecipientError::Random`] or [`RecipientError::Generate`].
    pub fn generate() -> Result<Self, RecipientError> {
        random::seed()?;
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048);
        let key = key.map_err(|_| RecipientError::Generate)?;
        let public: PublicKeyX509Der<'_> = key
            .public_key()
            .as_der()
            .map_err(|_| RecipientError::Generate)?;
        let public = public.as_ref().to_vec();
        let mut identifier = [0; IDENTIFIER_LENGTH];
        identifier.copy_from_slice(digest(&SHA256, &public).as_ref());
        let private = OaepPrivateDecryptingKey::new(key).map_err(|_| RecipientError::Generate)?;
        Ok(Self {
            private,
            public,
            identifier,
        })
    }

    /// The public key as a document names it: DER SubjectPublicKeyInfo (RFC 5280, 4.1).
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        &self.public
    }

    /// Opens a CMS EnvelopedData that was made for this key and gives its plaintext.
    ///
    /// That it opens does not say who made it, or that it is unchanged: see [`crate::cms`].
    ///
    /// # Errors
    /// [`RecipientError::Envelope`] when it is malformed, [`RecipientError::OtherRecipient`] when it
    /// is another key's, [`RecipientError::Open`] when it does not decrypt.
    pub fn open_cms(&self, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, RecipientError> {
        let EnvelopedData {
            identifier,
            wrapped_key,
            iv,
            ciphertext,
        } = EnvelopedData::parse(envelope)?;
        verify_slices_are_equal(identifier, &self.identifier)
            .map_err(|_| RecipientError::OtherRecipient)?;
        let content_key = self.unwrap_key(wrapped_key)?;
        let mut content = Zeroizing::new(ciphertext);
        let length = decrypt_cbc(&content_key, iv, &mut content)?;
        content.truncate(length);
        Ok(content)
    }

    /// Why a wrapped key or a padding was refused is not told apart, by anybody.
    fn unwrap_key(
        &self,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; CONTENT_KEY_LENGTH]>, RecipientError> {
        if wrapped.len() != MODULUS_LENGTH {
            return Err(RecipientError::Open);
        }
        let mut out = Zeroizing::new([0; MODULUS_LENGTH]);
        let key = self
            .private
            .decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, out.as_mut(), None)
            .map_err(|_| RecipientError::Open)?;
        let mut content_key = Zeroizing::new([0; CONTENT_KEY_LENGTH]);
        if key.len() != CONTENT_KEY_LENGTH {
            return Err(RecipientError::Open);
        }
        content_key.copy_from_slice(key);
        Ok(content_key)
    }
}

/// Decrypts in place and gives the length without the padding (RFC 5652, 6.3).
fn decrypt_cbc(
    key: &[u8; CONTENT_KEY_LENGTH],
    iv: &[u8; 16],
    in_out: &mut [u8],
) -> Result<usize, RecipientError> {
    let failure = |_| RecipientError::Open;
    let key = UnboundCipherKey::new(&AES_256, key).map_err(failure)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(failure)?;
    let iv = DecryptionContext::Iv128(FixedLength::from(iv));
    Ok(key.decrypt(in_out, iv).map_err(failure)?.len())
}

/// The recipient key of one session, made when it is first asked for: what is refused before that
/// costs no key.
#[derive(Default)]
pub struct SessionKey(Option<RecipientKey>);

impl SessionKey {
    /// The session's key.
    ///
    /// # Errors
    /// It cannot be made, as [`RecipientKey::generate`] says.
    pub fn key(&mut self) -> Result<&RecipientKey, RecipientError> {
        match &mut self.0 {
            Some(key) => Ok(key),
            none => Ok(none.insert(RecipientKey::generate()?)),
        }
    }
}

/// Why an answer was not opened. It holds nothing of the answer's content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The random generator could not be seeded.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The key could not be made.
    #[error("no RSA-2048 recipient key could be made")]
    Generate,
    /// The envelope is malformed.
    #[error("the answer's envelope was refused")]
    Envelope(#[from] CmsError),
    /// The envelope is for another key.
    #[error("the answer's envelope is for another recipient key")]
    OtherRecipient,
    /// The envelope does not decrypt.
    #[error("the answer's envelope does not decrypt under the recipient key")]
    Open,
}

impl RecipientError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Random(error) => error.rule(),
            Self::Generate => "recipient.key",
            Self::Envelope(error) => error.rule(),
            Self::OtherRecipient => "recipient.other",
            Self::Open => "recipient.open",
        }
    }
}
