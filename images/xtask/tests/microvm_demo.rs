//! The README's main command as a newcomer runs it, and what it prints read as a program would.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs it to its end; no scene of its own is left then.
fn xtask(arguments: &[&str], output: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    if let Some(output) = output {
        command.arg("--output").arg(output);
    }
    command.env("ANCHORHOLD_BINS", xtask::stage::bins());
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    let process = running.id();
    let done = running.wait_with_output().unwrap();
    assert_eq!(scenes_of(process), 0, "a scene was left behind");
    done
}

fn json(output: &Output) -> Value {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(
        stdout.lines().count(),
        1,
        "one object and nothing else: {stdout}"
    );
    serde_json::from_str(&stdout).unwrap()
}

/// Every case of the demo, and the rule by which it must be refused.
const REFUSALS: &[(&str, &str)] = &[
    (
        "another image: one byte changed in the application",
        "kms:RecipientAttestation:PCR0",
    ),
    ("the same image in debug mode", "debug.refused"),
    (
        "the parent's own call, without a document",
        "anchorhold:RecipientAttestation:RootSha256",
    ),
    (
        "a replayed document, older than the limit",
        "freshness.too-old",
    ),
    (
        "a document from a root that is not trusted",
        "root.untrusted",
    ),
    (
        "the production PCR0 under another trusted root",
        "anchorhold:RecipientAttestation:RootSha256",
    ),
    (
        "an encryption context that does not match",
        "records.context.mismatch",
    ),
    ("a changed job", "records.context.mismatch"),
    (
        "the token key swapped for the records' key",
        "token-key.context.mismatch",
    ),
    ("an old answer presented again", "nonce.mismatch"),
];

#[test]
fn microvm_demo_pii_answers_and_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let rows = dir.path().join("rows.csv");
    let shown = json(&xtask(
        &["demo", "pii", "--json", "--no-install"],
        Some(&rows),
    ));

    for pcr in ["PCR0", "PCR1", "PCR2"] {
        let pcr = shown["pcrs"][pcr].as_str().unwrap();
        assert!(pcr.len() == 96 && pcr.bytes().any(|b| b != b'0'), "{pcr}");
    }
    assert_eq!(shown["answer_document"]["verified"], true);
    assert_eq!(
        shown["answer_document"]["sha384"].as_str().unwrap().len(),
        96
    );
    assert_eq!(shown["audit"]["verified"], true);
    assert!(shown["audit"]["events"].as_u64().unwrap() >= 10);
    let counts = |name: &str| shown["records"][name].as_u64().unwrap();
    assert_eq!(
        (counts("read"), counts("written"), counts("rejected")),
        (1000, 996, 4)
    );

    let refusals = shown["refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), REFUSALS.len());
    for (refusal, (case, rule)) in refusals.iter().zip(REFUSALS) {
        assert_eq!(refusal["case"], *case);
        assert_eq!(refusal["refused"], true, "{case}");
        assert_eq!(refusal["rule"], *rule, "{case}");
    }
    nothing_personal_is_left(&fs::read_to_string(&rows).unwrap(), &shown["report"]);
}

/// Forty customers: `remark` is recognised by nothing, `country` passes only where a job says so.
fn own_records(dir: &Path) -> std::path::PathBuf {
    let mut csv = String::from("email,country,remark\n");
    for number in 0..40 {
        csv.push_str(&format!(
            "person{number}@example.org,DE,\"line one\nline {number}\"\n"
        ));
    }
    let path = dir.join("customers.csv");
    fs::write(&path, csv).unwrap();
    path
}

/// What the demo shows of own records, and the rows that it wrote.
fn demo_of(records: &Path, more: &[&str]) -> (Value, String) {
    let rows = records.with_file_name("answer.csv");
    let records = records.to_str().unwrap();
    let flags = [
        "demo",
        "pii",
        "--json",
        "--no-install",
        "--records",
        records,
    ];
    let shown = json(&xtask(&[&flags, more].concat(), Some(&rows)));
    assert_eq!(shown["records"]["written"], 40);
    let refusals = shown["refusals"].as_array().unwrap();
    assert!(refusals.len() == REFUSALS.len() && refusals.iter().all(|r| r["refused"] == true));
    let rows = fs::read_to_string(&rows).unwrap();
    assert_eq!(rows.lines().count(), 41, "{rows}");
    assert!(!rows.contains("person") && !rows.contains("line"), "{rows}");
    (shown, rows)
}

