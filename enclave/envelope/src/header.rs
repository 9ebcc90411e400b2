//! The header: read piece by piece from a stream, never beyond its own end.

use core::fmt;
use std::io::{self, Read};

use crate::context::EncryptionContext;
use crate::crypto::{KEY_LENGTH, TAG_LENGTH};
use crate::edk::{EdkError, EncryptedDataKey};
use crate::error::OpenError;
use crate::limits::{Limits, MAX_PROVIDER_ID, MAX_PROVIDER_INFO, MAX_WRAPPED_KEY};
use crate::suite::Suite;

/// The only version that is spoken.
const VERSION: u8 = 0x02;
const UNFRAMED: u8 = 0x01;
const FRAMED: u8 = 0x02;

/// A message's id: 32 random bytes, the salt of its derived keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId([u8; MessageId::LENGTH]);

impl MessageId {
    /// Length of an id, in bytes.
    pub const LENGTH: usize = 32;

    pub(crate) const fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How the body is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// One AEAD message of a length that its own field gives.
    Unframed,
    /// Frames of this many bytes, the last one at most as long.
    Framed(u32),
}

/// A header as it was read or is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub suite: Suite,
    pub message_id: MessageId,
    pub context: EncryptionContext,
    pub data_keys: Vec<EncryptedDataKey>,
    pub content: Content,
    pub commitment: [u8; KEY_LENGTH],
}

/// A header with the bytes that it was read from: tag and signature cover those bytes, not what
/// another writer would make of the same values.
#[derive(Debug)]
pub(crate) struct ReadHeader {
    pub header: Header,
    /// All of the header but its tag.
    pub bytes: Vec<u8>,
    pub tag: [u8; TAG_LENGTH],
}

impl Header {
    /// The serialized header without its tag.
    pub fn to_bytes(&self, context: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + context.len());
        out.push(VERSION);
        out.extend_from_slice(&self.suite.id().to_be_bytes());
        out.extend_from_slice(self.message_id.as_bytes());
        // The caller made `context` with `EncryptionContext::to_bytes`, which bounds it.
        out.extend_from_slice(
            &u16::try_from(context.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        out.extend_from_slice(context);
        let count = u16::try_from(self.data_keys.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for key in &self.data_keys {
            key.write(&mut out);
        }
        let (kind, frame_length) = match self.content {
            Content::Unframed => (UNFRAMED, 0),
            Content::Framed(length) => (FRAMED, length),
        };
        out.push(kind);
        out.extend_from_slice(&frame_length.to_be_bytes());
        out.extend_from_slice(&self.commitment);
        out
    }
}

/// Reads a header and its tag.
pub(crate) fn read<R: Read>(input: &mut R, limits: &Limits) -> Result<ReadHeader, OpenError> {
    let mut reader = HeaderReader {
        input,
        bytes: Vec::with_capacity(512),
    };
    let [version] = reader.array("version")?;
    if version != VERSION {
        return Err(OpenError::Version { found: version });
    }
    let id = reader.u16("algorithm suite")?;
    let suite = Suite::from_id(id).ok_or(OpenError::Suite { found: id })?;
    let message_id = MessageId(reader.array("message id")?);
    let length = usize::from(reader.u16("encryption context")?);
    let context = EncryptionContext::from_bytes(reader.take(length, "encryption context")?)?;
    let data_keys = read_data_keys(&mut reader, limits.encrypted_data_keys)?;
    let [kind] = reader.array("content type")?;
    let frame_length = u32::from_be_bytes(reader.array("frame length")?);
    let content = content(kind, frame_length, limits.frame_length)?;
    let commitment = reader.array("commitment key")?;
    let bytes = reader.bytes;
    let mut tag = [0; TAG_LENGTH];
    read_exact(input, &mut tag, "header tag")?;
    let header = Header {
        suite,
        message_id,
        context,
        data_keys,
        content,
        commitment,
    };
    Ok(ReadHeader { header, bytes, tag })
}

fn read_data_keys<R: Read>(
    reader: &mut HeaderReader<'_, R>,
    limit: usize,
) -> Result<Vec<EncryptedDataKey>, OpenError> {
    let count = usize::from(reader.u16("encrypted data key count")?);
    if count == 0 || count > limit {
        return Err(OpenError::DataKeyCount {
            limit,
            found: count,
        });
    }
    (0..count).map(|_| read_data_key(reader)).collect()
}

fn read_data_key<R: Read>(reader: &mut HeaderReader<'_, R>) -> Result<EncryptedDataKey, OpenError> {
    let id = reader.field("provider id", MAX_PROVIDER_ID)?.to_vec();
    let id = String::from_utf8(id).map_err(|_| EdkError::ProviderIdNotUtf8)?;
    let info = reader.field("provider info", MAX_PROVIDER_INFO)?.to_vec();
    let ciphertext = reader.field("ciphertext", MAX_WRAPPED_KEY)?;
    Ok(EncryptedDataKey::new(id, info, ciphertext)?)
}

fn content(kind: u8, frame_length: u32, limit: u32) -> Result<Content, OpenError> {
    let (least, most) = match kind {
        UNFRAMED => (0, 0),
        FRAMED => (1, limit),
        found => return Err(OpenError::ContentType { found }),
    };
    if !(least..=most).contains(&frame_length) {
        return Err(OpenError::FrameLength {
            least,
            most,
            found: frame_length,
        });
    }
    Ok(if kind == FRAMED {
        Content::Framed(frame_length)
    } else {
        Content::Unframed
    })
}

/// Reads from a stream and keeps what it read.
struct HeaderReader<'a, R> {
    input: &'a mut R,
    bytes: Vec<u8>,
}

impl<R: Read> HeaderReader<'_, R> {
    /// The next `length` bytes; callers bound `length`.
    fn take(&mut self, length: usize, part: &'static str) -> Result<&[u8], OpenError> {
        let start = self.bytes.len();
        self.bytes.resize(start.saturating_add(length), 0);
        let new = self.bytes.get_mut(start..).unwrap_or_default();
        read_exact(self.input, new, part)?;
        Ok(new)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], OpenError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, part)?);
        Ok(out)
    }

    fn u16(&mut self, part: &'static str) -> Result<u16, OpenError> {
        Ok(u16::from_be_bytes(self.array(part)?))
    }

    /// A field with a u16 length, refused before it is read when it is longer than `limit`.
    fn field(&mut self, part: &'static str, limit: usize) -> Result<&[u8], OpenError> {
        let found = usize::from(self.u16(part)?);
        if found > limit {
            return Err(EdkError::TooLong {
                field: part,
                limit,
                found,
            }
            .into());
        }
        self.take(found, part)
    }
}

/// Fills `out`, or says in which part the input ended.
pub(crate) fn read_exact<R: Read>(
    input: &mut R,
    out: &mut [u8],
    part: &'static str,
) -> Result<(), OpenError> {
    input.read_exact(out).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => OpenError::Truncated { part },
        _ => OpenError::Read(error),
    })
}
