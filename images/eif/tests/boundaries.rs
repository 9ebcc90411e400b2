//! One measurement, one image: borders that the hash does not see must be fixed by the bytes.

use anchorhold_eif::{Architecture, Eif, EifError, EifWriter, Measurements};

const CMDLINE: &str = "lockdown=integrity console=ttyS0";
const RAMDISK: &[u8] = b"070701 an archive";

/// A bzImage of `paragraphs` × 16 bytes behind one setup sector (Linux x86 boot protocol).
fn bzimage(paragraphs: u32) -> Vec<u8> {
    let mut kernel = vec![0x90; 2 * 512 + 16 * paragraphs as usize];
    kernel[0x3c..0x40].copy_from_slice(&0x40u32.to_le_bytes());
    kernel[0x40..0x44].copy_from_slice(b"none");
    kernel[0x1f1] = 1;
    kernel[0x1f4..0x1f8].copy_from_slice(&paragraphs.to_le_bytes());
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel
}

/// The same with a table of `size` signature bytes appended, as Secure Boot signing does.
fn signed_bzimage(size: u32) -> Vec<u8> {
    let mut kernel = bzimage(8);
    let at = kernel.len() as u32;
    kernel[0x40..0x44].copy_from_slice(b"PE\0\0");
    kernel[0x58..0x5a].copy_from_slice(&[0x0b, 0x02]);
    let entry = 0x58 + 112 + 32;
    kernel[entry..entry + 4].copy_from_slice(&at.to_le_bytes());
    kernel[entry + 4..entry + 8].copy_from_slice(&size.to_le_bytes());
    kernel.resize(kernel.len() + size as usize, 0x55);
    kernel
}

fn check(kernel: &[u8], cmdline: &str, ramdisks: &[&[u8]]) -> (Result<(), EifError>, Measurements) {
    let mut writer = EifWriter::new(kernel, cmdline);
    for ramdisk in ramdisks {
        writer.ramdisk(ramdisk);
    }
    let bytes = writer.to_bytes().expect("valid");
    let image = Eif::parse(&bytes).expect("valid");
    (image.check_boundaries(), image.measure())
}

fn refused(result: Result<(), EifError>) -> String {
    let error = result.expect_err("refused");
    assert_eq!(error.rule(), "eif.boundary");
    error.to_string()
}

#[test]
fn words_of_the_command_line_cannot_hide_in_the_kernel() {
    for kernel in [bzimage(8), signed_bzimage(64)] {
        let (accepted, honest) = check(&kernel, CMDLINE, &[RAMDISK]);
        assert_eq!(accepted, Ok(()));

        let (hidden, rest) = CMDLINE.split_at("lockdown=integrity".len());
        let kernel = [&kernel, hidden.as_bytes()].concat();
        let (result, moved) = check(&kernel, rest, &[RAMDISK]);
        assert_eq!(moved, honest, "the measurement does not see the border");
        assert!(refused(result).contains("the kernel's end"));
    }
}

#[test]
fn the_kernel_cannot_lend_bytes_to_the_command_line() {
    let kernel = bzimage(8);
    let (shorter, lent) = kernel.split_at(kernel.len() - 2);
    let cmdline = [lent, CMDLINE.as_bytes()].concat();
    let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
    assert!(refused(check(shorter, &cmdline, &[RAMDISK]).0).contains("the kernel's end"));
}

#[test]
fn a_ramdisk_begins_as_an_archive() {
    let kernel = bzimage(8);
    for start in [&b"070701x"[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"] {
        assert_eq!(check(&kernel, CMDLINE, &[start]).0, Ok(()));
    }
    let ramdisk = [&CMDLINE.as_bytes()[5..], RAMDISK].concat();
    let message = refused(check(&kernel, &CMDLINE[..5], &[&ramdisk]).0);
    assert!(message.contains("the first ramdisk's start"), "{message}");
    assert!(refused(check(&kernel, "quiet\x01", &[RAMDISK]).0).contains("command line"));
}

#[test]
fn kernels_that_do_not_say_their_length_are_refused() {
    for kernel in [&b"a kernel"[..], &[0; 4096]] {
        assert!(refused(check(kernel, CMDLINE, &[RAMDISK]).0).contains("the kernel's end"));
    }
    let mut writer = EifWriter::new(b"an Image", CMDLINE);
    let bytes = writer
        .architecture(Architecture::Aarch64)
        .ramdisk(RAMDISK)
        .to_bytes();
    let bytes = bytes.expect("valid");
    refused(Eif::parse(&bytes).expect("valid").check_boundaries());
}

#[test]
fn borders_between_ramdisks_are_free() {
    let kernel = bzimage(8);
    let (one, first) = check(&kernel, CMDLINE, &[RAMDISK]);
    let (two, split) = check(&kernel, CMDLINE, &[&RAMDISK[..8], &RAMDISK[8..]]);
    assert_eq!((one, two), (Ok(()), Ok(())));
    assert_eq!(first.pcr0, split.pcr0);
    assert_ne!(first.pcr1, split.pcr1);
}
