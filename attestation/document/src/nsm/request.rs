//! Requests to the security module.

use ciborium_ll::Header;

use crate::cbor::{Entries, Reader, Writer, demand, fill, wrong_type};
use crate::error::DocumentError;
use crate::limits::{MAX_NAME, MAX_REQUEST};

const ITEM: &str = "NSM request";

/// A request.
///
/// ```text
/// "DescribeNSM" / "GetRandom"
/// { "DescribePCR": { "index": uint16 } }
/// { "ExtendPCR":   { "index": uint16, "data": bytes } }
/// { "LockPCR":     { "index": uint16 } }
/// { "LockPCRs":    { "range": uint16 } }
/// { "Attestation": { "user_data": bytes / null, "nonce": bytes / null,
///                    "public_key": bytes / null } }
/// ```
///
/// Indices are carried as they come: the module, not the codec, answers `InvalidIndex`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The module's version, name and locked registers.
    DescribeNsm,
    /// 256 random bytes.
    GetRandom,
    /// The value of a register, and whether it is locked.
    DescribePcr {
        /// Register number.
        index: u16,
    },
    /// Replaces a register by SHA-384(old value ‖ data).
    ExtendPcr {
        /// Register number.
        index: u16,
        /// What to measure, raw.
        data: Vec<u8>,
    },
    /// Makes a register read-only until the enclave ends.
    LockPcr {
        /// Register number.
        index: u16,
    },
    /// Makes the registers 0..range read-only.
    LockPcrs {
        /// One past the last register to lock, at most 32.
        range: u16,
    },
    /// An attestation document.
    Attestation(AttestationRequest),
}

/// What the enclave wants to have in its document; each at most
/// [`MAX_USER_FIELD`](crate::limits::MAX_USER_FIELD) bytes, or the module refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttestationRequest {
    /// Data of the enclave's own protocol.
    pub user_data: Option<Vec<u8>>,
    /// Another's challenge.
    pub nonce: Option<Vec<u8>>,
    /// A key for others to encrypt to, DER of SubjectPublicKeyInfo where AWS KMS is to use it.
    pub public_key: Option<Vec<u8>>,
}

impl Request {
    /// Decodes a request of at most [`MAX_REQUEST`] bytes.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, DocumentError> {
        let mut reader = Reader::new(bytes, ITEM, MAX_REQUEST)?;
        let request = match reader.header(ITEM)? {
            header @ Header::Text(_) => from_name(reader.text_after(header, ITEM, 0, MAX_NAME)?)?,
            Header::Map(Some(1)) => {
                let name = reader.text(ITEM, 0, MAX_NAME)?;
                from_fields(name, &mut reader)?
            }
            Header::Map(None) => {
                let name = reader.text(ITEM, 0, MAX_NAME)?;
                let request = from_fields(name, &mut reader)?;
                match reader.header(ITEM)? {
                    Header::Break => request,
                    other => return Err(wrong_type(ITEM, "the end of the map", other)),
                }
            }
            Header::Map(Some(got)) => {
                return Err(DocumentError::Length {
                    item: ITEM,
                    min: 1,
                    max: 1,
                    got,
                });
            }
            other => return Err(wrong_type(ITEM, "a name or a map of one entry", other)),
        };
        reader.finish(ITEM)?;
        Ok(request)
    }

    /// Encodes the request as AWS's API crate does.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::DescribeNsm => writer.text("DescribeNSM"),
            Self::GetRandom => writer.text("GetRandom"),
            Self::DescribePcr { index } => {
                write_number(&mut writer, "DescribePCR", "index", *index);
            }
            Self::ExtendPcr { index, data } => {
                open(&mut writer, "ExtendPCR", 2);
                writer.text("index");
                writer.uint(u64::from(*index));
                writer.text("data");
                writer.bytes(data);
            }
            Self::LockPcr { index } => write_number(&mut writer, "LockPCR", "index", *index),
            Self::LockPcrs { range } => write_number(&mut writer, "LockPCRs", "range", *range),
            Self::Attestation(request) => {
                open(&mut writer, "Attestation", 3);
                writer.text("user_data");
                writer.bytes_or_null(request.user_data.as_deref());
                writer.text("nonce");
                writer.bytes_or_null(request.nonce.as_deref());
                writer.text("public_key");
                writer.bytes_or_null(request.public_key.as_deref());
            }
        }
        writer.into_bytes()
    }
}

