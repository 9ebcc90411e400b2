//! A contract from its offers to the opened answers.

use std::time::Instant;

use anyhow::Result;

use crate::demo::Enclave;
use crate::demo::guest::touched;
use crate::demo::mpc::Further;
use crate::demo::mpc::compute::Analysis;
use crate::demo::mpc::figures::Answered;
use crate::demo::mpc::host::Host;
use crate::demo::mpc::owner::{Owner, Round};
use crate::demo::mpc::refusals::Trials;
use crate::demo::mpc::size::Size;
use crate::demo::progress::Progress;
use crate::stage::Image;

/// What every contract is made and run with.
pub(super) struct Rounds<'r, 's> {
    pub host: &'r Host<'s>,
    pub owners: &'r [Owner<'s>],
    pub image: &'r Image,
    pub progress: &'r mut Progress,
}

impl Rounds<'_, '_> {
    /// The owners agree on the first contract. One of them builds the image itself.
    pub(super) fn agree(
        &mut self,
        name: &str,
        analysis: &Analysis,
        trials: &mut Trials<'_, '_>,
    ) -> Result<Round> {
        let (owners, image) = (self.owners, self.image);
        let round = self.progress.step(
            "contract",
            "the owners agree on a contract, and review contract and image",
            |progress| {
                let round = draft(self.host, name, owners, image, analysis)?;
                progress.note(&format!("contract {}", round.sha384));
                for owner in owners {
                    owner.review(&round, &image.eif)?;
                }
                for owner in owners.iter().take(1) {
                    trials.before_binding(progress, owner, &round, image, analysis)?;
                }
                Ok(round)
            },
        )?;
        let work = "an owner builds the image from its sources, and compares";
        self.progress.step("rebuild", work, |_| {
            let mut owners = owners.iter().take(1);
            owners.try_for_each(|owner| owner.rebuild(&round, &image.eif))
        })?;
        Ok(round)
    }

    /// Each owner binds its key, seals its file and signs.
    pub(super) fn seal(&mut self, round: &Round) -> Result<()> {
        let work = "each owner binds its key to contract and image, seals its file and signs";
        self.progress.step("seal", work, |_| {
            for owner in self.owners {
                owner.bind(round, None)?;
                owner.submit(round)?;
            }
            Ok(())
        })
    }

    /// The enclave answers, and each owner opens its own; with what the answer cost.
    pub(super) fn run(
        &mut self,
        enclave: &Enclave,
        round: &Round,
        analysis: &Analysis,
    ) -> Result<(Answered, Size)> {
        let (host, owners) = (self.host, self.owners);
        let answers = host.scene.path(&format!("answers-{}", round.name));
        let work =
            "the enclave gets each owner's key from its KMS, joins, and answers each by itself";
        let size = self.progress.step("answer", work, |progress| {
            let idle = touched(enclave.pid)?;
            let start = Instant::now();
            let packages = host.packages(round, owners);
            let submitted = host.submit(enclave, round, &packages, &answers)?;
            let seconds = start.elapsed().as_secs_f64();
            let size = Size::of(enclave, idle, seconds, &submitted)?;
            size.lines().iter().for_each(|line| progress.note(line));
            Ok(size)
        })?;
        let opened: Vec<_> =
            self.progress
                .step("verify", "each owner verifies its answer", |_| {
                    let owners = owners.iter();
                    owners
                        .map(|owner| owner.open(round, &answers))
                        .collect::<Result<_>>()
                })?;
        Ok((Answered::of(owners, &opened, analysis)?, size))
    }

    /// Another computation in the same enclave, under a contract of its own. Where there is noise,
    /// it must not be drawn twice.
    pub(super) fn further(
        &mut self,
        enclave: &Enclave,
        analysis: &Analysis,
        trials: &mut Trials<'_, '_>,
    ) -> Result<Further> {
        let work = format!("the owners agree on another contract: {}", analysis.name);
        let round = self.progress.step("contract", &work, |_| {
            let name = format!("further-{}", analysis.name);
            let round = draft(self.host, &name, self.owners, self.image, analysis)?;
            for owner in self.owners {
                owner.review(&round, &self.image.eif)?;
            }
            Ok(round)
        })?;
        self.seal(&round)?;
        let (answered, _) = self.run(enclave, &round, analysis)?;
        if analysis.privacy.is_some() {
            let owners = self.owners;
            let work = "the host has noise drawn again";
            self.progress.step("refusals", work, |progress| {
                trials.second_draw(progress, enclave, owners, &round, analysis)
            })?;
        }
        Ok(Further {
            compute: analysis.name.clone(),
            answered,
        })
    }
}

fn draft(
    host: &Host<'_>,
    name: &str,
    owners: &[Owner<'_>],
    image: &Image,
    analysis: &Analysis,
) -> Result<Round> {
    for owner in owners {
        owner.offer(analysis)?;
    }
    host.draft(name, owners, &image.eif, analysis)
}
