//! The signature section's outer form.
//!
//! ```text
//! section = [{ "signing_certificate": [* u8], "signature": [* u8] }]
//! ```
//!
//! CBOR (RFC 8949), and both values are arrays of small integers, not byte strings: that is how
//! AWS's tools write them. The certificate is PEM, the signature an untagged COSE_Sign1.

use thiserror::Error;

use crate::error::EifError;

const CERTIFICATE: &str = "signing_certificate";
const SIGNATURE: &str = "signature";

const MAJOR_UNSIGNED: u8 = 0;
const MAJOR_TEXT: u8 = 3;
const MAJOR_ARRAY: u8 = 4;
const MAJOR_MAP: u8 = 5;

/// The two values of a signature section. Well formed, but nothing is checked about who signed
/// what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureSection {
    certificate_pem: Vec<u8>,
    certificate_der: Vec<u8>,
    cose_sign1: Vec<u8>,
}

/// Why a signature section cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not the CBOR that it has to be.
    #[error("at byte {at}: expected {expected}, got {got}")]
    Cbor {
        /// Offset in the section.
        at: usize,
        /// What the form needs there.
        expected: &'static str,
        /// What stands there.
        got: String,
    },
    /// The certificate is not exactly one PEM block of a certificate.
    #[error("the signing certificate is not PEM: expected one CERTIFICATE block, got {got}")]
    Pem {
        /// What came instead.
        got: String,
    },
}

impl SignatureError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Cbor { .. } => "eif.signature-form",
            Self::Pem { .. } => "eif.signature-certificate",
        }
    }
}

impl SignatureSection {
    /// Puts a PEM certificate and an untagged COSE_Sign1 into the section's form.
    ///
    /// # Errors
    /// [`SignatureError::Pem`] when the certificate is not one PEM block. The COSE_Sign1 is taken
    /// as it is.
    pub fn new(certificate_pem: &[u8], cose_sign1: &[u8]) -> Result<Self, SignatureError> {
        Ok(Self {
            certificate_der: der_of(certificate_pem)?,
            certificate_pem: certificate_pem.to_vec(),
            cose_sign1: cose_sign1.to_vec(),
        })
    }

    pub(crate) fn parse(section: &[u8]) -> Result<Self, EifError> {
        let mut reader = Reader {
            bytes: section,
            at: 0,
        };
        reader.expect_head(MAJOR_ARRAY, 1, "an array of one signature")?;
        reader.expect_head(MAJOR_MAP, 2, "a map of two entries")?;
        let mut certificate = None;
        let mut signature = None;
        for _ in 0..2 {
            let at = reader.at;
            let key = reader.text()?;
            let value = reader.octets()?;
            match key {
                CERTIFICATE if certificate.is_none() => certificate = Some(value),
                SIGNATURE if signature.is_none() => signature = Some(value),
                other => {
                    let expected = "each of \"signing_certificate\" and \"signature\" once";
                    return Err(cbor(at, expected, &format!("{other:?}")).into());
                }
            }
        }
        let (Some(certificate), Some(signature)) = (certificate, signature) else {
            return Err(cbor(reader.at, "both entries", "one").into());
        };
        match reader.bytes.len().saturating_sub(reader.at) {
            0 => Ok(Self::new(&certificate, &signature)?),
            more => Err(cbor(reader.at, "the end", &format!("{more} more bytes")).into()),
        }
    }

    /// The section's bytes, as AWS's tools write them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_head(&mut bytes, MAJOR_ARRAY, 1);
        put_head(&mut bytes, MAJOR_MAP, 2);
        for (key, value) in [
            (CERTIFICATE, &self.certificate_pem),
            (SIGNATURE, &self.cose_sign1),
        ] {
            put_head(&mut bytes, MAJOR_TEXT, key.len());
            bytes.extend(key.as_bytes());
            put_head(&mut bytes, MAJOR_ARRAY, value.len());
            for octet in value {
                put_head(&mut bytes, MAJOR_UNSIGNED, usize::from(*octet));
            }
        }
        bytes
    }

    /// The signing certificate as it stands in the file, PEM.
    pub fn certificate_pem(&self) -> &[u8] {
        &self.certificate_pem
    }

    /// What the PEM block holds: the bytes that PCR8 hashes.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// The untagged COSE_Sign1 (RFC 9052) over `{"register_index": 0, "register_value": PCR0}`.
    pub fn cose_sign1(&self) -> &[u8] {
        &self.cose_sign1
    }
}

