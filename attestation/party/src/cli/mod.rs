//! The command line. Results are JSON on standard output.

mod agree;
mod exchange;
mod key;
pub mod rule;

use std::path::{Path, PathBuf};

use anchorhold_joint::contract::{Contract, Party};
use anchorhold_owner::access::read;
use anchorhold_party::keys::Keys;
use anchorhold_party::offer::Offer;
use anchorhold_party::review::Review;
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// A party's tool for joint analysis with others whom it does not trust.
#[derive(Parser)]
#[command(
    name = "anchorhold-party",
    version,
    after_help = "Example:\n  anchorhold-party keys --dir my-keys\n  \
                  anchorhold-party review --contract contract.json --offer my-offer.json \\\n    \
                  --peer their-offer.json --eif joint.eif --review my-review.json"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the key pairs that sign approvals and open answers.
    Keys {
        /// The directory to make: approval-key.pem, answer-key.pem, public.json.
        #[arg(long)]
        dir: PathBuf,
    },
    /// The party's key at its KMS.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Write the party's own terms, for the contract.
    Offer(Box<agree::OfferArgs>),
    /// The contract.
    #[command(subcommand)]
    Contract(agree::ContractCommand),
    /// Check a contract: that it says what the parties offered and what this one demands, and that
    /// an image measures as it says, from the image's file or by building it again. Writes the review
    /// that `key bind`, `seal` and `approve` demand.
    Review(agree::ReviewArgs),
    /// Seal the party's file under the contract. Writes the message, and a receipt to keep.
    Seal(exchange::SealArgs),
    /// Sign the contract and the sealed file.
    Approve(exchange::ApproveArgs),
    /// Put approval, sealed file, credentials and a fresh challenge into a package for the host.
    Submit(exchange::SubmitArgs),
    /// Check the answers' document and open the party's own answer.
    Open(exchange::OpenArgs),
    /// Take the approval back: disable the key, unbind it from the contract, or have it deleted.
    Revoke(key::RevokeArgs),
}

/// The contract, and who in it the caller is.
#[derive(Args)]
struct ContractArgs {
    /// The contract, canonical.
    #[arg(long)]
    contract: PathBuf,
    /// The party's name in it.
    #[arg(long)]
    party: String,
}

impl ContractArgs {
    fn load(&self) -> Result<Contract> {
        load_contract(&self.contract)
    }

    /// The party's terms.
    fn terms<'c>(&self, contract: &'c Contract) -> Result<&'c Party> {
        let found = contract.party(&self.party).map(|(_, terms)| terms);
        found.with_context(|| format!("{} is no party of the contract", self.party))
    }
}

/// A contract, and the offers that it was made of: what is done for a contract is done only for one
/// that says what was offered and meets the party's demands.
#[derive(Args)]
struct AgreedArgs {
    /// The contract, canonical.
    #[arg(long)]
    contract: PathBuf,
    /// The party's own offer: the contract must say just this of it, and meet its demands.
    #[arg(long)]
    offer: PathBuf,
    /// The offer of another party, as it came from that party itself: the contract must say just
    /// this of it. One for each other party.
    #[arg(long = "peer", value_name = "OFFER", required = true)]
    peers: Vec<PathBuf>,
}

impl AgreedArgs {
    /// The contract, once it agrees with the offers, and the party's own terms in it.
    fn load(&self) -> Result<(Contract, Party)> {
        let contract = load_contract(&self.contract)?;
        let own = load_offer(&self.offer)?;
        let peers: Result<Vec<_>> = self.peers.iter().map(|path| load_offer(path)).collect();
        own.agree(&contract, &peers?, OffsetDateTime::now_utc())?;
        Ok((contract, own.party))
    }
}

/// As [`AgreedArgs`], and the party has reviewed the contract's image.
#[derive(Args)]
struct ReviewedArgs {
    #[command(flatten)]
    agreed: AgreedArgs,
    /// The review of this contract and its image, as `review` wrote it.
    #[arg(long)]
    review: PathBuf,
}

impl ReviewedArgs {
    /// The contract, once it agrees with the offers and its image was reviewed, and the party's own
    /// terms in it.
    fn load(&self) -> Result<(Contract, Party)> {
        let (contract, terms) = self.agreed.load()?;
        let checked = Review::parse(&read(&self.review)?).and_then(|r| r.check(&contract));
        checked.with_context(|| format!("{} is refused", self.review.display()))?;
        Ok((contract, terms))
    }
}

fn load_offer(path: &Path) -> Result<Offer> {
    let offer = Offer::parse(&read(path)?);
    offer.with_context(|| format!("{} is refused", path.display()))
}

fn load_contract(path: &Path) -> Result<Contract> {
    let contract = Contract::parse(&read(path)?);
    contract.with_context(|| format!("{} is refused", path.display()))
}

impl Cli {
    /// Runs the command and returns what it prints.
    pub fn run(self) -> Result<Value> {
        match self.command {
            Command::Keys { dir } => {
                let (_, public) = Keys::generate(&dir)?;
                Ok(json!({"keys": dir, "public": public}))
            }
            Command::Key(command) => command.run(),
            Command::Offer(args) => args.run(),
            Command::Contract(command) => command.run(),
            Command::Review(args) => args.run(),
            Command::Seal(args) => args.run(),
            Command::Approve(args) => args.run(),
            Command::Submit(args) => args.run(),
            Command::Open(args) => args.run(),
            Command::Revoke(args) => args.run(),
        }
    }
}
