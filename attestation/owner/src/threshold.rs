//! The owner's part in a threshold group, outside every enclave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anchorhold_owner::threshold_policy::{Current, ShareRules, share_identity_policy};
use anchorhold_threshold::{Epoch, GroupKey, Participant, sum};
use anchorhold_threshold_app::agreement::Agreement;
use anchorhold_threshold_app::intake::{self, Slot, Split};
use anchorhold_threshold_app::{Refusal, approval, server};
use anchorhold_verifier::{
    AppraisalPolicy, Appraised, Pcr, PcrIndex, Timestamp, UnverifiedDocument,
};
use anyhow::{Context, Result, bail};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use getrandom::SysRng;
use getrandom::rand_core::{Rng as _, UnwrapErr};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use anchorhold_owner::access::{KmsArgs, read, write_new};

use crate::cli::{ImageArgs, image_registers, pcr};

/// How old an enclave's document may be: the owner waits for it.
const MAX_AGE: Duration = Duration::from_secs(300);

/// A refusal of the enclave's own rules, made here.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Refused(pub Refusal);

fn refused(refusal: impl Into<Refusal>) -> anyhow::Error {
    Refused(refusal.into()).into()
}

#[derive(Subcommand)]
pub enum ThresholdCommand {
    /// Make the key that signs the owner's approvals, and print its public half.
    ApprovalKey {
        /// Where to write the private key (PKCS#8, DER).
        #[arg(long)]
        output: PathBuf,
    },
    /// Print the identity policy for an enclave's principal: seal and open shares, with a document.
    IdentityPolicy,
    /// Create the key that seals shares, or set which group and epoch it is for.
    Policy(Box<PolicyArgs>),
    /// Print an agreement's hash, after checking it.
    Agreement {
        /// The agreement.
        agreement: PathBuf,
    },
    /// Approve that a message is signed.
    Approve {
        /// The agreement.
        #[arg(long)]
        agreement: PathBuf,
        /// The owner's approval key.
        #[arg(long)]
        key: PathBuf,
        /// The group key, in hex.
        #[arg(long)]
        group_key: String,
        /// The message.
        #[arg(long)]
        message: PathBuf,
    },
    /// Check an enclave's status and print it.
    Status {
        #[command(flatten)]
        of: OfEnclave,
        /// The enclave's answer.
        #[arg(long)]
        answer: PathBuf,
    },
    /// Split values among all enclaves, whose answers to `intake` are given in their order.
    Split {
        #[command(flatten)]
        of: OfEnclave,
        /// The owner's approval key, which signs the pieces.
        #[arg(long)]
        key: PathBuf,
        /// What the sum is.
        #[arg(long)]
        label: String,
        /// A value; as many as stand side by side.
        #[arg(long = "value", required = true)]
        values: Vec<u128>,
        /// An enclave's answer to `intake`, of participant 1, 2 and so on.
        #[arg(long = "intake", required = true)]
        intakes: Vec<PathBuf>,
    },
}

#[derive(Args)]
pub struct PolicyArgs {
    #[command(flatten)]
    kms: KmsArgs,
    /// The key's ARN; without it, one is created that nobody can use yet.
    #[arg(long, requires = "agreement")]
    key: Option<String>,
    /// The ARN of the owner's own principal.
    #[arg(long)]
    owner: String,
    /// The ARN of the enclave's principal.
    #[arg(long)]
    enclave: String,
    #[command(flatten)]
    image: ImageArgs,
    /// The agreement.
    #[arg(long, requires = "epoch")]
    agreement: Option<PathBuf>,
    /// The epoch whose shares open: 0 before key generation.
    #[arg(long)]
    epoch: Option<u64>,
    /// The sharing of that epoch whose shares open, as `threshold status` prints it. Without it, a
    /// share of a refresh that broke off opens as well as one of the refresh after it.
    #[arg(long, requires = "epoch", value_parser = sharing)]
    sharing: Option<String>,
}

