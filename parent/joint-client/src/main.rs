//! Hands several owners' sealed files to the joint-analysis enclave and takes its answers.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anchorhold_carrier::report;
use anchorhold_joint_client::submit::{Submission, Submitted};
use anchorhold_joint_client::wire;
use anchorhold_proxy::state::EnclaveId;
use clap::Parser;

/// Hands all parties' packages to a running joint-analysis enclave and stores its sealed answers in
/// a new directory.
#[derive(Parser)]
#[command(
    name = "anchorhold-joint-client",
    version,
    after_help = "Example:\n  anchorhold-joint-client --enclave-id i-0123456789abcdef0-enc0123456789abcdef \\\n    \
                  --contract contract.json --package clinic --package insurer --package registry \\\n    \
                  --answers answers"
)]
struct Cli {
    /// The enclave's id, as `anchorhold describe-enclaves` prints it.
    #[arg(long)]
    enclave_id: EnclaveId,
    /// The contract.
    #[arg(long)]
    contract: PathBuf,
    /// A party's package, as `anchorhold-party submit` makes it; one for each party.
    #[arg(long = "package", required = true)]
    packages: Vec<PathBuf>,
    /// The directory to make for the answers.
    #[arg(long)]
    answers: PathBuf,
    /// The most MiB of sealed pages that are kept for an enclave whose memory is short, in a file
    /// without a name beside the answers.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    max_pages: u64,
}

fn main() -> ExitCode {
    report::outcome(run(Cli::parse()))
}

fn run(cli: Cli) -> anyhow::Result<Submitted> {
    let stream = report::connect(&cli.enclave_id, wire::PORT)?;
    let submission = Submission {
        contract: cli.contract,
        packages: cli.packages,
        max_pages: cli.max_pages.saturating_mul(1 << 20),
    };
    Ok(submission.run(stream, &cli.answers)?)
}
