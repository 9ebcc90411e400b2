//! How long a signature takes, from the parents' commands to the verified signature.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde_json::json;

use super::group::Group;
use crate::demo::progress::Progress;
use crate::scene::Scene;
use crate::stage::Image;

/// Who signs.
const SIGNERS: [u16; 2] = [1, 2];
/// How long one signature may take, in seconds.
const PATIENCE: u64 = 60;

/// Seconds of each, taken in turn, and where.
#[derive(Clone, Debug, Default)]
pub struct Speed {
    /// From the commands at both signers' parents until an ordinary verifier has taken the
    /// signature.
    pub signatures: Vec<f64>,
    /// A command to one of the enclaves that it refuses at once, sent in the same way.
    pub round_trips: Vec<f64>,
    /// An Ed25519 signature on this machine by one who holds the whole key, made and verified.
    pub plain: Vec<f64>,
    /// The state directory of one of the hypervisors.
    pub state: PathBuf,
}

/// Makes a group of three microVMs with a key, and has two of them sign so many messages, each
/// approved by both owners before its time begins.
///
/// # Errors
/// A step fails, or a signature does not verify.
pub fn measure(scene: &Scene, image: Image, count: u32, progress: &mut Progress) -> Result<Speed> {
    let group = progress.step(
        "threshold-group",
        "three owners, three microVMs, and key generation",
        |_| {
            let mut group = Group::assemble(scene, image)?;
            group.boot_all()?;
            group.generate()?;
            let first = group.sign(&SIGNERS, b"the first, whose time does not count")?;
            ensure!(first.verified, "a signature does not verify: {first:?}");
            Ok(group)
        },
    )?;
    progress.step("threshold", "signatures by two of them", |_| {
        let mut speed = Speed {
            state: group.party(SIGNERS[0]).path("state"),
            ..Speed::default()
        };
        for number in 0..count {
            let message = format!("payment {number}");
            speed
                .signatures
                .push(signature(&group, message.as_bytes())?);
            speed.round_trips.push(round_trip(&group)?);
            speed.plain.push(plain(message.as_bytes())?);
        }
        Ok(speed)
    })
}

fn signature(group: &Group<'_>, message: &[u8]) -> Result<f64> {
    let commands = group.signing(&SIGNERS, message, PATIENCE)?;
    let key = UnparsedPublicKey::new(&ED25519, hex::decode(&group.key)?);
    let start = Instant::now();
    let done = group.all_do(&commands)?;
    let signature = done.iter().find_map(|done| done["signature"].as_str());
    let signature = hex::decode(signature.context("nobody gave the signature")?)?;
    let verified = key.verify(message, &signature).is_ok();
    let seconds = start.elapsed().as_secs_f64();
    ensure!(verified, "a signature does not verify");
    Ok(seconds)
}

fn round_trip(group: &Group<'_>) -> Result<f64> {
    let command = json!({ "op": "status", "challenge": "" });
    let start = Instant::now();
    let answer = group.party(SIGNERS[0]).answer(&command)?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(
        answer["error"]["rule"] == "command.challenge",
        "an empty challenge is not refused: {answer}"
    );
    Ok(seconds)
}

fn plain(message: &[u8]) -> Result<f64> {
    use aws_lc_rs::signature::KeyPair as _;
    let pair = Ed25519KeyPair::generate().context("no key pair")?;
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec());
    let start = Instant::now();
    let signature = pair.sign(message);
    let verified = key.verify(message, signature.as_ref()).is_ok();
    let seconds = start.elapsed().as_secs_f64();
    ensure!(verified, "a plain signature does not verify");
    Ok(seconds)
}