fn der_of(certificate_pem: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let refuse = |got: String| SignatureError::Pem { got };
    let mut blocks = pem::parse_many(certificate_pem).map_err(|error| refuse(error.to_string()))?;
    match (blocks.len(), blocks.pop()) {
        (1, Some(block)) if block.tag() == "CERTIFICATE" => Ok(block.into_contents()),
        (1, Some(block)) => Err(refuse(format!("a block {:?}", block.tag()))),
        (count, _) => Err(refuse(format!("{count} blocks"))),
    }
}

fn cbor(at: usize, expected: &'static str, got: &str) -> SignatureError {
    SignatureError::Cbor {
        at,
        expected,
        got: got.into(),
    }
}

fn put_head(bytes: &mut Vec<u8>, major: u8, value: usize) {
    let kind = major << 5;
    match value {
        0..=23 => bytes.push(kind | value as u8),
        24..=0xff => bytes.extend([kind | 24, value as u8]),
        0x100..=0xffff => {
            bytes.push(kind | 25);
            bytes.extend((value as u16).to_be_bytes());
        }
        _ => {
            bytes.push(kind | 27);
            bytes.extend((value as u64).to_be_bytes());
        }
    }
}

/// Reads CBOR heads with definite lengths; a section has at most 32768 bytes, so no length of
/// more than 16 bits can be honest.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn text(&mut self) -> Result<&'a str, SignatureError> {
        let at = self.at;
        let length = self.head(MAJOR_TEXT, "a text string")?;
        let text = self.take(usize::from(length), "a text string")?;
        std::str::from_utf8(text).map_err(|_| cbor(at, "UTF-8", "other bytes"))
    }

    fn octets(&mut self) -> Result<Vec<u8>, SignatureError> {
        let length = self.head(MAJOR_ARRAY, "an array of octets")?;
        let mut octets = Vec::new();
        for _ in 0..length {
            let at = self.at;
            let octet = self.head(MAJOR_UNSIGNED, "an octet")?;
            let octet = u8::try_from(octet)
                .map_err(|_| cbor(at, "an octet of at most 255", &octet.to_string()))?;
            octets.push(octet);
        }
        Ok(octets)
    }

    fn expect_head(
        &mut self,
        major: u8,
        value: u16,
        expected: &'static str,
    ) -> Result<(), SignatureError> {
        let at = self.at;
        match self.head(major, expected)? {
            got if got == value => Ok(()),
            got => Err(cbor(at, expected, &format!("{got}"))),
        }
    }

    fn head(&mut self, major: u8, expected: &'static str) -> Result<u16, SignatureError> {
        let at = self.at;
        let [first] = self.chunk(expected)?;
        if first >> 5 != major {
            return Err(cbor(at, expected, &format!("byte {first:#04x}")));
        }
        match first & 0x1f {
            value @ 0..=23 => Ok(u16::from(value)),
            24 => self.chunk(expected).map(|[value]| u16::from(value)),
            25 => self.chunk(expected).map(u16::from_be_bytes),
            _ => Err(cbor(
                at,
                "a definite length of at most 16 bits",
                &format!("{first:#04x}"),
            )),
        }
    }

    fn chunk<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], SignatureError> {
        let at = self.at;
        let field = self.take(N, expected)?;
        field
            .first_chunk()
            .copied()
            .ok_or_else(|| cbor(at, expected, "the end"))
    }

    fn take(&mut self, size: usize, expected: &'static str) -> Result<&'a [u8], SignatureError> {
        let end = self.at.saturating_add(size);
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or_else(|| cbor(self.at, expected, "the end of the section"))?;
        self.at = end;
        Ok(taken)
    }
}
