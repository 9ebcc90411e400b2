//! Records processed inside the microVM against the same code run natively.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, median};
use crate::commands::{cargo, output};
use crate::demo::pii::cast::{Cast, challenge};
use crate::demo::progress::Progress;
use crate::demo::{Enclave, run_enclave, terminate};
use crate::paths;
use crate::scene::Scene;
use crate::stage;

/// Rows of the submission whose time is taken off: it has everything but records.
const FEW: u32 = 1;

/// Measures.
///
/// # Errors
/// A step of the demo fails, or the native program.
pub fn measure(
    scene: &Scene,
    rounds: u32,
    rows: u32,
    progress: &mut Progress,
) -> Result<Vec<Figure>> {
    let data = paths::root().join("images/xtask/data");
    let (draft, sample) = (data.join("job.json"), data.join("customers.csv"));
    let (many, few) = (scene.path("many.csv"), scene.path("few.csv"));
    let bytes = repeated(&sample, rows, &many)?;
    repeated(&sample, FEW, &few)?;

    let mut cast = Cast::assemble(scene)?;
    let image = progress.step("pii-image", "building the PII image", |_| {
        let ca = format!("{}=/etc/anchorhold/kms-ca.pem", cast.kms.ca().display());
        stage::build_image(scene.bins(), "pii", &[ca], &scene.path("pii-bench.eif"))
    })?;
    cast.create_key(&image.pcrs)?;
    let enclave = run_enclave(scene, &image.eif, &["--memory", "512"])?;
    let (mut inside, mut native) = (Vec::new(), Vec::new());
    progress.step(
        "pii",
        "processing inside and natively in turn",
        |progress| {
            for round in 0..rounds {
                let fixed = submit(&cast, &enclave, &draft, &few, round, "few")?;
                let seconds = submit(&cast, &enclave, &draft, &many, round, "many")? - fixed;
                let alone = run_natively(&draft, &many)?;
                progress.note(&format!("inside {seconds:.2} s, natively {alone:.2} s"));
                inside.push(f64::from(rows) / seconds);
                native.push(f64::from(rows) / alone);
            }
            Ok(())
        },
    )?;
    terminate(scene, &enclave)?;
    let mib = bytes as f64 / (1024.0 * 1024.0);
    Ok(vec![Figure {
        name: format!("pii: {rows} rows, {mib:.1} MiB, opened, processed and sealed"),
        unit: "rows/s".into(),
        value: median(inside).context("no round")?,
        baseline: Some(("the same code natively".into(), median(native))),
        goal: None,
    }])
}

/// Seconds of a whole submission.
fn submit(
    cast: &Cast<'_>,
    enclave: &Enclave,
    draft: &Path,
    records: &Path,
    round: u32,
    name: &str,
) -> Result<f64> {
    for made in ["job.json", "records.esdk", "receipt.json", "token-key.esdk"] {
        let _ = fs::remove_file(cast.scene.path(made));
    }
    cast.seal(Some(draft), records)?;
    let answer = cast.scene.path(&format!("answer-{name}-{round}"));
    let challenge = challenge()?;
    cast.wait_for(enclave)?;
    let start = Instant::now();
    cast.submit(enclave, &challenge, &answer)?;
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_dir_all(answer)?;
    Ok(seconds)
}

/// Seconds of the same work on the host, without KMS and security module.
fn run_natively(draft: &Path, records: &Path) -> Result<f64> {
    let mut native = cargo();
    native.args(["run", "--locked", "--profile", "measured"]);
    native.args(["--package", "anchorhold-pii", "--example", "native", "--"]);
    native.arg(draft).arg(records);
    let printed = output(native.stderr(Stdio::inherit()))?;
    let printed: Value = serde_json::from_str(&printed)?;
    let seconds = printed.get("seconds").and_then(Value::as_f64);
    seconds.with_context(|| format!("the native program printed {printed}"))
}

/// Writes so many rows of a sample, over and over; the number of bytes comes back.
fn repeated(sample: &Path, rows: u32, to: &Path) -> Result<u64> {
    let lines: Vec<String> = BufReader::new(File::open(sample)?)
        .lines()
        .collect::<Result<_, _>>()?;
    let (header, lines) = lines.split_first().context("the sample is empty")?;
    let mut file = BufWriter::new(File::create(to)?);
    writeln!(file, "{header}")?;
    for line in lines.iter().cycle().take(rows as usize) {
        writeln!(file, "{line}")?;
    }
    file.flush()?;
    Ok(file.get_ref().metadata()?.len())
}
