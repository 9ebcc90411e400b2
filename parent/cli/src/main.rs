//! The parent instance's agent: nitro-cli's commands.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    anchorhold::main()
}
