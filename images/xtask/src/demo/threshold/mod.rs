//! `cargo xtask demo threshold`: three owners, three enclaves, one key that exists nowhere.

mod group;
mod kms;
mod memory;
mod party;
mod refusals;
mod relay;
pub mod speed;
mod tools;

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::demo::Refusal;
use crate::demo::progress::Progress;
use crate::scene::Scene;
use crate::setup::{Purpose, SetupOptions, setup};
use crate::stage::{self, Profile};

use group::Group;
use memory::Found;
use relay::{Mode, Relay};

/// Pairs of participants, each with a relay between their parents.
const PAIRS: [[u16; 2]; 3] = [[1, 2], [1, 3], [2, 3]];
/// What is signed first.
const MESSAGE: &[u8] = b"pay 250,000 to the clearing account";
/// How long a slow relay holds back each piece of a stream.
const DELAY: Duration = Duration::from_millis(400);
/// What each owner keeps to itself, two values side by side.
const VALUES: [[u128; 2]; 3] = [[1200, 7], [3400, 11], [560, 2]];

/// Options of the demo.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ThresholdOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// What the demo came to.
#[derive(Debug, serde::Serialize)]
struct Shown {
    /// The group key: an ordinary Ed25519 public key.
    key: String,
    /// Each signature, and whether an ordinary verifier takes it.
    signatures: Vec<Signed>,
    /// The epoch at the end.
    epoch: u64,
    /// What the search through one enclave's memory found.
    memory: Found,
    /// The secret-shared sums beside the plain ones.
    sums: Vec<String>,
    plain_sums: Vec<String>,
    /// What was tried, and what refused it.
    refusals: Vec<Refusal>,
    /// Bytes that the relays carried.
    relayed_bytes: u64,
    /// What was signed, as far as a relay saw it in the clear.
    relayed_secrets: Vec<String>,
    /// Seconds of each step.
    seconds: std::collections::BTreeMap<String, f64>,
}

#[derive(Debug, serde::Serialize)]
struct Signed {
    signers: Vec<u16>,
    epoch: u64,
    signature: String,
    verified: bool,
}

/// Runs the demo.
///
/// # Errors
/// A step fails, or something is not refused.
pub fn run(options: &ThresholdOptions) -> Result<()> {
    let mut progress = Progress::new(options.json);
    progress.step("setup", "set-up", |_| setup(options.setup, Purpose::Boot))?;
    let bins = progress.step("build", "building the programs", |_| {
        stage::build_programs(Profile::Debug)
    })?;
    let scene = Scene::new("demo", &bins)?;
    let image = progress.step("image", "building and measuring the image", |progress| {
        let eif = scene.path("threshold.eif");
        let image = stage::build_image(scene.bins(), "threshold", &[], &eif)?;
        progress.note(&format!("PCR0 {}", image.pcrs.pcr0));
        Ok(image)
    })?;
    let mut group = progress.step(
        "owners",
        "three owners: platforms, KMSs, keys, parents of their own",
        |_| Group::assemble(&scene, image),
    )?;
    let mut shown = play(&mut group, &mut progress)?;
    shown.relayed_bytes = group.relays.iter().map(Relay::carried).sum();
    shown.relayed_secrets = secrets(&group.relays);
    ensure!(
        shown.relayed_secrets.is_empty(),
        "relays saw in the clear: {:?}",
        shown.relayed_secrets
    );
    shown.seconds = progress.seconds();
    let open = shown.refusals.iter().find(|refusal| !refusal.refused);
    if options.json {
        println!("{}", serde_json::to_string(&shown)?);
    } else {
        summary(&shown);
    }
    if let Some(refusal) = open {
        bail!("not refused: {}", refusal.case);
    }
    Ok(())
}

