//! Every way around the contract, really tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::commands::output;
use crate::demo::mpc::compute::Analysis;
use crate::demo::mpc::host::Host;
use crate::demo::mpc::owner::{Owner, Round};
use crate::demo::pii::refusals::deciding_rule;
use crate::demo::progress::Progress;
use crate::demo::{Enclave, Refusal, refusal_of};
use crate::stage::Image;

/// Another image, and a contract that lets it run.
pub(super) struct Fooled {
    pub eif: PathBuf,
    pub round: Round,
}

/// What was tried.
pub(super) struct Trials<'h, 's> {
    pub host: &'h Host<'s>,
    pub memory: &'h str,
    /// An image with a byte changed.
    pub fooled: Option<Fooled>,
    /// The image as somebody else signed it.
    pub resigned: Option<Fooled>,
    /// And what became of it.
    pub refusals: Vec<Refusal>,
}

impl<'h, 's> Trials<'h, 's> {
    pub(super) fn new(host: &'h Host<'s>, memory: &'h str) -> Self {
        Self {
            host,
            memory,
            fooled: None,
            resigned: None,
            refusals: Vec::new(),
        }
    }

    /// A party looks at a contract that it does not want.
    pub(super) fn before_binding(
        &mut self,
        progress: &Progress,
        owner: &Owner<'_>,
        round: &Round,
        image: &Image,
        analysis: &Analysis,
    ) -> Result<()> {
        let demanding = self.host.scene.path("demanding-offer.json");
        output(&mut owner.offering(analysis, analysis.min_cohort + 1, &demanding))?;
        let case = "a contract with a smaller cohort than a party demands";
        self.refused(
            progress,
            case,
            &mut owner.reviewing_by(round, &demanding, &image.eif),
        )
    }

