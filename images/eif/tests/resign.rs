//! Putting a signature section on images that exist.

use anchorhold_eif::{Eif, EifWriter, HEADER_SIZE, SectionType, SignatureSection};

const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

fn writer() -> EifWriter<'static> {
    let mut writer = EifWriter::new(b"a kernel", "quiet");
    writer
        .ramdisk(b"boot")
        .ramdisk(b"application")
        .defaults(7 << 20, 3);
    writer
}

fn section(cose: &[u8]) -> SignatureSection {
    SignatureSection::new(PEM, cose).expect("one block")
}

/// Turns a file into one of this version, whose checksum is right.
fn of_version(mut file: Vec<u8>, version: u8) -> Vec<u8> {
    file[5] = version;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file[..HEADER_SIZE - 4]);
    crc.update(&file[HEADER_SIZE..]);
    let crc = crc.finalize().to_be_bytes();
    file[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc);
    file
}

/// The file without its metadata section, whose place in the order is 2.
fn without_metadata(file: &[u8]) -> Vec<u8> {
    let image = Eif::parse(file).expect("valid");
    let before: usize = image.sections()[..2]
        .iter()
        .map(|s| 12 + s.data.len())
        .sum();
    let size = 12 + image.sections()[2].data.len();
    let mut shorter = file.to_vec();
    shorter.drain(HEADER_SIZE + before..HEADER_SIZE + before + size);
    let count = image.sections().len() - 1;
    shorter[0x1a..0x1c].copy_from_slice(&(count as u16).to_be_bytes());
    for table in [0x1c, 0x11c] {
        shorter.copy_within(table + 8 * 3..table + 8 * 32, table + 8 * 2);
        shorter[table + 8 * 31..table + 8 * 32].fill(0);
    }
    for index in 2..count {
        let at = 0x1c + 8 * index;
        let offset = u64::from_be_bytes(shorter[at..at + 8].try_into().expect("8 bytes"));
        shorter[at..at + 8].copy_from_slice(&(offset - size as u64).to_be_bytes());
    }
    shorter
}

#[test]
fn images_of_version_2_and_sections_that_are_too_large_are_refused() {
    let file = writer().to_bytes().expect("valid");
    let old = of_version(without_metadata(&file), 2);
    let old = Eif::parse(&old).expect("version 2");
    let error = old.with_signature(&section(b"s")).expect_err("refused");
    assert_eq!(error.rule(), "eif.section-type");

    let image = Eif::parse(&file).expect("valid");
    let error = image.with_signature(&section(&[0xff; 20_000]));
    assert_eq!(error.expect_err("refused").rule(), "eif.section-too-large");
}

#[test]
fn version_3_keeps_its_version() {
    let file = writer().to_bytes().expect("valid");
    let old = of_version(without_metadata(&file), 3);
    let old = Eif::parse(&old).expect("version 3");
    let signed = old.with_signature(&section(b"s")).expect("signed");
    let signed = Eif::parse(&signed).expect("valid");
    assert_eq!(signed.header().version.number(), 3);
    assert_eq!(signed.signature(), Some(&section(b"s")));
}

#[test]
fn everything_but_the_signature_stays() {
    let file = writer().to_bytes().expect("valid");
    let image = Eif::parse(&file).expect("valid");
    let signed = image.with_signature(&section(b"first")).expect("signed");
    // The same as written at once.
    let at_once = writer().signature(section(b"first")).to_bytes();
    assert_eq!(signed, at_once.expect("valid"));

    let signed = Eif::parse(&signed).expect("valid");
    let again = signed.with_signature(&section(b"second")).expect("signed");
    let again = Eif::parse(&again).expect("valid");
    let (last, others) = again.sections().split_last().expect("sections");
    assert_eq!(last.kind, SectionType::Signature);
    assert_eq!(others, image.sections());
    assert_eq!(again.signature(), Some(&section(b"second")));
    assert_eq!(again.header().default_memory, 7 << 20);
    assert_eq!(again.measure().pcr0, image.measure().pcr0);
}
