//! Any bytes: parsing refuses or accepts without panicking, and what is accepted can be measured
//! and keeps the rules that callers rely on.
#![no_main]

use anchorhold_eif::{Eif, HEADER_SIZE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The same with a checksum that fits, so that inputs get past it.
    if bytes.len() >= HEADER_SIZE {
        let mut file = bytes.to_vec();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&file[..HEADER_SIZE - 4]);
        crc.update(&file[HEADER_SIZE..]);
        file[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc.finalize().to_be_bytes());
        check(&file);
    }
});

fn check(file: &[u8]) {
    let Ok(image) = Eif::parse(file) else { return };
    assert!(!image.kernel().is_empty());
    assert!(!image.cmdline().contains('\0'));
    assert!(!image.ramdisks().is_empty());
    let measured: usize = image.sections().iter().map(|section| section.data.len()).sum();
    assert_eq!(HEADER_SIZE + 12 * image.sections().len() + measured, file.len());
    let measurements = image.measure();
    assert_eq!(measurements.pcr8.is_some(), image.signature().is_some());
    let _ = image.check_boundaries();
}
