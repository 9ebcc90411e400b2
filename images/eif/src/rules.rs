//! What sections an image may have, and how large: the same for reading and writing.

use crate::error::EifError;
use crate::header::{MAX_SECTIONS, MIN_SECTIONS, Version};
use crate::section::{Section, SectionType};

/// Largest file in bytes: x86's boot protocol lets an initramfs end at `initrd_addr_max`,
/// 0x7fffffff, and the other sections are small beside it.
pub const MAX_FILE_SIZE: u64 = 0x7fff_ffff;

/// Longest command line in bytes: x86's `COMMAND_LINE_SIZE` is 2048 with the final NUL, and the
/// kernel silently drops what lies beyond, so a longer one would be measured but not obeyed.
pub const MAX_CMDLINE_SIZE: usize = 2047;

/// Largest metadata section in bytes: this project's own limit. nitro-cli's holds what `docker
/// inspect` says about an image, a few KiB.
pub const MAX_METADATA_SIZE: usize = 1 << 20;

/// Largest custom metadata in bytes of compact JSON: nitro-cli's `MAX_META_FILE_SIZE`.
pub const MAX_CUSTOM_METADATA_SIZE: usize = 4096;

/// Largest signature section in bytes: AWS's `SIGNATURE_MAX_SIZE`.
pub const MAX_SIGNATURE_SIZE: usize = 32768;

/// Checks number, types, order and sizes of an image's sections.
///
/// Does not look at the header, the checksum, the metadata's JSON or the signature.
pub(crate) fn check(version: Version, sections: &[Section<'_>]) -> Result<(), EifError> {
    if !(MIN_SECTIONS..=MAX_SECTIONS).contains(&sections.len()) {
        let got = u16::try_from(sections.len()).unwrap_or(u16::MAX);
        return Err(EifError::SectionCount { got });
    }
    for (index, section) in sections.iter().enumerate() {
        let before = sections.get(..index).unwrap_or_default();
        check_place(index, section.kind, before)?;
        check_size(index, section)?;
        if section.kind == SectionType::Cmdline {
            check_cmdline(section.data)?;
        }
    }
    let mut needed = vec![
        SectionType::Kernel,
        SectionType::Cmdline,
        SectionType::Ramdisk,
    ];
    if version >= Version::V4 {
        needed.push(SectionType::Metadata);
    }
    match needed.into_iter().find(|kind| !contains(sections, *kind)) {
        Some(kind) => Err(EifError::Missing { kind }),
        None => Ok(()),
    }
}

fn check_place(index: usize, kind: SectionType, before: &[Section<'_>]) -> Result<(), EifError> {
    if kind == SectionType::Ramdisk {
        if contains(before, SectionType::Kernel) {
            Ok(())
        } else {
            Err(EifError::Order { index })
        }
    } else if contains(before, kind) {
        Err(EifError::Repeated { index, kind })
    } else {
        Ok(())
    }
}

fn check_size(index: usize, section: &Section<'_>) -> Result<(), EifError> {
    let kind = section.kind;
    if section.data.is_empty() && kind != SectionType::Cmdline {
        return Err(EifError::Empty { index, kind });
    }
    let limit = match kind {
        SectionType::Kernel | SectionType::Ramdisk => return Ok(()),
        SectionType::Cmdline => MAX_CMDLINE_SIZE,
        SectionType::Signature => MAX_SIGNATURE_SIZE,
        SectionType::Metadata => MAX_METADATA_SIZE,
    };
    if section.data.len() > limit {
        let got = section.data.len() as u64;
        return Err(EifError::SectionTooLarge {
            index,
            kind,
            limit: limit as u64,
            got,
        });
    }
    Ok(())
}

fn check_cmdline(data: &[u8]) -> Result<(), EifError> {
    if let Some(at) = data.iter().position(|byte| *byte == 0) {
        return Err(EifError::CmdlineNul { at });
    }
    match std::str::from_utf8(data) {
        Ok(_) => Ok(()),
        Err(error) => Err(EifError::CmdlineEncoding {
            at: error.valid_up_to(),
        }),
    }
}

fn contains(sections: &[Section<'_>], kind: SectionType) -> bool {
    sections.iter().any(|section| section.kind == kind)
}
