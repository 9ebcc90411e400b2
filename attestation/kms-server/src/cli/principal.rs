//! `anchorhold-kms principal …`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anchorhold_kms::instance::Instance;
use anchorhold_kms_core::policy::MAX_POLICY;
use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{DataDirArgument, print};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a user, and print its credentials. They are shown this once.
    Add(Add),
    /// Remove a user and its access keys.
    Remove(Named),
    /// Set a user's identity policy, or take it away.
    Policy(Policy),
    /// List the users.
    List(DataDirArgument),
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  anchorhold-kms principal add enclave --data-dir ./kms --policy decrypt.json"
)]
pub(super) struct Add {
    #[command(flatten)]
    named: Named,
    /// An identity policy in JSON. Without one the user may what key policies allow it by ARN.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Named {
    /// The user's name: letters, digits and any of +=,.@_-
    name: String,
    #[command(flatten)]
    data: DataDirArgument,
}

#[derive(Args)]
pub(super) struct Policy {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    change: PolicyChange,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct PolicyChange {
    /// The new identity policy in JSON.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Take the policy away.
    #[arg(long)]
    remove: bool,
}

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    let now = SystemTime::now();
    match command {
        Command::Add(arguments) => {
            let policy = arguments.policy.as_deref().map(read_policy).transpose()?;
            let instance = open(&arguments.named.data).await?;
            let name = &arguments.named.name;
            print(&instance.add_principal(name, policy, now).await?)
        }
        Command::Remove(arguments) => {
            let instance = open(&arguments.data).await?;
            instance.remove_principal(&arguments.name, now).await?;
            print(&json!({ "removed": arguments.name }))
        }
        Command::Policy(arguments) => {
            let policy = arguments.change.policy.as_deref();
            let policy = policy.map(read_policy).transpose()?;
            let instance = open(&arguments.named.data).await?;
            let name = &arguments.named.name;
            let warnings = instance.set_principal_policy(name, policy, now).await?;
            let mut changed = json!({ "changed": name });
            if !warnings.is_empty() {
                changed["warnings"] = warnings.into();
            }
            print(&changed)
        }
        Command::List(data) => list(&open(&data).await?).await,
    }
}

async fn list(instance: &Instance) -> anyhow::Result<()> {
    let account = &instance.home().account;
    let principals = instance.principals().await?;
    let principals: Vec<_> = principals
        .iter()
        .map(|principal| {
            json!({
                "name": principal.name,
                "principal_arn": format!("arn:aws:iam::{account}:user/{}", principal.name),
                "user_id": principal.user_id,
                "policy": principal.policy,
            })
        })
        .collect();
    print(&principals)
}

async fn open(data: &DataDirArgument) -> anyhow::Result<Instance> {
    Ok(Instance::open(&data.data_dir).await?)
}

fn read_policy(path: &Path) -> anyhow::Result<String> {
    let named = || format!("cannot read the policy {}", path.display());
    let length = std::fs::metadata(path).with_context(named)?.len();
    ensure!(
        length <= MAX_POLICY as u64,
        "the policy {} has {length} bytes, the limit is {MAX_POLICY}",
        path.display()
    );
    std::fs::read_to_string(path).with_context(named)
}
