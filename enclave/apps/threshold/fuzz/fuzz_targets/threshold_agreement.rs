//! Reads arbitrary bytes as an agreement.
//!
//! Whatever comes, the parser must not panic. What it takes is whole: each member has roots, an
//! approval key of its own, and registers within the platform's, and nobody else has.
#![no_main]

use std::collections::BTreeSet;

use anchorhold_threshold_app::agreement::{Agreement, hash};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(agreement) = Agreement::parse(bytes) else {
        return;
    };
    let group = agreement.group();
    assert_eq!(*group.context(), hash(bytes));
    assert!(group.threshold() >= 2 && group.threshold() <= group.participants());
    let mut keys = BTreeSet::new();
    for participant in group.members() {
        assert!(!agreement.roots(participant).expect("roots").is_empty());
        assert!(keys.insert(*agreement.approval_key(participant).expect("a key")));
        let registers = agreement.registers(participant).expect("registers");
        assert!(
            registers
                .keys()
                .all(|index| (3..=15).contains(&index.value()))
        );
        assert!(registers.values().all(|value| !value.is_zero()));
    }
    assert!(
        agreement
            .member(group.members().last().copied().expect("members"))
            .is_ok()
    );
});
