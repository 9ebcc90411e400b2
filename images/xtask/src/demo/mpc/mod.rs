//! `cargo xtask demo mpc`: several owners who trust neither each other nor the host join their
//! files in one enclave, and every way around their contract is tried.

mod compute;
mod figures;
mod host;
mod images;
mod inputs;
mod owner;
mod refusals;
mod rounds;
mod signer;
pub mod size;
pub mod timed;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::demo::progress::Progress;
use crate::demo::{Enclave, Refusal, run_enclave, terminate};
use crate::scene::Scene;
use crate::setup::{Purpose, SetupOptions, setup};
use crate::stage::{self, Image, Profile};

use compute::{Analysis, Compute, Parameters};
use figures::Answered;
use host::Host;
use inputs::{Input, Inputs};
use owner::{Owner, Round};
use refusals::Trials;
use rounds::Rounds;
use signer::Signer;
use size::Size;

/// Options of the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct MpcOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// An owner's file, as NAME=FILE: CSV with a header. Give one for each owner, two at least.
    /// Without it: three made-up files of some 1,000 rows.
    #[arg(long = "input", value_name = "NAME=FILE", value_parser = inputs::named)]
    inputs: Vec<Input>,
    /// The column that the files are joined on.
    #[arg(long, value_name = "COLUMN", default_value = "email")]
    join_on: String,
    /// The column of values, in the files that have it.
    #[arg(long, value_name = "COLUMN", default_value = "amount")]
    sum: String,
    /// What is computed: intersection, statistics or overlap; with noise as statistics+laplace or
    /// overlap+gaussian. Give it again for more, each under a contract of its own.
    #[arg(
        long = "compute",
        value_name = "COMPUTATION[+NOISE]",
        value_parser = compute::compute,
        default_value = "intersection"
    )]
    computations: Vec<Compute>,
    #[command(flatten)]
    parameters: Parameters,
    /// Have the image signed, and contract and key policies name its signer.
    #[arg(long)]
    signed: bool,
    /// The enclave's memory in MiB. Rows that do not fit wait at the host, sealed.
    #[arg(long, default_value_t = 512)]
    memory: u32,
    /// Tell what the answer cost in time and memory (`size` with --json).
    #[arg(long)]
    size: bool,
    /// As --size, beside the same join run natively.
    #[arg(long)]
    native: bool,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// What the demo prints with `--json`: the figures of the first computation stand at the top.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    first: Answered,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    further: Vec<Further>,
    refusals: Vec<Refusal>,
    seconds: BTreeMap<String, f64>,
    /// What the first answer cost, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
}

/// Another computation in the same enclave.
#[derive(Debug, Serialize)]
struct Further {
    compute: String,
    #[serde(flatten)]
    answered: Answered,
}

/// Runs the demo.
///
/// # Errors
/// A step fails, or something was not refused that must be.
pub fn run(options: &MpcOptions) -> Result<()> {
    distinct(&options.computations)?;
    let values = options.computations.iter().any(|c| c.values());
    let inputs = Inputs::check(&options.inputs, &options.join_on, &options.sum, values)?;
    if options.native {
        comparable(&options.computations, &inputs)?;
    }
    let mut progress = Progress::new(options.json);
    progress.step("setup", "set-up", |_| setup(options.setup, Purpose::Demo))?;
    let bins = progress.step("programs", "building the programs", |_| {
        stage::build_programs(Profile::Debug)
    })?;
    let scene = Scene::new("demo", &bins)?;
    let names = (options.join_on.as_str(), options.sum.as_str());
    let analyses = options.computations.iter();
    let analyses = analyses.map(|c| c.analysis(&scene, &inputs, names, &options.parameters));
    let analyses = analyses.collect::<Result<Vec<_>>>()?;
    let (first, further) = analyses.split_first().context("nothing to compute")?;
    let shown = play(&scene, &inputs, first, further, options, &mut progress)?;
    if options.json {
        println!("{}", serde_json::to_string(&shown)?);
    } else {
        summary(&shown, first, further);
    }
    judge(&shown)
}

/// Each computation has its files under its name.
fn distinct(computations: &[Compute]) -> Result<()> {
    for (place, computation) in computations.iter().enumerate() {
        if computations.iter().take(place).any(|c| c == computation) {
            bail!("--compute names {computation} twice");
        }
    }
    Ok(())
}

/// What the same join natively can be compared with.
fn comparable(computations: &[Compute], inputs: &Inputs) -> Result<()> {
    if !computations
        .first()
        .is_some_and(|first| first.is_exact_join())
    {
        bail!("--native is for an intersection without noise as the first computation");
    }
    if let Some(lacking) = inputs.owners().find(|input| !input.sums) {
        let name = &lacking.name;
        bail!("--native takes files that all have the column to sum up; {name}'s has not");
    }
    Ok(())
}

/// Whether everything went as it must.
fn judge(shown: &Shown) -> Result<()> {
    if let Some(missed) = shown.refusals.iter().find(|refusal| !refusal.refused) {
        bail!("not refused: {}", missed.case);
    }
    let further = shown.further.iter().map(|further| &further.answered);
    let mut answered = std::iter::once(&shown.first).chain(further);
    answered.try_for_each(Answered::judge)
}

