//! What hostile parents and relays try.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::MESSAGE;
use super::group::{Group, with_swapped_root};
use super::relay::Mode;
use super::tools::refusal;
use crate::demo::Refusal;
use crate::demo::pii::refusals::change_one_byte;
use crate::stage::Image;

/// How long a ceremony that cannot succeed may take, in seconds. Who refuses a call tells when this
/// is over, and the calls of enclaves that are emulated on a busy host must have come until then.
const PATIENCE: u64 = 12;
/// A byte in the caller's evidence, behind both frames' headers and its ephemeral key.
const IN_EVIDENCE: usize = 1000;
/// The caller's frames: its ephemeral key, its evidence, then the messages of the ceremony, of which
/// the coordinator sends two before it waits.
const FIRST_RECORD: usize = 2;
/// A line of the application, in which one byte is changed.
const MARK: &[u8] = b"anchorhold-threshold: serving";

/// Relays that flip, swallow, reorder and replay, and a parent without its owner's approval.
///
/// # Errors
/// A program fails.
pub fn relays(group: &Group<'_>) -> Result<Vec<Refusal>> {
    let relay = &group.relays[0];
    let mut refusals = Vec::new();
    // The last carried call of 1 to 2 was the signature of 1 and 2; it is replayed. It ends with
    // all signers' commitments, and 19 bytes that close the channel. Calls of the cases may come so
    // late that they are carried, so what is replayed is taken before them.
    let recorded = relay.recorded();
    let in_last_record = recorded.len().saturating_sub(100);
    let cases = [
        (
            Mode::Flip(IN_EVIDENCE),
            "a relay flips one bit of the evidence",
        ),
        (
            Mode::Flip(in_last_record),
            "a relay flips one bit of the last message",
        ),
        (Mode::Swallow(4000), "a relay swallows what follows"),
        (
            Mode::Reorder(FIRST_RECORD),
            "a relay sends two messages in each other's place",
        ),
        (Mode::Replay(recorded), "a relay replays an earlier session"),
    ];
    for (mode, case) in cases {
        relay.set(mode);
        let commands = group.signing(&[1, 2], MESSAGE, PATIENCE)?;
        let answers = group.together(&commands)?;
        relay.set(Mode::Carry);
        // The callee sees the forgery; the caller sees that the call ends.
        refusals.push(refusal(case, answers.get(1).context("no answer")?));
    }
    let mut commands = group.signing(&[1, 2], MESSAGE, PATIENCE)?;
    let (_, command) = commands.first_mut().context("no command")?;
    let other = group
        .party(1)
        .approve(&group.agreement, &group.key, b"another message")?;
    command["approval"] = json!(other);
    let case = "a parent has a message signed that its owner did not approve";
    refusals.push(group.party(1).refusal(case, command)?);
    Ok(refusals)
}

/// A parent boots another image, one byte of whose application is changed, and tells it the truth.
/// It is called by a peer, calls a peer, and asks for its owner's share.
///
/// # Errors
/// A program fails.
pub fn other_image(group: &mut Group<'_>) -> Result<Vec<Refusal>> {
    let mut refusals = Vec::new();
    let eif = group.image.eif.with_extension("changed.eif");
    change_one_byte(&group.image.eif, &eif, MARK)?;
    let pcrs = group.image.pcrs.clone();
    group.parties[1].kill()?;
    group.boot_image(2, &Image { eif, pcrs })?;
    group.party(2).configure(&group.agreement)?;
    // 1 calls 2, and 2 calls 3. Who is called looks first, and tells when its time is over.
    let cases = [
        (1, 1, "an enclave of another image is called by a peer"),
        (3, 0, "an enclave of another image calls a peer"),
    ];
    for (helper, refuses, case) in cases {
        let command = json!({
            "op": "repair", "lost": 2, "helpers": [helper], "key": group.key,
            "epoch": group.epoch, "patience": PATIENCE,
        });
        let answers = group.together(&[(helper, command.clone()), (2, command)])?;
        let done = answers.iter().find(|answer| answer.get("done").is_some());
        ensure!(done.is_none(), "{case}, and somebody is done: {done:?}");
        refusals.push(refusal(case, answers.get(refuses).context("no answer")?));
    }
    let open = group.open(&group.sealed[1]);
    let case = "an enclave of another image asks for its owner's sealed share";
    refusals.push(group.party(2).refusal(case, &open)?);
    Ok(refusals)
}

/// A parent boots a fresh enclave and hands it an agreement in which its own platform's root stands
/// in for another's. Then the enclave is booted again, and told the truth.
///
/// # Errors
/// A program fails.
pub fn swapped_root(group: &mut Group<'_>) -> Result<Vec<Refusal>> {
    let mut refusals = Vec::new();
    group.parties[1].kill()?;
    group.boot(2)?;
    let swapped = group.agreement.with_extension("swapped.json");
    std::fs::write(&swapped, with_swapped_root(&group.agreement, 1, 0)?)?;
    group.party(2).configure(&swapped)?;
    let helpers: Vec<u16> = vec![1, 3];
    let command = json!({
        "op": "repair", "lost": 2, "helpers": helpers, "key": group.key,
        "epoch": group.epoch, "patience": PATIENCE,
    });
    let commands: Vec<_> = (1..=3).map(|n| (n, command.clone())).collect();
    let answers: Vec<Value> = group.together(&commands)?;
    let case = "a parent swaps a platform root in the agreement and asks for repair";
    refusals.push(refusal(case, answers.first().context("no answer")?));
    let open = group.open(&group.sealed[1]);
    let case = "the same enclave asks for its owner's sealed share";
    refusals.push(group.party(2).refusal(case, &open)?);
    let case = "a parent hands its enclave a second agreement";
    let again = json!({
        "op": "configure", "agreement": std::fs::read_to_string(&group.agreement)?,
        "participant": 2, "peers": {}, "credentials":
            {"access_key_id": "AKIAEXAMPLEEXAMPLE00", "secret_access_key": "none"},
    });
    refusals.push(group.party(2).refusal(case, &again)?);
    group.parties[1].kill()?;
    group.boot(2)?;
    group.party(2).configure(&group.agreement)?;
    Ok(refusals)
}

/// A parent keeps a sealed share of the old epoch, ends its enclave, and hands the old share to a
/// fresh one; then the present one.
///
/// # Errors
/// A program fails, or the present share does not open.
pub fn old_epoch(group: &mut Group<'_>) -> Result<Vec<Refusal>> {
    let mut refusals = Vec::new();
    let present = group.sealed[2].clone();
    let old = group.old_sealed[2].clone();
    group.parties[2].kill()?;
    group.boot(3)?;
    group.party(3).configure(&group.agreement)?;
    let mut as_it_is = group.open(&old);
    as_it_is["epoch"] = json!(group.epoch - 1);
    as_it_is["sharing"] = json!(group.old_sharing);
    let tried = [
        (
            "a sealed share of the old epoch, at the owner's KMS",
            as_it_is,
        ),
        (
            "a sealed share of the old epoch, said to be of the present one",
            group.open(&old),
        ),
        ("another owner's sealed share", group.open(&group.sealed[0])),
    ];
    for (case, open) in tried {
        refusals.push(group.party(3).refusal(case, &open)?);
    }
    group.party(3).ask(&group.open(&present))?;
    Ok(refusals)
}