    /// What is refused before any KMS is asked, so that no approved run is used up.
    pub(super) fn before_the_run(
        &mut self,
        progress: &Progress,
        enclave: &Enclave,
        owners: &[Owner<'_>],
        round: &Round,
    ) -> Result<()> {
        let all = self.host.packages(round, owners);
        let (_, all_but_one) = all.split_last().context("there is no owner")?;
        self.submit(
            progress,
            "one party missing",
            enclave,
            &round.contract,
            all_but_one,
        )?;

        let changed = self.host.contract("changed");
        fs::write(
            &changed,
            with_other_minimum(&fs::read_to_string(&round.contract)?)?,
        )?;
        let case = "a parameter changed after approval: the minimum cohort";
        self.submit(progress, case, enclave, &changed, &all)?;

        let swapped = self.copies("swapped", &all)?;
        let [one, other, ..] = swapped.as_slice() else {
            bail!("there is only one owner");
        };
        let third = one.with_extension("aside");
        fs::rename(records(one), &third)?;
        fs::rename(records(other), records(one))?;
        fs::rename(&third, records(other))?;
        let case = "the host swaps two parties' files";
        self.submit(progress, case, enclave, &round.contract, &swapped)?;

        let dropped = self.copies("dropped", &all)?;
        let last = dropped.last().context("there is no owner")?;
        fs::remove_file(records(last))?;
        let case = "the host drops one party's file";
        self.submit(progress, case, enclave, &round.contract, &dropped)
    }

    /// A run beyond the budget.
    pub(super) fn beyond_the_budget(
        &mut self,
        progress: &Progress,
        enclave: &Enclave,
        owners: &[Owner<'_>],
        round: &Round,
    ) -> Result<()> {
        let all = self.host.packages(round, owners);
        let case = "the host runs it twice, beyond the budget of one run";
        self.submit(progress, case, enclave, &round.contract, &all)
    }

    /// A second draw of noise, which would halve it: each owner's KMS is asked first, and refuses by
    /// its own count.
    pub(super) fn second_draw(
        &mut self,
        progress: &Progress,
        enclave: &Enclave,
        owners: &[Owner<'_>],
        round: &Round,
        analysis: &Analysis,
    ) -> Result<()> {
        let mut packages = self.host.packages(round, owners);
        for owner in owners {
            let (what, name) = (&analysis.name, owner.name());
            let case = format!("a second draw of the noise of {what}, {name}'s KMS asked first");
            self.submit(progress, &case, enclave, &round.contract, &packages)?;
            packages.rotate_left(1);
        }
        Ok(())
    }

    /// Under a second contract, what belongs to the first; and a key taken back in every way.
    pub(super) fn after_the_run(
        &mut self,
        progress: &Progress,
        enclave: &Enclave,
        owners: &[Owner<'_>],
        first: &Round,
        image: &Image,
        analysis: &Analysis,
    ) -> Result<()> {
        let second = self.host.draft("second", owners, &image.eif, analysis)?;
        for owner in owners {
            owner.review(&second, &image.eif)?;
            owner.bind(&second, None)?;
            owner.submit(&second)?;
        }
        let victim = owners.first().context("there is no owner")?;
        let mut replayed = self.host.packages(&second, owners);
        if let Some(package) = replayed.first_mut() {
            *package = victim.package(first);
        }
        let case = "a party's file and approval replayed under another contract";
        self.submit(progress, case, enclave, &second.contract, &replayed)?;
        self.forged(progress, enclave, owners, first, image, analysis)?;

        self.fooled = Some(self.fool(owners, image, analysis)?);
        if image.pcrs.pcr8.is_some() {
            self.resigned = Some(self.resign(owners, image, analysis)?);
        }
        self.revoked(progress, enclave, owners, &second)
    }

    /// A party takes its approval back between approval and run. Its KMS is asked first, so that
    /// nothing else is released.
    fn revoked(
        &mut self,
        progress: &Progress,
        enclave: &Enclave,
        owners: &[Owner<'_>],
        round: &Round,
    ) -> Result<()> {
        let revoking = owners.last().context("there is no owner")?;
        let mut packages = self.host.packages(round, owners);
        packages.rotate_right(1);
        for (how, case) in [
            (
                "unbind",
                "a party takes the contract out of its key's policy between approval and run",
            ),
            (
                "disable",
                "a party disables its key between approval and run",
            ),
            (
                "delete",
                "a party has its key deleted between approval and run",
            ),
        ] {
            revoking.revoke(round, how)?;
            self.submit(progress, case, enclave, &round.contract, &packages)?;
            if how == "unbind" {
                revoking.bind(round, None)?;
            }
        }
        Ok(())
    }

    /// The other parties and the host write a contract of their own, with an approval key of theirs
    /// in the first party's place, and sign for it over the file that it sealed before.
    fn forged(
        &mut self,
        progress: &Progress,
        enclave: &Enclave,
        owners: &[Owner<'_>],
        first: &Round,
        image: &Image,
        analysis: &Analysis,
    ) -> Result<()> {
        let (victim, others) = owners.split_first().context("there is no owner")?;
        let scene = self.host.scene;
        let keys = scene.path("forged-keys");
        let mut make = scene.program("anchorhold-party");
        let made: Value = serde_json::from_str(&output(make.args(["keys", "--dir"]).arg(&keys))?)?;
        let mut offer: Value = serde_json::from_slice(&fs::read(victim.offer_file(analysis))?)?;
        for key in ["approval_key", "answer_key"] {
            offer["party"][key] = made["public"][key].clone();
        }
        let forged_offer = scene.path("forged-offer.json");
        fs::write(&forged_offer, offer.to_string())?;
        let offers = std::iter::once(forged_offer.clone())
            .chain(others.iter().map(|owner| owner.offer_file(analysis)));
        let forged = self
            .host
            .draft_of("forged", offers.collect(), &image.eif, analysis, &[])?;
        self.replaced(progress, owners, &forged, image, analysis)?;
        for owner in others {
            owner.review(&forged, &image.eif)?;
            owner.submit(&forged)?;
        }
        victim.review_by(&forged, &forged_offer, &image.eif)?;
        fs::create_dir(victim.file(&forged, ""))?;
        let mut receipt: Value =
            serde_json::from_slice(&fs::read(victim.file(first, "receipt.json"))?)?;
        receipt["contract_sha384"] = forged.sha384.clone().into();
        fs::write(victim.file(&forged, "receipt.json"), receipt.to_string())?;
        output(&mut victim.approving(&forged, &forged_offer, &keys))?;
        let old = victim.file(first, "records.esdk");
        output(&mut victim.packing(&forged, &old))?;
        let all = self.host.packages(&forged, owners);
        let case = "a party's file under a contract that the others wrote and signed for it";
        self.submit(progress, case, enclave, &forged.contract, &all)
    }

    /// A party that is not in the plot has the first party's offer from that party itself.
    fn replaced(
        &mut self,
        progress: &Progress,
        owners: &[Owner<'_>],
        forged: &Round,
        image: &Image,
        analysis: &Analysis,
    ) -> Result<()> {
        let honest = Round {
            offers: owners.iter().map(|o| o.offer_file(analysis)).collect(),
            ..forged.clone()
        };
        let reader = owners.last().context("there is no owner")?;
        let case = "a contract with somebody else's keys in a party's place";
        self.refused(progress, case, &mut reader.reviewing(&honest, &image.eif))
    }

    pub(super) fn submit(
        &mut self,
        progress: &Progress,
        case: &str,
        enclave: &Enclave,
        contract: &Path,
        packages: &[PathBuf],
    ) -> Result<()> {
        let answers = self.host.scene.path("refused-answers");
        let mut submit = self.host.submission(enclave, contract, packages, &answers);
        self.refused(progress, case, &mut submit)?;
        if answers.exists() {
            // Only what was not refused leaves answers.
            fs::remove_dir_all(&answers)?;
        }
        Ok(())
    }

    /// Runs a call that must be refused, and notes by which rule.
    pub(super) fn refused(
        &mut self,
        progress: &Progress,
        case: &str,
        call: &mut Command,
    ) -> Result<()> {
        let refusal = refusal_of(call).with_context(|| case.to_owned())?;
        let refused = refusal.is_some();
        let (rule, message) = refusal.unwrap_or_default();
        let rule = deciding_rule(&message).unwrap_or(rule);
        let mark = if refused { "✓" } else { "✗ NOT REFUSED:" };
        progress.note(&format!("{mark} {case}"));
        progress.note(&format!("    {rule}: {message}"));
        self.refusals.push(Refusal {
            case: case.to_owned(),
            refused,
            rule,
        });
        Ok(())
    }

    /// Copies packages, to be changed.
    fn copies(&self, name: &str, packages: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let all = self.host.scene.path(name);
        let mut copies = Vec::new();
        for (place, package) in packages.iter().enumerate() {
            let copy = all.join(place.to_string());
            fs::create_dir_all(&copy)?;
            for entry in fs::read_dir(package)?.flatten() {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
            copies.push(copy);
        }
        Ok(copies)
    }
}

fn records(package: &Path) -> PathBuf {
    package.join("records.esdk")
}

/// The contract with a lower minimum cohort; one with the lowest gets a higher one.
fn with_other_minimum(contract: &str) -> Result<String> {
    const FIELD: &str = "\"minimum\":";
    let (before, after) = contract
        .split_once(FIELD)
        .context("the contract has no minimum")?;
    let digits = after.find(|c: char| !c.is_ascii_digit());
    let (minimum, rest) = after.split_at(digits.unwrap_or(after.len()));
    let other = if minimum == "2" { "3" } else { "2" };
    Ok(format!("{before}{FIELD}{other}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_contract_can_be_changed() {
        for (contract, changed) in [
            (
                r#"{"a":{"minimum":10,"z":1}}"#,
                r#"{"a":{"minimum":2,"z":1}}"#,
            ),
            (r#"{"minimum":2}"#, r#"{"minimum":3}"#),
        ] {
            assert_eq!(with_other_minimum(contract).unwrap(), changed);
        }
        assert!(with_other_minimum("{}").is_err());
    }
}
