//! The smallest useful enclave.
//!
//! It listens on vsock port 5005 and answers lines of at most 1024 bytes:
//!
//! | line | answer |
//! |---|---|
//! | `attest <nonce in hex>` | an attestation document over the nonce, in base64 |
//! | any other text | `hello from the enclave, you said: <text>` |
//!
//! What it will not answer gets `error <rule>: <what was expected>`. Whoever sends a fresh
//! nonce and verifies the document knows which program says hello to them.
#![forbid(unsafe_code)]

mod answer;
mod serve;

use std::process::ExitCode;

use anchorhold_enclave::nsm::Nsm;
use anchorhold_enclave::serve::Acceptor;

/// Where it listens.
const PORT: u32 = 5005;

fn main() -> ExitCode {
    let nsm = match Nsm::open() {
        Ok(nsm) => nsm,
        Err(error) => {
            eprintln!("hello: {error}");
            return ExitCode::FAILURE;
        }
    };
    let acceptor = match Acceptor::listen(PORT) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            eprintln!("hello: {error}");
            return ExitCode::FAILURE;
        }
    };
    serve::forever(&acceptor, &move |nonce| nsm.attest(None, None, Some(nonce)))
}
