//! Who plays: owner, KMS, parent and platform, each by its own programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::commands::{capture, output};
use crate::demo::pii::kms::Kms;
use crate::demo::pii::text;
use crate::demo::{Enclave, eventually};
use crate::scene::{Scene, Server};
use crate::stage::Pcrs;

/// The vsock port that leads to the KMS; the PII image's environment names it.
const KMS_PORT: &str = "8000";
/// The file of the receiver's private key.
const RECEIVER: &str = "receiver.pem";
/// The data set of the demo.
const DATA_SET: &str = "customers-2026";

/// Everybody, and what they hold.
pub struct Cast<'s> {
    /// The scene.
    pub scene: &'s Scene,
    /// The owner's KMS.
    pub kms: Kms<'s>,
    _proxy: Server,
    enclave_arn: String,
    pcrs: Option<Pcrs>,
    key: Option<String>,
}

impl<'s> Cast<'s> {
    /// Starts the KMS, and the parent's way to it.
    ///
    /// # Errors
    /// Something does not start.
    pub fn assemble(scene: &'s Scene) -> Result<Self> {
        let root = platform_root(scene, "platform")?;
        let mut kms = Kms::init(scene)?;
        kms.serve(&[&root], &[])?;
        let policy = scene.path("enclave-policy.json");
        let mut print = scene.program("anchorhold-owner");
        fs::write(&policy, output(print.args(["key", "identity-policy"]))?)?;
        let enclave_arn = kms.add_principal("enclave", &policy)?;
        let proxy = proxy(scene, kms.port())?;
        Ok(Self {
            scene,
            kms,
            _proxy: proxy,
            enclave_arn,
            pcrs: None,
            key: None,
        })
    }

    /// The platform's root certificate.
    pub fn root(&self) -> PathBuf {
        self.scene.path("platform.pem")
    }

    /// SHA-256 of the platform's root, in hex, as its program tells it.
    ///
    /// # Errors
    /// It fails.
    pub fn root_sha256(&self) -> Result<String> {
        let mut show = self.scene.program("anchorhold-hypervisor");
        let printed = output(show.args(["platform", "show"]))?;
        let shown: Value = serde_json::from_str(&printed)
            .with_context(|| format!("platform show printed {printed}"))?;
        Ok(text(&shown, "/root_sha256")?.to_owned())
    }

    /// Creates the key for an image.
    ///
    /// # Errors
    /// The KMS refuses.
    pub fn create_key(&mut self, pcrs: &Pcrs) -> Result<()> {
        let mut create = self.owner(&["key", "create"])?;
        create.args([
            "--owner",
            &self.kms.owner_arn()?,
            "--enclave",
            &self.enclave_arn,
        ]);
        measured(&mut create, pcrs, &self.root());
        let created: Value = serde_json::from_str(&output(&mut create)?)?;
        self.key = Some(text(&created, "/key_arn")?.to_owned());
        self.pcrs = Some(pcrs.clone());
        Ok(())
    }

    /// The key's ARN.
    ///
    /// # Errors
    /// There is none yet.
    pub fn key(&self) -> Result<&str> {
        self.key.as_deref().context("there is no key yet")
    }

    /// Makes a token key and a receiver's key pair, writes the job that names both, and seals the
    /// records under the job.
    ///
    /// # Errors
    /// The owner's tool refuses.
    pub fn seal(&self, draft: Option<&Path>, records: &Path) -> Result<()> {
        let data_set = match draft {
            Some(draft) => data_set_of(draft)?,
            None => DATA_SET.to_owned(),
        };
        let token_key = self.scene.path("token-key.esdk");
        let mut token = self.owner(&["pii", "token-key", "--key", self.key()?])?;
        token.args(["--data-set", &data_set, "--output"]);
        output(token.arg(&token_key))?;
        let mut receiver = self.scene.program("anchorhold-owner");
        receiver.args(["pii", "receiver", "--output"]);
        let made = output(receiver.arg(self.scene.path(RECEIVER)))?;
        let made: Value =
            serde_json::from_str(&made).with_context(|| format!("pii receiver printed {made}"))?;
        let receiver = format!("owner={}", text(&made, "/public_key")?);
        let mut job = self.scene.program("anchorhold-owner");
        job.args(["pii", "job", "--receiver", &receiver, "--output"])
            .arg(self.scene.path("job.json"))
            .arg("--token-key")
            .arg(&token_key);
        match draft {
            Some(draft) => job.arg("--draft").arg(draft),
            None => job
                .arg("--records")
                .arg(records)
                .args(["--data-set", DATA_SET]),
        };
        output(&mut job)?;
        let mut seal = self.owner(&["pii", "seal", "--key", self.key()?])?;
        seal.arg("--job")
            .arg(self.scene.path("job.json"))
            .arg("--records")
            .arg(records);
        seal.arg("--output").arg(self.scene.path("records.esdk"));
        output(seal.arg("--receipt").arg(self.scene.path("receipt.json"))).map(|_| ())
    }

    /// The parent's call that hands everything to an enclave, ready to be changed and run.
    pub fn submission(&self, enclave: &Enclave, challenge: &str, answer: &Path) -> Command {
        let files = Files {
            job: self.scene.path("job.json"),
            records: self.scene.path("records.esdk"),
            token_key: self.scene.path("token-key.esdk"),
        };
        self.submission_of(&files, enclave, challenge, answer)
    }

