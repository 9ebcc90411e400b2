//! Arguments and commands. Results go to stdout as JSON, everything else to stderr.

mod audit;
mod logger;
mod principal;
mod serve;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anchorhold_kms::instance;
use anchorhold_kms_core::arn::{AccountId, Region};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

/// An AWS KMS compatible server that releases keys to attested code.
#[derive(Parser)]
#[command(name = "anchorhold-kms", version, after_help = EXAMPLE)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Example:
  anchorhold-kms init --data-dir ./kms
  anchorhold-kms serve --data-dir ./kms --listen 127.0.0.1:8000
  aws --endpoint-url http://127.0.0.1:8000 kms create-key";

#[derive(Subcommand)]
enum Command {
    /// Make a new KMS with an administrator, and print the administrator's credentials.
    Init(Init),
    /// Add, remove and list the users of the account. Works beside a running server.
    #[command(subcommand)]
    Principal(principal::Command),
    /// Serve the KMS.
    Serve(serve::Serve),
    /// Export and verify the audit trail. Works beside a running server.
    #[command(subcommand)]
    Audit(audit::Command),
}

#[derive(Args)]
#[command(after_help = "Example:\n  anchorhold-kms init --data-dir ./kms --region eu-central-1")]
struct Init {
    #[command(flatten)]
    data: DataDirArgument,
    /// The account of all keys and users: 12 digits.
    #[arg(long, default_value = "000000000000")]
    account: AccountId,
    /// The region in all ARNs and signatures.
    #[arg(long, default_value = "us-east-1")]
    region: Region,
}

#[derive(Args)]
struct DataDirArgument {
    /// The directory that holds the KMS.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Runs the command line; 0 for success, 1 for failure, 2 for misuse (by clap).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logger::start();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start")),
    };
    match runtime.block_on(run(arguments.command)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(arguments) => {
            let now = SystemTime::now();
            let path = &arguments.data.data_dir;
            print(&instance::init(path, arguments.account, arguments.region, now).await?)?;
        }
        Command::Principal(command) => principal::run(command).await?,
        Command::Serve(arguments) => serve::run(arguments).await?,
        Command::Audit(command) => return audit::run(command).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the chain of causes once, each saying its own part.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("anchorhold-kms: {error:#}");
    ExitCode::FAILURE
}

/// One line of JSON on stdout. It may hold a secret, so its memory is zeroized.
fn print(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *line, value)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()?;
    Ok(())
}
