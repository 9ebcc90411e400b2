//! The command line. Results are JSON on standard output.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_enclave::kms::KmsError;
use anchorhold_owner::access::{
    AccessError, KmsArgs, MAX_FILE, private_key, read, write_new, write_private_key,
};
use anchorhold_owner::answer::{CheckError, Expected};
use anchorhold_owner::policy::{KeyRules, enclave_identity_policy};
use anchorhold_owner::receipt::Receipt;
use anchorhold_owner::seal::{self, SealingError};
use anchorhold_owner::tls::ServerIdentity;
use anchorhold_pii::job::{Job, JobError, MAX_JOB, Recipient};
use anchorhold_verifier::{AppraisalPolicy, Timestamp, TrustRoots, VerifyError};
use anyhow::{Context, Result, bail};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::threshold::{self, ThresholdCommand};

/// How old an answer's document may be when none is said: the owner waits for the answer.
const MAX_AGE: u64 = 3600;
const _: () = assert!(MAX_JOB as u64 <= MAX_FILE);

/// The data owner's tool.
#[derive(Parser)]
#[command(
    name = "anchorhold-owner",
    version,
    after_help = "Example:\n  anchorhold-owner pii job --records customers.csv --data-set customers \\\n    --token-key token-key.esdk --output job.json"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the KMS's TLS identity: an authority for the image to pin, and a server certificate.
    Tls {
        /// The directory to make: ca.pem, server.pem, server-key.pem.
        #[arg(long)]
        dir: PathBuf,
        /// A host name or address of the KMS. The first is the one that enclaves demand.
        #[arg(long = "host", required = true)]
        hosts: Vec<String>,
    },
    /// Keys that are released to attested code only.
    #[command(subcommand)]
    Key(KeyCommand),
    /// The PII application.
    #[command(subcommand)]
    Pii(PiiCommand),
    /// A threshold group: its owner's part.
    #[command(subcommand)]
    Threshold(ThresholdCommand),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Print the identity policy for an enclave's principal: decrypt, and only with a document.
    IdentityPolicy,
    /// Create a key whose policy releases it to one measured image under one root.
    Create(Box<CreateArgs>),
}

#[derive(Args)]
struct CreateArgs {
    #[command(flatten)]
    kms: KmsArgs,
    /// The ARN of the owner's own principal.
    #[arg(long)]
    owner: String,
    /// The ARN of the enclave's principal.
    #[arg(long)]
    enclave: String,
    #[command(flatten)]
    image: ImageArgs,
    /// What the key is for.
    #[arg(long, default_value = "released to attested code only")]
    description: String,
}

#[derive(Subcommand)]
enum PiiCommand {
    /// Make and seal a token key, before the first job. Keep it: the same key gives the same tokens.
    TokenKey {
        #[command(flatten)]
        kms: KmsArgs,
        /// The key's ARN.
        #[arg(long)]
        key: String,
        /// The data set whose values it makes tokens of.
        #[arg(long)]
        data_set: String,
        /// Where to write the sealed token key.
        #[arg(long)]
        output: PathBuf,
    },
    /// Make an RSA key pair for the receiver of answers, and print the public key that jobs name.
    Receiver {
        /// Where to write the private key (PKCS#8, PEM).
        #[arg(long)]
        output: PathBuf,
    },
    /// Write a canonical job, from a draft or from the header of the records.
    Job {
        /// A job in any JSON form, defaults left out.
        #[arg(long, conflicts_with_all = ["records", "data_set"], required_unless_present = "records")]
        draft: Option<PathBuf>,
        /// Records whose columns are all to be recognised.
        #[arg(long, requires = "data_set")]
        records: Option<PathBuf>,
        /// The data set's name.
        #[arg(long)]
        data_set: Option<String>,
        /// The sealed token key. The enclave takes no other one for this job.
        #[arg(long)]
        token_key: PathBuf,
        /// Who alone may read the answer, as NAME=PUBLIC-KEY, in place of what the draft says. Without
        /// it a job made from the records has its answer read by anyone, its carrier too.
        #[arg(long = "receiver", value_name = "NAME=PUBLIC-KEY", value_parser = receiver)]
        receivers: Vec<Recipient>,
        /// Where to write the job.
        #[arg(long)]
        output: PathBuf,
    },
    /// Seal records under a job. Writes the message, and a receipt for the owner to keep.
    Seal {
        #[command(flatten)]
        kms: KmsArgs,
        /// The key's ARN.
        #[arg(long)]
        key: String,
        /// The canonical job.
        #[arg(long)]
        job: PathBuf,
        /// The records, as CSV with a header.
        #[arg(long)]
        records: PathBuf,
        /// Where to write the sealed records.
        #[arg(long)]
        output: PathBuf,
        /// Where to write the receipt.
        #[arg(long)]
        receipt: PathBuf,
    },
    /// Check an answer and open it.
    Open(OpenArgs),
}

