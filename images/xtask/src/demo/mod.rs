//! The demos: the project's own programs, run as their users would run them.

pub mod guest;
pub mod hello;
pub mod mpc;
pub mod pii;
pub mod progress;
pub mod threshold;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::commands::{capture, describe, output};
use crate::scene::Scene;

/// nitro-cli's answer to run-enclave, as far as the demos need it.
#[derive(Debug, Deserialize)]
pub struct Enclave {
    /// The enclave's id.
    #[serde(rename = "EnclaveID")]
    pub id: String,
    /// The hypervisor's process id.
    #[serde(rename = "ProcessID")]
    pub pid: u32,
}

/// What the hypervisor says of a boot that it began again: it took half of its deadline longer.
const REPEATED: &str = "nothing was heard of init";

/// Boots an image in a scene.
///
/// # Errors
/// It does not boot.
pub fn run_enclave(scene: &Scene, eif: &Path, arguments: &[&str]) -> Result<Enclave> {
    let mut run = scene.program("anchorhold");
    run.args(["run-enclave", "--eif-path"])
        .arg(eif)
        .args(arguments);
    let mut run = scene.bound(&run);
    let done = capture(&mut run)?;
    let printed = String::from_utf8_lossy(&done.stdout);
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        bail!(
            "`{}` failed ({})\n{printed}{said}",
            describe(&run),
            done.status
        );
    }
    for line in said.lines().filter(|line| line.contains(REPEATED)) {
        eprintln!("{line}");
    }
    serde_json::from_str(&printed).with_context(|| format!("run-enclave printed {printed}"))
}

/// Ends an enclave.
///
/// # Errors
/// It does not end.
pub fn terminate(scene: &Scene, enclave: &Enclave) -> Result<()> {
    let mut end = scene.program("anchorhold");
    output(end.args(["terminate-enclave", "--enclave-id", &enclave.id])).map(|_| ())
}

/// A refusal that was really tried.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// What was tried.
    pub case: String,
    /// Whether it was refused.
    pub refused: bool,
    /// The rule that refused, as the refusing program named it.
    pub rule: String,
}

/// Runs a program that must refuse, and returns the `{"error": {"rule", "message"}}` it prints;
/// `None` when it does not refuse.
///
/// # Errors
/// It fails without naming a rule.
pub fn refusal_of(command: &mut std::process::Command) -> Result<Option<(String, String)>> {
    #[derive(Deserialize)]
    struct Printed {
        error: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        rule: String,
        message: String,
    }
    let said = describe(command);
    let done = capture(command)?;
    let printed = String::from_utf8_lossy(&done.stdout);
    if done.status.success() {
        return Ok(None);
    }
    let named: Printed = serde_json::from_str(&printed).with_context(|| {
        let stderr = String::from_utf8_lossy(&done.stderr);
        format!("`{said}` failed without naming a rule: {printed}{stderr}")
    })?;
    Ok(Some((named.error.rule, named.error.message)))
}

/// Tries something again until it succeeds or the time is over.
///
/// # Errors
/// The last error.
pub fn eventually<T>(within: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > within => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
