//! Responses of the security module.

use std::collections::BTreeSet;

use ciborium_ll::Header;

use super::error_code::ErrorCode;
use crate::attestation::DIGEST;
use crate::cbor::{Reader, Writer, demand, fill, wrong_type};
use crate::error::DocumentError;
use crate::limits::{MAX_MODULE_ID, MAX_NAME, MAX_RESPONSE};
use crate::pcr::{Pcr, PcrIndex};

const ITEM: &str = "NSM response";

/// A response.
///
/// ```text
/// "LockPCR" / "LockPCRs"
/// { "DescribePCR": { "lock": bool, "data": bytes .size 48 } }
/// { "ExtendPCR":   { "data": bytes .size 48 } }
/// { "DescribeNSM": { "version_major": uint16, "version_minor": uint16,
///                    "version_patch": uint16, "module_id": text, "max_pcrs": uint16,
///                    "locked_pcrs": [ * uint ], "digest": "SHA384" } }
/// { "Attestation": { "document": bytes } }
/// { "GetRandom":   { "random": bytes } }
/// { "Error":       text }
/// ```
///
/// The Linux driver feeds its random number generator only from exactly
/// `A1 69 "GetRandom" A1 66 "random" bytes`, which is what encoding writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The module described.
    DescribeNsm(DescribeNsm),
    /// Random bytes.
    GetRandom {
        /// Normally [`RANDOM_BYTES`](super::RANDOM_BYTES) of them.
        random: Vec<u8>,
    },
    /// A register described.
    DescribePcr {
        /// Whether it is read-only.
        lock: bool,
        /// Its value.
        data: Pcr,
    },
    /// A register was extended.
    ExtendPcr {
        /// Its new value.
        data: Pcr,
    },
    /// A register is read-only now.
    LockPcr,
    /// The registers are read-only now.
    LockPcrs,
    /// An attestation document was signed.
    Attestation {
        /// The bytes of a [`SignedDocument`](crate::SignedDocument).
        document: Vec<u8>,
    },
    /// The module refuses.
    Error(ErrorCode),
}

/// What the module says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeNsm {
    /// Grows with a breaking change of the interface.
    pub version_major: u16,
    /// Grows with a compatible change of the interface.
    pub version_minor: u16,
    /// Grows with a change that is none of the interface.
    pub version_patch: u16,
    /// The module's name, as in its documents.
    pub module_id: String,
    /// Registers it has: 32.
    pub max_pcrs: u16,
    /// Registers that are read-only.
    pub locked_pcrs: BTreeSet<PcrIndex>,
}

impl Response {
    /// Decodes a response of at most [`MAX_RESPONSE`] bytes.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, DocumentError> {
        let mut reader = Reader::new(bytes, ITEM, MAX_RESPONSE)?;
        let response = match reader.header(ITEM)? {
            header @ Header::Text(_) => from_name(reader.text_after(header, ITEM, 0, MAX_NAME)?)?,
            Header::Map(Some(1)) => {
                let name = reader.text(ITEM, 0, MAX_NAME)?;
                from_fields(name, &mut reader)?
            }
            Header::Map(None) => {
                let name = reader.text(ITEM, 0, MAX_NAME)?;
                let response = from_fields(name, &mut reader)?;
                match reader.header(ITEM)? {
                    Header::Break => response,
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
        Ok(response)
    }

    /// Encodes the response as AWS's API crate does.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::LockPcr => writer.text("LockPCR"),
            Self::LockPcrs => writer.text("LockPCRs"),
            Self::Error(code) => {
                writer.map(1);
                writer.text("Error");
                writer.text(code.name());
            }
            Self::GetRandom { random } => write_bytes(&mut writer, "GetRandom", "random", random),
            Self::ExtendPcr { data } => {
                write_bytes(&mut writer, "ExtendPCR", "data", data.as_bytes());
            }
            Self::Attestation { document } => {
                write_bytes(&mut writer, "Attestation", "document", document);
            }
            Self::DescribePcr { lock, data } => {
                open(&mut writer, "DescribePCR", 2);
                writer.text("lock");
                writer.bool(*lock);
                writer.text("data");
                writer.bytes(data.as_bytes());
            }
            Self::DescribeNsm(description) => description.write(&mut writer),
        }
        writer.into_bytes()
    }
}

