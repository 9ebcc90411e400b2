//! Why a file is not an enclave image.

use thiserror::Error;

use crate::section::SectionType;
use crate::signature::SignatureError;

/// A refusal: which rule of the format a file breaks, what was expected and what came.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EifError {
    /// The file ends before what it announces.
    #[error("the file ends early: {what} needs {expected} bytes, {got} are there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes needed, counted from the start of the file.
        expected: u64,
        /// Bytes in the file.
        got: u64,
    },
    /// The file is larger than [`MAX_FILE_SIZE`](crate::MAX_FILE_SIZE).
    #[error("the file has {got} bytes, at most {limit} are allowed")]
    FileTooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The file's size in bytes.
        got: u64,
    },
    /// The first four bytes are not [`MAGIC`](crate::MAGIC).
    #[error("not an enclave image: the file starts with {got:02x?}, expected \".eif\"")]
    Magic {
        /// The first four bytes.
        got: [u8; 4],
    },
    /// A version that this crate does not read.
    #[error("version {got} of the format is not known, expected 2, 3 or 4")]
    Version {
        /// The header's version.
        got: u16,
    },
    /// Flag bits that have no meaning, in the header or in a section.
    #[error("unknown flags {got:#06x} in {place}, expected {expected}")]
    Flags {
        /// Where the flags stand.
        place: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// The flags.
        got: u16,
    },
    /// A field that has to be zero is not.
    #[error("the header's field {field} has to be zero, but is {got:#x}")]
    Reserved {
        /// The field's name.
        field: &'static str,
        /// Its value.
        got: u64,
    },
    /// Fewer or more sections than the format allows.
    #[error("{got} sections, expected 2 to 32")]
    SectionCount {
        /// The header's number of sections.
        got: u16,
    },
    /// The header puts a section elsewhere than the sections before it do.
    #[error(
        "section {index} lies at offset {expected} by the sections before it, \
         but at {got} by the header"
    )]
    SectionOffset {
        /// The section's index, from 0.
        index: usize,
        /// The offset that follows from the sections before.
        expected: u64,
        /// The header's offset.
        got: u64,
    },
    /// The header and a section's own header disagree on its size.
    #[error("section {index} has {expected} bytes by its own header, but {got} by the file's")]
    SectionSize {
        /// The section's index, from 0.
        index: usize,
        /// The size in the section's header.
        expected: u64,
        /// The size in the file's header.
        got: u64,
    },
    /// Bytes follow the last section.
    #[error("{got} bytes follow the last section, which ends the file at {expected}")]
    TrailingBytes {
        /// Where the file should end.
        expected: u64,
        /// How many bytes follow.
        got: u64,
    },
    /// The checksum does not match: the file is damaged.
    #[error(
        "the checksum is {expected:#010x} by the header, but the file's bytes give {got:#010x}"
    )]
    Crc {
        /// The header's CRC-32.
        expected: u32,
        /// The CRC-32 of the bytes.
        got: u32,
    },
    /// A section type that the format does not know, or not in this version.
    #[error("section {index} has type {got}, which version {version} does not have")]
    SectionType {
        /// The section's index, from 0.
        index: usize,
        /// Its type.
        got: u16,
        /// The file's version.
        version: u16,
    },
    /// A section that every image of this version needs is not there.
    #[error("the image has no {kind}")]
    Missing {
        /// The missing type.
        kind: SectionType,
    },
    /// A second section of a type that may occur once.
    #[error("section {index} is a second {kind}, expected one")]
    Repeated {
        /// The section's index, from 0.
        index: usize,
        /// Its type.
        kind: SectionType,
    },
    /// A ramdisk before the kernel.
    #[error("section {index} is a ramdisk before the kernel")]
    Order {
        /// The section's index, from 0.
        index: usize,
    },
    /// A section without data.
    #[error("section {index}, the {kind}, is empty")]
    Empty {
        /// The section's index, from 0.
        index: usize,
        /// Its type.
        kind: SectionType,
    },
    /// A section larger than its type allows.
    #[error("section {index}, the {kind}, has {got} bytes, at most {limit} are allowed")]
    SectionTooLarge {
        /// The section's index, from 0.
        index: usize,
        /// Its type.
        kind: SectionType,
        /// The limit in bytes.
        limit: u64,
        /// Its size in bytes.
        got: u64,
    },
    /// The command line holds a NUL byte, where the kernel would end it.
    #[error("the command line has a NUL byte at {at}")]
    CmdlineNul {
        /// Offset in the command line.
        at: usize,
    },
    /// The command line is not UTF-8.
    #[error("the command line is not UTF-8 after byte {at}")]
    CmdlineEncoding {
        /// Offset in the command line.
        at: usize,
    },
    /// The metadata section is not the JSON object it has to be.
    #[error("the metadata is not valid: {reason} (line {line}, column {column})")]
    Metadata {
        /// What the JSON reader says.
        reason: String,
        /// Line, from 1; 0 when it is about the whole.
        line: usize,
        /// Column, from 1; 0 when it is about the whole.
        column: usize,
    },
    /// The metadata's custom part is larger than nitro-cli allows.
    #[error("the custom metadata has {got} bytes, at most {limit} are allowed")]
    CustomMetadataTooLarge {
        /// The limit in bytes.
        limit: u64,
        /// Its size in bytes as compact JSON.
        got: u64,
    },
    /// The signature section is not in the form it has to have.
    #[error("the signature section is not valid")]
    Signature(#[from] SignatureError),
    /// What is measured does not fix where its parts begin and end.
    #[error("the measurement does not fix the image: {what}, expected {expected}, got {got}")]
    Boundary {
        /// Which border is loose.
        what: &'static str,
        /// What would fix it.
        expected: String,
        /// What the image has.
        got: String,
    },
}

impl EifError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "eif.truncated",
            Self::FileTooLarge { .. } => "eif.too-large",
            Self::Magic { .. } => "eif.magic",
            Self::Version { .. } => "eif.version",
            Self::Flags { .. } => "eif.flags",
            Self::Reserved { .. } => "eif.reserved",
            Self::SectionCount { .. } => "eif.section-count",
            Self::SectionOffset { .. } => "eif.section-offset",
            Self::SectionSize { .. } => "eif.section-size",
            Self::TrailingBytes { .. } => "eif.trailing-bytes",
            Self::Crc { .. } => "eif.crc",
            Self::SectionType { .. } => "eif.section-type",
            Self::Missing { .. } => "eif.section-missing",
            Self::Repeated { .. } => "eif.section-repeated",
            Self::Order { .. } => "eif.section-order",
            Self::Empty { .. } => "eif.section-empty",
            Self::SectionTooLarge { .. } => "eif.section-too-large",
            Self::CmdlineNul { .. } => "eif.cmdline-nul",
            Self::CmdlineEncoding { .. } => "eif.cmdline-encoding",
            Self::Metadata { .. } => "eif.metadata",
            Self::CustomMetadataTooLarge { .. } => "eif.custom-metadata",
            Self::Signature(error) => error.rule(),
            Self::Boundary { .. } => "eif.boundary",
        }
    }
}