    /// As [`Self::submission`], with files of the parent's choice.
    pub fn submission_of(
        &self,
        files: &Files,
        enclave: &Enclave,
        challenge: &str,
        answer: &Path,
    ) -> Command {
        let mut submit = self.scene.program("anchorhold-pii-client");
        submit.args(["--enclave-id", &enclave.id, "--challenge", challenge]);
        submit
            .arg("--job")
            .arg(&files.job)
            .arg("--records")
            .arg(&files.records);
        submit.arg("--token-key").arg(&files.token_key);
        submit
            .arg("--credentials")
            .arg(self.scene.path("enclave.json"));
        submit.arg("--answer").arg(answer);
        submit
    }

    /// Has an enclave process the records. It may still be starting.
    ///
    /// # Errors
    /// It refuses.
    pub fn submit(&self, enclave: &Enclave, challenge: &str, answer: &Path) -> Result<()> {
        self.wait_for(enclave)?;
        output(&mut self.submission(enclave, challenge, answer)).map(|_| ())
    }

    /// Waits until the application listens.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_for(&self, enclave: &Enclave) -> Result<()> {
        eventually(Duration::from_secs(60), || {
            let mut connect = self.scene.program("anchorhold");
            let arguments = ["connect", "--enclave-id", &enclave.id, "--port", "5005"];
            // What it answers to a connection that says nothing is a refusal in its own frames.
            let done = capture(connect.args(arguments))?;
            if !done.status.success() {
                bail!("{}", String::from_utf8_lossy(&done.stderr));
            }
            Ok(())
        })
    }

    /// The owner's check of an answer, ready to be changed and run.
    ///
    /// # Errors
    /// There is no key yet.
    pub fn opening(&self, answer: &Path, challenge: &str, to: &Path) -> Result<Command> {
        let mut open = self.scene.program("anchorhold-owner");
        open.args(["pii", "open", "--challenge", challenge, "--answer"])
            .arg(answer);
        open.arg("--job").arg(self.scene.path("job.json"));
        open.arg("--receipt")
            .arg(self.scene.path("receipt.json"))
            .arg("--private-key")
            .arg(self.scene.path(RECEIVER))
            .arg("--output")
            .arg(to);
        measured(
            &mut open,
            self.pcrs.as_ref().context("there is no image yet")?,
            &self.root(),
        );
        Ok(open)
    }

    /// Verifies and opens an answer.
    ///
    /// # Errors
    /// It is refused.
    pub fn open(&self, answer: &Path, challenge: &str, to: &Path) -> Result<Value> {
        let printed = output(&mut self.opening(answer, challenge, to)?)?;
        serde_json::from_str(&printed).with_context(|| format!("pii open printed {printed}"))
    }

    /// The owner's tool with its KMS and credentials.
    fn owner(&self, words: &[&str]) -> Result<Command> {
        let mut owner = self.scene.program("anchorhold-owner");
        owner.args(words).args([
            "--kms",
            &self.kms.address(),
            "--region",
            &self.kms.region()?,
        ]);
        owner.arg("--kms-ca").arg(self.kms.ca());
        owner
            .arg("--credentials")
            .arg(self.scene.path("owner.json"));
        Ok(owner)
    }
}

/// What the parent hands over.
pub struct Files {
    /// The job.
    pub job: PathBuf,
    /// The sealed records.
    pub records: PathBuf,
    /// The sealed token key.
    pub token_key: PathBuf,
}

/// The data set that a draft of a job names.
fn data_set_of(draft: &Path) -> Result<String> {
    let shown = draft.display();
    let bytes = fs::read(draft).with_context(|| format!("cannot read the job {shown}"))?;
    let draft: Value =
        serde_json::from_slice(&bytes).with_context(|| format!("the job {shown} is no JSON"))?;
    Ok(text(&draft, "/data_set")?.to_owned())
}

fn measured(command: &mut Command, pcrs: &Pcrs, root: &Path) {
    for (index, pcr) in [&pcrs.pcr0, &pcrs.pcr1, &pcrs.pcr2].iter().enumerate() {
        command.args(["--pcr", &format!("{index}={pcr}")]);
    }
    command.arg("--root").arg(root);
}

/// A fresh challenge of 32 bytes, in hex.
///
/// # Errors
/// No randomness.
pub fn challenge() -> Result<String> {
    let mut challenge = [0_u8; 32];
    getrandom::fill(&mut challenge).context("no random numbers")?;
    Ok(hex::encode(challenge))
}

/// Makes a platform identity in a scene and keeps its root certificate in `NAME.pem`.
///
/// # Errors
/// The hypervisor's program fails.
pub fn platform_root(scene: &Scene, name: &str) -> Result<PathBuf> {
    let mut init = scene.program("anchorhold-hypervisor");
    init.env("ANCHORHOLD_PLATFORM_DIR", scene.path(name));
    output(init.args(["platform", "init"]))?;
    let mut root = scene.program("anchorhold-hypervisor");
    root.env("ANCHORHOLD_PLATFORM_DIR", scene.path(name));
    let pem = scene.path(&format!("{name}.pem"));
    fs::write(&pem, output(root.args(["platform", "root"]))?)?;
    Ok(pem)
}

/// The parent's proxy to the KMS: one port, one allowed address.
fn proxy(scene: &Scene, port: u16) -> Result<Server> {
    let config = scene.path("vsock-proxy.yaml");
    fs::write(
        &config,
        format!("allowlist:\n- {{address: 127.0.0.1, port: {port}}}\n"),
    )?;
    let mut proxy = scene.program("anchorhold");
    proxy
        .args([
            "vsock-proxy",
            KMS_PORT,
            "127.0.0.1",
            &port.to_string(),
            "--config",
        ])
        .arg(&config);
    let socket = scene.path("state").join(format!("vsock_{KMS_PORT}"));
    let server = scene.serve_until("proxy", &proxy, || socket.exists())?;
    if !socket.exists() {
        bail!("the proxy does not listen:\n{}", server.last_words());
    }
    Ok(server)
}
