//! The host: it boots enclaves and carries what it cannot read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::commands::{capture, output};
use crate::demo::mpc::compute::Analysis;
use crate::demo::mpc::owner::{Owner, Round};
use crate::demo::pii::cast::platform_root;
use crate::demo::pii::text;
use crate::demo::{Enclave, eventually};
use crate::scene::{Scene, Server};

/// The vsock port that leads to the first owner's KMS; the others' follow.
const FIRST_KMS_PORT: usize = 8000;

/// What the client says of an answered submission.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Submitted {
    /// Bytes of sealed files sent.
    pub sent: u64,
    /// Pages kept for the enclave.
    pub pages: u64,
    /// Their bytes.
    pub page_bytes: u64,
}

/// The host.
pub(super) struct Host<'s> {
    /// The scene.
    pub scene: &'s Scene,
    root: PathBuf,
}

impl<'s> Host<'s> {
    /// Makes the platform's identity, and the folder in which contracts stand.
    pub(super) fn new(scene: &'s Scene) -> Result<Self> {
        fs::create_dir(scene.path("contracts"))?;
        let root = platform_root(scene, "platform")?;
        Ok(Self { scene, root })
    }

    /// The platform's root certificate.
    pub(super) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// The enclave's way to an owner's KMS: one port, one allowed address.
    pub(super) fn proxy(&self, place: usize, port: u16) -> Result<Server> {
        let (name, vsock) = (format!("proxy-{place}"), FIRST_KMS_PORT + place);
        let config = self.scene.path(&format!("{name}.yaml"));
        let allowed = format!("allowlist:\n- {{address: 127.0.0.1, port: {port}}}\n");
        fs::write(&config, allowed)?;
        let mut proxy = self.scene.program("anchorhold");
        proxy.args(["vsock-proxy", &vsock.to_string(), "127.0.0.1"]);
        proxy.args([&port.to_string(), "--config"]).arg(&config);
        let socket = self.scene.path("state").join(format!("vsock_{vsock}"));
        let server = self.scene.serve_until(&name, &proxy, || socket.exists())?;
        if !socket.exists() {
            bail!("the proxy does not listen:\n{}", server.last_words());
        }
        Ok(server)
    }

    /// Writes a contract from the owners' offers.
    pub(super) fn draft(
        &self,
        name: &str,
        owners: &[Owner<'_>],
        eif: &Path,
        analysis: &Analysis,
    ) -> Result<Round> {
        let offers = owners.iter().map(|owner| owner.offer_file(analysis));
        self.draft_of(name, offers.collect(), eif, analysis, &[])
    }

    /// Writes a contract from any offers; `words` are further words of `contract draft`.
    pub(super) fn draft_of(
        &self,
        name: &str,
        offers: Vec<PathBuf>,
        eif: &Path,
        analysis: &Analysis,
        words: &[&str],
    ) -> Result<Round> {
        let contract = self.contract(name);
        let mut draft = self.scene.program("anchorhold-party");
        draft.args(["contract", "draft", "--eif"]).arg(eif);
        for offer in &offers {
            draft.arg("--offer").arg(offer);
        }
        draft.args(["--min-cohort", &analysis.min_cohort.to_string()]);
        analysis.common(&mut draft);
        let tool = self.scene.bins().join("anchorhold-image");
        draft.arg("--image-tool").arg(tool).args(words);
        let printed = output(draft.arg("--output").arg(&contract))?;
        let drafted: Value = serde_json::from_str(&printed)?;
        Ok(Round {
            name: name.to_owned(),
            contract,
            sha384: text(&drafted, "/sha384")?.to_owned(),
            offers,
        })
    }

    /// What a document has to say of a contract for its keys to be released, in hex.
    pub(super) fn user_data(&self, round: &Round) -> Result<String> {
        let mut show = self.scene.program("anchorhold-party");
        show.args(["contract", "show", "--contract"]);
        let shown: Value = serde_json::from_str(&output(show.arg(&round.contract))?)?;
        Ok(text(&shown, "/user_data")?.to_owned())
    }

    /// Where a contract stands.
    pub(super) fn contract(&self, name: &str) -> PathBuf {
        self.scene.path("contracts").join(format!("{name}.json"))
    }

    /// What all owners gave under a contract.
    pub(super) fn packages(&self, round: &Round, owners: &[Owner<'_>]) -> Vec<PathBuf> {
        owners.iter().map(|owner| owner.package(round)).collect()
    }

    /// The call that hands packages to an enclave, ready to be run.
    pub(super) fn submission(
        &self,
        enclave: &Enclave,
        contract: &Path,
        packages: &[PathBuf],
        answers: &Path,
    ) -> Command {
        let mut submit = self.scene.program("anchorhold-joint-client");
        submit.args(["--enclave-id", &enclave.id, "--contract"]);
        submit.arg(contract);
        for package in packages {
            submit.arg("--package").arg(package);
        }
        submit.arg("--answers").arg(answers);
        submit
    }

    /// Has an enclave compute.
    pub(super) fn submit(
        &self,
        enclave: &Enclave,
        round: &Round,
        packages: &[PathBuf],
        answers: &Path,
    ) -> Result<Submitted> {
        let mut submit = self.submission(enclave, &round.contract, packages, answers);
        let printed = output(&mut submit)?;
        serde_json::from_str(&printed).with_context(|| format!("the client printed {printed}"))
    }

    /// Waits until the application listens.
    pub(super) fn wait_for(&self, enclave: &Enclave) -> Result<()> {
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
}
