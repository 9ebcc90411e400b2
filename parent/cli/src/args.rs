//! The command line: nitro-cli's commands and flags, and some of our own.
//!
//! Results go to standard output as JSON, progress and errors to standard error. Exit status 0:
//! done; 1: refused or failed; 2: misused.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::commands::{self, Outcome};
use crate::enclaves::Wanted;
use crate::error::{AgentError, chain};

/// Runs Nitro-style enclaves on this machine.
#[derive(Debug, Parser)]
#[command(name = "anchorhold", version, max_term_width = 100)]
#[command(after_help = "Example:\n  \
    anchorhold run-enclave --eif-path hello.eif --memory 256 --cpu-count 1\n  \
    anchorhold describe-enclaves\n  \
    anchorhold terminate-enclave --all")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    RunEnclave(RunArgs),
    DescribeEnclaves(DescribeArgs),
    TerminateEnclave(TerminateArgs),
    Console(ConsoleArgs),
    BuildEnclave(BuildArgs),
    SignEif(SignEifArgs),
    DescribeEif(DescribeEifArgs),
    Pcr(PcrArgs),
    Connect(ConnectArgs),
    VsockProxy(ProxyArgs),
    Forward(ForwardArgs),
}

/// Start an enclave and wait for its heartbeat.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    anchorhold run-enclave --eif-path hello.eif --memory 256 --cpu-count 1 --enclave-cid 16")]
pub struct RunArgs {
    /// The enclave image file
    #[arg(long, value_name = "FILE")]
    pub eif_path: PathBuf,
    /// Memory in MiB [default: what the image asks for]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u64>,
    /// Virtual processors [default: what the image asks for]
    #[arg(long, value_name = "N")]
    pub cpu_count: Option<u32>,
    /// The enclave's CID, 4 or more [default: a free one from 16 on]
    #[arg(long, value_name = "CID")]
    pub enclave_cid: Option<u32>,
    /// The enclave's name [default: the image file's]
    #[arg(long, value_name = "NAME")]
    pub enclave_name: Option<String>,
    /// Make the console readable, and the attested PCR0, 1, 2 and 8 zero
    #[arg(long)]
    pub debug_mode: bool,
    /// Show the console until the enclave ends; implies --debug-mode
    #[arg(long)]
    pub attach_console: bool,
    /// `kernel` has the host's vhost-vsock serve the enclave, which then reaches its parent as
    /// CID 2 only
    #[arg(long, value_name = "MODE", value_parser = ["switch", "kernel"])]
    pub vsock: Option<String>,
    /// How long the boot may take, in seconds [default: 180]
    #[arg(long, value_name = "SECONDS")]
    pub boot_deadline: Option<u64>,
}

/// List the running enclaves.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  anchorhold describe-enclaves --metadata")]
pub struct DescribeArgs {
    /// Show what the images' builders wrote about them
    #[arg(long)]
    pub metadata: bool,
    /// List enclaves that ended instead, with how they ended
    #[arg(long, conflicts_with = "metadata")]
    pub ended: bool,
}

/// End one enclave, or all.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("enclave").required(true))]
#[command(after_help = "Example:\n  anchorhold terminate-enclave --enclave-name hello")]
pub struct TerminateArgs {
    /// The enclave's id
    #[arg(long, value_name = "ID", group = "enclave")]
    pub enclave_id: Option<String>,
    /// The enclave's name
    #[arg(long, value_name = "NAME", group = "enclave")]
    pub enclave_name: Option<String>,
    /// Every running enclave of this state directory
    #[arg(long, group = "enclave")]
    pub all: bool,
}

/// Show the console of an enclave in debug mode until it ends.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("enclave").required(true))]
#[command(after_help = "Example:\n  anchorhold console --enclave-name hello")]
pub struct ConsoleArgs {
    /// The enclave's id
    #[arg(long, value_name = "ID", group = "enclave")]
    pub enclave_id: Option<String>,
    /// The enclave's name
    #[arg(long, value_name = "NAME", group = "enclave")]
    pub enclave_name: Option<String>,
    /// Stop when nothing was printed for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub disconnect_timeout: Option<u64>,
}

/// Make an enclave image, from a recipe or from a program.
///
/// With --recipe this is `anchorhold-image build`, else `anchorhold-image pack`; all flags are
/// handed on to it: see `anchorhold-image build --help` and `anchorhold-image pack --help`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    anchorhold build-enclave --recipe images/recipes/hello/recipe.toml --output-file hello.eif\n  \
    anchorhold build-enclave --binary target/hello --output-file hello.eif")]
