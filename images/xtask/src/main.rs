//! Set-up, demo, test and bench: the README's commands.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::bench::{BenchOptions, bench};
use xtask::demo::hello::{self, HelloOptions};
use xtask::demo::mpc::{self, MpcOptions};
use xtask::demo::pii::{self, PiiOptions};
use xtask::demo::threshold::{self, ThresholdOptions};
use xtask::scene::keep;
use xtask::setup::{SetupOptions, prepare};
use xtask::soak::{SoakOptions, soak};
use xtask::test::{TestOptions, test};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install or fetch what demo and test need.
    Setup(SetupOptions),
    /// Show what the project does, with its own programs.
    #[command(subcommand)]
    Demo(Demo),
    /// Run everything that CI demands.
    Test(TestOptions),
    /// Measure speed and size against baselines of the same run.
    Bench(BenchOptions),
    /// Boot the sample enclave again and again.
    Soak(SoakOptions),
    /// End a scene once standard input has ended; every run starts its own.
    #[command(hide = true)]
    Keep {
        /// The scene's directory.
        scene: PathBuf,
        /// Where the project's programs are.
        bins: PathBuf,
    },
}

#[derive(Subcommand)]
enum Demo {
    /// The smallest enclave: build, boot, attest, answer a line.
    Hello(HelloOptions),
    /// The main job: attested decryption of personal records, and every way around it tried.
    Pii(PiiOptions),
    /// Several owners who trust neither each other nor the host join their files.
    Mpc(MpcOptions),
    /// Three owners, three enclaves, one signing key that exists nowhere.
    Threshold(ThresholdOptions),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::Setup(options) => prepare(options),
        Task::Demo(Demo::Hello(options)) => hello::run(&options),
        Task::Demo(Demo::Pii(options)) => pii::run(&options),
        Task::Demo(Demo::Mpc(options)) => mpc::run(&options),
        Task::Demo(Demo::Threshold(options)) => threshold::run(&options),
        Task::Test(options) => test(&options),
        Task::Bench(options) => bench(&options),
        Task::Soak(options) => soak(&options),
        Task::Keep { scene, bins } => {
            keep(&scene, &bins);
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