fn from_name(name: &str) -> Result<Request, DocumentError> {
    match name {
        "DescribeNSM" => Ok(Request::DescribeNsm),
        "GetRandom" => Ok(Request::GetRandom),
        other => Err(unknown(other)),
    }
}

fn from_fields(name: &str, reader: &mut Reader<'_>) -> Result<Request, DocumentError> {
    match name {
        "DescribePCR" => {
            read_number(reader, "DescribePCR", "index").map(|index| Request::DescribePcr { index })
        }
        "LockPCR" => {
            read_number(reader, "LockPCR", "index").map(|index| Request::LockPcr { index })
        }
        "LockPCRs" => {
            read_number(reader, "LockPCRs", "range").map(|range| Request::LockPcrs { range })
        }
        "ExtendPCR" => read_extend(reader),
        "Attestation" => read_attestation(reader).map(Request::Attestation),
        other => Err(unknown(other)),
    }
}

/// A map of one entry, `key` to a 16-bit number.
fn read_number(
    reader: &mut Reader<'_>,
    map: &'static str,
    key: &'static str,
) -> Result<u16, DocumentError> {
    let mut slot = None;
    let mut entries = reader.map(map)?;
    while let Some(name) = reader.next_name(&mut entries, map)? {
        if name != key {
            return Err(DocumentError::UnknownKey {
                map,
                key: name.to_owned(),
            });
        }
        fill(&mut slot, map, key, reader.uint16(key)?)?;
    }
    demand(slot, map, key)
}

fn read_extend(reader: &mut Reader<'_>) -> Result<Request, DocumentError> {
    const MAP: &str = "ExtendPCR";
    let (mut index, mut data) = (None, None);
    let mut entries: Entries = reader.map(MAP)?;
    while let Some(name) = reader.next_name(&mut entries, MAP)? {
        match name {
            "index" => fill(&mut index, MAP, "index", reader.uint16("index")?)?,
            "data" => {
                fill(
                    &mut data,
                    MAP,
                    "data",
                    reader.bytes("data", 0, MAX_REQUEST)?.to_vec(),
                )?;
            }
            other => {
                return Err(DocumentError::UnknownKey {
                    map: MAP,
                    key: other.to_owned(),
                });
            }
        }
    }
    Ok(Request::ExtendPcr {
        index: demand(index, MAP, "index")?,
        data: demand(data, MAP, "data")?,
    })
}

/// The three fields; one that is absent counts as null, as in AWS's API crate.
fn read_attestation(reader: &mut Reader<'_>) -> Result<AttestationRequest, DocumentError> {
    const MAP: &str = "Attestation";
    let (mut user_data, mut nonce, mut public_key) = (None, None, None);
    let mut entries = reader.map(MAP)?;
    while let Some(name) = reader.next_name(&mut entries, MAP)? {
        let (slot, key) = match name {
            "user_data" => (&mut user_data, "user_data"),
            "nonce" => (&mut nonce, "nonce"),
            "public_key" => (&mut public_key, "public_key"),
            other => {
                return Err(DocumentError::UnknownKey {
                    map: MAP,
                    key: other.to_owned(),
                });
            }
        };
        let value = reader
            .bytes_or_null(key, 0, MAX_REQUEST)?
            .map(<[u8]>::to_vec);
        fill(slot, MAP, key, value)?;
    }
    Ok(AttestationRequest {
        user_data: user_data.flatten(),
        nonce: nonce.flatten(),
        public_key: public_key.flatten(),
    })
}

fn open(writer: &mut Writer, name: &str, fields: usize) {
    writer.map(1);
    writer.text(name);
    writer.map(fields);
}

fn write_number(writer: &mut Writer, name: &str, key: &str, value: u16) {
    open(writer, name, 1);
    writer.text(key);
    writer.uint(u64::from(value));
}

fn unknown(name: &str) -> DocumentError {
    DocumentError::UnknownName {
        item: ITEM,
        got: name.to_owned(),
    }
}