#[derive(Args)]
struct OpenArgs {
    /// The answer's directory.
    #[arg(long)]
    answer: PathBuf,
    /// The canonical job.
    #[arg(long)]
    job: PathBuf,
    /// The receipt of the sealed records.
    #[arg(long)]
    receipt: PathBuf,
    /// The challenge that was given, in hex.
    #[arg(long)]
    challenge: String,
    #[command(flatten)]
    image: ImageArgs,
    /// How old the answer's document may be, in seconds.
    #[arg(long, default_value_t = MAX_AGE)]
    max_age: u64,
    /// The receiver's RSA private key (PKCS#8, PEM), where the job names receivers.
    #[arg(long)]
    private_key: Option<PathBuf>,
    /// Where to write the rows.
    #[arg(long)]
    output: PathBuf,
}

#[derive(Args)]
pub(crate) struct ImageArgs {
    /// A measurement, as N=HEX. Give PCR0, PCR1 and PCR2.
    #[arg(long = "pcr", required = true, value_parser = pcr)]
    pcrs: Vec<(PcrIndex, Pcr)>,
    /// The platform's root certificate, PEM.
    #[arg(long)]
    root: PathBuf,
}

impl ImageArgs {
    /// The image's measurements: PCR0 to PCR2, and what else was given.
    pub(crate) fn pcrs(&self) -> Result<BTreeMap<PcrIndex, Pcr>> {
        image_registers(&self.pcrs)
    }

    pub(crate) fn roots(&self) -> Result<TrustRoots> {
        TrustRoots::from_pem_file(&self.root)
            .with_context(|| format!("{} is no root", self.root.display()))
    }
}

/// Measurements as they were given, each once, PCR0 to PCR2 among them.
pub(crate) fn image_registers(given: &[(PcrIndex, Pcr)]) -> Result<BTreeMap<PcrIndex, Pcr>> {
    let pcrs: BTreeMap<_, _> = given.iter().cloned().collect();
    if pcrs.len() != given.len() {
        bail!("--pcr names the same register twice");
    }
    for index in 0..=2 {
        if !pcrs.contains_key(&PcrIndex::new(index)?) {
            bail!("--pcr {index}=HEX is missing: without it, other images would do");
        }
    }
    Ok(pcrs)
}

pub(crate) fn pcr(text: &str) -> Result<(PcrIndex, Pcr), String> {
    let (index, value) = text.split_once('=').ok_or("expected N=HEX")?;
    let number: u8 = index
        .parse()
        .map_err(|_| format!("expected a number, got {index}"))?;
    let index = PcrIndex::new(number).map_err(|e| e.to_string())?;
    Ok((
        index,
        value.parse().map_err(|e| format!("PCR{number}: {e}"))?,
    ))
}

impl Cli {
    /// Runs the command and returns what it prints.
    pub fn run(self) -> Result<Value> {
        match self.command {
            Command::Tls { dir, hosts } => tls(&dir, &hosts),
            Command::Key(KeyCommand::IdentityPolicy) => Ok(enclave_identity_policy()),
            Command::Key(KeyCommand::Create(args)) => create_key(*args),
            Command::Pii(command) => command.run(),
            Command::Threshold(command) => command.run(),
        }
    }
}

