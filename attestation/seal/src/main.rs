//! The owner's tool for AWS Encryption SDK messages: seal, open, inspect.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(std::env::args_os().collect())
}