/// The README's command on records of one's own: what is not recognised is withheld.
#[test]
fn microvm_demo_pii_recognises_the_columns_of_own_records() {
    let dir = tempfile::tempdir().unwrap();
    let (shown, rows) = demo_of(&own_records(dir.path()), &[]);
    assert_eq!(shown["report"]["k"], 5);
    assert_eq!(rows.lines().next(), Some("email"), "{rows}");
    let tokens: std::collections::BTreeSet<_> = rows.lines().skip(1).collect();
    assert_eq!(tokens.len(), 40);
    assert!(tokens.iter().all(|row| row.starts_with("tok_")), "{rows}");
}

#[test]
fn microvm_demo_pii_takes_an_own_job() {
    let dir = tempfile::tempdir().unwrap();
    let records = own_records(dir.path());
    let job = dir.path().join("job.json");
    let draft = serde_json::json!({
        "format": "anchorhold-pii-job/1", "data_set": "own", "answer_to": "anyone", "k": 9,
        "columns": [{"name": "email", "type": "email"}, {"name": "remark", "type": "withhold"}],
        "pass_through": ["country"],
    });
    fs::write(&job, draft.to_string()).unwrap();
    let (shown, rows) = demo_of(&records, &["--job", job.to_str().unwrap()]);
    assert_eq!(shown["report"]["k"], 9);
    assert!(rows.contains("DE"), "{rows}");
}

/// No value of the shipped sample's personal columns stands in rows or report.
fn nothing_personal_is_left(rows: &str, report: &Value) {
    let report = report.to_string();
    assert_eq!(rows.lines().count(), 997);
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/data/customers.csv");
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(sample)
        .unwrap();
    let headers = reader.headers().unwrap().clone();
    let at = |name: &str| headers.iter().position(|h| h == name).unwrap();
    let personal = [
        "customer_id",
        "name",
        "email",
        "phone",
        "ssn",
        "card_number",
        "date_of_birth",
    ]
    .map(at);
    let mut searched = 0;
    for record in reader.records() {
        let record = record.unwrap();
        for value in personal
            .iter()
            .filter_map(|i| record.get(*i))
            .filter(|v| v.len() >= 6)
        {
            assert!(!rows.contains(value), "{value}");
            assert!(!report.contains(value), "{value}");
            searched += 1;
        }
    }
    assert!(searched > 6000, "{searched}");
}

/// The scenes of one demo's process: the cache holds those of others, too, which may be on.
fn scenes_of(process: u32) -> usize {
    let scenes = xtask::paths::cache().unwrap().join("scenes");
    let own = format!("demo-{process}-");
    let entries = fs::read_dir(scenes).into_iter().flatten().flatten();
    let demos = entries.filter(|e| e.file_name().to_string_lossy().starts_with(&own));
    demos.filter(|e| e.path().is_dir()).count()
}

#[test]
fn microvm_demo_hello_shows_a_verified_document() {
    let shown = json(&xtask(&["demo", "hello", "--json", "--no-install"], None));
    assert!(
        shown["answer"]
            .as_str()
            .unwrap()
            .contains("hello from the parent")
    );
    assert!(
        shown["document"]
            .to_string()
            .contains(shown["pcrs"]["PCR0"].as_str().unwrap())
    );
}

#[test]
fn wrong_calls_say_what_is_wrong_before_anything_is_built() {
    for (arguments, said) in [
        (
            vec!["demo", "pii", "--records", "/nowhere/customers.csv"],
            "cannot read the records",
        ),
        (
            vec!["demo", "pii", "--output", "/nowhere/rows.csv"],
            "the folder of --output",
        ),
        (vec!["demo", "pii", "--job", "job.json"], "--records"),
        (vec!["demo", "pii", "--no-such-flag"], "--no-such-flag"),
        (vec!["demo", "piii"], "piii"),
    ] {
        let output = xtask(&arguments, None);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{arguments:?}"
        );
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
