//! Reads arbitrary bytes as an approval.
//!
//! Whatever comes, the parser must not panic, and what it takes is what it writes.
#![no_main]

use anchorhold_joint::approval::Approval;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(approval) = Approval::parse(bytes) {
        let written = approval.to_bytes().expect("JSON");
        assert_eq!(written, bytes, "another spelling was taken");
    }
});