impl DescribeNsm {
    fn write(&self, writer: &mut Writer) {
        open(writer, "DescribeNSM", 7);
        for (name, value) in [
            ("version_major", self.version_major),
            ("version_minor", self.version_minor),
            ("version_patch", self.version_patch),
        ] {
            writer.text(name);
            writer.uint(u64::from(value));
        }
        writer.text("module_id");
        writer.text(&self.module_id);
        writer.text("max_pcrs");
        writer.uint(u64::from(self.max_pcrs));
        writer.text("locked_pcrs");
        writer.array(self.locked_pcrs.len());
        self.locked_pcrs
            .iter()
            .for_each(|index| writer.uint(u64::from(index.value())));
        writer.text("digest");
        writer.text(DIGEST);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DocumentError> {
        const MAP: &str = "DescribeNSM";
        let (mut major, mut minor, mut patch) = (None, None, None);
        let (mut module_id, mut max_pcrs, mut locked_pcrs, mut digest) = (None, None, None, None);
        let mut entries = reader.map(MAP)?;
        while let Some(name) = reader.next_name(&mut entries, MAP)? {
            match name {
                "version_major" => fill(&mut major, MAP, "version_major", reader.uint16(MAP)?)?,
                "version_minor" => fill(&mut minor, MAP, "version_minor", reader.uint16(MAP)?)?,
                "version_patch" => fill(&mut patch, MAP, "version_patch", reader.uint16(MAP)?)?,
                "module_id" => {
                    let text = reader.text("module_id", 1, MAX_MODULE_ID)?.to_owned();
                    fill(&mut module_id, MAP, "module_id", text)?;
                }
                "max_pcrs" => fill(&mut max_pcrs, MAP, "max_pcrs", reader.uint16("max_pcrs")?)?,
                "locked_pcrs" => {
                    fill(&mut locked_pcrs, MAP, "locked_pcrs", read_locked(reader)?)?;
                }
                "digest" => {
                    fill(
                        &mut digest,
                        MAP,
                        "digest",
                        crate::attestation::read_digest(reader)?,
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
        demand(digest, MAP, "digest")?;
        Ok(Self {
            version_major: demand(major, MAP, "version_major")?,
            version_minor: demand(minor, MAP, "version_minor")?,
            version_patch: demand(patch, MAP, "version_patch")?,
            module_id: demand(module_id, MAP, "module_id")?,
            max_pcrs: demand(max_pcrs, MAP, "max_pcrs")?,
            locked_pcrs: demand(locked_pcrs, MAP, "locked_pcrs")?,
        })
    }
}

fn from_name(name: &str) -> Result<Response, DocumentError> {
    match name {
        "LockPCR" => Ok(Response::LockPcr),
        "LockPCRs" => Ok(Response::LockPcrs),
        other => Err(unknown(ITEM, other)),
    }
}

fn from_fields(name: &str, reader: &mut Reader<'_>) -> Result<Response, DocumentError> {
    match name {
        "DescribePCR" => read_describe_pcr(reader),
        "ExtendPCR" => {
            let data = read_bytes(reader, "ExtendPCR", "data", 48, 48)?;
            Ok(Response::ExtendPcr {
                data: to_pcr(&data)?,
            })
        }
        "GetRandom" => {
            let random = read_bytes(reader, "GetRandom", "random", 0, MAX_RESPONSE)?;
            Ok(Response::GetRandom { random })
        }
        "Attestation" => {
            let document = read_bytes(reader, "Attestation", "document", 0, MAX_RESPONSE)?;
            Ok(Response::Attestation { document })
        }
        "DescribeNSM" => DescribeNsm::read(reader).map(Response::DescribeNsm),
        "Error" => {
            let code = reader.text("NSM error code", 0, MAX_NAME)?;
            let code = ErrorCode::from_name(code).ok_or_else(|| unknown("NSM error code", code))?;
            Ok(Response::Error(code))
        }
        other => Err(unknown(ITEM, other)),
    }
}

fn read_describe_pcr(reader: &mut Reader<'_>) -> Result<Response, DocumentError> {
    const MAP: &str = "DescribePCR";
    let (mut lock, mut data) = (None, None);
    let mut entries = reader.map(MAP)?;
    while let Some(name) = reader.next_name(&mut entries, MAP)? {
        match name {
            "lock" => fill(&mut lock, MAP, "lock", reader.bool("lock")?)?,
            "data" => fill(&mut data, MAP, "data", Pcr(reader.array_of_bytes("data")?))?,
            other => {
                return Err(DocumentError::UnknownKey {
                    map: MAP,
                    key: other.to_owned(),
                });
            }
        }
    }
    Ok(Response::DescribePcr {
        lock: demand(lock, MAP, "lock")?,
        data: demand(data, MAP, "data")?,
    })
}

/// A map of one entry, `key` to a byte string.
fn read_bytes(
    reader: &mut Reader<'_>,
    map: &'static str,
    key: &'static str,
    min: usize,
    max: usize,
) -> Result<Vec<u8>, DocumentError> {
    let mut slot = None;
    let mut entries = reader.map(map)?;
    while let Some(name) = reader.next_name(&mut entries, map)? {
        if name != key {
            return Err(DocumentError::UnknownKey {
                map,
                key: name.to_owned(),
            });
        }
        fill(&mut slot, map, key, reader.bytes(key, min, max)?.to_vec())?;
    }
    demand(slot, map, key)
}

fn read_locked(reader: &mut Reader<'_>) -> Result<BTreeSet<PcrIndex>, DocumentError> {
    const LIST: &str = "locked_pcrs";
    let mut locked = BTreeSet::new();
    let mut entries = reader.array(LIST)?;
    while let Some(header) = reader.next_entry(&mut entries, LIST)? {
        let Header::Positive(number) = header else {
            return Err(wrong_type(LIST, "an unsigned integer", header));
        };
        let index = PcrIndex::try_from(number).map_err(DocumentError::PcrIndex)?;
        if !locked.insert(index) {
            return Err(DocumentError::DuplicateKey {
                map: LIST,
                key: index.to_string(),
            });
        }
    }
    Ok(locked)
}

fn to_pcr(bytes: &[u8]) -> Result<Pcr, DocumentError> {
    <[u8; 48]>::try_from(bytes)
        .map(Pcr)
        .map_err(|_| DocumentError::Length {
            item: "data",
            min: 48,
            max: 48,
            got: bytes.len(),
        })
}

fn open(writer: &mut Writer, name: &str, fields: usize) {
    writer.map(1);
    writer.text(name);
    writer.map(fields);
}

fn write_bytes(writer: &mut Writer, name: &str, key: &str, value: &[u8]) {
    open(writer, name, 1);
    writer.text(key);
    writer.bytes(value);
}

fn unknown(item: &'static str, name: &str) -> DocumentError {
    DocumentError::UnknownName {
        item,
        got: name.to_owned(),
    }
}