/// Which enclave an answer is of, and who asked.
#[derive(Args)]
pub struct OfEnclave {
    /// The agreement.
    #[arg(long)]
    agreement: PathBuf,
    /// The participant.
    #[arg(long)]
    participant: u16,
    /// The challenge that was given, in hex.
    #[arg(long)]
    challenge: String,
    /// A measurement of the image, as N=HEX. Give PCR0, PCR1 and PCR2.
    #[arg(long = "pcr", required = true, value_parser = pcr)]
    pcrs: Vec<(PcrIndex, Pcr)>,
}

impl ThresholdCommand {
    /// Runs the command and returns what it prints.
    pub fn run(self) -> Result<Value> {
        match self {
            Self::ApprovalKey { output } => approval_key(&output),
            Self::IdentityPolicy => Ok(share_identity_policy()),
            Self::Policy(args) => policy(*args),
            Self::Agreement { agreement } => {
                let agreement = load(&agreement)?;
                Ok(json!({ "group": hex::encode(agreement.group().context()) }))
            }
            Self::Approve {
                agreement,
                key,
                group_key,
                message,
            } => {
                let agreement = load(&agreement)?;
                let key_bytes = hex::decode(&group_key).context("--group-key must be hex")?;
                let Ok(group_key) = key_bytes.try_into().map(GroupKey) else {
                    bail!("--group-key must have 32 bytes");
                };
                let message = read(&message)?;
                let signed = approval::to_be_signed(&agreement.group(), &group_key, &message);
                let approval = signing_key(&key)?.sign(&signed);
                Ok(json!({ "approval": hex::encode(approval) }))
            }
            Self::Status { of, answer } => {
                let answer: Value = serde_json::from_slice(&read(&answer)?)?;
                let text = field(&answer, "/done/status")?;
                let user_data = server::status_user_data(text);
                of.document(&answer, of.participant()?, user_data)?;
                let status = serde_json::from_str(text)?;
                of.is_of(&status)?;
                Ok(status)
            }
            Self::Split {
                of,
                key,
                label,
                values,
                intakes,
            } => split(&of, &key, &label, &values, &intakes),
        }
    }
}

fn approval_key(output: &Path) -> Result<Value> {
    let key = Ed25519KeyPair::generate().context("no Ed25519 key could be made")?;
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
        key.as_der().context("the key cannot be written")?;
    write_new(output, private.as_ref(), 0o600)?;
    Ok(json!({ "approval_key": hex::encode(key.public_key()), "private_key": output }))
}

fn signing_key(path: &Path) -> Result<Ed25519KeyPair> {
    let bytes = Zeroizing::new(read(path)?);
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes)
        .with_context(|| format!("{} is no Ed25519 key", path.display()))
}

fn policy(args: PolicyArgs) -> Result<Value> {
    let roots = args.image.roots()?;
    let (Some(root), 1) = (roots.iter().next(), roots.len()) else {
        bail!("--root must hold one root, it holds {}", roots.len());
    };
    let current = match (&args.agreement, args.epoch) {
        (Some(agreement), Some(epoch)) => {
            let agreement = load(agreement)?;
            let group = hex::encode(agreement.group().context());
            Some(Current {
                group,
                epoch: Epoch(epoch),
                sharing: args.sharing,
            })
        }
        _ => None,
    };
    let rules = ShareRules {
        owner: args.owner,
        enclave: args.enclave,
        pcrs: args.image.pcrs()?,
        root,
        current,
    };
    let policy = rules.policy();
    let client = args.kms.client()?;
    let arn = match args.key {
        Some(arn) => {
            client.put_key_policy(&arn, &policy.to_string(), false)?;
            arn
        }
        None => {
            let description = "seals shares of a threshold group";
            let created = client.create_key(description, Some(&policy.to_string()))?;
            created.arn
        }
    };
    Ok(json!({ "key_arn": arn, "policy": policy }))
}

