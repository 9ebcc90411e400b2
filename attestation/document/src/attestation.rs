//! The attestation document: the payload that the security module signs.

use std::collections::BTreeMap;

use crate::cbor::{Reader, Writer, demand, fill};
use crate::error::DocumentError;
use crate::limits::{MAX_CABUNDLE, MAX_CERTIFICATE, MAX_MODULE_ID, MAX_PAYLOAD, MAX_USER_FIELD};
use crate::pcr::{Pcr, PcrIndex};

/// The digest that every document names: registers are SHA-384.
pub const DIGEST: &str = "SHA384";

const MAP: &str = "attestation document";

/// What an attestation document says, its signature aside.
///
/// AWS's CDDL, in the order in which its module writes the keys and so do we:
///
/// ```text
/// {
///   module_id:   text,                ; 1..=256 bytes, "i-…-enc…"
///   digest:      "SHA384",
///   timestamp:   uint,                ; milliseconds since the epoch, not 0
///   pcrs:        { + 0..31 => bytes .size 48 },
///   certificate: bytes,               ; DER, 1..=1024
///   cabundle:    [ 1*8 bytes ],       ; DER, 1..=1024 each, root first
///   public_key:  bytes / null,        ; 1..=1024
///   user_data:   bytes / null,        ; ..=1024
///   nonce:       bytes / null,        ; ..=1024
/// }
/// ```
///
/// Decoding takes the keys in any order and the three optional ones absent; encoding writes null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationDocument {
    /// The security module's name, the enclave's id on Nitro: `<instance>-enc<16 hex digits>`.
    pub module_id: String,
    /// When the module signed, in milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// Every locked register, zero ones included.
    pub pcrs: BTreeMap<PcrIndex, Pcr>,
    /// DER of the leaf certificate, whose key signed the document.
    pub certificate: Vec<u8>,
    /// DER of the issuing certificates, root first, the leaf's issuer last.
    pub cabundle: Vec<Vec<u8>>,
    /// What the enclave asked to have in the document for others to encrypt to.
    pub public_key: Option<Vec<u8>>,
    /// What the enclave asked to have in the document for its own protocol.
    pub user_data: Option<Vec<u8>>,
    /// What the enclave asked to have in the document as another's challenge.
    pub nonce: Option<Vec<u8>>,
}

impl AttestationDocument {
    /// Decodes a COSE payload of at most [`MAX_PAYLOAD`] bytes.
    pub fn from_payload(payload: &[u8]) -> Result<Self, DocumentError> {
        let mut reader = Reader::new(payload, MAP, MAX_PAYLOAD)?;
        let document = Fields::read(&mut reader)?.complete()?;
        reader.finish(MAP)?;
        Ok(document)
    }

    /// Encodes the document byte for byte as AWS's module does: definite lengths, keys in the
    /// order of the CDDL above, absent optionals as null.
    pub fn to_payload(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.map(9);
        writer.text("module_id");
        writer.text(&self.module_id);
        writer.text("digest");
        writer.text(DIGEST);
        writer.text("timestamp");
        writer.uint(self.timestamp_ms);
        writer.text("pcrs");
        writer.map(self.pcrs.len());
        for (index, pcr) in &self.pcrs {
            writer.uint(u64::from(index.value()));
            writer.bytes(pcr.as_bytes());
        }
        writer.text("certificate");
        writer.bytes(&self.certificate);
        writer.text("cabundle");
        writer.array(self.cabundle.len());
        self.cabundle
            .iter()
            .for_each(|certificate| writer.bytes(certificate));
        for (name, value) in [
            ("public_key", &self.public_key),
            ("user_data", &self.user_data),
            ("nonce", &self.nonce),
        ] {
            writer.text(name);
            writer.bytes_or_null(value.as_deref());
        }
        writer.into_bytes()
    }

    /// Whether PCR0, PCR1 and PCR2 are all present and zero, which is how a module marks an
    /// enclave in debug mode. Other registers stay real there, so they say nothing.
    pub fn is_debug(&self) -> bool {
        [PcrIndex::PCR0, PcrIndex::PCR1, PcrIndex::PCR2]
            .iter()
            .all(|index| self.pcrs.get(index).is_some_and(Pcr::is_zero))
    }
}

/// The keys seen so far.
#[derive(Default)]
struct Fields {
    module_id: Option<String>,
    digest: Option<()>,
    timestamp: Option<u64>,
    pcrs: Option<BTreeMap<PcrIndex, Pcr>>,
    certificate: Option<Vec<u8>>,
    cabundle: Option<Vec<Vec<u8>>>,
    public_key: Option<Option<Vec<u8>>>,
    user_data: Option<Option<Vec<u8>>>,
    nonce: Option<Option<Vec<u8>>>,
}

impl Fields {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DocumentError> {
        let mut fields = Self::default();
        let mut entries = reader.map(MAP)?;
        while let Some(key) = reader.next_name(&mut entries, MAP)? {
            fields.read_value(key, reader)?;
        }
        Ok(fields)
    }

