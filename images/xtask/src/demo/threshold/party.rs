//! One owner with all that is its own: platform, KMS, key, host, parent, enclave.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::kms::Kms;
use super::relay::Relay;
use super::tools::{challenge, measured, pcr4, private, program, refusal, text};
use crate::commands::output;
use crate::demo::{Enclave, Refusal, eventually};
use crate::scene::{Scene, Server};
use crate::stage::{Image, Pcrs};

/// The parent's vsock port that leads to the owner's KMS.
const KMS_PORT: u32 = 8000;
/// The parent's vsock ports that lead to the peers: this and the peer's number.
const PEER_PORTS: u32 = 7000;
/// Where an enclave takes its peers' calls.
const CALLS: &str = "5006";
/// The name that enclaves demand of a KMS.
const KMS_HOST: &str = "kms.anchorhold.internal";

/// An owner.
pub struct Party<'s> {
    /// Its number in the agreement, from 1.
    pub number: u16,
    /// Its name, also of its directory.
    pub name: &'static str,
    scene: &'s Scene,
    dir: PathBuf,
    kms: Kms,
    enclave_arn: String,
    owner_arn: String,
    key_arn: String,
    approval_key: String,
    /// PCR4 of enclaves on its host.
    instance: String,
    enclave: Option<Enclave>,
    calls: Option<Server>,
    ways: Vec<Server>,
}

impl<'s> Party<'s> {
    /// Makes its platform, KMS, principal, approval key, and a key that nobody can use yet.
    ///
    /// # Errors
    /// One of its programs fails.
    pub fn assemble(
        scene: &'s Scene,
        number: u16,
        name: &'static str,
        pcrs: &Pcrs,
    ) -> Result<Self> {
        let dir = scene.path(name);
        fs::create_dir(&dir)?;
        let at = |file: &str| dir.join(file);
        let program = |name: &str| program(scene, &dir, name);
        let platform = output(program("anchorhold-hypervisor").args(["platform", "init"]))?;
        let platform: Value = serde_json::from_str(&platform)?;
        let root = output(program("anchorhold-hypervisor").args(["platform", "root"]))?;
        fs::write(at("root.pem"), root)?;
        let mut tls = program("anchorhold-owner");
        tls.arg("tls").arg("--dir").arg(at("tls"));
        output(tls.args(["--host", KMS_HOST, "--host", "127.0.0.1"]))?;
        let mut init = program("anchorhold-kms");
        let owner = output(init.args(["init", "--data-dir"]).arg(at("kms")))?;
        private(&at("owner.json"), &owner)?;
        let owner: Value = serde_json::from_str(&owner)?;
        let policy = output(program("anchorhold-owner").args(["threshold", "identity-policy"]))?;
        fs::write(at("identity.json"), policy)?;
        let mut add = program("anchorhold-kms");
        add.args(["principal", "add", "enclave", "--data-dir"]);
        add.arg(at("kms")).arg("--policy").arg(at("identity.json"));
        let added = output(&mut add)?;
        private(&at("enclave.json"), &added)?;
        let added: Value = serde_json::from_str(&added)?;
        let kms = Kms::serve(scene, name, &dir, text(&owner, "/region")?)?;
        let mut approval = program("anchorhold-owner");
        approval.args(["threshold", "approval-key", "--output"]);
        let approval = output(approval.arg(at("approval.key")))?;
        let approval: Value = serde_json::from_str(&approval)?;
        let mut party = Self {
            number,
            name,
            scene,
            kms,
            enclave_arn: text(&added, "/principal_arn")?.to_owned(),
            owner_arn: text(&owner, "/principal_arn")?.to_owned(),
            key_arn: String::new(),
            approval_key: text(&approval, "/approval_key")?.to_owned(),
            instance: pcr4(text(&platform, "/instance_id")?),
            enclave: None,
            calls: None,
            ways: Vec::new(),
            dir,
        };
        let created = output(&mut party.policy(pcrs)?)?;
        let created: Value = serde_json::from_str(&created)?;
        party.key_arn = text(&created, "/key_arn")?.to_owned();
        Ok(party)
    }

