//! Seal, approve, submit and open: what goes to the host, and what comes back.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anchorhold_joint::approval::Approval;
use anchorhold_joint::contexts;
use anchorhold_owner::access::{KmsArgs, read, write_new};
use anchorhold_owner::seal::{refuse_existing, seal};
use anchorhold_party::answer::Expected;
use anchorhold_party::keys::Keys;
use anchorhold_party::package::Package;
use anchorhold_party::receipt::Receipt;
use anchorhold_verifier::{AppraisalPolicy, Timestamp, TrustRoots};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{ContractArgs, ReviewedArgs};

/// How old the answers' document may be when none is said: the party waits for the answer.
const MAX_AGE: u64 = 3600;

#[derive(Args)]
pub(super) struct SealArgs {
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    reviewed: ReviewedArgs,
    /// The party's file, as CSV with a header.
    #[arg(long)]
    records: PathBuf,
    /// Where to write the sealed file.
    #[arg(long)]
    output: PathBuf,
    /// Where to write the receipt.
    #[arg(long)]
    receipt: PathBuf,
}

#[derive(Args)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    reviewed: ReviewedArgs,
    /// The directory that `keys` made.
    #[arg(long)]
    keys: PathBuf,
    /// The receipt of the sealed file.
    #[arg(long)]
    receipt: PathBuf,
    /// Where to write the approval.
    #[arg(long)]
    output: PathBuf,
}

#[derive(Args)]
pub(super) struct SubmitArgs {
    /// The approval.
    #[arg(long)]
    approval: PathBuf,
    /// The sealed file.
    #[arg(long)]
    records: PathBuf,
    /// JSON with access_key_id and secret_access_key of the enclave's principal at the party's KMS.
    #[arg(long)]
    credentials: PathBuf,
    /// The directory to make for the host.
    #[arg(long)]
    package: PathBuf,
    /// Where to keep the challenge.
    #[arg(long)]
    challenge: PathBuf,
}

#[derive(Args)]
pub(super) struct OpenArgs {
    #[command(flatten)]
    contract: ContractArgs,
    /// The directory that `keys` made.
    #[arg(long)]
    keys: PathBuf,
    /// The approval that the party signed: no answer under another contract, or computed from
    /// another file of the party's, is believed. Of several, the one for the file that it stands by.
    #[arg(long)]
    approval: PathBuf,
    /// The answers' directory, as the host hands it out.
    #[arg(long)]
    answers: PathBuf,
    /// The challenge that `submit` kept.
    #[arg(long)]
    challenge: PathBuf,
    /// The root certificates that the party trusts, PEM.
    #[arg(long)]
    root: PathBuf,
    /// How old the document may be, in seconds.
    #[arg(long, default_value_t = MAX_AGE)]
    max_age: u64,
}

impl SealArgs {
    pub(super) fn run(self) -> Result<Value> {
        refuse_existing(&self.receipt)?;
        let (contract, terms) = self.reviewed.load()?;
        let context = contexts::input(&contract, &terms.name)?;
        let file = File::open(&self.records)
            .with_context(|| format!("cannot read {}", self.records.display()))?;
        let client = self.kms.client()?;
        let file = BufReader::new(file);
        let sealed = seal(&client, &terms.kms_key, context, file, &self.output)?;
        let receipt = Receipt::of(&sealed, &contract);
        write_new(&self.receipt, &serde_json::to_vec_pretty(&receipt)?, 0o644)?;
        let bytes = sealed.message_length();
        Ok(json!({"sealed": self.output, "receipt": self.receipt, "bytes": bytes}))
    }
}

impl ApproveArgs {
    pub(super) fn run(self) -> Result<Value> {
        let (contract, terms) = self.reviewed.load()?;
        let receipt: Receipt = serde_json::from_slice(&read(&self.receipt)?)
            .with_context(|| format!("{} is no receipt", self.receipt.display()))?;
        let header = receipt.header_under(&contract).with_context(|| {
            let path = self.receipt.display();
            format!("{path} is not of a file sealed under this contract")
        })?;
        let key = Keys::at(&self.keys).approval_key()?;
        let approval = Approval::sign(&contract, &terms.name, &header, &key)?;
        write_new(&self.output, &approval.to_bytes()?, 0o644)?;
        Ok(json!({"approval": self.output, "contract_sha384": contract.hash().to_string()}))
    }
}

impl SubmitArgs {
    pub(super) fn run(self) -> Result<Value> {
        let package = Package {
            approval: &self.approval,
            records: &self.records,
            credentials: &self.credentials,
        };
        package.make(&self.package, &self.challenge)?;
        Ok(json!({"package": self.package, "challenge": self.challenge}))
    }
}

impl OpenArgs {
    pub(super) fn run(self) -> Result<Value> {
        let contract = self.contract.load()?;
        let approval = Approval::parse(&read(&self.approval)?)?;
        approval.verify(&contract)?;
        if approval.party() != self.contract.party {
            bail!("the approval is {}'s", approval.party());
        }
        let roots = TrustRoots::from_pem(read(&self.root)?)
            .with_context(|| format!("{} is no root", self.root.display()))?;
        let challenge = Zeroizing::new(read(&self.challenge)?);
        let now = Timestamp::try_from(SystemTime::now()).context("this computer's clock")?;
        let private_key = Keys::at(&self.keys).answer_key()?;
        let expected = Expected {
            contract: &contract,
            party: &self.contract.party,
            challenge: &challenge,
            input: approval.header_sha384(),
            roots: &roots,
            appraisal: AppraisalPolicy::fresh(now, Duration::from_secs(self.max_age)),
            private_key: &private_key,
        };
        Ok(serde_json::to_value(expected.open(&self.answers)?)?)
    }
}
