//! Sections: a 12-byte header, then data.

use std::fmt;

use crate::error::EifError;
use crate::header::Version;

/// Size of a section's header in bytes; its `size` field does not count it.
pub const SECTION_HEADER_SIZE: usize = 12;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SectionType {
    /// The kernel: a bzImage on x86_64, an Image on aarch64. Exactly one.
    Kernel = 1,
    /// The kernel's command line. Exactly one.
    Cmdline = 2,
    /// One part of the initramfs: at least one, after the kernel.
    Ramdisk = 3,
    /// The signature over PCR0: at most one, from version 3 on.
    Signature = 4,
    /// JSON about the image, not measured: exactly one in version 4, none before.
    Metadata = 5,
}

impl SectionType {
    /// The number in the section's header.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The type with this number, where this version of the format has it.
    pub(crate) fn new(number: u16, version: Version) -> Option<Self> {
        match number {
            1 => Some(Self::Kernel),
            2 => Some(Self::Cmdline),
            3 => Some(Self::Ramdisk),
            4 if version >= Version::V3 => Some(Self::Signature),
            5 if version >= Version::V4 => Some(Self::Metadata),
            _ => None,
        }
    }

    /// Whether the section's data goes into PCR0.
    pub fn is_measured(self) -> bool {
        matches!(self, Self::Kernel | Self::Cmdline | Self::Ramdisk)
    }
}

impl fmt::Display for SectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Cmdline => "command line",
            Self::Ramdisk => "ramdisk",
            Self::Signature => "signature",
            Self::Metadata => "metadata",
        })
    }
}

/// One section of an image; the data is borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it holds.
    pub kind: SectionType,
    /// Its bytes, without the section's header.
    pub data: &'a [u8],
}

impl Section<'_> {
    pub(crate) fn header_bytes(&self) -> [u8; SECTION_HEADER_SIZE] {
        let mut bytes = [0; SECTION_HEADER_SIZE];
        bytes[..2].copy_from_slice(&self.kind.number().to_be_bytes());
        bytes[4..].copy_from_slice(&(self.data.len() as u64).to_be_bytes());
        bytes
    }
}

/// A section's header as it stands in the file.
pub(crate) struct SectionHeader {
    pub kind: SectionType,
    pub size: u64,
}

impl SectionHeader {
    pub fn parse(
        bytes: &[u8; SECTION_HEADER_SIZE],
        index: usize,
        version: Version,
    ) -> Result<Self, EifError> {
        let [t0, t1, f0, f1, size @ ..] = *bytes;
        let number = u16::from_be_bytes([t0, t1]);
        let kind = SectionType::new(number, version).ok_or(EifError::SectionType {
            index,
            got: number,
            version: version.number(),
        })?;
        let flags = u16::from_be_bytes([f0, f1]);
        if flags != 0 {
            return Err(EifError::Flags {
                place: "a section",
                expected: "0",
                got: flags,
            });
        }
        Ok(Self {
            kind,
            size: u64::from_be_bytes(size),
        })
    }
}
