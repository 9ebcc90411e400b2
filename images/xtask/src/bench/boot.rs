//! A boot to its first verified document, the hypervisor's memory, and the image's size.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anchorhold_eif::Eif;
use anyhow::{Context, Result};
use serde_json::Value;

use super::bare::Bare;
use super::figure::{Figure, Goal, median};
use crate::demo::hello::verified_document;
use crate::demo::progress::Progress;
use crate::demo::{run_enclave, terminate};
use crate::scene::Scene;
use crate::stage::{self, Image};

/// Memory of both machines in MiB.
pub const MEMORY_MIB: u32 = 256;
/// Virtual processors of both machines.
pub const CPUS: u32 = 1;

const MIB: f64 = 1024.0 * 1024.0;

/// Measures.
///
/// # Errors
/// An image does not build, a machine does not boot, or a document does not verify.
pub fn measure(scene: &Scene, rounds: u32, progress: &mut Progress) -> Result<Vec<Figure>> {
    let hello = progress.step("images", "building the images", |_| {
        stage::build_image(scene.bins(), "hello", &[], &scene.path("hello.eif"))
    })?;
    let pii = stage::build_image(scene.bins(), "pii", &[], &scene.path("pii.eif"))?;
    // The first boot finds out whether KVM works, which is no part of the others.
    boot(scene, &hello)?;
    let kernel = stage::fetch_kernel(scene.bins())?;
    let bare = Bare::new(
        scene,
        kernel.bzimage,
        cmdline(&hello.eif)?,
        works_with_kvm(&scene.path("state")),
    )?;
    let (mut attested, mut to_init, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    progress.step(
        "boot",
        "booting enclaves and bare machines in turn",
        |progress| {
            for _ in 0..rounds {
                to_init.push(bare.boot()?);
                let (seconds, bytes) = boot(scene, &hello)?;
                attested.push(seconds);
                resident.push(bytes / MIB);
                let bare = to_init.last().copied().unwrap_or_default();
                progress.note(&format!(
                    "enclave attested in {seconds:.2} s; bare init in {bare:.2} s"
                ));
            }
            Ok(())
        },
    )?;
    let under = if bare.kvm {
        "KVM"
    } else {
        "software emulation"
    };
    Ok(vec![
        Figure {
            name: format!("boot: run-enclave to the first verified document, under {under}"),
            unit: "s".into(),
            value: median(attested).context("no round")?,
            baseline: Some((
                "same kernel and machine, bare, to init".into(),
                median(to_init),
            )),
            goal: Some(Goal::AtMost(1.25)),
        },
        Figure {
            name: "memory: hypervisor, RssAnon + RssFile".into(),
            unit: "MiB".into(),
            value: resident.into_iter().fold(0.0, f64::max),
            baseline: None,
            goal: Some(Goal::AtMost(32.0)),
        },
        Figure {
            name: "image: PII application, without its kernel".into(),
            unit: "MiB".into(),
            value: size_without_kernel(&pii.eif)? / MIB,
            baseline: None,
            goal: Some(Goal::AtMost(12.0)),
        },
    ])
}

/// Seconds to the first verified document, and bytes of memory that the hypervisor then holds.
fn boot(scene: &Scene, image: &Image) -> Result<(f64, f64)> {
    let start = Instant::now();
    let (memory, cpus) = (MEMORY_MIB.to_string(), CPUS.to_string());
    let enclave = run_enclave(
        scene,
        &image.eif,
        &["--memory", &memory, "--cpu-count", &cpus],
    )?;
    verified_document(scene, image, &enclave, true)?;
    let seconds = start.elapsed().as_secs_f64();
    let resident = resident(enclave.pid)?;
    terminate(scene, &enclave)?;
    Ok((seconds, resident))
}

/// What a process holds that is its own: neither guest memory nor the image, which are shared.
fn resident(pid: u32) -> Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the hypervisor has ended")?;
    let kib = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        let number: Option<f64> = number.and_then(|number| number.parse().ok());
        number.with_context(|| format!("the kernel tells no {field}"))
    };
    Ok((kib("RssAnon:")? + kib("RssFile:")?) * 1024.0)
}

fn cmdline(eif: &Path) -> Result<String> {
    let bytes = fs::read(eif)?;
    Ok(Eif::parse(&bytes)?.cmdline().to_owned())
}

fn size_without_kernel(eif: &Path) -> Result<f64> {
    let bytes = fs::read(eif)?;
    let kernel = Eif::parse(&bytes)?.kernel().len();
    Ok((bytes.len() - kernel) as f64)
}

/// Whether the hypervisor runs enclaves under KVM: what it was told, else what it found out and noted
/// in its state directory.
pub(super) fn works_with_kvm(state: &Path) -> bool {
    if let Some(told) = std::env::var_os("ANCHORHOLD_ACCEL").filter(|told| told != "auto") {
        return told == "kvm";
    }
    let verdict = fs::read(state.join("kvm.json")).unwrap_or_default();
    let verdict: Value = serde_json::from_slice(&verdict).unwrap_or_default();
    verdict.get("works").and_then(Value::as_bool) == Some(true)
}
