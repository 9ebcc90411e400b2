//! An AWS KMS compatible server that releases keys to attested code: the command line.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
