//! An owner: its KMS, its key, its file, and its own program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::commands::output;
use crate::demo::mpc::compute::Analysis;
use crate::demo::mpc::inputs::Input;
use crate::demo::mpc::of_round;
use crate::demo::pii::kms::Kms;
use crate::demo::pii::text;
use crate::paths;
use crate::scene::{Scene, Server};
use crate::stage;

/// A contract, and the name under which files that belong to it are kept.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// The name.
    pub name: String,
    /// The contract.
    pub contract: PathBuf,
    /// Its hash.
    pub sha384: String,
    /// The offers that it was written from.
    pub offers: Vec<PathBuf>,
}

/// An owner and what it holds.
pub(super) struct Owner<'s> {
    scene: &'s Scene,
    input: Input,
    dir: PathBuf,
    host: String,
    root: PathBuf,
    kms: Kms<'s>,
    enclave_arn: String,
    key: String,
    /// The host's way to its KMS.
    pub proxy: Option<Server>,
}

impl<'s> Owner<'s> {
    /// Starts the owner's KMS, which trusts the platform's root; makes its keys.
    pub(super) fn assemble(
        scene: &'s Scene,
        input: &Input,
        place: usize,
        root: &Path,
    ) -> Result<Self> {
        let name = &input.name;
        let dir = scene.path(&format!("owner-{name}"));
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let host = format!("kms-{place}.anchorhold.internal");
        let account = format!(
            "{:012}",
            111_111_111_111_u64 * (place as u64 + 1) % 1_000_000_000_000
        );
        let words = ["--account", account.as_str()];
        let mut kms = Kms::init_in(scene, &format!("kms-{name}"), &dir, &host, &words)?;
        kms.serve(&[root], &["--require-nonce"])?;
        let policy = dir.join("enclave-policy.json");
        let mut print = scene.program("anchorhold-owner");
        fs::write(&policy, output(print.args(["key", "identity-policy"]))?)?;
        let enclave_arn = kms.add_principal("enclave", &policy)?;
        let mut keys = scene.program("anchorhold-party");
        output(keys.args(["keys", "--dir"]).arg(dir.join("keys")))?;
        let mut owner = Self {
            scene,
            input: input.clone(),
            dir,
            host,
            root: root.to_path_buf(),
            kms,
            enclave_arn,
            key: String::new(),
            proxy: None,
        };
        let mut create = owner.with_kms(&["key", "create"])?;
        create.args(["--owner", &owner.kms.owner_arn()?]);
        let created: Value = serde_json::from_str(&output(&mut create)?)?;
        owner.key = text(&created, "/key_arn")?.to_owned();
        Ok(owner)
    }

    /// The owner's name.
    pub(super) fn name(&self) -> &str {
        &self.input.name
    }

    /// Whether its file has the column to sum up.
    pub(super) fn sums(&self) -> bool {
        self.input.sums
    }

    /// Its KMS's port on loopback.
    pub(super) fn kms_port(&self) -> u16 {
        self.kms.port()
    }

    /// Its offer for an analysis.
    pub(super) fn offer_file(&self, analysis: &Analysis) -> PathBuf {
        self.dir.join(format!("offer-{}.json", analysis.name))
    }

    /// The directory of its key pairs.
    pub(super) fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// What it gives to the host under a contract.
    pub(super) fn package(&self, round: &Round) -> PathBuf {
        self.file(round, "package")
    }

    /// A file of its own that belongs to a contract.
    pub(super) fn file(&self, round: &Round, name: &str) -> PathBuf {
        of_round(&self.dir, &round.name, name)
    }

    /// Writes what it offers to the others, and what it demands of a contract.
    pub(super) fn offer(&self, analysis: &Analysis) -> Result<()> {
        let offer = self.offer_file(analysis);
        output(&mut self.offering(analysis, analysis.min_cohort, &offer)).map(|_| ())
    }

