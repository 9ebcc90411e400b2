//! Reads arbitrary bytes as a contract, in its canonical form and as a draft.
//!
//! Whatever comes, the parser must not panic; what it takes as canonical is what it writes, and a
//! draft that it takes comes out canonical.
#![no_main]

use anchorhold_joint::contract::Contract;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(contract) = Contract::parse(bytes) {
        assert_eq!(contract.canonical(), bytes, "another spelling was taken");
        assert!(contract.user_data().len() <= 512, "user_data is too long");
    }
    if let Ok(draft) = Contract::from_draft(bytes) {
        let again = Contract::parse(draft.canonical()).expect("its own canonical form");
        assert_eq!(again.hash(), draft.hash(), "one contract, two hashes");
    }
});