fn play(
    scene: &Scene,
    inputs: &Inputs,
    analysis: &Analysis,
    further: &[Analysis],
    options: &MpcOptions,
    progress: &mut Progress,
) -> Result<Shown> {
    let memory = options.memory.to_string();
    let (host, owners) = progress.step(
        "kms",
        "each owner starts a KMS of its own, with its own root key, account and key",
        |_| assemble(scene, inputs),
    )?;
    let image = progress.step("image", "building and measuring the image", |progress| {
        build(scene, options.signed, progress)
    })?;
    let mut trials = Trials::new(&host, &memory);
    let mut rounds = Rounds {
        host: &host,
        owners: &owners,
        image: &image,
        progress,
    };
    let first = rounds.agree("first", analysis, &mut trials)?;
    rounds.seal(&first)?;
    let progress = &mut *rounds.progress;
    let enclave = progress.step("boot", "the host boots the image", |_| {
        let enclave = run_enclave(scene, &image.eif, &["--memory", &memory])?;
        host.wait_for(&enclave)?;
        Ok(enclave)
    })?;
    let computed = (analysis, further);
    let (answered, size, further) =
        compute_all(&mut rounds, &mut trials, &enclave, &first, computed)?;
    let progress = &mut *rounds.progress;
    progress.step(
        "refusals",
        "other contracts, and keys taken back",
        |progress| trials.after_the_run(progress, &enclave, &owners, &first, &image, analysis),
    )?;
    progress.step("end", "ending the enclave", |_| terminate(scene, &enclave))?;
    progress.step("refusals", "the host boots other images", |progress| {
        trials.other_image(progress, &owners, &first)?;
        trials.other_signer(progress, &owners, &first, &image)
    })?;
    let mut told = options.size.then_some(size.clone());
    if options.native {
        let work = "the same join natively, without enclave";
        told = progress.step("native", work, |progress| {
            let native = size::natively(inputs, analysis, &answered)?;
            progress.note(&native.line());
            Ok(Some(size.beside(native)))
        })?;
    }
    Ok(Shown {
        first: answered,
        further,
        refusals: trials.refusals,
        seconds: progress.seconds(),
        size: told,
    })
}

/// Has one enclave compute under the first contract, and then under the further ones; with what the
/// first answer cost.
fn compute_all(
    rounds: &mut Rounds<'_, '_>,
    trials: &mut Trials<'_, '_>,
    enclave: &Enclave,
    first: &Round,
    (analysis, further): (&Analysis, &[Analysis]),
) -> Result<(Answered, Size, Vec<Further>)> {
    let owners = rounds.owners;
    let progress = &mut *rounds.progress;
    progress.step(
        "refusals",
        "the host tries what nobody approved",
        |progress| trials.before_the_run(progress, enclave, owners, first),
    )?;
    let (answered, size) = rounds.run(enclave, first, analysis)?;
    let progress = &mut *rounds.progress;
    progress.step("refusals", "the host tries again", |progress| {
        trials.beyond_the_budget(progress, enclave, owners, first)?;
        match analysis.privacy {
            Some(_) => trials.second_draw(progress, enclave, owners, first, analysis),
            None => Ok(()),
        }
    })?;
    let further = further
        .iter()
        .map(|analysis| rounds.further(enclave, analysis, trials))
        .collect::<Result<Vec<_>>>()?;
    Ok((answered, size, further))
}

/// Builds the image; by choice, signed by a signer made for the scene.
fn build(scene: &Scene, signed: bool, progress: &Progress) -> Result<Image> {
    let signer = match signed {
        true => Some(Signer::make(scene, "signer")?),
        false => None,
    };
    let identity = signer.as_ref().map(Signer::identity);
    let eif = scene.path("joint.eif");
    let image = stage::build_image_signed(scene.bins(), "joint", &[], identity, &eif)?;
    progress.note(&format!("PCR0 {}", image.pcrs.pcr0));
    if let Some(pcr8) = &image.pcrs.pcr8 {
        progress.note(&format!("PCR8 {pcr8}"));
    }
    Ok(image)
}

/// The owners and the host between them.
fn assemble<'s>(scene: &'s Scene, inputs: &Inputs) -> Result<(Host<'s>, Vec<Owner<'s>>)> {
    let host = Host::new(scene)?;
    let mut owners = Vec::new();
    for (place, input) in inputs.owners().enumerate() {
        let mut owner = Owner::assemble(scene, input, place, &host.root())?;
        owner.proxy = Some(host.proxy(place, owner.kms_port())?);
        owners.push(owner);
    }
    Ok((host, owners))
}

fn summary(shown: &Shown, first: &Analysis, further: &[Analysis]) {
    let mut computed = vec![(first, &shown.first)];
    let answered = shown.further.iter().map(|further| &further.answered);
    computed.extend(further.iter().zip(answered));
    for (analysis, answered) in computed {
        println!("\nThe answer, as each owner opened it: {}", analysis.name);
        for line in answered.lines(analysis) {
            println!("  {line}");
        }
    }
    println!("\nTried and refused");
    for refusal in &shown.refusals {
        let mark = if refusal.refused {
            "✓"
        } else {
            "✗ NOT REFUSED:"
        };
        println!("  {mark} {}\n      {}", refusal.case, refusal.rule);
    }
    if let Some(size) = &shown.size {
        println!("\nWhat the answer cost");
        size.lines().iter().for_each(|line| println!("  {line}"));
    }
    let total: f64 = shown.seconds.values().sum();
    println!("\n{total:.0} s in all. Nothing is left running.");
}

/// A file in a scene that belongs to one contract.
fn of_round(dir: &std::path::Path, round: &str, name: &str) -> PathBuf {
    dir.join(round).join(name)
}
