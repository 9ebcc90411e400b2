//! The joint-analysis application: one submission at a time on vsock, until the enclave is ended.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::process::ExitCode;

use anchorhold_enclave::refusal::chain;
use anchorhold_enclave::serve::{Acceptor, sessions};
use anchorhold_joint_enclave::services::{Enclave, Settings};
use anchorhold_joint_enclave::session;
use anchorhold_joint_enclave::wire::PORT;

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            // To the console, which nobody reads in production; it holds no record.
            eprintln!("anchorhold-joint: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Infallible, Box<dyn std::error::Error>> {
    anchorhold_enclave::random::seed()?;
    let enclave = Enclave::new(Settings::from_env()?)?;
    let acceptor = Acceptor::listen(PORT)?;
    println!("anchorhold-joint: serving");
    let never = sessions(&acceptor, |from, to| {
        match session::serve(from, to, &mut enclave.session()) {
            Ok(done) => println!("anchorhold-joint: answered {} parties", done.parties),
            Err(refusal) => println!("anchorhold-joint: refused by {}", refusal.rule),
        }
    })?;
    Ok(never)
}