    /// Writes an offer that demands this smallest cohort, ready to be run.
    pub(super) fn offering(&self, analysis: &Analysis, least: u32, to: &Path) -> Command {
        let mut offer = self.scene.program("anchorhold-party");
        offer.args(["offer", "--name", self.name(), "--key", &self.key]);
        offer.arg("--keys").arg(self.keys());
        let endpoint = format!("{}:{}", self.host, self.kms.port());
        offer.args(["--kms-endpoint", &endpoint, "--kms-ca"]);
        offer.arg(self.kms.ca()).arg("--root").arg(&self.root);
        offer.args(["--join-on", &analysis.join_on]);
        if self.sums() && analysis.values {
            offer.args(["--value", &analysis.column]);
        }
        for output in analysis.outputs {
            offer.args(["--output", output]);
        }
        offer.args(["--runs", "1", "--min-cohort", &least.to_string()]);
        analysis.common(&mut offer);
        offer.arg("--offer").arg(to);
        offer
    }

    /// Checks that a contract is what was offered and that an image is the contract's, ready to be
    /// run.
    pub(super) fn reviewing(&self, round: &Round, eif: &Path) -> Command {
        self.reviewing_by(round, &self.own_offer(round), eif)
    }

    /// As [`Self::reviewing`], with an offer of its own that the contract was not written from.
    pub(super) fn reviewing_by(&self, round: &Round, offer: &Path, eif: &Path) -> Command {
        let mut review = self.scene.program("anchorhold-party");
        self.agreed(review.arg("review"), round, offer);
        review.arg("--eif").arg(eif).arg("--image-tool");
        review.arg(self.scene.bins().join("anchorhold-image"));
        review
    }

    /// Checks a contract and its image, and keeps the review.
    pub(super) fn review(&self, round: &Round, eif: &Path) -> Result<()> {
        self.review_by(round, &self.own_offer(round), eif)
    }

    /// As [`Self::review`], with an offer in its name.
    pub(super) fn review_by(&self, round: &Round, offer: &Path, eif: &Path) -> Result<()> {
        let mut review = self.reviewing_by(round, offer, eif);
        output(review.arg("--review").arg(self.review_file(round))).map(|_| ())
    }

    /// What it keeps of its review of a contract.
    fn review_file(&self, round: &Round) -> PathBuf {
        self.dir.join(format!("review-{}.json", round.name))
    }

    /// Checks a contract and its image, and builds the image from its sources to compare.
    pub(super) fn rebuild(&self, round: &Round, eif: &Path) -> Result<()> {
        let mut review = self.reviewing(round, eif);
        let recipe = paths::root().join("images/recipes/joint/recipe.toml");
        review.arg("--recipe").arg(recipe);
        review.arg("--fallback-lock").arg(stage::fallback_lock()?);
        review.stderr(Stdio::inherit());
        output(&mut review).map(|_| ())
    }

    /// Binds its key to a contract that it has reviewed; by choice, to a signer too. Gives the key's
    /// policy.
    pub(super) fn bind(&self, round: &Round, signer: Option<&str>) -> Result<Value> {
        let mut bind = self.with_kms(&["key", "bind"])?;
        bind.args(["--owner", &self.kms.owner_arn()?]);
        bind.args(["--enclave", &self.enclave_arn]);
        if let Some(signer) = signer {
            bind.args(["--signer", signer]);
        }
        self.reviewed(&mut bind, round, &self.own_offer(round));
        let mut bound: Value = serde_json::from_str(&output(&mut bind)?)?;
        Ok(bound["policy"].take())
    }

    /// Puts a policy of any kind on its key.
    pub(super) fn put_policy(&self, policy: &Value) -> Result<()> {
        let mut put = Command::new(paths::python()?);
        put.arg(paths::root().join("images/xtask/src/demo/mpc/policy.py"));
        put.args(["--endpoint", &format!("https://{}", self.kms.address())]);
        put.args(["--region", &self.kms.region()?, "--ca"]);
        put.arg(self.kms.ca()).arg("--credentials");
        put.arg(self.dir.join("owner.json"));
        put.args(["--key", &self.key, "--policy", &policy.to_string()]);
        output(&mut put).map(|_| ())
    }

