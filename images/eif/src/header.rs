//! The 548 bytes at the start of the file.

use crate::error::EifError;

/// The first four bytes of every enclave image.
pub const MAGIC: [u8; 4] = *b".eif";

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 548;

/// Places for sections in the header's two tables.
pub const MAX_SECTIONS: usize = 32;

/// Fewest sections that any version allows: kernel and command line.
pub const MIN_SECTIONS: usize = 2;

/// The checksum is the header's last field and does not cover itself.
pub(crate) const CRC_OFFSET: usize = HEADER_SIZE - 4;

const FLAG_AARCH64: u16 = 1;

/// A version of the format that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Has a checksum.
    V2 = 2,
    /// May have a signature section.
    V3 = 3,
    /// Has a metadata section. The version that [`EifWriter`](crate::EifWriter) writes.
    V4 = 4,
}

impl Version {
    /// The number in the header.
    pub fn number(self) -> u16 {
        self as u16
    }

    fn new(number: u16) -> Result<Self, EifError> {
        match number {
            2 => Ok(Self::V2),
            3 => Ok(Self::V3),
            4 => Ok(Self::V4),
            got => Err(EifError::Version { got }),
        }
    }
}

/// The machine that an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Flag bit 0 clear; the kernel is a bzImage.
    X86_64,
    /// Flag bit 0 set; the kernel is an Image.
    Aarch64,
}

/// The header's fields, apart from what only serves to find the sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: Version,
    /// The machine that the image is for.
    pub architecture: Architecture,
    /// Memory in bytes to run with when nobody says otherwise. Not measured.
    pub default_memory: u64,
    /// Number of CPUs to run with when nobody says otherwise. Not measured.
    pub default_cpus: u64,
    /// CRC-32/ISO-HDLC over the file except these four bytes.
    pub crc32: u32,
}

/// A header as it stands in the file, with the tables that say where sections lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawHeader {
    pub header: Header,
    pub num_sections: u16,
    pub offsets: [u64; MAX_SECTIONS],
    pub sizes: [u64; MAX_SECTIONS],
}

impl RawHeader {
    /// Reads the first [`HEADER_SIZE`] bytes of a file.
    pub fn parse(file: &[u8]) -> Result<Self, EifError> {
        // A file of another kind is called so, however short it is.
        if let Some(magic) = file.first_chunk()
            && *magic != MAGIC
        {
            return Err(EifError::Magic { got: *magic });
        }
        let bytes: &[u8; HEADER_SIZE] = file.first_chunk().ok_or(EifError::Truncated {
            what: "the header",
            expected: HEADER_SIZE as u64,
            got: file.len() as u64,
        })?;
        let mut fields = Fields(bytes);
        let _magic: [u8; 4] = fields.take();
        let version = Version::new(fields.u16())?;
        let architecture = architecture(fields.u16())?;
        let default_memory = fields.u64();
        let default_cpus = fields.u64();
        zero("reserved", u64::from(fields.u16()))?;
        let num_sections = section_count(fields.u16())?;
        let offsets = fields.table();
        let sizes = fields.table();
        zero("unused", u64::from(fields.u32()))?;
        let crc32 = fields.u32();

        let places = usize::from(num_sections);
        for (offset, size) in offsets.iter().zip(&sizes).skip(places) {
            zero("section_offsets beyond num_sections", *offset)?;
            zero("section_sizes beyond num_sections", *size)?;
        }
        let header = Header {
            version,
            architecture,
            default_memory,
            default_cpus,
            crc32,
        };
        Ok(Self {
            header,
            num_sections,
            offsets,
            sizes,
        })
    }

    /// The header's bytes, checksum included.
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let flags = match self.header.architecture {
            Architecture::X86_64 => 0,
            Architecture::Aarch64 => FLAG_AARCH64,
        };
        let mut bytes = Vec::with_capacity(HEADER_SIZE);
        bytes.extend(MAGIC);
        bytes.extend(self.header.version.number().to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend(self.header.default_memory.to_be_bytes());
        bytes.extend(self.header.default_cpus.to_be_bytes());
        bytes.extend(0u16.to_be_bytes());
        bytes.extend(self.num_sections.to_be_bytes());
        for entry in self.offsets.iter().chain(&self.sizes) {
            bytes.extend(entry.to_be_bytes());
        }
        bytes.extend(0u32.to_be_bytes());
        bytes.extend(self.header.crc32.to_be_bytes());
        let mut fixed = [0; HEADER_SIZE];
        fixed.copy_from_slice(&bytes);
        fixed
    }
}

fn architecture(flags: u16) -> Result<Architecture, EifError> {
    match flags {
        0 => Ok(Architecture::X86_64),
        FLAG_AARCH64 => Ok(Architecture::Aarch64),
        got => Err(EifError::Flags {
            place: "the header",
            expected: "0 (x86_64) or 1 (aarch64)",
            got,
        }),
    }
}

fn section_count(count: u16) -> Result<u16, EifError> {
    if (MIN_SECTIONS..=MAX_SECTIONS).contains(&usize::from(count)) {
        Ok(count)
    } else {
        Err(EifError::SectionCount { got: count })
    }
}

fn zero(field: &'static str, value: u64) -> Result<(), EifError> {
    if value == 0 {
        Ok(())
    } else {
        Err(EifError::Reserved { field, got: value })
    }
}

/// Takes fields off the front of bytes that are known to hold a whole header: reading past the
/// end yields zeros and cannot happen, since the fields' sizes add up to [`HEADER_SIZE`].
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    fn table(&mut self) -> [u64; MAX_SECTIONS] {
        std::array::from_fn(|_| self.u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_format_puts_them() {
        let mut offsets = [0; MAX_SECTIONS];
        let mut sizes = [0; MAX_SECTIONS];
        offsets[0] = 548;
        sizes[1] = 7;
        let raw = RawHeader {
            header: Header {
                version: Version::V4,
                architecture: Architecture::Aarch64,
                default_memory: 1 << 30,
                default_cpus: 2,
                crc32: 0xdead_beef,
            },
            num_sections: 2,
            offsets,
            sizes,
        };
        let bytes = raw.to_bytes();
        assert_eq!(bytes[..8], [b'.', b'e', b'i', b'f', 0, 4, 0, 1]);
        assert_eq!(bytes[0x1c..0x24], 548u64.to_be_bytes());
        assert_eq!(bytes[0x124..0x12c], 7u64.to_be_bytes());
        assert_eq!(bytes[0x21c..0x220], [0; 4]);
        assert_eq!(bytes[0x220..], 0xdead_beef_u32.to_be_bytes());
        assert_eq!(RawHeader::parse(&bytes), Ok(raw));
    }
}
