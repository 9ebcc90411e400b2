//! One enclave, one process: `anchorhold-hypervisor run`; and the platform it signs as.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use anchorhold_hypervisor::boot::{Choice, DEFAULT_DEADLINE};
use anchorhold_hypervisor::control::Response;
use anchorhold_hypervisor::ended::Ending;
use anchorhold_hypervisor::layout::{self, LayoutError};
use anchorhold_hypervisor::platform;
use anchorhold_hypervisor::registry::Registry;
use anchorhold_hypervisor::report::{Description, Failure};
use anchorhold_hypervisor::run::{Options, chain, run};
use anchorhold_hypervisor::vm::VsockMode;

/// Measures an enclave image, boots it in QEMU and serves its security module.
#[derive(Parser)]
#[command(name = "anchorhold-hypervisor", version)]
#[command(
    after_help = "Example:\n  anchorhold-hypervisor run --eif-path hello.eif --memory 256 --debug-mode"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one enclave to its end.
    Run(RunArgs),
    /// Removes what hypervisors that were killed left behind; prints the enclaves' ids as JSON.
    Sweep {
        /// The state directory.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// The identity under which this host's security modules sign.
    #[command(subcommand)]
    Platform(PlatformCommand),
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  anchorhold-hypervisor run --eif-path hello.eif --memory 256 --debug-mode"
)]
struct RunArgs {
    /// The enclave image file.
    #[arg(long, value_name = "FILE")]
    eif_path: PathBuf,
    /// Memory in MiB; what the image asks for if absent.
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Virtual processors; what the image asks for if absent.
    #[arg(long, value_name = "N")]
    cpu_count: Option<u32>,
    /// The enclave's CID, 4 or more; a free one from 16 on if absent.
    #[arg(long, value_name = "CID")]
    enclave_cid: Option<u32>,
    /// The enclave's name; the image file's if absent.
    #[arg(long, value_name = "NAME")]
    enclave_name: Option<String>,
    /// Makes the console readable, and PCR0, 1, 2 and 8 zero.
    #[arg(long)]
    debug_mode: bool,
    /// Who serves the enclave's vsock. `kernel` needs /dev/vhost-vsock, and the enclave then
    /// reaches its parent as CID 2 only, not as CID 3.
    #[arg(long, value_enum, default_value_t = VsockArg::Switch)]
    vsock: VsockArg,
    /// What runs the guest: KVM where it works, else software emulation.
    #[arg(long, value_enum, env = "ANCHORHOLD_ACCEL", default_value_t = AccelArg::Auto)]
    accel: AccelArg,
    /// How long the boot may take, in seconds.
    #[arg(long, value_name = "SECONDS", env = "ANCHORHOLD_BOOT_DEADLINE")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    boot_deadline: Option<u64>,
    /// The state directory.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The platform directory.
    #[arg(long, value_name = "DIR")]
    platform_dir: Option<PathBuf>,
    /// Leaves the terminal's session, and its standard streams once the enclave runs.
    #[arg(long)]
    detach: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum VsockArg {
    Switch,
    Kernel,
}

#[derive(Clone, Copy, ValueEnum)]
enum AccelArg {
    Auto,
    Kvm,
    Tcg,
}

#[derive(Subcommand)]
#[command(after_help = "Example:\n  anchorhold-hypervisor platform root > platform-root.pem")]
enum PlatformCommand {
    /// Prints the root certificate as PEM, for relying parties.
    Root(PlatformArgs),
    /// Makes the identity if there is none, and prints what `show` prints.
    Init(PlatformArgs),
    /// Prints the root's SHA-256 and the instance id as JSON.
    Show(PlatformArgs),
}

#[derive(Args)]
struct PlatformArgs {
    /// The platform directory.
    #[arg(long, value_name = "DIR")]
    platform_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run_enclave(&args),
        Command::Sweep { state_dir } => report(sweep(state_dir)),
        Command::Platform(command) => report(platform_command(command)),
    }
}

