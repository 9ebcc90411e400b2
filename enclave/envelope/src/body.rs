//! What frames are bound to: their nonces and additional data.

use crate::crypto::NONCE_LENGTH;
use crate::header::MessageId;

/// In the place of a frame's number: this frame is the last, its number follows.
pub(crate) const FINAL_MARK: u32 = u32::MAX;

/// The number of an unframed body.
pub(crate) const UNFRAMED_NUMBER: u32 = 1;

/// The header's nonce: zero, which is no frame's.
pub(crate) const HEADER_NONCE: [u8; NONCE_LENGTH] = [0; NONCE_LENGTH];

/// What a ciphertext of the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Frame,
    FinalFrame,
    Unframed,
}

impl Kind {
    /// The text that separates the three in their additional data (format reference, "Body AAD").
    const fn text(self) -> &'static [u8] {
        match self {
            Self::Frame => b"AWSKMSEncryptionClient Frame",
            Self::FinalFrame => b"AWSKMSEncryptionClient Final Frame",
            Self::Unframed => b"AWSKMSEncryptionClient Single Block",
        }
    }
}

/// A frame's nonce: its number, padded on the left. Sealers must use it, and with it an opener
/// needs no memory to know that no nonce came twice.
pub(crate) fn nonce(number: u32) -> [u8; NONCE_LENGTH] {
    let mut nonce = [0; NONCE_LENGTH];
    let (_, low) = nonce.split_at_mut(NONCE_LENGTH - 4);
    low.copy_from_slice(&number.to_be_bytes());
    nonce
}

/// Additional data: message id ‖ text ‖ number u32 ‖ length of the content u64.
pub(crate) fn aad(id: &MessageId, kind: Kind, number: u32, length: u64) -> Vec<u8> {
    let mut aad = Vec::with_capacity(MessageId::LENGTH + 48);
    aad.extend_from_slice(id.as_bytes());
    aad.extend_from_slice(kind.text());
    aad.extend_from_slice(&number.to_be_bytes());
    aad.extend_from_slice(&length.to_be_bytes());
    aad
}
