//! Offer, contract and review: what comes before anything is sealed.

use std::path::PathBuf;
use std::time::Duration;

use anchorhold_joint::contract::{
    Cohorts, Column, Computation, Contract, FORMAT, Output, Party, Privacy, Role, Terms,
};
use anchorhold_owner::access::{read, write_new};
use anchorhold_party::image::{measure, rebuild};
use anchorhold_party::keys::Keys;
use anchorhold_party::offer::{Demands, Offer};
use anchorhold_party::review::Review;
use anchorhold_verifier::TrustRoots;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{AgreedArgs, load_contract, load_offer};

/// How long a contract runs when nothing is said: a day, in seconds.
const DAY: u64 = 86_400;

#[derive(Args)]
pub(super) struct OfferArgs {
    /// The party's name: 1 to 32 of [a-z0-9-].
    #[arg(long)]
    name: String,
    /// The directory that `keys` made.
    #[arg(long)]
    keys: PathBuf,
    /// The ARN of the key at the party's KMS.
    #[arg(long)]
    key: String,
    /// The host of the party's KMS as its certificate names it, with :port where that is not 443.
    #[arg(long)]
    kms_endpoint: String,
    /// The KMS's authority, PEM.
    #[arg(long)]
    kms_ca: PathBuf,
    /// The root certificate of the platform that the party trusts, PEM.
    #[arg(long)]
    root: PathBuf,
    /// The column of the party's file that is joined on.
    #[arg(long)]
    join_on: String,
    /// A column of exact decimals; may be given more than once.
    #[arg(long = "value")]
    values: Vec<String>,
    /// What the party wants to see, as intersection-size, pairwise-sizes, sums, own-sums, count,
    /// moments, histograms, regression, overlaps; may be given more than once.
    #[arg(long = "output", value_parser = output)]
    outputs: Vec<Output>,
    /// How many runs the party allows.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    #[command(flatten)]
    common: CommonArgs,
    /// For how many seconds at most a contract may still run when the party checks it.
    #[arg(long, default_value_t = DAY)]
    longest: u64,
    /// Where to write the offer.
    #[arg(long)]
    offer: PathBuf,
}

/// What all parties have to agree on. In an offer: what the party demands.
#[derive(Args)]
struct CommonArgs {
    /// No count below it is shown. In an offer: the least that the party takes.
    #[arg(long, default_value_t = 10)]
    min_cohort: u32,
    /// Withhold too what a party could take from the number of its own keys.
    #[arg(long)]
    withhold_complements: bool,
    /// The computation as JSON, as {"statistics": {...}} or {"overlap": {}}
    /// [default: {"intersection": {}}]
    #[arg(long)]
    computation: Option<PathBuf>,
    /// Noise as JSON: mechanism, epsilon, delta, bounds [default: none; in an offer: any]
    #[arg(long)]
    privacy: Option<PathBuf>,
}

impl CommonArgs {
    fn computation(&self) -> Result<Computation> {
        let Some(path) = &self.computation else {
            return Ok(Computation::Intersection {});
        };
        serde_json::from_slice(&read(path)?).context("--computation is refused")
    }

    fn privacy(&self) -> Result<Option<Privacy>> {
        let Some(path) = &self.privacy else {
            return Ok(None);
        };
        serde_json::from_slice(&read(path)?).context("--privacy is refused")
    }
}