fn play(group: &mut Group<'_>, progress: &mut Progress) -> Result<Shown> {
    let mut signatures = Vec::new();
    progress.step("boot", "booting three enclaves of one image", |_| {
        group.boot_all()
    })?;
    let key = progress.step("dkg", "key generation without a dealer", |progress| {
        let key = group.generate()?;
        progress.note(&format!("group key {key}"));
        Ok(key)
    })?;
    progress.step("sign", "2 of 3 sign, each pair", |_| {
        for pair in PAIRS {
            signatures.push(group.sign(&pair, MESSAGE)?);
        }
        Ok(())
    })?;
    let memory = progress.step(
        "memory",
        "searching one enclave's whole memory for the key",
        |progress| {
            let found = group.search(1)?;
            progress.note(&format!(
                "{} candidates: its own share {} times, the key {} times",
                found.candidates, found.own_share, found.group_key
            ));
            Ok(found)
        },
    )?;
    let mut refusals = progress.step("refusals", "hostile parents and relays", |_| {
        refusals::relays(group)
    })?;
    progress.step("delay", "2 sign, and their relay takes its time", |_| {
        group.relays[0].set(Mode::Delay(DELAY));
        let start = Instant::now();
        signatures.push(group.sign(&[1, 2], MESSAGE)?);
        group.relays[0].set(Mode::Carry);
        // The caller speaks once in the handshake before it is answered, and once after it.
        ensure!(start.elapsed() >= DELAY * 2, "nothing was held back");
        Ok(())
    })?;
    progress.step("other image", "an enclave of another image", |_| {
        refusals.extend(refusals::other_image(group)?);
        Ok(())
    })?;
    progress.step("repair", "an enclave dies and is repaired", |_| {
        refusals.extend(refusals::swapped_root(group)?);
        group.repair(2)?;
        signatures.push(group.sign(&[2, 3], MESSAGE)?);
        Ok(())
    })?;
    progress.step("refresh", "new shares of the same key", |_| {
        group.refresh()?;
        signatures.push(group.sign(&[1, 2], MESSAGE)?);
        Ok(())
    })?;
    progress.step("epochs", "a share of the old epoch, and of the new", |_| {
        refusals.extend(refusals::old_epoch(group)?);
        signatures.push(group.sign(&[1, 3], MESSAGE)?);
        Ok(())
    })?;
    let sums = progress.step("sum", "a sum over values that no enclave sees", |_| {
        group.sum("exposure")
    })?;
    let plain = (0..2).map(|column| VALUES.iter().map(|row| row[column]).sum::<u128>());
    let plain_sums: Vec<_> = plain.map(|sum| sum.to_string()).collect();
    ensure!(
        sums == plain_sums,
        "the sums {sums:?} are not {plain_sums:?}"
    );
    ensure!(
        memory.own_share > 0 && memory.group_key == 0 && memory.other_shares == 0,
        "the memory holds other than one share: {memory:?}"
    );
    if let Some(bad) = signatures.iter().find(|signed| !signed.verified) {
        bail!("a signature does not verify: {bad:?}");
    }
    Ok(Shown {
        key,
        signatures,
        epoch: group.epoch,
        memory,
        sums,
        plain_sums,
        refusals,
        relayed_bytes: 0,
        relayed_secrets: Vec::new(),
        seconds: Default::default(),
    })
}

/// What the enclaves told each other and a relay saw: the message, which those who sign send to each
/// other, as it is and in hex.
fn secrets(relays: &[Relay]) -> Vec<String> {
    let spellings = [
        ("the message", MESSAGE.to_vec()),
        ("the message in hex", hex::encode(MESSAGE).into_bytes()),
    ];
    let seen = |bytes: &[u8]| relays.iter().any(|relay| relay.saw(bytes));
    let found = spellings.into_iter().filter(|(_, bytes)| seen(bytes));
    found.map(|(name, _)| name.to_owned()).collect()
}

fn summary(shown: &Shown) {
    println!("\nThe group key, held by nobody: {}", shown.key);
    for signed in &shown.signatures {
        let verdict = if signed.verified {
            "verifies"
        } else {
            "DOES NOT VERIFY"
        };
        println!(
            "  signed by {:?} in epoch {}: {}… {verdict}",
            signed.signers,
            signed.epoch,
            signed.signature.get(..16).unwrap_or_default()
        );
    }
    println!(
        "Memory of one enclave: {} MiB, {} candidates; its own share found {} times, \
         the group key {} times, others' shares {} times",
        shown.memory.bytes >> 20,
        shown.memory.candidates,
        shown.memory.own_share,
        shown.memory.group_key,
        shown.memory.other_shares
    );
    println!(
        "Sums: {:?}; computed plainly: {:?}",
        shown.sums, shown.plain_sums
    );
    println!("Refused:");
    for refusal in &shown.refusals {
        let by = if refusal.refused {
            &refusal.rule
        } else {
            "NOT REFUSED"
        };
        println!("  {}: {by}", refusal.case);
    }
    println!(
        "Relays carried {} bytes, and did not see the message that was signed.",
        shown.relayed_bytes
    );
}
