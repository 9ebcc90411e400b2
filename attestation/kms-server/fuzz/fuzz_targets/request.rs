//! A request as it comes off the wire, before anybody is authenticated and after: headers of any kind,
//! and a body read for the operation that its target names and for one that a byte chooses.
#![no_main]

mod input;

use anchorhold_kms::sigv4::Authorization;
use anchorhold_kms::wire::{Input, Target};
use input::Parts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parts = Parts::of(bytes);
    if let Ok(text) = std::str::from_utf8(parts.authorization) {
        if let Ok(parsed) = Authorization::parse(text) {
            assert!(!parsed.access_key_id().is_empty());
            assert!(!parsed.signed_headers().is_empty());
        }
    }
    let _ = parts.presented();

    let region = "us-east-1".parse().expect("a region");
    let target = std::str::from_utf8(parts.target).map_or(Target::Unknown, Target::read);
    let named = target.operation().ok();
    for operation in [Some(parts.operation), named].into_iter().flatten() {
        if let Ok(input) = Input::parse(operation, parts.body, &region) {
            let _ = input.audit_parameters();
        }
    }
});
