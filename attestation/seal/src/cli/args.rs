//! The command line's form.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anchorhold_access::output::is_standard;
use anchorhold_access::{KMS_HOST, REGION};
use anchorhold_envelope::bucket::BucketPolicy;
use anchorhold_envelope::limits::{DEFAULT_FRAME_LENGTH, MAX_FRAME_LENGTH};
use anchorhold_envelope::materials::{CacheLimits, MAX_BYTES_PER_KEY, MAX_MESSAGES_PER_KEY};
use anchorhold_envelope::{EncryptionContext, Suite};
use anchorhold_seal::ToolError;
use anchorhold_seal::keys::Owner;
use anchorhold_seal::source::KeyOptions;
use anchorhold_seal::work::{Files, Job};
use clap::{Args, Parser, Subcommand};

/// What the name of a message ends with, where several are made or opened.
const EXTENSION: &str = "esdk";

/// Seals, opens and inspects AWS Encryption SDK messages under keys of a KMS.
#[derive(Parser)]
#[command(
    name = "anchorhold-seal",
    version,
    after_help = "Exit codes: 0 done, 1 refused, 2 usage, file or machine.\n\nExample:\n  anchorhold-seal inspect records.esdk"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Print one JSON object; errors as {"error":{"rule","message"}}.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Seal files. Any one of the keys opens them.
    #[command(override_usage = "anchorhold-seal seal [OPTIONS] IN OUT\n       \
                                anchorhold-seal seal [OPTIONS] --into DIR IN...")]
    Seal {
        #[command(flatten)]
        job: Box<JobArgs>,
        /// 0x0578 signs, 0x0478 does not.
        #[arg(long, default_value = "0x0578", value_parser = suite)]
        suite: Suite,
        /// Bytes of a frame.
        #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_FRAME_LENGTH,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FRAME_LENGTH)))]
        frame_length: u32,
    },
    /// Open messages. Refused unless their context is the one that is given.
    #[command(override_usage = "anchorhold-seal open [OPTIONS] IN OUT\n       \
                                anchorhold-seal open [OPTIONS] --into DIR IN.esdk...")]
    Open {
        #[command(flatten)]
        job: Box<JobArgs>,
        /// Take messages whose context has further pairs.
        #[arg(long)]
        allow_more_context: bool,
    },
    /// Tell what a message says of itself. Needs no key and verifies nothing.
    Inspect {
        /// The message, or - for standard input.
        file: PathBuf,
    },
}

#[derive(Args)]
pub struct JobArgs {
    /// ARN of a key. May be given more than once.
    #[arg(long = "key", value_name = "ARN", required_unless_present = "owners",
          requires_all = ["kms", "kms_ca", "credentials"])]
    keys: Vec<String>,
    /// The KMS's address, host:port.
    #[arg(long, value_name = "ADDR", requires = "keys")]
    kms: Option<String>,
    /// The name in the KMS's certificate.
    #[arg(long, default_value = KMS_HOST)]
    kms_host: String,
    /// The KMS's authority, PEM.
    #[arg(long, value_name = "PEM", requires = "keys")]
    kms_ca: Option<PathBuf>,
    /// The KMS's region.
    #[arg(long, default_value = REGION)]
    region: String,
    /// JSON with access_key_id and secret_access_key, as `anchorhold-kms init` prints it.
    #[arg(long, value_name = "FILE", requires = "keys")]
    credentials: Option<PathBuf>,
    /// A further owner with a KMS of its own: JSON with keys, kms, kms_ca, credentials and, if
    /// need be, kms_host and region. May be given more than once.
    #[arg(long = "owner", value_name = "FILE")]
    owners: Vec<PathBuf>,
    /// A pair of the encryption context. May be given more than once.
    #[arg(long = "context", value_name = "K=V", value_parser = pair)]
    context: Vec<(String, String)>,
    /// Key of a pair that does not stand in the message: who opens it must know the value. May be
    /// given more than once.
    #[arg(long = "required-context", value_name = "K")]
    required: Vec<String>,
    #[command(flatten)]
    sharing: Sharing,
    /// Most plaintext of a message, in bytes.
    #[arg(long, value_name = "BYTES")]
    plaintext_limit: Option<u64>,
    /// Replace an output that is there.
    #[arg(long)]
    force: bool,
    /// Write a file for each input into this folder: sealed files are named as they were and
    /// `.esdk`, opened ones without it.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// What to read and what to write, or - for standard input and output; with --into, all that is
    /// to be read.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// What lets several messages of one command do with fewer calls to the KMS.
#[derive(Args)]
struct Sharing {
    /// Wrap the data key with a bucket key for messages with this pair of the context. May be given
    /// more than once.
    #[arg(long = "bucket-by", value_name = "K")]
    bucket_by: Vec<String>,
    /// Longest that a bucket key serves, in seconds [default: 3600].
    #[arg(long, value_name = "SECONDS", requires = "bucket_by")]
    bucket_age: Option<u64>,
    /// Most messages that one bucket key seals [default: 1000000].
    #[arg(long, value_name = "N", requires = "bucket_by")]
    bucket_messages: Option<u64>,
    /// Let messages share a data key for so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "into")]
    cache_age: Option<u64>,
    /// Most messages that one data key seals [default: 4294967296].
    #[arg(long, value_name = "N", requires = "cache_age")]
    cache_messages: Option<u64>,
    /// Most bytes that one data key seals [default: 9223372036854775807].
    #[arg(long, value_name = "BYTES", requires = "cache_age")]
    cache_bytes: Option<u64>,
}

