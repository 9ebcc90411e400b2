//! `cargo xtask demo pii`: attested decryption of personal records, and every way around it tried.

pub mod cast;
pub mod kms;
pub(in crate::demo) mod refusals;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::demo::progress::Progress;
use crate::demo::{Refusal, run_enclave, terminate};
use crate::paths;
use crate::scene::Scene;
use crate::setup::{Purpose, SetupOptions, setup};
use crate::stage::{self, Pcrs, Profile};

use cast::Cast;

/// Options of the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct PiiOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// Records of your own: CSV with a header. Without it: 1,000 made-up customers.
    #[arg(long)]
    records: Option<PathBuf>,
    /// A job for them. Without it every column is to be recognised, and withheld if it is not. The
    /// answer goes to a receiver whose key the demo makes, whatever the job says.
    #[arg(long, requires = "records")]
    job: Option<PathBuf>,
    /// Where to write the processed rows.
    #[arg(long, default_value = "answer.csv")]
    output: PathBuf,
    /// The enclave's memory in MiB.
    #[arg(long, default_value_t = 512)]
    memory: u32,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// What the demo prints with `--json`.
#[derive(Debug, Serialize)]
struct Shown {
    pcrs: Pcrs,
    records: Rows,
    output: PathBuf,
    report: Value,
    answer_document: AnswerDocument,
    refusals: Vec<Refusal>,
    audit: Audit,
    seconds: std::collections::BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
struct Rows {
    read: u64,
    written: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct AnswerDocument {
    verified: bool,
    sha384: String,
}

/// What the KMS says of its audit trail.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct Audit {
    /// How many events it holds.
    pub events: u64,
    /// Whether its chain is whole.
    pub verified: bool,
}

/// Runs the demo.
///
/// # Errors
/// A step fails, or something was not refused that must be.
pub fn run(options: &PiiOptions) -> Result<()> {
    let inputs = Inputs::check(options)?;
    let mut progress = Progress::new(options.json);
    progress.step("setup", "set-up", |_| setup(options.setup, Purpose::Demo))?;
    let bins = progress.step("programs", "building the programs", |_| {
        stage::build_programs(Profile::Debug)
    })?;
    let scene = Scene::new("demo", &bins)?;
    let shown = play(&scene, &inputs, options, &mut progress)?;
    if options.json {
        println!("{}", serde_json::to_string(&shown)?);
    } else {
        summary(&shown);
    }
    judge(&shown)
}

/// Whether everything went as it must.
fn judge(shown: &Shown) -> Result<()> {
    if let Some(missed) = shown.refusals.iter().find(|refusal| !refusal.refused) {
        bail!("not refused: {}", missed.case);
    }
    if !shown.answer_document.verified {
        bail!("the answer's document did not verify");
    }
    if !shown.audit.verified {
        bail!("the chain of the KMS's audit trail is broken");
    }
    Ok(())
}

/// The records and what the owner says of them, checked before anything is built.
struct Inputs {
    records: PathBuf,
    /// A draft of the job; `None` has every column recognised.
    draft: Option<PathBuf>,
    output: PathBuf,
}

impl Inputs {
    fn check(options: &PiiOptions) -> Result<Self> {
        let data = paths::root().join("images/xtask/data");
        let here = std::env::current_dir().context("the present folder is gone")?;
        let own = options.records.as_ref().map(|r| here.join(r));
        let records = own.clone().unwrap_or_else(|| data.join("customers.csv"));
        std::fs::File::open(&records)
            .with_context(|| format!("cannot read the records {}", records.display()))?;
        let draft = match (&own, &options.job) {
            (None, _) => Some(data.join("job.json")),
            (Some(_), job) => job.as_ref().map(|job| here.join(job)),
        };
        let output = here.join(&options.output);
        let dir = output.parent().unwrap_or(&here);
        if !dir.is_dir() {
            bail!(
                "the folder of --output {} does not exist",
                options.output.display()
            );
        }
        Ok(Self {
            records,
            draft,
            output,
        })
    }
}

fn play(
    scene: &Scene,
    inputs: &Inputs,
    options: &PiiOptions,
    progress: &mut Progress,
) -> Result<Shown> {
    let memory = options.memory.to_string();
    let mut cast = progress.step(
        "kms",
        "the owner starts a KMS that trusts this platform",
        |_| Cast::assemble(scene),
    )?;
    let image = progress.step("image", "building and measuring the image", |progress| {
        let ca = format!("{}=/etc/anchorhold/kms-ca.pem", cast.kms.ca().display());
        let image = stage::build_image(scene.bins(), "pii", &[ca], &scene.path("pii.eif"))?;
        progress.note(&format!("PCR0 {}", image.pcrs.pcr0));
        Ok(image)
    })?;
    progress.step(
        "key",
        "the owner makes a key that only this image decrypts under",
        |progress| {
            cast.create_key(&image.pcrs)?;
            progress.note(&format!("{}; root {}", cast.key()?, cast.root_sha256()?));
            Ok(())
        },
    )?;
    progress.step("seal", "the owner seals the records under the job", |_| {
        cast.seal(inputs.draft.as_deref(), &inputs.records)
    })?;
    let enclave = progress.step("boot", "the parent boots the image", |_| {
        run_enclave(scene, &image.eif, &["--memory", &memory])
    })?;
    let answer = scene.path("answer");
    let challenge = cast::challenge()?;
    let work = "attest, release, decrypt, process: the parent carries ciphertext in and out";
    progress.step("answer", work, |_| {
        cast.submit(&enclave, &challenge, &answer)
    })?;
    let opened = progress.step("verify", "the owner verifies the answer's document", |_| {
        cast.open(&answer, &challenge, &inputs.output)
    })?;
    let refusals = refusals::try_all(&mut cast, progress, &image, &enclave, &memory)?;
    progress.step("end", "ending the enclave", |_| terminate(scene, &enclave))?;
    let audit = progress.step("audit", "reading the KMS's audit trail", |_| {
        cast.kms.audit()
    })?;
    let count = |name: &str| {
        opened
            .pointer(&format!("/report/rows/{name}"))
            .and_then(Value::as_u64)
    };
    let rows = |name: &str| count(name).with_context(|| format!("the report has no rows.{name}"));
    Ok(Shown {
        pcrs: image.pcrs,
        records: Rows {
            read: rows("read")?,
            written: rows("written")?,
            rejected: rows("rejected")?,
        },
        output: inputs.output.clone(),
        answer_document: AnswerDocument {
            verified: opened
                .pointer("/document/verified")
                .and_then(Value::as_bool)
                == Some(true),
            sha384: text(&opened, "/document/sha384")?.to_owned(),
        },
        report: opened
            .get("report")
            .cloned()
            .context("the answer has no report")?,
        refusals,
        audit,
        seconds: progress.seconds(),
    })
}

/// A text of a JSON answer.
pub(in crate::demo) fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("expected {pointer} in {value}"))
}

