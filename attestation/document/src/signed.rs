//! The envelope: COSE_Sign1 (RFC 9052 §4.2) over an attestation document.

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, iana};

use crate::attestation::AttestationDocument;
use crate::cbor::{Reader, wrong_type};
use crate::error::DocumentError;
use crate::limits::{MAX_DOCUMENT, MAX_PAYLOAD, MAX_PROTECTED, SIGNATURE_BYTES};

const ITEM: &str = "COSE_Sign1";

/// The tag of COSE_Sign1 (RFC 9052 §2, table 1). AWS's text asks for it, AWS's module leaves it
/// out: both are read, none is written.
const TAG: u64 = 18;

/// The encoded protected header `{1: -35}`: algorithm ES384 (RFC 9053 §2.1) and nothing else.
const PROTECTED: [u8; 4] = [0xA1, 0x01, 0x38, 0x22];

/// A COSE_Sign1 of the one shape that documents have:
///
/// ```text
/// [ protected: h'A1013822', unprotected: {}, payload: bytes .size (1..16384),
///   signature: bytes .size 96 ]
/// ```
///
/// Lengths must be in shortest form, so that a payload and a signature have exactly two encodings:
/// tagged and untagged. (ECDSA itself lets anyone turn s into n − s, so the bytes of a document
/// still are no unique name for it.)
///
/// Holding one says nothing about the signature, which nobody has checked, nor about the payload,
/// which nobody has decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedDocument {
    payload: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
}

impl SignedDocument {
    /// Decodes a signed document of at most [`MAX_DOCUMENT`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        let mut reader = Reader::new(bytes, ITEM, MAX_DOCUMENT)?;
        let tagged = open_array(&mut reader)?;
        read_protected(&mut reader)?;
        read_unprotected(&mut reader)?;
        let payload = reader.bytes("COSE payload", 1, MAX_PAYLOAD)?.to_vec();
        let signature = reader.array_of_bytes("COSE signature")?;
        reader.finish(ITEM)?;

        let document = Self { payload, signature };
        let untagged = bytes.get(usize::from(tagged)..).unwrap_or_default();
        if document.to_bytes() != untagged {
            return Err(DocumentError::Encoding);
        }
        Ok(document)
    }

    /// The encoded attestation document, as it was signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signature: r ‖ s, 48 bytes each, big-endian.
    pub fn signature(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.signature
    }

    /// The bytes that the signature covers: the encoded
    /// `Sig_structure = ["Signature1", protected, h'', payload]` (RFC 9052 §4.4).
    pub fn to_be_signed(&self) -> Vec<u8> {
        envelope(self.payload.clone(), Vec::new()).tbs_data(&[])
    }

    /// The untagged encoding, as AWS's module writes it (first byte 0x84).
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope(self.payload.clone(), self.signature.to_vec())
            .to_vec()
            .expect("an envelope of byte strings and a fixed header always encodes")
    }
}

impl std::fmt::Debug for SignedDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedDocument")
            .field("payload_bytes", &self.payload.len())
            .field("signature", &hex::encode(self.signature))
            .finish()
    }
}

/// A payload on its way to the signer.
#[derive(Clone, Debug)]
pub struct DocumentToSign {
    payload: Vec<u8>,
}

impl DocumentToSign {
    /// Encodes `document` for signing; fails if that takes more than [`MAX_PAYLOAD`] bytes.
    pub fn new(document: &AttestationDocument) -> Result<Self, DocumentError> {
        Self::from_payload(document.to_payload())
    }

    /// Takes an encoded payload of 1..=[`MAX_PAYLOAD`] bytes as it is.
    pub fn from_payload(payload: Vec<u8>) -> Result<Self, DocumentError> {
        match payload.len() {
            1..=MAX_PAYLOAD => Ok(Self { payload }),
            got => Err(DocumentError::Length {
                item: "COSE payload",
                min: 1,
                max: MAX_PAYLOAD,
                got,
            }),
        }
    }

    /// The bytes to sign with ES384: see [`SignedDocument::to_be_signed`].
    pub fn to_be_signed(&self) -> Vec<u8> {
        envelope(self.payload.clone(), Vec::new()).tbs_data(&[])
    }

    /// Joins payload and signature (r ‖ s).
    pub fn with_signature(self, signature: [u8; SIGNATURE_BYTES]) -> SignedDocument {
        SignedDocument {
            payload: self.payload,
            signature,
        }
    }
}

fn envelope(payload: Vec<u8>, signature: Vec<u8>) -> CoseSign1 {
    CoseSign1Builder::new()
        .protected(
            HeaderBuilder::new()
                .algorithm(iana::Algorithm::ES384)
                .build(),
        )
        .payload(payload)
        .signature(signature)
        .build()
}

/// Reads the optional tag and the head of the array; says whether the tag was there.
fn open_array(reader: &mut Reader<'_>) -> Result<bool, DocumentError> {
    let mut header = reader.header(ITEM)?;
    let tagged = match header {
        ciborium_ll::Header::Tag(TAG) => true,
        ciborium_ll::Header::Tag(got) => return Err(DocumentError::Tag { got }),
        _ => false,
    };
    if tagged {
        header = reader.header(ITEM)?;
    }
    match header {
        ciborium_ll::Header::Array(Some(4)) => Ok(tagged),
        ciborium_ll::Header::Array(Some(got)) => Err(DocumentError::Length {
            item: ITEM,
            min: 4,
            max: 4,
            got,
        }),
        other => Err(wrong_type(ITEM, "an array of four items", other)),
    }
}

fn read_protected(reader: &mut Reader<'_>) -> Result<(), DocumentError> {
    let protected = reader.bytes("COSE protected header", 0, MAX_PROTECTED)?;
    if protected == PROTECTED {
        return Ok(());
    }
    let got = Header::from_slice(protected)
        .ok()
        .and_then(|header| match header.alg {
            Some(coset::Algorithm::Assigned(algorithm)) => Some(iana::EnumI64::to_i64(&algorithm)),
            Some(coset::Algorithm::PrivateUse(algorithm)) => Some(algorithm),
            _ => None,
        });
    Err(DocumentError::Algorithm { got })
}

fn read_unprotected(reader: &mut Reader<'_>) -> Result<(), DocumentError> {
    match reader.header("COSE unprotected header")? {
        ciborium_ll::Header::Map(Some(0)) => Ok(()),
        ciborium_ll::Header::Map(entries) => Err(DocumentError::UnprotectedHeader {
            got: entries.unwrap_or(usize::MAX),
        }),
        other => Err(wrong_type("COSE unprotected header", "a map", other)),
    }
}
