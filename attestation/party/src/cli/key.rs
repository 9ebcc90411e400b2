//! The party's key: made before the contract, which names it; bound to the contract once that is
//! there; taken back at any time.

use anchorhold_document::Pcr;
use anchorhold_owner::access::KmsArgs;
use anchorhold_party::policy::{before_contract, for_contract};
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{ContractArgs, ReviewedArgs};

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Create a key that its owner encrypts under and nobody decrypts under, for a contract to name.
    Create {
        #[command(flatten)]
        kms: KmsArgs,
        /// The ARN of the party's own principal.
        #[arg(long)]
        owner: String,
        /// What the key is for.
        #[arg(long, default_value = "released to a joint analysis only")]
        description: String,
    },
    /// Bind the key to a contract: its policy then names the contract's image and signer, the
    /// party's root, the contract itself, and how many runs the party allows.
    Bind {
        #[command(flatten)]
        kms: KmsArgs,
        #[command(flatten)]
        reviewed: ReviewedArgs,
        /// The ARN of the party's own principal.
        #[arg(long)]
        owner: String,
        /// The ARN of the enclave's principal at the party's KMS.
        #[arg(long)]
        enclave: String,
        /// The PCR8 of the only signer whose image the key is released to, where the contract
        /// leaves the signer open.
        #[arg(long, value_name = "PCR8")]
        signer: Option<Pcr>,
    },
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    contract: ContractArgs,
    /// What is taken back.
    #[arg(long, value_enum, default_value_t = Revocation::Disable)]
    how: Revocation,
    /// The ARN of the party's own principal, which keeps its rights.
    #[arg(long, required_if_eq("how", "unbind"))]
    owner: Option<String>,
    /// In how many days the key is deleted, 7 to 30.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(7..=30))]
    days: u32,
}

/// How an approval is taken back. What was released before stays released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Revocation {
    /// Disable the key: nobody uses it until it is enabled again (DisableKey).
    Disable,
    /// Put back the policy from before the contract: the key serves its owner, and no enclave
    /// (PutKeyPolicy).
    Unbind,
    /// Have the key deleted: nobody uses it from now on, and once it is deleted nobody ever opens
    /// what was sealed under it (ScheduleKeyDeletion).
    Delete,
}

impl KeyCommand {
    pub(super) fn run(self) -> Result<Value> {
        match self {
            Self::Create {
                kms,
                owner,
                description,
            } => {
                let policy = before_contract(&owner);
                let client = kms.client()?;
                let created = client.create_key(&description, Some(&policy.to_string()))?;
                Ok(json!({"key_arn": created.arn, "policy": policy}))
            }
            Self::Bind {
                kms,
                reviewed,
                owner,
                enclave,
                signer,
            } => {
                let (contract, terms) = reviewed.load()?;
                let signer = signer.as_ref();
                let policy = for_contract(&contract, &terms, &owner, &enclave, signer)?;
                let client = kms.client()?;
                let warnings = client.put_key_policy(&terms.kms_key, &policy.to_string(), false)?;
                Ok(json!({"key_arn": terms.kms_key, "policy": policy, "warnings": warnings}))
            }
        }
    }
}

impl RevokeArgs {
    pub(super) fn run(self) -> Result<Value> {
        let contract = self.contract.load()?;
        let key = &self.contract.terms(&contract)?.kms_key;
        let client = self.kms.client()?;
        match self.how {
            Revocation::Disable => {
                client.disable_key(key)?;
                Ok(json!({"key_arn": key, "disabled": true}))
            }
            Revocation::Unbind => {
                let policy = before_contract(self.owner.as_deref().unwrap_or_default());
                let warnings = client.put_key_policy(key, &policy.to_string(), false)?;
                Ok(json!({"key_arn": key, "policy": policy, "warnings": warnings}))
            }
            Revocation::Delete => {
                client.schedule_key_deletion(key, self.days)?;
                Ok(json!({"key_arn": key, "deleted_in_days": self.days}))
            }
        }
    }
}
