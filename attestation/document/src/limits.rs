//! Every bound that decoding enforces, with its source.

/// Bytes of an NSM request: the Linux driver's `NSM_REQUEST_MAX_SIZE`; more is `EMSGSIZE` there.
pub const MAX_REQUEST: usize = 0x1000;

/// Bytes of an NSM response: the Linux driver's `NSM_RESPONSE_MAX_SIZE`.
pub const MAX_RESPONSE: usize = 0x3000;

/// Bytes of each of `public_key`, `user_data` and `nonce`. AWS's texts say 512 or 1024; its own
/// checker demands that 1024 bytes succeed in all three.
pub const MAX_USER_FIELD: usize = 1024;

/// Bytes of the COSE payload, the encoded attestation document (AWS's document checks).
pub const MAX_PAYLOAD: usize = 16384;

/// What the COSE_Sign1 envelope adds at most: tag 1, array 1, protected header 5, unprotected
/// header 1, payload length 3, signature 98.
pub const ENVELOPE_OVERHEAD: usize = 109;

/// Bytes of a signed document: [`MAX_PAYLOAD`] and [`ENVELOPE_OVERHEAD`].
pub const MAX_DOCUMENT: usize = MAX_PAYLOAD + ENVELOPE_OVERHEAD;

/// Bytes of one DER certificate (AWS's document checks: 1..=1024).
pub const MAX_CERTIFICATE: usize = 1024;

/// Certificates in `cabundle`. AWS sends four; twice that leaves room and bounds the work of path
/// validation.
pub const MAX_CABUNDLE: usize = 8;

/// Bytes of `module_id`. AWS's are 39 bytes (`i-` 17 hex digits `-enc` 16 hex digits).
pub const MAX_MODULE_ID: usize = 256;

/// Platform configuration registers of the security module (`max_pcrs` of `DescribeNSM`).
pub const PCR_COUNT: u8 = 32;

/// Bytes of a register: SHA-384 (FIPS 180-4).
pub const PCR_BYTES: usize = 48;

/// Bytes of an ES384 signature, r ‖ s, raw (RFC 9053 §2.1).
pub const SIGNATURE_BYTES: usize = 96;

/// Bytes of the protected header that decoding will look at in order to name a wrong algorithm.
pub(crate) const MAX_PROTECTED: usize = 64;

/// Bytes of a map key or enum name in any message of this crate; the longest is `version_major`.
pub(crate) const MAX_NAME: usize = 32;
