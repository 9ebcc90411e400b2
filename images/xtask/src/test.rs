//! `cargo xtask test`: everything that CI demands, in one command.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::commands::{cargo, run};
use crate::paths;
use crate::setup::{Purpose, SetupOptions, setup};
use crate::stage;

/// Options of `test`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TestOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// Run only this step; may be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Step>,
    /// Seconds that each fuzz target runs.
    #[arg(long, default_value_t = 5)]
    fuzz_seconds: u32,
}

/// A step of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// Formatting.
    Format,
    /// Build everything once: programs, tests, examples.
    Build,
    /// Build the images that tests boot.
    Images,
    /// Unit, property, vector, client and microVM tests; zone, licence and unsafe rules.
    Tests,
    /// Examples in the documentation.
    Doctests,
    /// clippy without a warning.
    Clippy,
    /// rustdoc without a warning.
    Docs,
    /// Build the images again elsewhere and compare.
    Reproduce,
    /// Build every fuzz target and run it for seconds.
    Fuzz,
}

const ALL: &[Step] = &[
    Step::Format,
    Step::Build,
    Step::Images,
    Step::Tests,
    Step::Doctests,
    Step::Clippy,
    Step::Docs,
    Step::Reproduce,
    Step::Fuzz,
];

/// Runs the steps; the first that fails ends the run.
///
/// # Errors
/// A step fails.
pub fn test(options: &TestOptions) -> Result<()> {
    setup(options.setup, Purpose::Test)?;
    let steps = ALL
        .iter()
        .filter(|step| options.only.is_empty() || options.only.contains(step));
    for step in steps {
        eprintln!("── {step:?}");
        let start = Instant::now();
        step.run(options)
            .with_context(|| format!("test step {step:?}"))?;
        eprintln!(
            "── {step:?}: passed in {:.0} s",
            start.elapsed().as_secs_f64()
        );
    }
    eprintln!("All steps passed.");
    Ok(())
}

