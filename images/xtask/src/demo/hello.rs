//! `cargo xtask demo hello`: the smallest enclave. Build, boot, attest, answer a line.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::commands::output;
use crate::demo::progress::Progress;
use crate::demo::{Enclave, eventually, run_enclave, terminate};
use crate::scene::Scene;
use crate::setup::{Purpose, SetupOptions, setup};
use crate::stage::{self, Image, Profile};

/// The port of the sample enclave.
const PORT: &str = "5005";
/// How long its first answer may take behind the boot.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the demo types.
const LINE: &str = "hello from the parent";

/// Options of the demo.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct HelloOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// Runs the demo.
///
/// # Errors
/// A step fails.
pub fn run(options: &HelloOptions) -> Result<()> {
    let mut progress = Progress::new(options.json);
    progress.step("setup", "set-up", |_| setup(options.setup, Purpose::Boot))?;
    let bins = progress.step("build", "building the programs", |_| {
        stage::build_programs(Profile::Debug)
    })?;
    let scene = Scene::new("demo", &bins)?;
    let image = progress.step("image", "building and measuring the image", |progress| {
        let image = stage::build_image(scene.bins(), "hello", &[], &scene.path("hello.eif"))?;
        progress.note(&format!("PCR0 {}", image.pcrs.pcr0));
        Ok(image)
    })?;
    let enclave = progress.step("boot", "booting it in a microVM", |_| {
        run_enclave(&scene, &image.eif, &["--memory", "256"])
    })?;
    let verified = progress.step(
        "attest",
        "attesting: a fresh nonce, a document, its checks",
        |_| verified_document(&scene, &image, &enclave, options.json),
    )?;
    let answer = progress.step(
        "line",
        "typing a line to the enclave over vsock",
        |progress| {
            let answer = say(&scene, &enclave, LINE)?;
            progress.note(&format!("parent:  {LINE}"));
            progress.note(&format!("enclave: {answer}"));
            Ok(answer)
        },
    )?;
    progress.step("end", "ending the enclave", |_| terminate(&scene, &enclave))?;
    if options.json {
        let document: Value = serde_json::from_str(&verified)
            .with_context(|| format!("anchorhold-verify printed {verified}"))?;
        let seconds = progress.seconds();
        let shown =
            json!({"pcrs": image.pcrs, "document": document, "answer": answer, "seconds": seconds});
        println!("{shown}");
    } else {
        println!("\nThe enclave's attestation document, verified:\n{verified}");
    }
    Ok(())
}

/// Asks the enclave for a document over a fresh nonce, has `anchorhold-verify` check it, and returns
/// what that prints: JSON, or a text for people.
///
/// # Errors
/// No document comes, or it does not verify.
pub fn verified_document(
    scene: &Scene,
    image: &Image,
    enclave: &Enclave,
    json: bool,
) -> Result<String> {
    let mut nonce = [0_u8; 32];
    getrandom::fill(&mut nonce).context("no random numbers")?;
    let nonce = hex::encode(nonce);
    let document = say(scene, enclave, &format!("attest {nonce}"))?;
    let document = STANDARD
        .decode(document.trim())
        .context("the enclave sent no document")?;
    let (file, root) = (scene.path("document.cose"), scene.path("root.pem"));
    std::fs::write(&file, document)?;
    let mut platform = scene.program("anchorhold-hypervisor");
    std::fs::write(&root, output(platform.args(["platform", "root"]))?)?;
    let mut verify = scene.program("anchorhold-verify");
    verify
        .args(["document", "--max-age", "300", "--nonce", &nonce, "--root"])
        .arg(&root);
    for (index, pcr) in [&image.pcrs.pcr0, &image.pcrs.pcr1, &image.pcrs.pcr2]
        .iter()
        .enumerate()
    {
        verify.args(["--pcr", &format!("{index}={pcr}")]);
    }
    verify.arg(&file);
    let readable = if json {
        verify.arg("--json")
    } else {
        &mut verify
    };
    output(readable)
}

/// Sends a line to the enclave and returns its answer.
///
/// # Errors
/// Nobody listens there in time, or no line comes back.
pub fn say(scene: &Scene, enclave: &Enclave, line: &str) -> Result<String> {
    eventually(PATIENCE, || {
        let mut connect = scene.program("anchorhold");
        connect.args(["connect", "--enclave-id", &enclave.id, "--port", PORT]);
        let mut child = connect
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start anchorhold connect")?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let stdout = child.stdout.take().context("no standard output")?;
        // Whether it is there to read is told by whether it answers.
        let sent = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut answer = String::new();
            let read = BufReader::new(stdout).read_line(&mut answer);
            let _ = tell.send(read.map(|_| answer));
        });
        let answer = told.recv_timeout(PATIENCE);
        drop(stdin);
        let _ = child.kill();
        child.wait()?;
        sent?;
        let answer = answer.context("the enclave does not answer")??;
        if answer.is_empty() {
            bail!("the enclave closed the connection without an answer");
        }
        Ok(answer.trim_end().to_owned())
    })
}
