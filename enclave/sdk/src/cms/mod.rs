//! The answer to a recipient: CMS EnvelopedData (RFC 5652, 6) in the one shape that KMS writes.
//!
//! ```text
//! 30 80  OID id-envelopedData  A0 80
//!  30 80  INTEGER 2
//!   31 len  30 len  INTEGER 2                     one KeyTransRecipientInfo
//!     80 20 subject key identifier                SHA-256 of the recipient's SubjectPublicKeyInfo
//!     30 len id-RSAES-OAEP { [0] SHA-256, [1] MGF1 with SHA-256 }
//!     04 len wrapped content key
//!   30 80  OID id-data
//!     30 1D aes256-CBC, 04 10 IV
//!     A0 80 { 04 len ciphertext } 00 00           form A: chunks
//!     | 80 len ciphertext                         form B: one piece
//! 00 00 ×4
//! ```
//!
//! The four outer levels must have indefinite length and everything else a definite one, encoded in
//! as few bytes as it needs. AWS's own parser for enclaves takes nothing else either: a KMS that
//! writes plain DER is not one that Nitro enclaves can talk to, and taking a second encoding here
//! would only widen what a hostile answer can say. Attributes, certificates, a second recipient and
//! trailing bytes are refused.
//!
//! An envelope that opens was made by somebody who knew the recipient's public key, and that is all:
//! CMS has no tag, so changed ciphertext can open to changed plaintext.

mod ber;

use thiserror::Error;

use ber::Reader;

pub use ber::BerError;

/// Longest envelope that is read, in bytes. KMS encrypts at most 4096 bytes to a recipient; the rest
/// is the wrapped key (512 bytes for RSA-4096) and less than 300 bytes of structure.
pub const MAX_LENGTH: usize = 8192;

/// Most chunks of form A: more would be shorter than one cipher block each.
pub const MAX_CHUNKS: usize = MAX_LENGTH / BLOCK_LENGTH;

/// Length of the subject key identifier: a SHA-256 digest, in bytes.
pub const IDENTIFIER_LENGTH: usize = 32;

/// Length of the IV of AES-CBC, in bytes.
pub const BLOCK_LENGTH: usize = 16;

/// `id-envelopedData`, 1.2.840.113549.1.7.3 (RFC 5652, 6).
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// `id-data`, 1.2.840.113549.1.7.1 (RFC 5652, 4).
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// `id-RSAES-OAEP`, 1.2.840.113549.1.1.7 (RFC 4055, 4).
const RSAES_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07];
/// `id-mgf1`, 1.2.840.113549.1.1.8 (RFC 4055, 2.2).
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
/// `id-sha256`, 2.16.840.1.101.3.4.2.1 (RFC 4055, 2.1).
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// `id-aes256-CBC`, 2.16.840.1.101.3.4.1.42 (RFC 3565, 4.1).
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0x80;
const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;
const CONTEXT_1_CONSTRUCTED: u8 = 0xa1;

/// A parsed envelope. Its algorithms are the only ones that are taken, so they are not fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopedData<'a> {
    /// Whom it is for: SHA-256 of the recipient's SubjectPublicKeyInfo.
    pub identifier: &'a [u8; IDENTIFIER_LENGTH],
    /// The content key, encrypted with RSAES-OAEP.
    pub wrapped_key: &'a [u8],
    /// The IV of AES-256-CBC.
    pub iv: &'a [u8; BLOCK_LENGTH],
    /// The ciphertext: whole cipher blocks, at least one.
    pub ciphertext: Vec<u8>,
}