impl Step {
    fn run(self, options: &TestOptions) -> Result<()> {
        match self {
            Self::Format => run(cargo().args(["fmt", "--all", "--check"])),
            Self::Build => run(cargo().args(["build", "--locked", "--workspace", "--all-targets"])),
            Self::Images => images(),
            Self::Tests => run(cargo()
                .args(["nextest", "run", "--locked", "--workspace"])
                .env("ANCHORHOLD_BINS", stage::bins())),
            Self::Doctests => {
                run(cargo().args(["test", "--quiet", "--locked", "--workspace", "--doc"]))
            }
            Self::Clippy => run(cargo()
                .args([
                    "clippy",
                    "--quiet",
                    "--locked",
                    "--workspace",
                    "--all-targets",
                    "--",
                ])
                .args(["-D", "warnings"])),
            Self::Docs => run(cargo()
                .args(["doc", "--quiet", "--locked", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings")),
            Self::Reproduce => reproduce(),
            Self::Fuzz => fuzz(options.fuzz_seconds),
        }
    }
}

/// The recipes whose images tests boot. Demos build their own anew, from what is built then.
const IMAGES: &[&str] = &["hello", "conformance", "joint"];

/// The recipes whose measurements are recorded.
const RECORDED: &[&str] = &["hello", "pii", "joint", "threshold"];

fn images() -> Result<()> {
    stage::fetch_kernel(&stage::bins())?;
    for recipe in IMAGES {
        let eif = stage::test_images()?.join(format!("{recipe}.eif"));
        let image = stage::build_image(&stage::bins(), recipe, &[], &eif)?;
        eprintln!("{recipe}: PCR0 {}", image.pcrs.pcr0);
    }
    Ok(())
}

/// Builds the PII image from two checkouts with different paths and cargo homes, and holds images
/// against what their recipes record.
fn reproduce() -> Result<()> {
    let mut twice = crate::commands::command(stage::bins().join("anchorhold-image"));
    twice.args(["reproduce", "--recipe", "images/recipes/pii/recipe.toml"]);
    run(twice.arg("--fallback-lock").arg(stage::fallback_lock()?))?;
    for recipe in RECORDED {
        let mut expect = crate::commands::command(stage::bins().join("anchorhold-image"));
        let recipe = format!("images/recipes/{recipe}/recipe.toml");
        expect.args(["expect", "--recipe", &recipe, "--fallback-lock"]);
        run(expect.arg(stage::fallback_lock()?))?;
    }
    Ok(())
}

/// Coverage as libFuzzer reads it, from flags that the stable compiler has too.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    // What was compared with what: libFuzzer puts it into later inputs, and so finds magic numbers.
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn fuzz(seconds: u32) -> Result<()> {
    let crates = fuzz_crates()?;
    if crates.is_empty() {
        bail!("there is no fuzz crate");
    }
    let target = paths::target().join("fuzz");
    for krate in crates {
        // The versions of the workspace: what is fuzzed is what runs.
        std::fs::copy(paths::root().join("Cargo.lock"), krate.join("Cargo.lock"))
            .with_context(|| format!("cannot write {}/Cargo.lock", krate.display()))?;
        run(cargo()
            .args([
                "build",
                "--quiet",
                "--release",
                "--bins",
                "--target",
                TARGET,
            ])
            .arg("--manifest-path")
            .arg(krate.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f")))?;
        for name in fuzz_targets(&krate)? {
            eprintln!("fuzzing {name} for {seconds} s");
            let corpus = target.join("corpus").join(&name);
            let artifacts = target.join("artifacts").join(&name);
            for dir in [&corpus, &artifacts] {
                std::fs::create_dir_all(dir)
                    .with_context(|| format!("cannot make {}", dir.display()))?;
            }
            let program = target.join(TARGET).join("release").join(&name);
            run(crate::commands::command(program)
                .arg(format!("-max_total_time={seconds}"))
                .args([
                    "-rss_limit_mb=2048",
                    "-timeout=20",
                    "-verbosity=0",
                    "-print_final_stats=0",
                ])
                .arg(format!("-artifact_prefix={}/", artifacts.display()))
                .arg(&corpus)
                // libFuzzer writes to the first folder alone.
                .args(seeds(&krate, &name)))?;
        }
    }
    Ok(())
}

/// The good inputs that a target starts from, where it has any. The crate whose parser it is tests
/// that the parser takes them.
fn seeds(krate: &Path, target: &str) -> Option<PathBuf> {
    let folder = krate.join("seeds").join(target);
    folder.is_dir().then_some(folder)
}

/// Folders `<zone>/<crate>/fuzz` of the checkout.
fn fuzz_crates() -> Result<Vec<PathBuf>> {
    let manifest = std::fs::read_to_string(paths::root().join("Cargo.toml"))?;
    let manifest: toml::Table = manifest.parse().context("cannot parse Cargo.toml")?;
    let excluded = manifest.get("workspace").and_then(|w| w.get("exclude"));
    let excluded = excluded
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten();
    let folders = excluded
        .filter_map(toml::Value::as_str)
        .filter(|p| p.ends_with("/fuzz"));
    Ok(folders.map(|folder| paths::root().join(folder)).collect())
}

fn fuzz_targets(krate: &Path) -> Result<Vec<String>> {
    let path = krate.join("Cargo.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: toml::Table = text
        .parse()
        .context("cannot parse a fuzz crate's manifest")?;
    let bins = manifest
        .get("bin")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten();
    let names: Vec<_> = bins
        .filter_map(|bin| bin.get("name").and_then(toml::Value::as_str))
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        bail!("{} has no target", path.display());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parser_has_its_fuzz_target() {
        let crates = fuzz_crates().unwrap();
        let names: Vec<_> = crates
            .iter()
            .flat_map(|k| fuzz_targets(k).unwrap())
            .collect();
        for wanted in [
            "document",
            "nsm_request",
            "eif",
            "cms",
            "message",
            "bucket",
            "request",
            "vsock_packet",
            "ciphertext_blob",
            "policy",
            "channel_peer",
            "threshold_message",
            "threshold_command",
            "threshold_agreement",
            "joint_wire",
            "joint_rows",
            "contract",
            "approval",
        ] {
            assert!(
                names.iter().any(|name| name == wanted),
                "{wanted} in {names:?}"
            );
        }
    }

    /// Targets without seeds, and why they need none.
    const NEED_NONE: &[(&str, &str)] = &[
        ("cms", "damages an envelope as KMS writes it"),
        ("message", "damages a message that it sealed"),
        ("bucket", "damages a wrapped key and a message that it made"),
        (
            "channel_peer",
            "damages the frames of a session that it held",
        ),
        (
            "threshold_message",
            "damages the messages of ceremonies that it held",
        ),
        (
            "vsock_packet",
            "any bytes are a script of packets and calls",
        ),
        (
            "ciphertext_blob",
            "a format byte, and any bytes that are long enough",
        ),
    ];

    /// From nothing, seconds of fuzzing never get past a parser's first fixed bytes.
    #[test]
    fn every_fuzz_target_starts_from_good_inputs() {
        let mut without = Vec::new();
        for krate in fuzz_crates().unwrap() {
            for name in fuzz_targets(&krate).unwrap() {
                let seeds = seeds(&krate, &name);
                let count = seeds
                    .as_ref()
                    .map(|dir| std::fs::read_dir(dir).unwrap().count());
                match count {
                    None => without.push(name),
                    Some(count) => assert!(count > 0, "{name} has an empty folder of seeds"),
                }
            }
        }
        without.sort();
        let mut own: Vec<_> = NEED_NONE.iter().map(|(name, _)| *name).collect();
        own.sort_unstable();
        assert_eq!(
            without, own,
            "targets without seeds, and those that need none"
        );
    }
}