#[derive(Subcommand)]
pub(super) enum ContractCommand {
    /// Write a contract from the parties' offers. Whoever writes it decides nothing: each party
    /// approves it or does not.
    Draft(Box<DraftArgs>),
    /// Check a contract and print it with its hash, to be read before it is approved.
    Show {
        /// The contract.
        #[arg(long)]
        contract: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct DraftArgs {
    /// A party's offer; one for each.
    #[arg(long = "offer", required = true)]
    offers: Vec<PathBuf>,
    /// The agreed image.
    #[arg(long)]
    eif: PathBuf,
    /// The program that measures it.
    #[arg(long, default_value = "anchorhold-image")]
    image_tool: PathBuf,
    /// Leave open who signs the image; a party may still demand a signer when it binds its key.
    #[arg(long)]
    any_signer: bool,
    #[command(flatten)]
    common: CommonArgs,
    /// How many seconds from now the contract runs.
    #[arg(long, default_value_t = DAY)]
    expires_in: u64,
    /// Where to write the contract.
    #[arg(long)]
    output: PathBuf,
}

#[derive(Args)]
pub(super) struct ReviewArgs {
    #[command(flatten)]
    agreed: AgreedArgs,
    /// The image's file: measured as it is.
    #[arg(long, required_unless_present = "recipe")]
    eif: Option<PathBuf>,
    /// The image's recipe in a checkout that the party has read: built, and measured. With --eif
    /// too, both must be the contract's.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// A second kernel lock, as of `anchorhold-image build`.
    #[arg(long, requires = "recipe")]
    fallback_lock: Option<PathBuf>,
    /// The program that builds and measures.
    #[arg(long, default_value = "anchorhold-image")]
    image_tool: PathBuf,
    /// Where to write the review, which `key bind`, `seal` and `approve` demand.
    #[arg(long)]
    review: Option<PathBuf>,
}

fn output(text: &str) -> Result<Output, String> {
    let value = Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|error| error.to_string())
}

impl OfferArgs {
    pub(super) fn run(self) -> Result<Value> {
        let public = Keys::at(&self.keys).public()?;
        let demands = Demands {
            computation: self.common.computation()?,
            longest: self.longest,
            minimum: self.common.min_cohort,
            privacy: self.common.privacy()?,
            withhold_complements: self.common.withhold_complements,
        };
        let roots = TrustRoots::from_pem(read(&self.root)?)
            .with_context(|| format!("{} is no root", self.root.display()))?;
        let (Some(root), 1) = (roots.iter().next(), roots.len()) else {
            bail!(
                "{} must hold one root, it holds {}",
                self.root.display(),
                roots.len()
            );
        };
        let ca = String::from_utf8(read(&self.kms_ca)?);
        let key = Column {
            name: self.join_on,
            role: Role::Key,
        };
        let values = self.values.into_iter().map(|name| Column {
            name,
            role: Role::Value,
        });
        let mut outputs = self.outputs;
        outputs.sort();
        let party = Party {
            answer_key: public.answer_key,
            approval_key: public.approval_key,
            columns: std::iter::once(key).chain(values).collect(),
            kms_ca: ca.with_context(|| format!("{} is no PEM", self.kms_ca.display()))?,
            kms_endpoint: self.kms_endpoint,
            kms_key: self.key,
            name: self.name,
            outputs,
            platform_root: hex::encode(root.0),
            runs: self.runs,
        };
        let offer = Offer::of(party, demands);
        write_new(&self.offer, &serde_json::to_vec_pretty(&offer)?, 0o644)?;
        Ok(json!({"offer": self.offer}))
    }
}

impl ContractCommand {
    pub(super) fn run(self) -> Result<Value> {
        match self {
            Self::Draft(args) => args.run(),
            Self::Show { contract } => {
                let contract = load_contract(&contract)?;
                Ok(json!({
                    "contract": contract.terms(),
                    "sha384": contract.hash().to_string(),
                    "user_data": hex::encode(contract.user_data()),
                }))
            }
        }
    }
}

impl DraftArgs {
    fn run(self) -> Result<Value> {
        let parties: Result<Vec<_>> = self
            .offers
            .iter()
            .map(|path| Ok(load_offer(path)?.party))
            .collect();
        let expires = OffsetDateTime::now_utc() + Duration::from_secs(self.expires_in);
        let expires = expires.replace_nanosecond(0)?.format(&Rfc3339)?;
        let mut nonce = [0; 32];
        aws_lc_rs::rand::fill(&mut nonce).context("no random numbers")?;
        let mut image = measure(&self.image_tool, &self.eif)?.image();
        if self.any_signer {
            image.pcr8 = None;
        }
        let contract = Contract::from_terms(Terms {
            cohorts: Cohorts {
                minimum: self.common.min_cohort,
                withhold_complements: self.common.withhold_complements,
            },
            computation: self.common.computation()?,
            expires,
            format: FORMAT.to_owned(),
            image,
            nonce: hex::encode(nonce),
            parties: parties?,
            privacy: self.common.privacy()?,
        })?;
        write_new(&self.output, contract.canonical(), 0o644)?;
        Ok(json!({"contract": self.output, "sha384": contract.hash().to_string()}))
    }
}

impl ReviewArgs {
    pub(super) fn run(self) -> Result<Value> {
        let (contract, terms) = self.agreed.load()?;
        let image = &contract.terms().image;
        if let Some(eif) = &self.eif {
            measure(&self.image_tool, eif)?.check(image)?;
        }
        if let Some(recipe) = &self.recipe {
            let lock = self.fallback_lock.as_deref();
            rebuild(&self.image_tool, recipe, lock)?.check_build(image)?;
        }
        if let Some(path) = &self.review {
            let review = Review::of(&contract, self.recipe.is_some());
            write_new(path, &serde_json::to_vec_pretty(&review)?, 0o644)?;
        }
        Ok(json!({
            "image": image,
            "party": terms.name,
            // Each run spends the noise's ε and δ again.
            "privacy": contract.terms().privacy,
            "rebuilt": self.recipe.is_some(),
            "review": self.review,
            "runs": terms.runs,
            "sha384": contract.hash().to_string(),
        }))
    }
}