impl<'a> EnvelopedData<'a> {
    /// Parses an envelope of at most [`MAX_LENGTH`] bytes.
    ///
    /// # Errors
    /// [`CmsError`] for anything but the shape above.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CmsError> {
        if bytes.len() > MAX_LENGTH {
            return Err(CmsError::Length {
                limit: MAX_LENGTH,
                found: bytes.len(),
            });
        }
        let mut reader = Reader::new(bytes);
        reader.open_indefinite(SEQUENCE, "ContentInfo")?;
        expect(
            reader.definite(OID, "content type")?,
            ENVELOPED_DATA,
            "content type",
        )?;
        reader.open_indefinite(CONTEXT_0_CONSTRUCTED, "content")?;
        reader.open_indefinite(SEQUENCE, "EnvelopedData")?;
        // RFC 5652, 6.1: version 2 with a subject key identifier and no attributes.
        expect(reader.definite(INTEGER, "version")?, &[2], "version")?;
        let mut recipients = Reader::new(reader.definite(SET, "recipients")?);
        let (identifier, wrapped_key) = parse_recipient(&mut recipients)?;
        recipients.end("recipients")?;

        reader.open_indefinite(SEQUENCE, "EncryptedContentInfo")?;
        expect(
            reader.definite(OID, "encrypted content type")?,
            DATA,
            "encrypted content type",
        )?;
        let iv = parse_cipher(&mut Reader::new(
            reader.definite(SEQUENCE, "content cipher")?,
        ))?;
        let ciphertext = parse_content(&mut reader)?;
        for level in [
            "EncryptedContentInfo",
            "EnvelopedData",
            "content",
            "ContentInfo",
        ] {
            reader.close_indefinite(level)?;
        }
        reader.end("envelope")?;
        Ok(Self {
            identifier,
            wrapped_key,
            iv,
            ciphertext,
        })
    }
}

/// KeyTransRecipientInfo (RFC 5652, 6.2.1).
fn parse_recipient<'a>(
    recipients: &mut Reader<'a>,
) -> Result<(&'a [u8; IDENTIFIER_LENGTH], &'a [u8]), CmsError> {
    let mut info = Reader::new(recipients.definite(SEQUENCE, "recipient")?);
    // Version 2 goes with a subject key identifier, 0 with an issuer and serial number.
    expect(
        info.definite(INTEGER, "recipient version")?,
        &[2],
        "recipient version",
    )?;
    let identifier = fixed(
        info.definite(CONTEXT_0, "recipient identifier")?,
        "recipient identifier",
    )?;
    check_oaep(&mut Reader::new(info.definite(SEQUENCE, "key algorithm")?))?;
    let wrapped_key = info.definite(OCTET_STRING, "wrapped key")?;
    info.end("recipient")?;
    Ok((identifier, wrapped_key))
}

/// RSAES-OAEP-params with SHA-256 twice and the default pSource (RFC 4055, 3.1).
fn check_oaep(algorithm: &mut Reader<'_>) -> Result<(), CmsError> {
    const PART: &str = "key algorithm";
    expect(algorithm.definite(OID, PART)?, RSAES_OAEP, PART)?;
    let mut parameters = Reader::new(algorithm.definite(SEQUENCE, PART)?);
    algorithm.end(PART)?;
    let mut hash = Reader::new(parameters.definite(CONTEXT_0_CONSTRUCTED, PART)?);
    check_sha256(&mut hash)?;
    hash.end(PART)?;
    let mut mask = Reader::new(parameters.definite(CONTEXT_1_CONSTRUCTED, PART)?);
    parameters.end(PART)?;
    let mut generator = Reader::new(mask.definite(SEQUENCE, PART)?);
    mask.end(PART)?;
    expect(generator.definite(OID, PART)?, MGF1, PART)?;
    check_sha256(&mut generator)?;
    generator.end(PART)
}

/// AlgorithmIdentifier of SHA-256, its parameters NULL or absent: both must be taken (RFC 4055, 2.1).
fn check_sha256(reader: &mut Reader<'_>) -> Result<(), CmsError> {
    const PART: &str = "key algorithm's hash";
    let mut algorithm = Reader::new(reader.definite(SEQUENCE, PART)?);
    expect(algorithm.definite(OID, PART)?, SHA256, PART)?;
    if !algorithm.is_empty() {
        expect(algorithm.definite(NULL, PART)?, &[], PART)?;
    }
    algorithm.end(PART)
}

