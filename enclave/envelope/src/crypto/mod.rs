//! The primitives behind one small trait, with two implementations.
//!
//! Every test of this crate that touches cryptography runs over both. [`AwsLc`] is the
//! [default](default_provider): it opens unsigned messages five times as fast as [`RustCrypto`] and
//! short signed ones three times as fast (the example `throughput` measures it), and a measured
//! image holds it anyway, for TLS and RSA. Whichever a program does not name is not linked into it.

mod aws_lc;
mod rust_crypto;

use thiserror::Error;

pub use aws_lc::AwsLc;
pub use rust_crypto::RustCrypto;

/// Length of an AES-256 key, in bytes.
pub const KEY_LENGTH: usize = 32;
/// Length of an AES-GCM nonce, in bytes (SP 800-38D, 5.2.1.1: 96 bits).
pub const NONCE_LENGTH: usize = 12;
/// Length of an AES-GCM tag, in bytes.
pub const TAG_LENGTH: usize = 16;
/// Length of a SHA-384 digest, in bytes.
pub const SHA384_LENGTH: usize = 48;
/// Length of a compressed P-384 point, in bytes (SEC 1, 2.3.3).
pub const POINT_LENGTH: usize = 49;

/// What is used unless a caller names another provider.
#[must_use]
pub fn default_provider() -> &'static dyn Provider {
    &AwsLc
}

/// The primitives that the two suites need.
pub trait Provider: Send + Sync {
    /// Name of the implementation, for reports and errors.
    fn name(&self) -> &'static str;

    /// Fills `out` with random bytes that are fit for keys.
    ///
    /// # Errors
    /// The generator could not be seeded.
    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoFailure>;

    /// HKDF with SHA-512 (RFC 5869), extract and expand.
    ///
    /// # Errors
    /// A failure inside the implementation.
    fn hkdf_sha512(
        &self,
        secret: &[u8; KEY_LENGTH],
        salt: &[u8],
        info: &[u8],
        out: &mut [u8; KEY_LENGTH],
    ) -> Result<(), CryptoFailure>;

    /// AES-256-GCM (SP 800-38D) under `key`.
    ///
    /// # Errors
    /// A failure inside the implementation.
    fn aes_256_gcm(&self, key: &[u8; KEY_LENGTH]) -> Result<Box<dyn Aead>, CryptoFailure>;

    /// A fresh SHA-384 (FIPS 180-4).
    fn sha384(&self) -> Box<dyn Hash>;

    /// A new key of ECDSA on P-384 (FIPS 186-5).
    ///
    /// # Errors
    /// The generator could not be seeded.
    fn generate_signing_key(&self) -> Result<Box<dyn Signer>, CryptoFailure>;

    /// Checks the DER signature of a SHA-384 digest under a compressed point.
    ///
    /// # Errors
    /// The point is not on the curve, the signature is not DER, or it is not the point's.
    fn verify(
        &self,
        point: &[u8; POINT_LENGTH],
        digest: &[u8; SHA384_LENGTH],
        signature: &[u8],
    ) -> Result<(), CryptoFailure>;

    /// Whether a compressed point is one of the curve.
    fn is_point(&self, point: &[u8; POINT_LENGTH]) -> bool;
}

/// AES-256-GCM under one key, in place. The nonce is the caller's duty: once per key for sealing.
pub trait Aead: Send {
    /// Encrypts `in_out` and gives the tag.
    ///
    /// # Errors
    /// The text is longer than GCM allows (2³⁶−32 bytes).
    fn seal(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoFailure>;

    /// Checks the tag and decrypts `in_out`.
    ///
    /// # Errors
    /// The tag does not match. `in_out` then holds nothing to be used.
    fn open(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoFailure>;
}

/// A running SHA-384.
pub trait Hash: Send {
    /// Takes more of the input.
    fn update(&mut self, bytes: &[u8]);
    /// The digest of all that was taken.
    fn finish(self: Box<Self>) -> [u8; SHA384_LENGTH];
}

/// A private key of ECDSA on P-384.
pub trait Signer: Send + Sync {
    /// Its public key, compressed (SEC 1, 2.3.3).
    fn public_point(&self) -> [u8; POINT_LENGTH];
    /// The DER signature of a SHA-384 digest.
    ///
    /// # Errors
    /// A failure inside the implementation.
    fn sign(&self, digest: &[u8; SHA384_LENGTH]) -> Result<Vec<u8>, CryptoFailure>;
}

/// A primitive refused. Which of its inputs was at fault it does not say, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{operation} failed")]
pub struct CryptoFailure {
    operation: &'static str,
}

impl CryptoFailure {
    /// A failure of the named operation.
    #[must_use]
    pub const fn of(operation: &'static str) -> Self {
        Self { operation }
    }

    /// The operation that failed.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }
}
