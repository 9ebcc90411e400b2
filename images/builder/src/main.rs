//! `anchorhold-image`: reproducible enclave images.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    anchorhold_image::cli::main()
}
