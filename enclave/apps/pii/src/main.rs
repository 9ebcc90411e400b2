//! The PII application: one submission at a time on vsock, until the enclave is ended.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::process::ExitCode;

use anchorhold_enclave::refusal::chain;
use anchorhold_enclave::serve::{Acceptor, sessions};
use anchorhold_pii::services::{Enclave, Settings};
use anchorhold_pii::session;
use anchorhold_pii::wire::PORT;

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            // To the console, which nobody reads in production; it holds no record.
            eprintln!("anchorhold-pii: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Infallible, Box<dyn std::error::Error>> {
    anchorhold_enclave::random::seed()?;
    let enclave = Enclave::new(Settings::from_env()?)?;
    let acceptor = Acceptor::listen(PORT)?;
    println!("anchorhold-pii: serving");
    let never = sessions(&acceptor, |from, to| {
        match session::serve(from, to, &mut enclave.session()) {
            Ok(rows) => println!("anchorhold-pii: answered, {} rows", rows.read),
            Err(refusal) => println!("anchorhold-pii: refused by {}", refusal.rule),
        }
    })?;
    Ok(never)
}
