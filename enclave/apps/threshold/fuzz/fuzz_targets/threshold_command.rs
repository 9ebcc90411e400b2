//! Reads arbitrary bytes as a parent's command, and as what a peer opens a session with.
//!
//! Whatever comes, the parsers must not panic; an opening that is taken comes out as it went in.
#![no_main]

use anchorhold_threshold_app::opening::Opening;
use anchorhold_threshold_app::wire::{self, Command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let line = [bytes, b"\n"].concat();
    if let Ok(Command::Configure { peers, .. }) = wire::read(&line[..]) {
        for name in peers.keys() {
            let _ = wire::participant(name);
        }
    }
    if let Ok(opening) = Opening::parse(bytes) {
        let _ = opening.session();
        let written = opening.to_bytes().expect("JSON");
        assert_eq!(Opening::parse(&written).expect("its own"), opening);
    }
});
