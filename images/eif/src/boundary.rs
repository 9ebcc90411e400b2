//! Whether an image's measured bytes fix where its parts begin and end.

use crate::error::EifError;
use crate::header::Architecture;
use crate::section::{Section, SectionType};

/// Beginnings of what Linux unpacks as an initramfs (`lib/decompress.c`, `init/initramfs.c`).
const ARCHIVES: [&[u8]; 9] = [
    b"070701",
    b"070702",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\x02\x21\x4c\x18",
    b"\xfd7zXZ\x00",
    b"BZh",
    b"\x5d\x00\x00",
    b"\x89LZO",
];

pub(crate) fn check(arch: Architecture, sections: &[Section<'_>]) -> Result<(), EifError> {
    if arch != Architecture::X86_64 {
        return Err(loose(
            "the kernel's end",
            "an x86_64 bzImage",
            "an aarch64 Image",
        ));
    }
    let measured: Vec<_> = sections.iter().filter(|s| s.kind.is_measured()).collect();
    let [kernel, cmdline, ramdisk, ..] = measured.as_slice() else {
        return Err(loose(
            "the sections' order",
            "kernel, command line, ramdisk",
            "fewer",
        ));
    };
    let kinds = [kernel.kind, cmdline.kind, ramdisk.kind];
    if kinds
        != [
            SectionType::Kernel,
            SectionType::Cmdline,
            SectionType::Ramdisk,
        ]
    {
        let got = kinds.map(|kind| kind.to_string()).join(", ");
        return Err(loose(
            "the sections' order",
            "kernel, command line, ramdisk",
            &got,
        ));
    }
    check_kernel(kernel.data)?;
    check_cmdline(cmdline.data)?;
    if ARCHIVES.iter().any(|magic| ramdisk.data.starts_with(magic)) {
        Ok(())
    } else {
        let start = ramdisk.data.get(..6).unwrap_or(ramdisk.data);
        let got = format!("bytes {}", hex::encode(start));
        Err(loose(
            "the first ramdisk's start",
            "an archive's first bytes",
            &got,
        ))
    }
}

fn check_kernel(kernel: &[u8]) -> Result<(), EifError> {
    let got = format!("{} bytes", kernel.len());
    let Some(loaded) = loaded_size(kernel) else {
        return Err(loose(
            "the kernel's end",
            "a bzImage with a boot header",
            &got,
        ));
    };
    let end = match signature_table(kernel) {
        Some((at, size)) if at >= loaded => at.saturating_add(size),
        _ => loaded,
    };
    if end == kernel.len() as u64 {
        Ok(())
    } else {
        Err(loose(
            "the kernel's end",
            &format!("{end} bytes by its own header"),
            &got,
        ))
    }
}

/// Bytes of a bzImage by its boot header (Linux x86 boot protocol: `setup_sects` at 0x1f1,
/// `syssize` at 0x1f4 in 16-byte units, "HdrS" at 0x202).
fn loaded_size(kernel: &[u8]) -> Option<u64> {
    if kernel.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sects = match *kernel.get(0x1f1)? {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let syssize = u64::from(u32_at(kernel, 0x1f4)?);
    Some((setup_sects + 1) * 512 + syssize * 16)
}

/// Offset and size of the Authenticode table that Secure Boot signing appends (PE32+ data
/// directory 4), if the kernel has one.
fn signature_table(kernel: &[u8]) -> Option<(u64, u64)> {
    let pe = usize::try_from(u32_at(kernel, 0x3c)?).ok()?;
    if kernel.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let optional = pe.checked_add(24)?;
    if kernel.get(optional..optional.checked_add(2)?)? != [0x0b, 0x02] {
        return None;
    }
    let entry = optional.checked_add(112 + 4 * 8)?;
    let at = u64::from(u32_at(kernel, entry)?);
    let size = u64::from(u32_at(kernel, entry.checked_add(4)?)?);
    (size != 0).then_some((at, size))
}

fn check_cmdline(cmdline: &[u8]) -> Result<(), EifError> {
    let odd = |byte: &&u8| !(byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\n'));
    match cmdline.iter().find(odd) {
        Some(byte) => Err(loose(
            "the command line's end",
            "printable ASCII",
            &format!("byte {byte:#04x}"),
        )),
        None => Ok(()),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u32::from_le_bytes(*field))
}

fn loose(what: &'static str, expected: &str, got: &str) -> EifError {
    EifError::Boundary {
        what,
        expected: expected.into(),
        got: got.into(),
    }
}