    /// Seals its file under a contract, approves, and makes the package for the host.
    pub(super) fn submit(&self, round: &Round) -> Result<()> {
        let dir = self.file(round, "");
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut seal = self.with_kms(&["seal"])?;
        self.reviewed(&mut seal, round, &self.own_offer(round));
        seal.arg("--records").arg(&self.input.file);
        seal.arg("--output").arg(self.file(round, "records.esdk"));
        output(seal.arg("--receipt").arg(self.file(round, "receipt.json")))?;
        output(&mut self.approving(round, &self.own_offer(round), &self.keys()))?;
        let records = self.file(round, "records.esdk");
        output(&mut self.packing(round, &records)).map(|_| ())
    }

    /// Signs a contract, ready to be run.
    pub(super) fn approving(&self, round: &Round, offer: &Path, keys: &Path) -> Command {
        let mut approve = self.scene.program("anchorhold-party");
        self.reviewed(approve.arg("approve"), round, offer);
        approve.arg("--keys").arg(keys);
        approve
            .arg("--receipt")
            .arg(self.file(round, "receipt.json"));
        approve
            .arg("--output")
            .arg(self.file(round, "approval.json"));
        approve
    }

    /// Makes a package, ready to be run.
    pub(super) fn packing(&self, round: &Round, records: &Path) -> Command {
        let mut submit = self.scene.program("anchorhold-party");
        submit.arg("submit").arg("--records").arg(records);
        submit
            .arg("--approval")
            .arg(self.file(round, "approval.json"));
        submit
            .arg("--credentials")
            .arg(self.dir.join("enclave.json"));
        submit.arg("--package").arg(self.package(round));
        submit.arg("--challenge").arg(self.file(round, "challenge"));
        submit
    }

    /// Verifies and opens its answer.
    pub(super) fn open(&self, round: &Round, answers: &Path) -> Result<Value> {
        let mut open = self.scene.program("anchorhold-party");
        open.args(["open", "--party", self.name(), "--contract"]);
        open.arg(&round.contract).arg("--keys").arg(self.keys());
        open.arg("--approval")
            .arg(self.file(round, "approval.json"));
        open.arg("--answers").arg(answers).arg("--challenge");
        open.arg(self.file(round, "challenge"));
        let printed = output(open.arg("--root").arg(&self.root))?;
        serde_json::from_str(&printed).with_context(|| format!("open printed {printed}"))
    }

    /// Takes its approval back in one of the ways that its program has.
    pub(super) fn revoke(&self, round: &Round, how: &str) -> Result<()> {
        let mut revoke = self.with_kms(&["revoke", "--how", how, "--party", self.name()])?;
        revoke.args(["--owner", &self.kms.owner_arn()?]);
        output(revoke.arg("--contract").arg(&round.contract)).map(|_| ())
    }

    /// The offer that it gave for a contract.
    fn own_offer(&self, round: &Round) -> PathBuf {
        let own = round.offers.iter().find(|offer| self.is_own(offer));
        own.cloned()
            .unwrap_or_else(|| self.dir.join("no-offer.json"))
    }

    fn is_own(&self, offer: &Path) -> bool {
        offer.parent() == Some(&self.dir)
    }

    /// A contract and the offers that it must say: its own, and the others' as they came.
    fn agreed(&self, command: &mut Command, round: &Round, offer: &Path) {
        command.arg("--contract").arg(&round.contract);
        command.arg("--offer").arg(offer);
        let others = round.offers.iter();
        for peer in others.filter(|peer| *peer != offer && !self.is_own(peer)) {
            command.arg("--peer").arg(peer);
        }
    }

    /// As [`Self::agreed`], with the review of the contract's image.
    fn reviewed(&self, command: &mut Command, round: &Round, offer: &Path) {
        self.agreed(command, round, offer);
        command.arg("--review").arg(self.review_file(round));
    }

    /// The owner's program with its KMS and credentials.
    fn with_kms(&self, words: &[&str]) -> Result<Command> {
        let mut party = self.scene.program("anchorhold-party");
        party.args(words).args(["--kms", &self.kms.address()]);
        party.args(["--kms-host", &self.host, "--region", &self.kms.region()?]);
        party.arg("--kms-ca").arg(self.kms.ca());
        party.arg("--credentials").arg(self.dir.join("owner.json"));
        Ok(party)
    }
}
