//! Packets of a hostile guest, between anything that a host may do: the table of streams never
//! panics, never holds more than its limits allow, and forgets nobody.
#![no_main]

use anchorhold_switch::protocol::script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| script::run(bytes));
