//! An enclave that checks its machine from inside.
//!
//! It drives `/dev/nsm` with AWS's own client, `aws-nitro-enclaves-nsm-api`, which knows
//! nothing of how the device is made, and looks at the rest of what applications are
//! promised: clock, entropy, mounts, environment, arguments. The same image gives the same
//! answers on Nitro hardware.
//!
//! An image may run it without arguments, or as `anchorhold-conformance run "two words"`
//! with `CONFORMANCE=one=1` in its environment; it checks that it was started as one of
//! these, and says as which. Whoever connects first to vsock port 5006 is told the results
//! as one line of JSON:
//!
//! ```json
//! {"passed":35,"failed":0,"clock_ms":1767225600000,"module_id":"i-…-enc…",
//!  "arguments":["run","two words"],
//!  "checks":[{"check":"module.describe","failure":null}, …]}
//! ```
//!
//! It exits with 0 if everything passed, 1 if something failed, and 2 if nobody asked for
//! the results in time. With other arguments it is one of its own helpers (see
//! [`helpers`]), or ends in the way that a test of the machine asks for.
#![forbid(unsafe_code)]

mod abi;
mod callers;
mod helpers;
mod module;
mod outcome;
mod serve;
mod world;

use std::process::ExitCode;

use crate::outcome::Results;
use crate::serve::Port;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] | [world::MODE, ..] => run(),
        [mode, rest @ ..] => helpers::run(mode, rest),
    }
}

fn run() -> ExitCode {
    // Whoever waits for the results may connect while they are being made.
    let port = match Port::open() {
        Ok(port) => port,
        Err(error) => {
            eprintln!("conformance: {error}");
            return ExitCode::from(2);
        }
    };
    let mut results = Results::default();
    world::check(&mut results);
    module::check(&mut results);
    abi::check(&mut results);
    callers::check(&mut results);
    // Last: from here on no register can be extended.
    module::check_locking_all(&mut results);
    match port.hand_over(&results.line()) {
        Ok(()) if results.all_passed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(1),
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}
