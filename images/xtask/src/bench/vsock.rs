//! The vsock switch against the tool that others use.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, Goal};
use crate::commands::{cargo, output, run};
use crate::demo::progress::Progress;
use crate::paths;
use crate::scene::Scene;
use crate::stage;

/// The tool and its version: of 0.3 the one that is on crates.io.
const BASELINE: &str = "vhost-device-vsock";
const VERSION: &str = "0.3.0";

/// A measure of the switch's own benchmark.
struct Measure {
    key: &'static str,
    name: &'static str,
    goal: Option<Goal>,
    /// Whether less is better.
    time: bool,
}

const MEASURES: &[Measure] = &[
    Measure {
        key: "guest_to_host_4k",
        name: "vsock: guest to host, writes of 4 KiB",
        goal: Some(Goal::AtLeast(1.5)),
        time: false,
    },
    Measure {
        key: "host_to_guest_4k",
        name: "vsock: host to guest, writes of 4 KiB",
        goal: Some(Goal::AtLeast(1.5)),
        time: false,
    },
    Measure {
        key: "guest_to_host_64k",
        name: "vsock: guest to host, writes of 64 KiB",
        goal: Some(Goal::AtLeast(1.5)),
        time: false,
    },
    Measure {
        key: "host_to_guest_64k",
        name: "vsock: host to guest, writes of 64 KiB",
        goal: Some(Goal::AtLeast(1.5)),
        time: false,
    },
    Measure {
        key: "round_trip_64",
        name: "vsock: round trip of 64 bytes",
        goal: Some(Goal::AtMost(1.0)),
        time: true,
    },
];

/// Measures.
///
/// # Errors
/// The baseline cannot be built, or a machine does not boot.
pub fn measure(
    scene: &Scene,
    baseline: Option<&Path>,
    progress: &mut Progress,
) -> Result<Vec<Figure>> {
    let baseline = match baseline {
        Some(program) => program.to_owned(),
        None => progress.step("baseline", "building vhost-device-vsock", |_| built())?,
    };
    let kernel = stage::fetch_kernel(scene.bins())?.bzimage;
    let kernel = kernel.ancestors().nth(2).context("a kernel has a folder")?;
    let printed = progress.step("vsock", "two guests, one on each device, in turn", |_| {
        let mut bench = cargo();
        bench.args([
            "run",
            "--locked",
            "--release",
            "--package",
            "anchorhold-switch",
        ]);
        bench.args(["--example", "switch_bench", "--", "--json", "--kernel-dir"]);
        bench.arg(kernel).arg("--baseline").arg(&baseline);
        output(bench.stderr(Stdio::inherit()))
    })?;
    let measured: Value = serde_json::from_str(&printed)
        .with_context(|| format!("the switch's benchmark printed {printed}"))?;
    MEASURES
        .iter()
        .map(|measure| measure.figure(&measured))
        .collect()
}

impl Measure {
    fn figure(&self, measured: &Value) -> Result<Figure> {
        let of = |name: &str| measured.get(self.key).and_then(|of| of.get(name)?.as_f64());
        Ok(Figure {
            name: self.name.into(),
            unit: if self.time { "ms" } else { "MiB/s" }.into(),
            value: of("switch").with_context(|| format!("the switch hangs: {}", self.key))?,
            baseline: Some((format!("{BASELINE} {VERSION}"), of("baseline"))),
            goal: self.goal,
        })
    }
}

/// The tool, built from crates.io once.
fn built() -> Result<PathBuf> {
    let root = paths::cache()?.join(format!("{BASELINE}-{VERSION}"));
    let program = root.join("bin").join(BASELINE);
    if !program.is_file() {
        let mut install = cargo();
        install.args([
            "install",
            "--quiet",
            "--locked",
            BASELINE,
            "--version",
            VERSION,
            "--root",
        ]);
        run(install.arg(&root))?;
    }
    Ok(program)
}