fn split(
    of: &OfEnclave,
    key: &Path,
    label: &str,
    values: &[u128],
    intakes: &[PathBuf],
) -> Result<Value> {
    let agreement = load(&of.agreement)?;
    let group = agreement.group();
    if intakes.len() != usize::from(group.participants()) {
        bail!("expected {} answers to intake", group.participants());
    }
    let mut rng = UnwrapErr(SysRng);
    let pieces = sum::split(&group, values, &mut rng).map_err(refused)?;
    let key = signing_key(key)?;
    let mut of_all: Split = [0; 32];
    rng.fill_bytes(&mut of_all);
    let mut sealed = serde_json::Map::new();
    for ((enclave, piece), path) in pieces.iter().zip(intakes) {
        let answer: Value = serde_json::from_slice(&read(path)?)?;
        let appraised = of.document(&answer, *enclave, intake::user_data(&group, *enclave))?;
        let public = appraised.document().public_key.as_deref();
        let slot = Slot {
            group: &group,
            label,
            split: &of_all,
            owner: of.participant()?,
            enclave: *enclave,
        };
        let message = intake::seal(slot, piece, public.unwrap_or_default()).map_err(refused)?;
        let signature = hex::encode(key.sign(&message));
        let piece = json!({
            "split": hex::encode(of_all),
            "message": STANDARD.encode(message),
            "signature": signature,
        });
        sealed.insert(enclave.to_string(), piece);
    }
    Ok(Value::Object(sealed))
}

impl OfEnclave {
    fn participant(&self) -> Result<Participant> {
        Participant::new(self.participant).map_err(refused)
    }

    /// Whether a status, which its document holds, is of this group and participant: an enclave may
    /// have been told another agreement, or, where platforms share a root, be another's.
    fn is_of(&self, status: &Value) -> Result<()> {
        let agreement = load(&self.agreement)?;
        let group = json!(hex::encode(agreement.group().context()));
        let expected = [
            ("group", "status.group", group),
            ("participant", "status.participant", json!(self.participant)),
        ];
        for (field, rule, expected) in expected {
            let got = &status[field];
            if *got != expected {
                let message = format!("{field}: expected {expected}, got {got}");
                return Err(refused(Refusal::new(rule, message)));
            }
        }
        Ok(())
    }

    /// The image's registers, and what the agreement demands of the participant beside them.
    fn registers(
        &self,
        agreement: &Agreement,
        participant: Participant,
    ) -> Result<BTreeMap<PcrIndex, Pcr>> {
        let mut registers = image_registers(&self.pcrs)?;
        for (index, pcr) in agreement.registers(participant).map_err(refused)? {
            if registers
                .insert(*index, *pcr)
                .is_some_and(|given| given != *pcr)
            {
                bail!("--pcr {index} is another one than the agreement's");
            }
        }
        Ok(registers)
    }

    /// The document of an answer, checked: of the participant's platform, of the image, with the
    /// agreement's registers, over the challenge and this user data.
    fn document(
        &self,
        answer: &Value,
        participant: Participant,
        user_data: Vec<u8>,
    ) -> Result<Appraised> {
        let document = STANDARD
            .decode(field(answer, "/done/document")?)
            .context("the document is not base64")?;
        let agreement = load(&self.agreement)?;
        let roots = agreement.roots(participant).map_err(refused)?;
        let now = Timestamp::try_from(SystemTime::now()).context("this computer's clock")?;
        let mut policy = AppraisalPolicy::fresh(now, MAX_AGE);
        policy.pcrs = self.registers(&agreement, participant)?;
        policy.nonce = Some(hex::decode(&self.challenge).context("--challenge must be hex")?);
        policy.user_data = Some(user_data);
        let document = UnverifiedDocument::parse(&document)?;
        Ok(document.authenticate(&roots, now)?.appraise(&policy)?)
    }
}

/// A sharing's fingerprint: SHA-384 in hex.
fn sharing(text: &str) -> Result<String, String> {
    match hex::decode(text) {
        Ok(bytes) if bytes.len() == 48 => Ok(hex::encode(bytes)),
        _ => Err("expected 48 bytes in hex".to_owned()),
    }
}

fn load(path: &Path) -> Result<Agreement> {
    Agreement::parse(&read(path)?).map_err(refused)
}

fn field<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.with_context(|| format!("the answer has no {pointer}"))
}
