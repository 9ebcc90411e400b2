//! `cargo xtask bench`: how fast and how small, as ratios with a baseline from the same run.
//!
//! Machines differ and are noisy, so no figure here fails anything: each is printed with what it is
//! held against, and with the project's goal where it has one. Measured and baseline take turns,
//! and both are medians.

mod bare;
mod boot;
mod channel;
mod examples;
mod figure;
mod joint;
mod pii;
mod threshold;
mod vsock;

use std::path::PathBuf;

use anyhow::Result;

use crate::demo::progress::Progress;
use crate::scene::Scene;
use crate::setup::{Purpose, SetupOptions, setup};
use crate::stage::{self, Profile};

use figure::Figure;

/// Options of `bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// Measure only this; may be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Subject>,
    /// How often each side is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Rows of the PII records.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    rows: u32,
    /// Threshold signatures.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    signatures: u32,
    /// Rows of each of the three files that are joined.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    join_rows: u32,
    /// Rows of each of three files that are joined once, for time and memory.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    large_join_rows: u32,
    /// A built vhost-device-vsock 0.3 to hold the vsock switch against. Without it: built from
    /// crates.io once and kept in the cache.
    #[arg(long)]
    vhost_device_vsock: Option<PathBuf>,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

impl BenchOptions {
    fn joins(&self) -> joint::Amount {
        joint::Amount {
            rounds: self.rounds,
            rows: self.join_rows,
            large: self.large_join_rows,
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// run-enclave to the first verified document against a bare boot; the hypervisor's memory; the
    /// image's size.
    Boot,
    /// The vsock switch against vhost-device-vsock.
    Vsock,
    /// Records processed inside the microVM against the same code run natively.
    Pii,
    /// Rows joined inside the microVM and natively against a native hash join.
    Joint,
    /// An attested channel against the stream below it: between a microVM and its parent, over
    /// vsock, and natively.
    Channel,
    /// A signature by two of three microVMs that hold shares of the key, end to end.
    Threshold,
    /// Sealing with cached data keys and bucket keys against a call to the KMS for each object.
    Keys,
}

const ALL: &[Subject] = &[
    Subject::Boot,
    Subject::Vsock,
    Subject::Pii,
    Subject::Joint,
    Subject::Channel,
    Subject::Threshold,
    Subject::Keys,
];

/// Measures, and prints the figures.
///
/// # Errors
/// Something cannot be measured.
pub fn bench(options: &BenchOptions) -> Result<()> {
    let mut progress = Progress::new(options.json);
    progress.step("setup", "set-up", |_| setup(options.setup, Purpose::Boot))?;
    let bins = progress.step("programs", "building the programs, optimised", |_| {
        stage::build_programs(Profile::Release)
    })?;
    let scene = Scene::new("bench", &bins)?;
    let subjects = ALL
        .iter()
        .filter(|subject| options.only.is_empty() || options.only.contains(subject));
    let mut figures = Vec::new();
    for subject in subjects {
        figures.extend(subject.measure(&scene, options, &mut progress)?);
    }
    if options.json {
        println!("{}", figure::json(&figures));
    } else {
        figures.iter().for_each(|figure| println!("{figure}"));
    }
    Ok(())
}

impl Subject {
    fn measure(
        self,
        scene: &Scene,
        options: &BenchOptions,
        progress: &mut Progress,
    ) -> Result<Vec<Figure>> {
        match self {
            Self::Boot => boot::measure(scene, options.rounds, progress),
            Self::Vsock => vsock::measure(scene, options.vhost_device_vsock.as_deref(), progress),
            Self::Channel => channel::measure(scene, options.rounds, progress),
            Self::Threshold => threshold::measure(scene, options.signatures, progress),
            Self::Keys => examples::keys(progress),
            Self::Pii => pii::measure(scene, options.rounds, options.rows, progress),
            Self::Joint => joint::measure(scene, options.joins(), progress),
        }
    }
}
