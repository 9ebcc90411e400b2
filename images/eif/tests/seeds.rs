//! The images that the fuzz target starts from: what the writer writes, each past every check that
//! stands before the parser's last.

use std::path::Path;

use anchorhold_eif::{BuildMetadata, Eif, EifWriter, HEADER_SIZE, Metadata, SignatureSection};

const CMDLINE: &str = "console=ttyS0 quiet";
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

/// A bzImage of one setup sector and 64 bytes (Linux x86 boot protocol), so that its end is known.
fn kernel() -> Vec<u8> {
    let mut kernel = vec![0x90; 2 * 512 + 64];
    kernel[0x3c..0x40].copy_from_slice(&0x40u32.to_le_bytes());
    kernel[0x40..0x44].copy_from_slice(b"none");
    kernel[0x1f1] = 1;
    kernel[0x1f4..0x1f8].copy_from_slice(&4u32.to_le_bytes());
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel
}

/// The same as a PE file with 32 bytes of signature behind it, as Secure Boot signs.
fn signed_kernel() -> Vec<u8> {
    let mut kernel = kernel();
    let at = kernel.len() as u32;
    kernel[0x40..0x44].copy_from_slice(b"PE\0\0");
    kernel[0x58..0x5a].copy_from_slice(&[0x0b, 0x02]);
    let entry = 0x58 + 112 + 32;
    kernel[entry..entry + 4].copy_from_slice(&at.to_le_bytes());
    kernel[entry + 4..entry + 8].copy_from_slice(&32u32.to_le_bytes());
    kernel.resize(kernel.len() + 32, 0x55);
    kernel
}

fn image(kernel: &[u8], ramdisks: &[&[u8]], signed: bool) -> Vec<u8> {
    let mut writer = EifWriter::new(kernel, CMDLINE);
    for ramdisk in ramdisks {
        writer.ramdisk(ramdisk);
    }
    writer.metadata(Metadata {
        image_name: "seed".into(),
        image_version: "1".into(),
        build: BuildMetadata {
            kernel_version: "6.12".into(),
            ..BuildMetadata::default()
        },
        ..Metadata::default()
    });
    if signed {
        writer.signature(SignatureSection::new(PEM, b"cose").expect("valid"));
    }
    writer.to_bytes().expect("valid")
}

/// A kernel, a command line and a ramdisk in version 3, which has no metadata and no writer here.
fn version_3(ramdisk: &[u8]) -> Vec<u8> {
    let mut file = image(&kernel(), &[ramdisk], false);
    file.truncate(HEADER_SIZE);
    file[4..6].copy_from_slice(&3u16.to_be_bytes());
    file[0x1a..0x1c].copy_from_slice(&3u16.to_be_bytes());
    file[0x1c..].fill(0);
    let sections: [(u16, &[u8]); 3] = [(1, &kernel()), (2, CMDLINE.as_bytes()), (3, ramdisk)];
    for (index, (kind, data)) in sections.into_iter().enumerate() {
        let (at, size) = (file.len() as u64, data.len() as u64);
        file[0x1c + 8 * index..][..8].copy_from_slice(&at.to_be_bytes());
        file[0x11c + 8 * index..][..8].copy_from_slice(&size.to_be_bytes());
        file.extend(kind.to_be_bytes());
        file.extend([0, 0]);
        file.extend(size.to_be_bytes());
        file.extend(data);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file[..HEADER_SIZE - 4]);
    crc.update(&file[HEADER_SIZE..]);
    let crc = crc.finalize().to_be_bytes();
    file[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc);
    file
}

/// Holds seeds against what is made now. Those that differ are written anew, and the test fails once.
fn hold(seeds: &[(String, Vec<u8>)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/eif");
    let mut stale = Vec::new();
    for (name, made) in seeds {
        let seed = folder.join(name);
        if !std::fs::read(&seed).is_ok_and(|seed| seed == *made) {
            std::fs::write(&seed, made).expect("the seed is written");
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "out of date and written anew: {stale:?}");
}

#[test]
fn every_seed_is_an_image_with_its_borders_fixed() {
    let (cpio, gzip): (&[u8], &[u8]) = (b"070701 an archive", b"\x1f\x8b\x08 another");
    let seeds = [
        (
            "two-ramdisks".to_owned(),
            image(&kernel(), &[cpio, gzip], false),
        ),
        ("signed".to_owned(), image(&signed_kernel(), &[cpio], true)),
        ("version-3".to_owned(), version_3(gzip)),
    ];
    for (name, made) in &seeds {
        let parsed = Eif::parse(made).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(parsed.check_boundaries(), Ok(()), "{name}");
        assert_eq!(parsed.signature().is_some(), name == "signed");
        assert_eq!(parsed.metadata().is_none(), name == "version-3");
    }
    hold(&seeds);
}