fn summary(shown: &Shown) {
    let Rows {
        read,
        written,
        rejected,
    } = shown.records;
    println!("\nThe answer");
    println!(
        "  {read} records read, {written} written to {}, {rejected} rejected",
        shown.output.display()
    );
    for column in shown
        .report
        .get("columns")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let of = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or_default();
        println!(
            "    {:<16} {:<14} {}",
            of("name"),
            of("type"),
            of("disclosed")
        );
    }
    let list = |name: &str| {
        shown
            .report
            .get(name)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    let number = |name: &str| {
        shown
            .report
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    println!(
        "  {} groups of at least {} records, {} records in groups that are not shown",
        list("groups"),
        number("k"),
        number("suppressed_rows"),
    );
    println!(
        "  its document verified: PCR0 {}…",
        shown.pcrs.pcr0.get(..16).unwrap_or_default()
    );
    println!("\nTried and refused");
    for refusal in &shown.refusals {
        let mark = if refusal.refused {
            "✓"
        } else {
            "✗ NOT REFUSED:"
        };
        println!("  {mark} {}\n      {}", refusal.case, refusal.rule);
    }
    let Audit { events, verified } = shown.audit;
    println!(
        "\nAudit: {events} events, chain {}",
        if verified { "intact" } else { "BROKEN" }
    );
    let total: f64 = shown.seconds.values().sum();
    println!("{total:.0} s in all. Nothing is left running.");
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.with_context(|| format!("cannot write {}", path.display()))
}