    fn read_value(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<(), DocumentError> {
        match key {
            "module_id" => {
                let name = reader.text("module_id", 1, MAX_MODULE_ID)?.to_owned();
                fill(&mut self.module_id, MAP, "module_id", name)
            }
            "digest" => fill(&mut self.digest, MAP, "digest", read_digest(reader)?),
            "timestamp" => fill(
                &mut self.timestamp,
                MAP,
                "timestamp",
                read_timestamp(reader)?,
            ),
            "pcrs" => fill(&mut self.pcrs, MAP, "pcrs", read_pcrs(reader)?),
            "certificate" => {
                let der = reader.bytes("certificate", 1, MAX_CERTIFICATE)?.to_vec();
                fill(&mut self.certificate, MAP, "certificate", der)
            }
            "cabundle" => fill(&mut self.cabundle, MAP, "cabundle", read_cabundle(reader)?),
            "public_key" => {
                let value = reader.bytes_or_null("public_key", 1, MAX_USER_FIELD)?;
                fill(
                    &mut self.public_key,
                    MAP,
                    "public_key",
                    value.map(<[u8]>::to_vec),
                )
            }
            "user_data" => {
                let value = reader.bytes_or_null("user_data", 0, MAX_USER_FIELD)?;
                fill(
                    &mut self.user_data,
                    MAP,
                    "user_data",
                    value.map(<[u8]>::to_vec),
                )
            }
            "nonce" => {
                let value = reader.bytes_or_null("nonce", 0, MAX_USER_FIELD)?;
                fill(&mut self.nonce, MAP, "nonce", value.map(<[u8]>::to_vec))
            }
            other => Err(DocumentError::UnknownKey {
                map: MAP,
                key: other.to_owned(),
            }),
        }
    }

    fn complete(self) -> Result<AttestationDocument, DocumentError> {
        demand(self.digest, MAP, "digest")?;
        Ok(AttestationDocument {
            module_id: demand(self.module_id, MAP, "module_id")?,
            timestamp_ms: demand(self.timestamp, MAP, "timestamp")?,
            pcrs: demand(self.pcrs, MAP, "pcrs")?,
            certificate: demand(self.certificate, MAP, "certificate")?,
            cabundle: demand(self.cabundle, MAP, "cabundle")?,
            public_key: self.public_key.flatten(),
            user_data: self.user_data.flatten(),
            nonce: self.nonce.flatten(),
        })
    }
}

pub(crate) fn read_digest(reader: &mut Reader<'_>) -> Result<(), DocumentError> {
    match reader.text("digest", 0, crate::limits::MAX_NAME)? {
        DIGEST => Ok(()),
        other => Err(DocumentError::Digest {
            got: other.to_owned(),
        }),
    }
}

fn read_timestamp(reader: &mut Reader<'_>) -> Result<u64, DocumentError> {
    match reader.uint("timestamp")? {
        0 => Err(DocumentError::OutOfRange {
            item: "timestamp",
            min: 1,
            max: u64::MAX,
            got: 0,
        }),
        timestamp => Ok(timestamp),
    }
}

fn read_pcrs(reader: &mut Reader<'_>) -> Result<BTreeMap<PcrIndex, Pcr>, DocumentError> {
    const ITEM: &str = "pcrs";
    let mut pcrs = BTreeMap::new();
    let mut entries = reader.map(ITEM)?;
    while let Some(header) = reader.next_entry(&mut entries, ITEM)? {
        let ciborium_ll::Header::Positive(number) = header else {
            return Err(crate::cbor::wrong_type(
                "key of pcrs",
                "an unsigned integer",
                header,
            ));
        };
        let index = PcrIndex::try_from(number).map_err(DocumentError::PcrIndex)?;
        let value = Pcr(reader.array_of_bytes("value of pcrs")?);
        if pcrs.insert(index, value).is_some() {
            return Err(DocumentError::DuplicateKey {
                map: ITEM,
                key: index.to_string(),
            });
        }
    }
    match pcrs.len() {
        0 => Err(DocumentError::Length {
            item: ITEM,
            min: 1,
            max: 32,
            got: 0,
        }),
        _ => Ok(pcrs),
    }
}

fn read_cabundle(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, DocumentError> {
    const ITEM: &str = "cabundle";
    let length = |got| DocumentError::Length {
        item: ITEM,
        min: 1,
        max: MAX_CABUNDLE,
        got,
    };
    let mut certificates = Vec::new();
    let mut entries = reader.array(ITEM)?;
    while let Some(header) = reader.next_entry(&mut entries, ITEM)? {
        if certificates.len() == MAX_CABUNDLE {
            return Err(length(MAX_CABUNDLE + 1));
        }
        let der = reader.bytes_after(header, "certificate of cabundle", 1, MAX_CERTIFICATE)?;
        certificates.push(der.to_vec());
    }
    match certificates.len() {
        0 => Err(length(0)),
        _ => Ok(certificates),
    }
}