impl PiiCommand {
    fn run(self) -> Result<Value> {
        match self {
            Self::Receiver { output } => receiver_key(&output),
            Self::Job {
                draft,
                records,
                data_set,
                token_key,
                receivers,
                output,
            } => {
                let draft = match (draft, records, data_set) {
                    (Some(draft), _, _) => read(&draft)?,
                    (_, Some(records), Some(data_set)) => recognising(&records, &data_set)?,
                    _ => bail!("give --draft, or --records and --data-set"),
                };
                let job = seal::job(&draft, &token_key, receivers)?;
                write_new(&output, job.canonical(), 0o644)?;
                Ok(json!({"job": output, "sha384": hex::encode(job.sha384())}))
            }
            Self::Seal {
                kms,
                key,
                job,
                records,
                output,
                receipt,
            } => {
                let job = load_job(&job)?;
                // Without its receipt no answer to the records could be checked.
                seal::refuse_existing(&receipt)?;
                let sealed = seal::records(&kms.client()?, &key, &job, &records, &output)?;
                let kept = Receipt::of(&sealed, &job.sha384());
                write_new(&receipt, &serde_json::to_vec_pretty(&kept)?, 0o644)?;
                Ok(json!({"sealed": output, "receipt": receipt, "bytes": sealed.message_length()}))
            }
            Self::TokenKey {
                kms,
                key,
                data_set,
                output,
            } => {
                seal::token_key(&kms.client()?, &key, &data_set, &output)?;
                Ok(json!({"sealed": output}))
            }
            Self::Open(args) => open(&args),
        }
    }
}

/// The size of a receiver's key, as strong as 128-bit ciphers (NIST SP 800-57, table 2).
const RECEIVER_SIZE: KeySize = KeySize::Rsa3072;

fn receiver_key(output: &Path) -> Result<Value> {
    let failed = "no RSA key could be made";
    let key = PrivateDecryptingKey::generate(RECEIVER_SIZE).context(failed)?;
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).context(failed)?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&key.public_key()).context(failed)?;
    write_private_key(output, private.as_ref())?;
    Ok(json!({"public_key": STANDARD.encode(public.as_ref()), "private_key": output}))
}

/// A receiver as the command line names it. Whether the key is one, the job decides.
fn receiver(text: &str) -> Result<Recipient, String> {
    let (name, public_key) = text.split_once('=').ok_or("expected NAME=PUBLIC-KEY")?;
    Ok(Recipient {
        name: name.to_owned(),
        public_key: public_key.to_owned(),
    })
}

fn tls(dir: &Path, hosts: &[String]) -> Result<Value> {
    let identity = ServerIdentity::generate(hosts, OffsetDateTime::now_utc())?;
    fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let at = |name: &str| dir.join(name);
    write_new(&at("ca.pem"), identity.ca.as_bytes(), 0o644)?;
    write_new(&at("server.pem"), identity.certificate.as_bytes(), 0o644)?;
    write_new(
        &at("server-key.pem"),
        identity.private_key.as_bytes(),
        0o600,
    )?;
    let (ca, certificate, key) = (at("ca.pem"), at("server.pem"), at("server-key.pem"));
    Ok(json!({"ca": ca, "certificate": certificate, "private_key": key}))
}

fn create_key(args: CreateArgs) -> Result<Value> {
    let CreateArgs {
        kms,
        owner,
        enclave,
        image,
        description,
    } = args;
    let roots = image.roots()?;
    let (Some(root), 1) = (roots.iter().next(), roots.len()) else {
        bail!(
            "{} must hold one root, it holds {}",
            image.root.display(),
            roots.len()
        );
    };
    let pcrs = image.pcrs()?;
    let rules = KeyRules {
        owner,
        enclave,
        pcrs,
        root,
    };
    let policy = rules.policy();
    let client = kms.client()?;
    let created = client.create_key(&description, Some(&policy.to_string()))?;
    Ok(json!({"key_arn": created.arn, "policy": policy}))
}

