//! Threshold signatures end to end, with three microVMs.

use anyhow::{Context, Result};

use super::boot::works_with_kvm;
use super::figure::{Figure, quantile};
use crate::demo::progress::Progress;
use crate::demo::threshold::speed;
use crate::scene::Scene;
use crate::stage;

/// Measures.
///
/// # Errors
/// The image does not build or boot, or a signature does not verify.
pub fn measure(scene: &Scene, count: u32, progress: &mut Progress) -> Result<Vec<Figure>> {
    let image = progress.step("threshold-image", "building the image", |_| {
        let eif = scene.path("threshold.eif");
        stage::build_image(scene.bins(), "threshold", &[], &eif)
    })?;
    let speed = speed::measure(scene, image, count, progress)?;
    let under = match works_with_kvm(&speed.state) {
        true => "under KVM",
        false => "under software emulation",
    };
    let milliseconds = |values: &[f64], q: f64| quantile(values, q).map(|seconds| seconds * 1000.0);
    let figure = |name: &str, q, what: &str, baseline: &[f64]| -> Result<Figure> {
        Ok(Figure {
            name: format!(
                "threshold: signature by 2 of 3 microVMs {under}, commands to verified, {name}"
            ),
            unit: "ms".into(),
            value: milliseconds(&speed.signatures, q).context("no signature")?,
            baseline: Some((what.into(), milliseconds(baseline, q))),
            goal: None,
        })
    };
    let (way, plain) = (&speed.round_trips, &speed.plain);
    let trip = "a command that an enclave refuses at once, sent in the same way";
    let alone = "an Ed25519 signature by one who holds the key, made and verified natively";
    Ok(vec![
        figure(&format!("p50 of {count}"), 0.5, trip, way)?,
        figure(&format!("p99 of {count}"), 0.99, trip, way)?,
        figure(
            &format!("p50 of {count}, beside a single key"),
            0.5,
            alone,
            plain,
        )?,
    ])
}
