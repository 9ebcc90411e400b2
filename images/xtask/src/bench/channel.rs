//! An attested channel against the stream below it: over vsock in one microVM, and natively.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::boot::works_with_kvm;
use super::examples::{example, number};
use super::figure::Figure;
use crate::commands::output;
use crate::demo::progress::Progress;
use crate::demo::{run_enclave, terminate};
use crate::scene::Scene;
use crate::stage;

/// MiB that go one way in one round between microVM and parent.
const OVER_VSOCK: &str = "32";
/// MiB that go one way in one run natively.
const NATIVE: &str = "256";

/// Measures.
///
/// # Errors
/// The image does not build or boot, or an example fails.
pub fn measure(scene: &Scene, rounds: u32, progress: &mut Progress) -> Result<Vec<Figure>> {
    let mut figures = over_vsock(scene, rounds, progress)?;
    let what = "natively, over a socket pair, in turn with the bare one";
    let shown = progress.step("channel-native", what, |_| {
        example("anchorhold-channel", "channel_throughput", &[NATIVE])
    })?;
    figures.push(Figure {
        name: "channel: one way, messages of 1 MiB, native".into(),
        unit: "MiB/s".into(),
        value: number(&shown, "/channel_mib_per_s")?,
        baseline: Some((
            "the bare socket pair".into(),
            Some(number(&shown, "/plain_mib_per_s")?),
        )),
        goal: None,
    });
    figures.push(handshake("native", &shown)?);
    Ok(figures)
}

/// In one microVM, each direction over a plain stream and over a channel in turn.
fn over_vsock(scene: &Scene, rounds: u32, progress: &mut Progress) -> Result<Vec<Figure>> {
    let image = progress.step("channel-image", "building the image", |_| {
        let eif = scene.path("throughput.eif");
        stage::build_image(scene.bins(), "throughput", &[], &eif)
    })?;
    let what = "over vsock, in turn with plain streams in the same microVM";
    let shown = progress.step("channel", what, |_| {
        let arguments = ["--memory", "256", "--cpu-count", "1"];
        let enclave = run_enclave(scene, &image.eif, &arguments)?;
        let root = scene.path("throughput-root.pem");
        let mut platform = scene.program("anchorhold-hypervisor");
        fs::write(&root, output(platform.args(["platform", "root"]))?)?;
        let socket = scene.path(&format!("state/enclaves/{}/vsock.sock", enclave.id));
        let (socket, root) = (socket.to_str(), root.to_str());
        let (socket, root) = socket.zip(root).context("a path that is no text")?;
        let rounds = rounds.to_string();
        let arguments = [socket, root, &image.pcrs.pcr0, OVER_VSOCK, &rounds];
        let shown = example("anchorhold-throughput", "parent", &arguments)?;
        terminate(scene, &enclave)?;
        Ok(shown)
    })?;
    let under = match works_with_kvm(&scene.path("state")) {
        true => "under KVM",
        false => "under software emulation",
    };
    let mut figures = Vec::new();
    for (way, name) in [
        ("enclave_to_parent", "enclave to parent"),
        ("parent_to_enclave", "parent to enclave"),
    ] {
        let of = |kind: &str| number(&shown, &format!("/{way}/{kind}_mib_per_s"));
        figures.push(Figure {
            name: format!("channel: {name} over vsock, messages of 1 MiB, {under}"),
            unit: "MiB/s".into(),
            value: of("channel")?,
            baseline: Some((
                "a plain vsock stream in the same microVM".into(),
                Some(of("plain")?),
            )),
            goal: None,
        });
    }
    figures.push(handshake(&format!("over vsock, {under}"), &shown)?);
    Ok(figures)
}

fn handshake(between: &str, shown: &Value) -> Result<Figure> {
    Ok(Figure {
        name: format!("channel: handshake with both documents checked, {between}"),
        unit: "ms".into(),
        value: number(shown, "/handshake_ms")?,
        baseline: None,
        goal: None,
    })
}
