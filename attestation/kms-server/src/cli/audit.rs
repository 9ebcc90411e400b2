//! `anchorhold-kms audit …`.

use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use anchorhold_kms::audit::Link;
use anchorhold_kms::audit::trail::{TrailError, export, verify, verify_export};
use anchorhold_kms::instance::Instance;
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{DataDirArgument, print};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write every event to stdout, one JSON object a line.
    Export(DataDirArgument),
    /// Check the hash chain, and print its head: exit code 1 when it is broken.
    Verify(Verify),
}

#[derive(Args)]
#[command(
    after_help = "A chain that was cut at its end is whole by itself: keep the head that this prints, and\ngive it back later with --expect.\n\nExample:\n  anchorhold-kms audit verify --data-dir ./kms"
)]
pub(super) struct Verify {
    #[command(flatten)]
    from: From,
    /// A head printed earlier, which the trail must still contain.
    #[arg(long, value_name = "SEQUENCE:HASH", value_parser = parse_link)]
    expect: Option<Link>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct From {
    /// The directory that holds the KMS; checks the seals too.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A file written by `audit export`.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export(data) => {
            let instance = Instance::open(&data.data_dir).await?;
            let store = instance.store().await?;
            let mut output = BufWriter::new(std::io::stdout().lock());
            export(&store, &mut output).await?;
            store.close().await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify(arguments) => {
            let expect = arguments.expect;
            report(match (arguments.from.data_dir, arguments.from.export) {
                (Some(dir), _) => {
                    let instance = Instance::open(&dir).await?;
                    let store = instance.store().await?;
                    let result = verify(&store, instance.sealer(), expect).await;
                    store.close().await;
                    result
                }
                (None, Some(file)) => {
                    let opened = std::fs::File::open(&file);
                    let opened =
                        opened.with_context(|| format!("cannot read {}", file.display()))?;
                    verify_export(BufReader::new(opened), expect)
                }
                (None, None) => return Err(anyhow!("give --data-dir or --export")),
            })
        }
    }
}

fn report(result: Result<Link, TrailError>) -> anyhow::Result<ExitCode> {
    match result {
        Ok(head) => {
            print(&json!({
                "events": head.sequence,
                "verified": true,
                "head": format!("{}:{}", head.sequence, hex::encode(head.hash)),
            }))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(TrailError::Store(error)) => Err(error.into()),
        Err(TrailError::Io(error)) => Err(error.into()),
        Err(error) => {
            print(&json!({
                "verified": false,
                "error": { "rule": error.rule(), "message": error.to_string() },
            }))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn parse_link(text: &str) -> Result<Link, &'static str> {
    const SHAPE: &str =
        "expected a number, ':' and 64 hexadecimal digits, as `audit verify` prints";
    let (sequence, digits) = text.split_once(':').ok_or(SHAPE)?;
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).map_err(|_| SHAPE)?;
    Ok(Link {
        sequence: sequence.parse().map_err(|_| SHAPE)?,
        hash,
    })
}
