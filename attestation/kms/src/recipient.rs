//! The answer that only the attested enclave can open: `CiphertextForRecipient`.
//!
//! CMS EnvelopedData (RFC 5652, 6) in the shape that AWS's SDK for Nitro Enclaves reads. Its
//! parser takes the four outer constructed levels in BER's indefinite form only, versions 2 and 2,
//! a subject key identifier, RSAES-OAEP with SHA-256 and no label, and AES-256-CBC.
//!
//! What the envelope does not give: authenticity. Whoever has the public key can make one. TLS to
//! the KMS and the encryption context are what the enclave relies on.

use aws_lc_rs::cipher::{
    AES_256, EncryptionContext as CipherContext, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use spki::der::{Decode, Encode};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

/// Longest plaintext in bytes: Encrypt's 4096 is more than any operation gives a recipient.
pub const MAX_RECIPIENT_PLAINTEXT: usize = 4096;

/// Shortest RSA modulus of a recipient key, in bits.
pub const MIN_RSA_BITS: usize = 2048;

/// Longest RSA modulus of a recipient key, in bits.
pub const MAX_RSA_BITS: usize = 4096;

/// Longest recipient key: SubjectPublicKeyInfo of RSA-4096, in bytes.
pub const MAX_SPKI: usize = 600;

/// `rsaEncryption`, 1.2.840.113549.1.1.1.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Why a recipient's key, or what is to be sent to it, cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The key is not the SubjectPublicKeyInfo of an RSA key.
    #[error("the public key is not the DER SubjectPublicKeyInfo of an RSA key")]
    PublicKey,
    /// The key's modulus is too short or too long.
    #[error("the RSA key has {bits} bits; expected {MIN_RSA_BITS} to {MAX_RSA_BITS}")]
    KeySize {
        /// Its length in bits.
        bits: usize,
    },
    /// The plaintext is too long.
    #[error("the plaintext has {got} bytes, at most {MAX_RECIPIENT_PLAINTEXT} go to a recipient")]
    PlaintextLength {
        /// Its length in bytes.
        got: usize,
    },
    /// The cryptographic library failed: the machine's fault.
    #[error("encrypting for the recipient failed")]
    Crypto,
}

impl EnvelopeError {
    /// A stable name of the broken rule.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::PublicKey => "recipient.public-key",
            Self::KeySize { .. } => "recipient.key-size",
            Self::PlaintextLength { .. } => "recipient.plaintext-length",
            Self::Crypto => "recipient.crypto",
        }
    }
}

/// The RSA key that an enclave put into its attestation document.
pub struct RecipientKey {
    key: OaepPublicEncryptingKey,
    /// SHA-256 of the SubjectPublicKeyInfo: the subject key identifier.
    identifier: [u8; 32],
    bits: usize,
}

impl RecipientKey {
    /// Reads a DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
    ///
    /// # Errors
    /// [`EnvelopeError::PublicKey`] for another structure, another algorithm or trailing bytes;
    /// [`EnvelopeError::KeySize`].
    pub fn from_spki(spki: &[u8]) -> Result<Self, EnvelopeError> {
        if spki.len() > MAX_SPKI || !is_rsa_der(spki) {
            return Err(EnvelopeError::PublicKey);
        }
        let key = PublicEncryptingKey::from_der(spki).map_err(|_| EnvelopeError::PublicKey)?;
        let bits = key.key_size_bits();
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(EnvelopeError::KeySize { bits });
        }
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| EnvelopeError::PublicKey)?;
        Ok(Self {
            key,
            identifier: Sha256::digest(spki).into(),
            bits,
        })
    }

    /// The modulus's length in bits.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn identifier(&self) -> &[u8; 32] {
        &self.identifier
    }
}

/// Whether `spki` is one DER SubjectPublicKeyInfo of rsaEncryption (RFC 8017, A.1), nothing after
/// it: aws-lc's own parser also takes trailing bytes.
fn is_rsa_der(spki: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::from_der(spki).is_ok_and(|info| {
        info.algorithm.oid == RSA_ENCRYPTION && info.to_der().is_ok_and(|der| der == spki)
    })
}

