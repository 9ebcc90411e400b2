//! Images that are not the agreed one: with a byte changed, or signed by somebody else.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::demo::mpc::compute::Analysis;
use crate::demo::mpc::owner::{Owner, Round};
use crate::demo::mpc::refusals::{Fooled, Trials};
use crate::demo::mpc::signer::Signer;
use crate::demo::pii::refusals::change_one_byte;
use crate::demo::progress::Progress;
use crate::demo::{run_enclave, terminate};
use crate::stage::Image;

/// A line of the application, in which one byte is changed.
const MARK: &[u8] = b"anchorhold-joint: serving";
/// The condition by which a key's policy names the contract.
const USER_DATA: &str = "anchorhold:RecipientAttestation:UserData";

impl Trials<'_, '_> {
    /// Has somebody else sign the same image, and writes a contract that leaves the signer open,
    /// which all owners approve.
    pub(super) fn resign(
        &self,
        owners: &[Owner<'_>],
        image: &Image,
        analysis: &Analysis,
    ) -> Result<Fooled> {
        let scene = self.host.scene;
        let eif = scene.path("resigned.eif");
        Signer::make(scene, "another-signer")?.sign(scene, &image.eif, &eif)?;
        let offers = owners.iter().map(|owner| owner.offer_file(analysis));
        let round = self.host.draft_of(
            "any-signer",
            offers.collect(),
            &eif,
            analysis,
            &["--any-signer"],
        )?;
        for owner in owners {
            owner.review(&round, &eif)?;
            owner.submit(&round)?;
        }
        Ok(Fooled { eif, round })
    }

    /// The same image signed by somebody else, where the image is signed: found by a review, by
    /// itself, and, where the contract leaves the signer open, by the KMS of an owner who does not.
    pub(super) fn other_signer(
        &mut self,
        progress: &Progress,
        owners: &[Owner<'_>],
        first: &Round,
        image: &Image,
    ) -> Result<()> {
        let Some(Fooled { eif, round }) = self.resigned.take() else {
            return Ok(());
        };
        let owner = owners.first().context("there is no owner")?;
        let case = "a party reviews the image signed by somebody else";
        self.refused(progress, case, &mut owner.reviewing(first, &eif))?;

        let enclave = run_enclave(self.host.scene, &eif, &["--memory", self.memory])?;
        self.host.wait_for(&enclave)?;
        let all = self.host.packages(first, owners);
        let case = "the image signed by somebody else runs the contract";
        self.submit(progress, case, &enclave, &first.contract, &all)?;
        owner.bind(&round, image.pcrs.pcr8.as_deref())?;
        let all = self.host.packages(&round, owners);
        let case = "the image signed by somebody else, a key bound to the signer";
        self.submit(progress, case, &enclave, &round.contract, &all)?;
        terminate(self.host.scene, &enclave)
    }

    /// Makes another image and a contract that names it, which all owners review and approve; their
    /// keys stay bound to the agreed image.
    pub(super) fn fool(
        &self,
        owners: &[Owner<'_>],
        image: &Image,
        analysis: &Analysis,
    ) -> Result<Fooled> {
        let eif = self.host.scene.path("other.eif");
        change_one_byte(&image.eif, &eif, MARK)?;
        let round = self.host.draft("fooled", owners, &eif, analysis)?;
        for owner in owners {
            owner.review(&round, &eif)?;
            owner.submit(&round)?;
        }
        Ok(Fooled { eif, round })
    }

    /// Another image: found by a review, by itself, and by the first KMS that is asked: by the
    /// contract that its key is bound to, and, where that is the right one, by the registers alone.
    pub(super) fn other_image(
        &mut self,
        progress: &Progress,
        owners: &[Owner<'_>],
        first: &Round,
    ) -> Result<()> {
        let fooled = self.fooled.take();
        let Fooled { eif, round } = fooled.context("there is no other image yet")?;
        let reviewer = owners.first().context("there is no owner")?;
        let case = "a party reviews a different image: one byte changed in the application";
        self.refused(progress, case, &mut reviewer.reviewing(first, &eif))?;

        let enclave = run_enclave(self.host.scene, &eif, &["--memory", self.memory])?;
        self.host.wait_for(&enclave)?;
        let all = self.host.packages(first, owners);
        let case = "a different image runs the contract";
        self.submit(progress, case, &enclave, &first.contract, &all)?;
        let all = self.host.packages(&round, owners);
        let case = "a different image with a contract about itself, keys bound to another";
        self.submit(progress, case, &enclave, &round.contract, &all)?;

        // As bound to the agreed image, but for the contract about the other one.
        let mut policy = reviewer.bind(first, None)?;
        let pinned = policy.pointer_mut("/Statement/1/Condition/StringEqualsIgnoreCase");
        let pinned = pinned.and_then(Value::as_object_mut);
        let pinned = pinned.context("the key's policy pins nothing")?;
        pinned.insert(USER_DATA.to_owned(), self.host.user_data(&round)?.into());
        reviewer.put_policy(&policy)?;
        let case = "a different image with a contract about itself, a key bound to that contract";
        self.submit(progress, case, &enclave, &round.contract, &all)?;
        terminate(self.host.scene, &enclave)
    }
}