fn open(args: &OpenArgs) -> Result<Value> {
    let job = load_job(&args.job)?;
    let receipt: Receipt = serde_json::from_slice(&read(&args.receipt)?)
        .with_context(|| format!("{} is no receipt", args.receipt.display()))?;
    let now = Timestamp::try_from(SystemTime::now()).context("this computer's clock")?;
    let mut appraisal = AppraisalPolicy::fresh(now, Duration::from_secs(args.max_age));
    appraisal.pcrs = args.image.pcrs()?;
    appraisal.nonce = Some(hex::decode(&args.challenge).context("--challenge must be hex")?);
    let private_key = match &args.private_key {
        Some(path) => Some(private_key(path)?),
        None => None,
    };
    let expected = Expected {
        job: &job,
        receipt: &receipt,
        roots: &args.image.roots()?,
        appraisal,
        private_key: private_key.as_ref().map(|key| key.as_slice()),
    };
    Ok(serde_json::to_value(
        expected.open(&args.answer, &args.output)?,
    )?)
}

/// A draft of the records' own columns, each to be recognised.
fn recognising(records: &Path, data_set: &str) -> Result<Vec<u8>> {
    let mut reader = anchorhold_pii::rows::RowReader::default();
    let mut header: Option<Vec<String>> = None;
    let mut take = |found: anchorhold_pii::rows::Found<'_>| {
        if let (None, anchorhold_pii::rows::Found::Row(row)) = (&header, found) {
            header = Some(row.fields().map(str::to_owned).collect());
        }
        Ok::<_, std::convert::Infallible>(())
    };
    let mut start = Vec::new();
    let file =
        fs::File::open(records).with_context(|| format!("cannot read {}", records.display()))?;
    file.take(2 * anchorhold_pii::rows::MAX_ROW as u64)
        .read_to_end(&mut start)?;
    let Ok(()) = reader.feed(&start, &mut take);
    let Ok(()) = reader.finish(&mut take);
    let header = header.with_context(|| format!("{} has no header line", records.display()))?;
    let columns: Vec<_> = header
        .iter()
        .map(|name| json!({"name": name, "type": "recognise"}))
        .collect();
    let draft = json!({
        "format": anchorhold_pii::job::FORMAT,
        "data_set": data_set,
        "answer_to": "anyone",
        "columns": columns,
    });
    Ok(draft.to_string().into_bytes())
}

fn load_job(path: &Path) -> Result<Job> {
    Ok(Job::parse_canonical(&read(path)?)?)
}

/// The rule behind an error, where one refused.
pub fn rule(error: &anyhow::Error) -> String {
    let of = |e: &(dyn std::error::Error + 'static)| -> Option<String> {
        if let Some(kms) = e.downcast_ref::<KmsError>() {
            return Some(match kms.refusal() {
                Some(refusal) => format!("kms.{}", refusal.code),
                None => kms.rule().to_owned(),
            });
        }
        None.or_else(|| e.downcast_ref::<VerifyError>().map(|e| e.rule().to_owned()))
            .or_else(|| e.downcast_ref::<AccessError>().map(|e| e.rule().to_owned()))
            .or_else(|| e.downcast_ref::<CheckError>().map(|e| e.rule().to_owned()))
            .or_else(|| e.downcast_ref::<JobError>().map(|e| e.rule().to_owned()))
            .or_else(|| {
                e.downcast_ref::<threshold::Refused>()
                    .map(|e| e.0.rule.clone())
            })
            .or_else(|| {
                e.downcast_ref::<SealingError>()
                    .map(|e| e.rule().to_owned())
            })
    };
    // The innermost error that names a rule is the one that refused.
    error
        .chain()
        .filter_map(of)
        .last()
        .unwrap_or_else(|| "owner.usage".to_owned())
}