impl Sharing {
    fn bucket(&self) -> BucketPolicy {
        let default = BucketPolicy::default();
        BucketPolicy {
            max_age: self.bucket_age.map_or(default.max_age, Duration::from_secs),
            max_messages: self.bucket_messages.unwrap_or(default.max_messages),
            capacity: default.capacity,
        }
    }

    fn cache(&self) -> Option<CacheLimits> {
        Some(CacheLimits {
            max_age: Duration::from_secs(self.cache_age?),
            max_messages: self.cache_messages.unwrap_or(MAX_MESSAGES_PER_KEY),
            max_bytes: self.cache_bytes.unwrap_or(MAX_BYTES_PER_KEY),
        })
    }
}

impl JobArgs {
    pub fn is_to_standard_output(&self) -> bool {
        self.into.is_none() && self.files.get(1).is_some_and(|path| is_standard(path))
    }

    pub const fn is_into_a_folder(&self) -> bool {
        self.into.is_some()
    }

    /// What is read and written, in order.
    pub fn files(&self, opening: bool) -> Result<Vec<Files>, ToolError> {
        let usage = |message: String| ToolError::Usage { message };
        let Some(into) = &self.into else {
            let [input, output] = self.files.as_slice() else {
                let found = self.files.len();
                return Err(usage(format!(
                    "expected IN and OUT, {found} files were given"
                )));
            };
            let (input, output) = (input.clone(), output.clone());
            return Ok(vec![Files { input, output }]);
        };
        let mut taken = BTreeMap::new();
        let mut files = Vec::new();
        for input in &self.files {
            let named = name(input, opening);
            let name = named.ok_or_else(|| {
                let expected = if opening {
                    "a name that ends in .esdk"
                } else {
                    "a file's name"
                };
                usage(format!("{}: expected {expected}", input.display()))
            })?;
            if let Some(other) = taken.insert(name.clone(), input) {
                let (one, two) = (other.display(), input.display());
                return Err(usage(format!("{one} and {two} would have one output")));
            }
            let output = into.join(name);
            let input = input.clone();
            files.push(Files { input, output });
        }
        Ok(files)
    }

    pub fn job(self) -> Result<Job, ToolError> {
        let (bucket, cache) = (self.sharing.bucket(), self.sharing.cache());
        let mut owners = Vec::new();
        if let (Some(kms), Some(kms_ca), Some(credentials)) =
            (self.kms, self.kms_ca, self.credentials)
        {
            owners.push(Owner {
                keys: self.keys,
                kms,
                kms_host: self.kms_host,
                kms_ca,
                region: self.region,
                credentials,
            });
        }
        for file in &self.owners {
            owners.push(Owner::read(file)?);
        }
        Ok(Job {
            keys: KeyOptions {
                owners,
                bucket_by: self.sharing.bucket_by.into_iter().collect(),
                bucket,
                cache,
            },
            context: EncryptionContext::from_pairs(self.context)?,
            required: self.required.into_iter().collect::<BTreeSet<_>>(),
            plaintext_limit: self.plaintext_limit,
            replace: self.force,
        })
    }
}

/// The output's name for an input's, in a folder.
fn name(input: &Path, opening: bool) -> Option<PathBuf> {
    let name = input.file_name().filter(|_| !is_standard(input))?;
    if !opening {
        let mut name = name.to_owned();
        name.push(".");
        name.push(EXTENSION);
        return Some(name.into());
    }
    let name = Path::new(name);
    let sealed = name.extension() == Some(OsStr::new(EXTENSION));
    sealed.then(|| name.with_extension(""))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected K=V")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn suite(text: &str) -> Result<Suite, String> {
    let known = [Suite::CommittedSigned, Suite::Committed];
    let named = |suite: &Suite| format!("{:#06x}", suite.id()) == text.to_ascii_lowercase();
    let found = known.into_iter().find(named);
    found.ok_or_else(|| "expected 0x0578 or 0x0478".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_folder() {
        let of = |input: &str, opening| {
            name(Path::new(input), opening).map(|name| name.to_str().unwrap().to_owned())
        };
        assert_eq!(of("a/b.csv", false).unwrap(), "b.csv.esdk");
        assert_eq!(of("x.esdk", false).unwrap(), "x.esdk.esdk");
        assert_eq!(of("a/b.csv.esdk", true).unwrap(), "b.csv");
        for (input, opening) in [("-", false), ("..", false), ("/", false), ("-", true)] {
            assert_eq!(of(input, opening), None, "{input}");
        }
        for input in ["b.csv", ".esdk", "esdk", "b.esdk.bak"] {
            assert_eq!(of(input, true), None, "{input}");
        }
    }
}
