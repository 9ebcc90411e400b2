//! The threshold application: one command at a time on vsock, until the enclave is ended.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anchorhold_enclave_sys::vsock;
use anchorhold_threshold_app::Refusal;
use anchorhold_threshold_app::server::Enclave;
use anchorhold_threshold_app::wire;
use anchorhold_threshold_app::world::{Link, Machine};

/// How long a parent may take to say its command, and to hear the answer; then the next one may come.
const SILENCE: Duration = Duration::from_secs(30);

/// How long to rest when no connection can be taken.
const REST: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            // To the console, which nobody reads in production; it holds no secret.
            eprintln!(
                "anchorhold-threshold: {}: {}",
                refusal.rule, refusal.message
            );
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Refusal> {
    anchorhold_enclave::random::seed().map_err(|error| Refusal::new(error.rule(), error))?;
    let mut enclave = Enclave::new(Box::new(Machine::open()?))?;
    let listener =
        vsock::listen(wire::COMMAND_PORT).map_err(|error| Refusal::new(error.rule(), error))?;
    println!("anchorhold-threshold: serving");
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // For want of descriptors or memory, which comes back or not: no reason to spin.
            std::thread::sleep(REST);
            continue;
        };
        let served = wire::serve(Link::new(stream), SILENCE, |command| enclave.run(command));
        if let Err(refusal) = served {
            println!("anchorhold-threshold: refused by {}", refusal.rule);
        }
    }
}
