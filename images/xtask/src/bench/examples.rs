//! Measures that crates bring as examples of their own, which print JSON.

use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, Goal};
use crate::commands::{cargo, output};
use crate::demo::progress::Progress;

/// Objects that are sealed and opened with one cached data key or bucket key: as many as the cache
/// lets a key seal.
const OBJECTS: &str = "1000";
/// Bytes of each.
const BYTES: &str = "1024";
/// What caching is held against.
const EACH: &str = "a data key for each object";

/// Sealing with a data key for each object against cached data keys and bucket keys, over the real
/// KMS.
///
/// # Errors
/// The example fails.
pub fn keys(progress: &mut Progress) -> Result<Vec<Figure>> {
    let what = "objects sealed and opened with and without caching, over the KMS";
    let shown = progress.step("keys", what, |_| {
        example("anchorhold-seal", "kms_calls", &[OBJECTS, BYTES])
    })?;
    let of = |way: &str, name: &str| number(&shown, &format!("/kms/{way}/{name}"));
    // Each object is sealed once and opened once.
    let calls = |way| {
        let calls = of(way, "seal_calls")? + of(way, "open_calls")?;
        Ok::<_, anyhow::Error>(calls / of(way, "objects")?)
    };
    let mut figures = Vec::new();
    for (way, what) in [("cached", "cached data keys"), ("bucket", "bucket keys")] {
        figures.push(Figure {
            name: format!("keys: calls to the KMS per object sealed and opened, {what}"),
            unit: "calls".into(),
            value: calls(way)?,
            baseline: Some((EACH.into(), Some(calls("each")?))),
            goal: None,
        });
        figures.push(Figure {
            name: format!("keys: calls to the KMS spared by {what}, {OBJECTS} objects"),
            unit: "%".into(),
            value: of(way, "percent_fewer_calls")?,
            baseline: None,
            goal: Some(Goal::AtLeast(99.0)),
        });
        for (step, doing) in [("seal", "sealing"), ("open", "opening")] {
            let name = format!("{step}_microseconds_per_object");
            figures.push(Figure {
                name: format!("keys: {doing} 1 KiB with {what}, per object"),
                unit: "µs".into(),
                value: of(way, &name)?,
                baseline: Some((EACH.into(), Some(of("each", &name)?))),
                goal: None,
            });
        }
    }
    Ok(figures)
}

/// Runs an example of a package, optimised, and reads what it prints. It is built before, not
/// quietly: a build, or a wait for another one, can take minutes.
///
/// # Errors
/// It does not build, fails, or prints no JSON.
pub fn example(package: &str, name: &str, arguments: &[&str]) -> Result<Value> {
    let mut run = cargo();
    run.args(["run", "--locked", "--release", "--package", package]);
    run.args(["--example", name, "--"]).args(arguments);
    let printed = output(run.stderr(Stdio::inherit()))?;
    serde_json::from_str(&printed).with_context(|| format!("{name} of {package} printed {printed}"))
}

/// A number in what an example printed.
///
/// # Errors
/// It is not there.
pub fn number(shown: &Value, pointer: &str) -> Result<f64> {
    let found = shown.pointer(pointer).and_then(Value::as_f64);
    found.with_context(|| format!("expected {pointer} in {shown}"))
}