    /// The owner's entry in the agreement.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn member(&self) -> Result<Value> {
        let read = |file: &str| fs::read_to_string(self.dir.join(file));
        Ok(json!({
            "name": self.name,
            "platform_root_pem": read("root.pem")?,
            "kms": {
                "host": KMS_HOST,
                "ca_pem": read("tls/ca.pem")?,
                "key_arn": self.key_arn,
                "gives_nonces": true,
            },
            "approval_key": self.approval_key,
            "registers": [{ "pcr": 4, "value": self.instance }],
        }))
    }

    /// Has the owner's KMS seal shares of this and the next epoch, and open this one's only, of
    /// this sharing if there is one.
    ///
    /// # Errors
    /// The KMS refuses.
    pub fn set_epoch(
        &self,
        pcrs: &Pcrs,
        agreement: &Path,
        epoch: u64,
        sharing: Option<&str>,
    ) -> Result<()> {
        let mut policy = self.policy(pcrs)?;
        policy.args(["--key", &self.key_arn, "--epoch", &epoch.to_string()]);
        policy.args(
            sharing
                .map(|sharing| ["--sharing", sharing])
                .iter()
                .flatten(),
        );
        output(policy.arg("--agreement").arg(agreement)).map(|_| ())
    }

    fn policy(&self, pcrs: &Pcrs) -> Result<Command> {
        let mut policy = self.program("anchorhold-owner");
        policy.args(["threshold", "policy", "--kms"]);
        policy.arg(format!("127.0.0.1:{}", self.kms.port));
        policy.args(["--region", &self.kms.region, "--kms-ca"]);
        policy.arg(self.dir.join("tls/ca.pem"));
        policy.arg("--credentials").arg(self.dir.join("owner.json"));
        policy.args(["--owner", &self.owner_arn, "--enclave", &self.enclave_arn]);
        measured(&mut policy, pcrs);
        policy.arg("--root").arg(self.dir.join("root.pem"));
        Ok(policy)
    }

    /// Boots the image on this owner's platform, and takes calls for the enclave.
    ///
    /// # Errors
    /// It does not boot.
    pub fn boot(&mut self, image: &Image) -> Result<()> {
        let mut run = self.program("anchorhold");
        run.args(["run-enclave", "--memory", "256", "--eif-path"]);
        let printed = output(&mut self.scene.bound(run.arg(&image.eif)))?;
        let enclave: Enclave = serde_json::from_str(&printed)?;
        let mut forward = self.program("anchorhold");
        forward.args(["forward", "--listen", "127.0.0.1:0", "--port", CALLS]);
        forward.args(["--enclave-id", &enclave.id]);
        let log = format!("{}-calls", self.name);
        self.calls = Some(self.scene.serve(&log, &forward)?);
        self.enclave = Some(enclave);
        Ok(())
    }

    /// Ends the enclave: what was in its memory is gone.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.calls = None;
        let Some(enclave) = self.enclave.take() else {
            bail!("{} has no enclave", self.name);
        };
        let mut end = self.program("anchorhold");
        end.args(["terminate-enclave", "--enclave-id", &enclave.id]);
        output(&mut end).map(|_| ())
    }

    /// Where peers' calls come in.
    ///
    /// # Errors
    /// There is no enclave.
    pub fn address(&self) -> Result<String> {
        let server = self.calls.as_ref().context("there is no enclave")?;
        let line: Value = serde_json::from_str(server.first_line())?;
        Ok(text(&line, "/listening/0")?.to_owned())
    }

    /// The parent's ways out: to the KMS, and through a relay to each peer.
    ///
    /// # Errors
    /// A proxy does not start.
    pub fn open_ways(&mut self, relays: &[(u16, &Relay)]) -> Result<()> {
        self.way(KMS_PORT, self.kms.port)?;
        for (peer, relay) in relays {
            self.way(PEER_PORTS + u32::from(*peer), relay.port())?;
        }
        Ok(())
    }

    fn way(&mut self, local: u32, port: u16) -> Result<()> {
        let config = self.dir.join(format!("allowlist-{local}.yaml"));
        let allowed = format!("allowlist:\n- {{address: 127.0.0.1, port: {port}}}\n");
        fs::write(&config, allowed)?;
        let mut proxy = self.program("anchorhold");
        proxy.args(["vsock-proxy", &local.to_string(), "127.0.0.1"]);
        proxy.arg(port.to_string()).arg("--config").arg(&config);
        let socket = self.dir.join("state").join(format!("vsock_{local}"));
        let log = format!("{}-way-{local}", self.name);
        let server = self.scene.serve_until(&log, &proxy, || socket.exists())?;
        self.ways.push(server);
        Ok(())
    }

    /// Tells the enclave what it is part of.
    ///
    /// # Errors
    /// It refuses.
    pub fn configure(&self, agreement: &Path) -> Result<Value> {
        let credentials = fs::read_to_string(self.dir.join("enclave.json"))?;
        let credentials: Value = serde_json::from_str(&credentials)?;
        let peers: serde_json::Map<_, _> = (1..=3)
            .filter(|peer| *peer != self.number)
            .map(|peer: u16| (peer.to_string(), json!(PEER_PORTS + u32::from(peer))))
            .collect();
        self.ask(&json!({
            "op": "configure",
            "agreement": fs::read_to_string(agreement)?,
            "participant": self.number,
            "peers": peers,
            "credentials": {
                "access_key_id": text(&credentials, "/access_key_id")?,
                "secret_access_key": text(&credentials, "/secret_access_key")?,
            },
        }))
    }

    /// Has the enclave do something.
    ///
    /// # Errors
    /// It refuses.
    pub fn ask(&self, command: &Value) -> Result<Value> {
        let answer = self.answer(command)?;
        match answer.get("done") {
            Some(done) => Ok(done.clone()),
            None => bail!("{} refuses {}: {answer}", self.name, command["op"]),
        }
    }

    /// What the enclave answers, a refusal too.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn answer(&self, command: &Value) -> Result<Value> {
        let enclave = self.enclave.as_ref().context("there is no enclave")?;
        let file = self.dir.join("command.json");
        fs::write(&file, format!("{command}\n"))?;
        eventually(Duration::from_secs(60), || {
            let mut connect = self.program("anchorhold");
            connect.args(["connect", "--enclave-id", &enclave.id, "--port", "5005"]);
            connect.args(["--wait", "60"]);
            let done = connect
                .stdin(File::open(&file)?)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .output()?;
            let printed = String::from_utf8_lossy(&done.stdout);
            serde_json::from_str(&printed).with_context(|| {
                let stderr = String::from_utf8_lossy(&done.stderr);
                format!("{} answered `{printed}` {stderr}", self.name)
            })
        })
    }

    /// A command that must be refused.
    ///
    /// # Errors
    /// The enclave cannot be reached.
    pub fn refusal(&self, case: &str, command: &Value) -> Result<Refusal> {
        Ok(refusal(case, &self.answer(command)?))
    }

    /// The owner's approval of a message.
    ///
    /// # Errors
    /// The owner's tool refuses.
    pub fn approve(&self, agreement: &Path, key: &str, message: &[u8]) -> Result<String> {
        let file = self.dir.join("message");
        fs::write(&file, message)?;
        let mut approve = self.program("anchorhold-owner");
        approve.args(["threshold", "approve", "--group-key", key]);
        approve.arg("--agreement").arg(agreement);
        approve.arg("--key").arg(self.dir.join("approval.key"));
        let printed = output(approve.arg("--message").arg(file))?;
        let printed: Value = serde_json::from_str(&printed)?;
        Ok(text(&printed, "/approval")?.to_owned())
    }

    /// What the enclave attests of itself, checked by the owner's tool.
    ///
    /// # Errors
    /// It is refused.
    pub fn status(&self, agreement: &Path, pcrs: &Pcrs) -> Result<Value> {
        let challenge = challenge()?;
        let answer = self.answer(&json!({ "op": "status", "challenge": challenge }))?;
        let file = self.dir.join("status.json");
        fs::write(&file, answer.to_string())?;
        let mut check = self.program("anchorhold-owner");
        check.args(["threshold", "status", "--challenge", &challenge]);
        check.args(["--participant", &self.number.to_string()]);
        measured(&mut check, pcrs);
        check.arg("--agreement").arg(agreement);
        let printed = output(check.arg("--answer").arg(file))?;
        Ok(serde_json::from_str(&printed)?)
    }

    /// Splits the owner's values among enclaves that attested their keys over a challenge.
    ///
    /// # Errors
    /// The owner's tool refuses a document.
    pub fn split(
        &self,
        agreement: &Path,
        pcrs: &Pcrs,
        label: &str,
        challenge: &str,
        values: &[u128],
        intakes: &[PathBuf],
    ) -> Result<Value> {
        let mut split = self.program("anchorhold-owner");
        split.args(["threshold", "split", "--label", label]);
        split.args(["--participant", &self.number.to_string()]);
        split.args(["--challenge", challenge]);
        measured(&mut split, pcrs);
        split.arg("--agreement").arg(agreement);
        split.arg("--key").arg(self.dir.join("approval.key"));
        for value in values {
            split.args(["--value", &value.to_string()]);
        }
        for intake in intakes {
            split.arg("--intake").arg(intake);
        }
        Ok(serde_json::from_str(&output(&mut split)?)?)
    }

    /// The hypervisor's process id.
    ///
    /// # Errors
    /// There is no enclave.
    pub fn hypervisor(&self) -> Result<u32> {
        Ok(self.enclave.as_ref().context("there is no enclave")?.pid)
    }

    /// A file of the owner's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn program(&self, name: &str) -> Command {
        program(self.scene, &self.dir, name)
    }
}
