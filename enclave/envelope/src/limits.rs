//! What a message may cost before anything in it is trusted.

/// Frame length of messages sealed here, in bytes: the default of all AWS Encryption SDKs.
pub const DEFAULT_FRAME_LENGTH: u32 = 4096;

/// Longest frame that is opened or sealed, in bytes. The format allows 2³²−1; a reader has to hold
/// one frame in memory before its tag can be checked, so the frame length is a claim on memory.
pub const MAX_FRAME_LENGTH: u32 = 16 * 1024 * 1024;

/// Longest unframed body that is opened, in bytes. It is one single AEAD message and has to be held
/// in memory as a whole. Unframed messages are opened, because older sealers made them, and never
/// sealed: the specification has sealers write frames only (client-apis/encrypt.md, "V2 Header").
pub const MAX_UNFRAMED_LENGTH: u64 = 16 * 1024 * 1024;

/// Most frames in one message: sequence numbers run from 1 to 2³²−1, and 2³²−1 as the number of a
/// frame that is not the last marks the last (format reference, "Final frame").
pub const MAX_FRAMES: u32 = u32::MAX;

/// Longest plaintext of a message, in bytes: what the most frames of the greatest length hold. It
/// bounds a stream, not memory; who has to keep the plaintext sets a lower one.
pub const MAX_PLAINTEXT_LENGTH: u64 = MAX_FRAMES as u64 * MAX_FRAME_LENGTH as u64;

/// Most encrypted data keys in one header. The format allows 65,535; the SDKs advise to limit it,
/// because every key may cost a call to its provider.
pub const MAX_ENCRYPTED_DATA_KEYS: usize = 64;

/// Longest provider id of an encrypted data key, in bytes.
pub const MAX_PROVIDER_ID: usize = 256;

/// Longest provider info of an encrypted data key, in bytes (a KMS key ARN has at most 2048).
pub const MAX_PROVIDER_INFO: usize = 4096;

/// Longest ciphertext of an encrypted data key, in bytes (AWS KMS: at most 6144).
pub const MAX_WRAPPED_KEY: usize = 8192;

/// Longest serialized encryption context, in bytes: its length field has 16 bits.
pub const MAX_CONTEXT: usize = 65_535;

/// Longest DER form of a P-384 ECDSA signature, in bytes: two integers of at most 49 bytes, each
/// with two bytes of header, in a sequence with two more.
pub const MAX_SIGNATURE: usize = 104;

/// What an [`Opener`](crate::Opener) accepts. The default is the constants of this module; a caller
/// with less memory lowers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame, in bytes.
    pub frame_length: u32,
    /// Longest unframed body, in bytes; 0 refuses unframed messages with a body.
    pub unframed_length: u64,
    /// Most encrypted data keys.
    pub encrypted_data_keys: usize,
    /// Longest plaintext of one message, in bytes. A frame that would go beyond is refused before
    /// it is decrypted.
    pub plaintext_length: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_length: MAX_FRAME_LENGTH,
            unframed_length: MAX_UNFRAMED_LENGTH,
            encrypted_data_keys: MAX_ENCRYPTED_DATA_KEYS,
            plaintext_length: MAX_PLAINTEXT_LENGTH,
        }
    }
}