fn parse_cipher<'a>(algorithm: &mut Reader<'a>) -> Result<&'a [u8; BLOCK_LENGTH], CmsError> {
    expect(
        algorithm.definite(OID, "content cipher")?,
        AES_256_CBC,
        "content cipher",
    )?;
    let iv = fixed(algorithm.definite(OCTET_STRING, "IV")?, "IV")?;
    algorithm.end("content cipher")?;
    Ok(iv)
}

/// `[0] IMPLICIT OCTET STRING` in form A or B.
fn parse_content(reader: &mut Reader<'_>) -> Result<Vec<u8>, CmsError> {
    const PART: &str = "ciphertext";
    let mut ciphertext = Vec::new();
    if reader.next_is(CONTEXT_0) {
        ciphertext.extend_from_slice(reader.definite(CONTEXT_0, PART)?);
    } else {
        reader.open_indefinite(CONTEXT_0_CONSTRUCTED, PART)?;
        let mut chunks = 0;
        while reader.next_is(OCTET_STRING) {
            chunks += 1;
            if chunks > MAX_CHUNKS {
                return Err(CmsError::Chunks { limit: MAX_CHUNKS });
            }
            ciphertext.extend_from_slice(reader.definite(OCTET_STRING, PART)?);
        }
        reader.close_indefinite(PART)?;
    }
    if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(BLOCK_LENGTH) {
        return Err(CmsError::Ciphertext {
            found: ciphertext.len(),
        });
    }
    Ok(ciphertext)
}

fn expect(found: &[u8], expected: &[u8], part: &'static str) -> Result<(), CmsError> {
    if found != expected {
        return Err(CmsError::Unexpected { part });
    }
    Ok(())
}

fn fixed<'a, const N: usize>(found: &'a [u8], part: &'static str) -> Result<&'a [u8; N], CmsError> {
    let found_length = found.len();
    found.try_into().map_err(|_| CmsError::Size {
        part,
        expected: N,
        found: found_length,
    })
}

/// Why an envelope was not parsed. It holds nothing of the envelope's content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CmsError {
    /// The envelope is too long.
    #[error("the envelope has {found} bytes, at most {limit} are read")]
    Length {
        /// [`MAX_LENGTH`].
        limit: usize,
        /// Its length, in bytes.
        found: usize,
    },
    /// The encoding is not the one that is taken.
    #[error("the envelope's {part} is not encoded as expected: {reason}")]
    Encoding {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        reason: BerError,
    },
    /// A version, type or algorithm is another than expected.
    #[error("the envelope's {part} is not the one that KMS writes")]
    Unexpected {
        /// Which part.
        part: &'static str,
    },
    /// A field has another length than expected.
    #[error("the envelope's {part} has {found} bytes, expected {expected}")]
    Size {
        /// Which part.
        part: &'static str,
        /// Its proper length, in bytes.
        expected: usize,
        /// Its length, in bytes.
        found: usize,
    },
    /// The ciphertext comes in too many chunks.
    #[error("the envelope's ciphertext has more than {limit} chunks")]
    Chunks {
        /// [`MAX_CHUNKS`].
        limit: usize,
    },
    /// The ciphertext is empty or not whole cipher blocks.
    #[error("the envelope's ciphertext has {found} bytes, expected a positive multiple of 16")]
    Ciphertext {
        /// Its length, in bytes.
        found: usize,
    },
}

impl CmsError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Length { .. } => "cms.length",
            Self::Encoding { .. } => "cms.encoding",
            Self::Unexpected { .. } => "cms.unexpected",
            Self::Size { .. } => "cms.size",
            Self::Chunks { .. } => "cms.chunks",
            Self::Ciphertext { .. } => "cms.ciphertext",
        }
    }
}