pub struct BuildArgs {
    /// Flags of the image tool
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub arguments: Vec<OsString>,
}

/// Sign an enclave image in place and print its measurements, PCR8 of the certificate among them.
///
/// This is `anchorhold-image sign`, to which all flags are handed on: see `anchorhold-image sign
/// --help`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    anchorhold sign-eif --eif-path hello.eif --signing-certificate certificate.pem \\\n      \
        --private-key key.pem")]
pub struct SignEifArgs {
    /// Flags of the image tool
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub arguments: Vec<OsString>,
}

/// Print what an enclave image holds and measures to.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  anchorhold describe-eif --eif-path hello.eif")]
pub struct DescribeEifArgs {
    /// The enclave image file
    #[arg(long, value_name = "FILE")]
    pub eif_path: PathBuf,
}

/// Measure a file as a register would: {"PCR"} of its bytes, or {"PCR8"} of a certificate.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("measured").required(true))]
#[command(after_help = "Example:\n  anchorhold pcr --signing-certificate certificate.pem")]
pub struct PcrArgs {
    /// Any file
    #[arg(long, value_name = "FILE", group = "measured")]
    pub input: Option<PathBuf>,
    /// A certificate in PEM
    #[arg(long, value_name = "FILE", group = "measured")]
    pub signing_certificate: Option<PathBuf>,
}

/// Connect standard input and output to a vsock port of an enclave.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("enclave").required(true))]
#[command(after_help = "Example:\n  echo hello | anchorhold connect --enclave-cid 16 --port 5005")]
pub struct ConnectArgs {
    /// The enclave's id
    #[arg(long, value_name = "ID", group = "enclave")]
    pub enclave_id: Option<String>,
    /// The enclave's name
    #[arg(long, value_name = "NAME", group = "enclave")]
    pub enclave_name: Option<String>,
    /// The enclave's CID
    #[arg(long, value_name = "CID", group = "enclave")]
    pub enclave_cid: Option<u32>,
    /// The vsock port
    #[arg(long, value_name = "PORT")]
    pub port: u32,
    /// How long to try again while nobody listens on the port, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub wait: u64,
}

/// Forward a vsock port of the parent, which enclaves reach at CID 3, to one TCP target.
///
/// Prints {"listening":[…]} when it listens, and runs until it is ended.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    anchorhold vsock-proxy 8000 kms.eu-central-1.amazonaws.com 443 --config allowlist.yaml")]
pub struct ProxyArgs {
    /// The parent's vsock port
    pub local_port: u32,
    /// Host name or address of the target
    pub remote_addr: String,
    /// TCP port of the target
    pub remote_port: u16,
    /// Reach the target by IPv4 only
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Reach the target by IPv6 only
    #[arg(short = '6', long = "ipv6")]
    pub ipv6: bool,
    /// Connections served at the same time; further ones wait
    #[arg(
        short = 'w',
        long = "num_workers",
        value_name = "N",
        default_value_t = 4
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// The allowlist
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/nitro_enclaves/vsock-proxy.yaml"
    )]
    pub config: PathBuf,
}

/// Forward a TCP port of the parent to a vsock port of an enclave, for enclaves of other hosts.
///
/// Prints {"listening":[…]} when it listens, and runs until it is ended. Whoever reaches the address
/// reaches the enclave's port.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("enclave").required(true))]
#[command(after_help = "Example:\n  \
    anchorhold forward --listen 127.0.0.1:7001 --enclave-cid 16 --port 5006")]
pub struct ForwardArgs {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: std::net::SocketAddr,
    /// The enclave's id
    #[arg(long, value_name = "ID", group = "enclave")]
    pub enclave_id: Option<String>,
    /// The enclave's name
    #[arg(long, value_name = "NAME", group = "enclave")]
    pub enclave_name: Option<String>,
    /// The enclave's CID
    #[arg(long, value_name = "CID", group = "enclave")]
    pub enclave_cid: Option<u32>,
    /// The vsock port
    #[arg(long, value_name = "PORT")]
    pub port: u32,
    /// Connections served at the same time; further ones wait
    #[arg(
        short = 'w',
        long = "num_workers",
        value_name = "N",
        default_value_t = 8
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
}

/// The enclave that a command's flags name.
pub(crate) fn wanted(
    id: &Option<String>,
    name: &Option<String>,
    cid: Option<u32>,
) -> Option<Wanted> {
    let id = id.clone().map(Wanted::Id);
    let name = name.clone().map(Wanted::Name);
    id.or(name).or(cid.map(Wanted::Cid))
}