/// Encrypts `plaintext` (at most 4096 bytes) to `recipient`: the bytes of a CMS EnvelopedData.
///
/// The content key and IV come from `rng`; OAEP's seed comes from aws-lc's own generator.
///
/// # Errors
/// [`EnvelopeError::PlaintextLength`], [`EnvelopeError::Crypto`].
pub fn envelope(
    recipient: &RecipientKey,
    plaintext: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<u8>, EnvelopeError> {
    if plaintext.len() > MAX_RECIPIENT_PLAINTEXT {
        return Err(EnvelopeError::PlaintextLength {
            got: plaintext.len(),
        });
    }
    let mut content_key = Zeroizing::new([0u8; 32]);
    rng.fill_bytes(content_key.as_mut_slice());
    let mut iv = [0u8; 16];
    rng.fill_bytes(&mut iv);

    let encrypted_key = wrap_key(recipient, content_key.as_slice())?;
    let content = encrypt_content(content_key.as_slice(), &iv, plaintext)?;
    Ok(content_info(recipient, &encrypted_key, &iv, &content))
}

/// RSAES-OAEP with SHA-256 for both hash and mask, no label (RFC 8017, 7.1).
fn wrap_key(recipient: &RecipientKey, content_key: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut out = vec![0; recipient.key.ciphertext_size()];
    let length = recipient
        .key
        .encrypt(&OAEP_SHA256_MGF1SHA256, content_key, &mut out, None)
        .map_err(|_| EnvelopeError::Crypto)?
        .len();
    out.truncate(length);
    Ok(out)
}

/// AES-256-CBC with the padding of RFC 5652, 6.3.
fn encrypt_content(
    content_key: &[u8],
    iv: &[u8; 16],
    plaintext: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let cipher = UnboundCipherKey::new(&AES_256, content_key)
        .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
        .map_err(|_| EnvelopeError::Crypto)?;
    // Room for the padding, so that growing leaves no copy of the plaintext behind.
    let mut content = Vec::with_capacity(plaintext.len() + 16);
    content.extend_from_slice(plaintext);
    cipher
        .less_safe_encrypt(&mut content, CipherContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| EnvelopeError::Crypto)?;
    Ok(content)
}

/// `id-envelopedData`, 1.2.840.113549.1.7.3.
const ENVELOPED_DATA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03,
];

/// `id-data`, 1.2.840.113549.1.7.1.
const DATA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01,
];

/// `aes256-CBC`, 2.16.840.1.101.3.4.1.42.
const AES_256_CBC: &[u8] = &[
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a,
];

/// INTEGER 2: the version of EnvelopedData with a subject key identifier (RFC 5652, 6.1) and of
/// such a KeyTransRecipientInfo (6.2.1).
const VERSION_2: &[u8] = &[0x02, 0x01, 0x02];

/// AlgorithmIdentifier of RSAES-OAEP with SHA-256 and MGF1 with SHA-256, no pSourceAlgorithm
/// (RFC 4055, 4.1).
const RSAES_OAEP_SHA_256: &[u8] = &[
    0x30, 0x3c, // SEQUENCE
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07, // id-RSAES-OAEP
    0x30, 0x2f, // RSAES-OAEP-params
    0xa0, 0x0f, 0x30, 0x0d, // [0] hashAlgorithm
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, // sha256, NULL
    0xa1, 0x1c, 0x30, 0x1a, // [1] maskGenAlgorithm
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, // id-mgf1
    0x30, 0x0d, // its hash
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
];

/// End-of-contents octets (X.690, 8.1.5).
const END: [u8; 2] = [0, 0];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTET_STRING: u8 = 0x04;
const CONTEXT_0: u8 = 0x80;
const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;

/// ContentInfo { id-envelopedData, [0] EnvelopedData { 2, recipients, content } }: four levels of
/// indefinite length, and inside them definite ones.
fn content_info(recipient: &RecipientKey, key: &[u8], iv: &[u8; 16], content: &[u8]) -> Vec<u8> {
    let recipient_info = [
        VERSION_2,
        &definite(CONTEXT_0, &recipient.identifier),
        RSAES_OAEP_SHA_256,
        &definite(OCTET_STRING, key),
    ]
    .concat();
    let cipher = [AES_256_CBC, &definite(OCTET_STRING, iv)].concat();
    let chunks = definite(OCTET_STRING, content);
    let encrypted_content_info = indefinite(
        SEQUENCE,
        &[
            DATA,
            &definite(SEQUENCE, &cipher),
            &indefinite(CONTEXT_0_CONSTRUCTED, &chunks),
        ]
        .concat(),
    );
    let recipients = definite(SET, &definite(SEQUENCE, &recipient_info));
    let enveloped_data = indefinite(
        SEQUENCE,
        &[VERSION_2, &recipients, &encrypted_content_info].concat(),
    );
    let explicit = indefinite(CONTEXT_0_CONSTRUCTED, &enveloped_data);
    indefinite(SEQUENCE, &[ENVELOPED_DATA, &explicit].concat())
}

/// Tag, definite length (X.690, 8.1.3.3–5), content of at most 65,535 bytes.
fn definite(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = Vec::with_capacity(length + 4);
    out.push(tag);
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend_from_slice(&[0x81, length as u8]),
        _ => {
            debug_assert!(
                length <= 0xffff,
                "a plaintext of 4096 bytes bounds every element"
            );
            out.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Tag, indefinite length (X.690, 8.1.3.6), content, end-of-contents.
fn indefinite(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x80], content, &END].concat()
}