fn run_enclave(args: &RunArgs) -> ExitCode {
    let options = match options(args) {
        Ok(options) => options,
        Err(error) => return refuse(args.detach, &Failure::new(error.rule(), chain(&error))),
    };
    if args.detach {
        // Fails for a process group's leader only, which the agent does not make of it.
        let _ = setsid();
    }
    let progress = |text: &str| eprint_line(&format!("anchorhold: {text}"));
    let running = |description: &Description| {
        print_line(&Response::Ok(description).to_line());
        if args.detach {
            release_streams();
        }
    };
    match run(&options, running, &progress) {
        Ok(ending) => {
            progress(&ending.message);
            exit_code(&ending)
        }
        Err(error) => refuse(args.detach, &error.failure()),
    }
}

fn options(args: &RunArgs) -> Result<Options, LayoutError> {
    Ok(Options {
        eif_path: args.eif_path.clone(),
        memory_mib: args.memory,
        cpus: args.cpu_count,
        cid: args.enclave_cid,
        name: args.enclave_name.clone(),
        debug: args.debug_mode,
        vsock: match args.vsock {
            VsockArg::Switch => VsockMode::Switch,
            VsockArg::Kernel => VsockMode::Kernel,
        },
        accelerator: match args.accel {
            AccelArg::Auto => Choice::Auto,
            AccelArg::Kvm => Choice::Kvm,
            AccelArg::Tcg => Choice::Tcg,
        },
        boot_deadline: args
            .boot_deadline
            .map_or(DEFAULT_DEADLINE, Duration::from_secs),
        state_dir: layout::state_dir(args.state_dir.clone())?,
        platform_dir: layout::platform_dir(args.platform_dir.clone())?,
    })
}

/// Success is an application that exited with 0, or an end that somebody asked for.
fn exit_code(ending: &Ending) -> ExitCode {
    let asked = ["terminate.requested", "hypervisor.signal"];
    match ending.exit_code {
        Some(0) => ExitCode::SUCCESS,
        None if asked.contains(&ending.reason.as_str()) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// To an agent as JSON on the standard output; to people on the standard error.
fn refuse(detached: bool, failure: &Failure) -> ExitCode {
    if detached {
        print_line(&Response::<()>::Error(failure.clone()).to_line());
        return ExitCode::FAILURE;
    }
    eprint_line(&format!("error[{}]: {}", failure.rule, failure.message));
    if !failure.console.is_empty() {
        eprint_line("the last lines of its console:");
    }
    for line in &failure.console {
        eprint_line(&format!("  | {line}"));
    }
    ExitCode::FAILURE
}

/// Gives the streams back to whoever started this process and may wait for their end.
fn release_streams() {
    let Ok(null) = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
    else {
        return;
    };
    // Each fails only if the descriptor table is full, and then the stream stays as it is.
    let _ = dup2_stdin(&null);
    let _ = dup2_stdout(&null);
    let _ = dup2_stderr(&null);
}

fn sweep(state_dir: Option<PathBuf>) -> Result<String, Failure> {
    let state = layout::state_dir(state_dir).map_err(|e| Failure::new(e.rule(), chain(&e)))?;
    let swept = Registry::open(&state)
        .and_then(|registry| registry.sweep())
        .map_err(|error| Failure::new(error.rule(), chain(&error)))?;
    Ok(serde_json::json!({ "swept": swept }).to_string())
}

fn platform_command(command: PlatformCommand) -> Result<String, Failure> {
    let (PlatformCommand::Root(args) | PlatformCommand::Init(args) | PlatformCommand::Show(args)) =
        &command;
    let directory = layout::platform_dir(args.platform_dir.clone())
        .map_err(|error| Failure::new(error.rule(), chain(&error)))?;
    let opened = match command {
        PlatformCommand::Init(_) => platform::open_or_make(&directory),
        _ => platform::open(&directory),
    };
    let platform = opened.map_err(|error| Failure::new(error.rule(), chain(&error)))?;
    if let PlatformCommand::Root(_) = command {
        return Ok(platform.root_certificate_pem().trim_end().to_owned());
    }
    let shown = serde_json::json!({
        "instance_id": platform.instance_id().as_str(),
        "platform_dir": directory,
        "root_sha256": hex::encode(platform.root_sha256()),
    });
    Ok(shown.to_string())
}

fn report(result: Result<String, Failure>) -> ExitCode {
    match result {
        Ok(text) => {
            print_line(format!("{text}\n").as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => refuse(false, &failure),
    }
}

/// A reader that went away loses the line and nothing else: the enclave does not end with it.
fn print_line(line: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(line).and_then(|()| out.flush());
}

fn eprint_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