/// Runs the agent with this process's arguments.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::RunEnclave(args) => commands::run::run(&args),
        Command::DescribeEnclaves(args) => commands::describe::run(&args),
        Command::TerminateEnclave(args) => commands::terminate::run(&args),
        Command::Console(args) => commands::console::run(&args),
        Command::BuildEnclave(args) => commands::image::build(&args),
        Command::SignEif(args) => commands::image::sign(&args),
        Command::DescribeEif(args) => commands::image::describe(&args),
        Command::Pcr(args) => commands::pcr::run(&args),
        Command::Connect(args) => commands::connect::run(&args),
        Command::VsockProxy(args) => commands::vsock_proxy::run(&args),
        Command::Forward(args) => commands::forward::run(&args),
    };
    finish(result)
}

fn finish(result: Outcome) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    commands::progress(&format!("error[{}]: {}", error.rule(), chain(&error)));
    if let AgentError::Refused(failure) = &error
        && !failure.console.is_empty()
    {
        commands::progress("the last lines of the enclave's console:");
        for line in &failure.console {
            commands::progress(&format!("  | {line}"));
        }
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn refusal(arguments: &[&str]) -> clap::Error {
        let words = std::iter::once(&"anchorhold").chain(arguments);
        Cli::try_parse_from(words).expect_err("misuse")
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_missing_flag_is_named() {
        for (arguments, flag) in [
            (&["run-enclave"][..], "--eif-path"),
            (&["terminate-enclave"], "--enclave-id"),
            (&["console"], "--enclave-name"),
            (&["describe-eif"], "--eif-path"),
            (&["pcr"], "--input"),
            (&["connect", "--enclave-cid", "16"], "--port"),
            (&["connect", "--port", "1"], "--enclave-cid"),
            (&["vsock-proxy", "8000", "h"], "REMOTE_PORT"),
            (
                &["forward", "--enclave-cid", "16", "--port", "1"],
                "--listen",
            ),
        ] {
            let error = refusal(arguments);
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
            assert!(error.to_string().contains(flag), "{error}");
        }
    }

    #[test]
    fn flags_that_are_unknown_contradictory_or_out_of_range_are_refused() {
        for arguments in [
            &["run-enclave", "--eif-path", "x", "--gpu"][..],
            &["run-enclave", "--eif-path", "x", "--memory", "-1"],
            &["run-enclave", "--eif-path", "x", "--memory", "1G"],
            &[
                "run-enclave",
                "--eif-path",
                "x",
                "--enclave-cid",
                "4294967296",
            ],
            &["run-enclave", "--eif-path", "x", "--vsock", "tcp"],
            &["terminate-enclave", "--all", "--enclave-id", "i-1"],
            &["vsock-proxy", "-4", "-6", "8000", "h", "443"],
            &["vsock-proxy", "8000", "h", "65536"],
            &["vsock-proxy", "-w", "0", "8000", "h", "443"],
        ] {
            refusal(arguments);
        }
    }

    #[test]
    fn every_help_ends_with_an_example() {
        let mut command = Cli::command();
        command.build();
        for subcommand in command.get_subcommands_mut() {
            let name = subcommand.get_name().to_owned();
            if name == "help" {
                continue;
            }
            let help = subcommand.render_long_help().to_string();
            let example = format!("anchorhold {name}");
            let (_, after) = help.split_once("Example:\n").expect(&name);
            assert!(after.contains(&example), "{help}");
        }
    }

    #[test]
    fn nitro_clis_invocations_are_understood() {
        for line in [
            "run-enclave --eif-path a --memory 512 --cpu-count 2 --enclave-cid 16 --debug-mode",
            "run-enclave --eif-path a --memory 512 --cpu-count 2 --attach-console",
            "describe-enclaves --metadata",
            "terminate-enclave --enclave-id i-0-enc1",
            "console --enclave-id i-0-enc1 --disconnect-timeout 5",
            "build-enclave --signing-certificate c --private-key k --output-file a",
            "sign-eif --eif-path a --private-key k --signing-certificate c",
            "describe-eif --eif-path a",
            "pcr --input a",
            "vsock-proxy 8000 kms.us-east-1.amazonaws.com 443 --config c -4 -w 4",
        ] {
            let words = std::iter::once("anchorhold").chain(line.split(' '));
            Cli::try_parse_from(words).expect(line);
        }
    }
}
