//! Hands sealed records to the PII enclave and takes its answer.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anchorhold_carrier::report;
use anchorhold_pii_client::submit::{Answer, Submission};
use anchorhold_pii_client::wire;
use anchorhold_proxy::state::EnclaveId;
use clap::Parser;

/// Hands sealed records to a running PII enclave and stores its sealed answer in a new directory.
#[derive(Parser)]
#[command(
    name = "anchorhold-pii-client",
    version,
    after_help = "Example:\n  anchorhold-pii-client --enclave-id i-0123456789abcdef0-enc0123456789abcdef \\\n    \
                  --job job.json --records records.esdk --token-key token-key.esdk \\\n    \
                  --credentials enclave.json --challenge $(openssl rand -hex 32) --answer answer"
)]
struct Cli {
    /// The enclave's id, as `anchorhold describe-enclaves` prints it.
    #[arg(long)]
    enclave_id: EnclaveId,
    /// The owner's job file.
    #[arg(long)]
    job: PathBuf,
    /// The sealed records.
    #[arg(long)]
    records: PathBuf,
    /// The sealed token key.
    #[arg(long)]
    token_key: PathBuf,
    /// JSON with the enclave principal's access_key_id and secret_access_key.
    #[arg(long)]
    credentials: PathBuf,
    /// The owner's challenge: 16 to 64 bytes in hex.
    #[arg(long, value_parser = challenge)]
    challenge: Challenge,
    /// The directory to make for the answer.
    #[arg(long)]
    answer: PathBuf,
}

#[derive(Clone)]
struct Challenge(Vec<u8>);

fn challenge(text: &str) -> Result<Challenge, String> {
    let bytes = hex::decode(text).map_err(|error| format!("expected hex digits: {error}"))?;
    if !(16..=64).contains(&bytes.len()) {
        return Err(format!("expected 16 to 64 bytes, got {}", bytes.len()));
    }
    Ok(Challenge(bytes))
}

fn main() -> ExitCode {
    report::outcome(run(Cli::parse()))
}

fn run(cli: Cli) -> anyhow::Result<Answer> {
    let stream = report::connect(&cli.enclave_id, wire::PORT)?;
    let submission = Submission {
        job: cli.job,
        records: cli.records,
        token_key: cli.token_key,
        credentials: cli.credentials,
        challenge: cli.challenge.0,
    };
    Ok(submission.run(stream, &cli.answer)?)
}
