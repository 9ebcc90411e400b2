//! The owner's KMS in a scene.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::commands::output;
use crate::demo::pii::{Audit, text, write_private};
use crate::scene::{Scene, Server};

/// The name that enclaves demand of it.
const HOST: &str = "kms.anchorhold.internal";

/// The KMS: its data, its TLS identity, and its process while it runs.
pub struct Kms<'s> {
    scene: &'s Scene,
    name: String,
    dir: PathBuf,
    port: u16,
    server: Option<Server>,
}

impl<'s> Kms<'s> {
    /// Makes its TLS identity, its data directory and its administrator.
    ///
    /// # Errors
    /// One of its programs fails.
    pub fn init(scene: &'s Scene) -> Result<Self> {
        Self::init_in(scene, "kms", &scene.path(""), HOST, &[])
    }

    /// As [`Self::init`], in a directory of its own, under a name in the scene and a host name of
    /// its own; `words` are further words of `anchorhold-kms init`.
    ///
    /// # Errors
    /// One of its programs fails.
    pub fn init_in(
        scene: &'s Scene,
        name: &str,
        dir: &Path,
        host: &str,
        words: &[&str],
    ) -> Result<Self> {
        let tls = dir.join("tls");
        let mut identity = scene.program("anchorhold-owner");
        identity
            .arg("tls")
            .arg("--dir")
            .arg(&tls)
            .args(["--host", host, "--host", "127.0.0.1"]);
        output(&mut identity)?;
        let mut init = scene.program("anchorhold-kms");
        init.args(["init", "--data-dir"]).arg(dir.join("kms"));
        let printed = output(init.args(words))?;
        write_private(&dir.join("owner.json"), printed.as_bytes())?;
        Ok(Self {
            scene,
            name: name.to_owned(),
            dir: dir.to_path_buf(),
            port: 0,
            server: None,
        })
    }

    /// The authority that images pin.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("tls/ca.pem")
    }

    /// Its port on loopback, once it has run.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Adds a principal with an identity policy and keeps its credentials in `NAME.json`.
    ///
    /// # Errors
    /// The KMS refuses.
    pub fn add_principal(&self, name: &str, policy: &Path) -> Result<String> {
        let mut add = self.scene.program("anchorhold-kms");
        add.args(["principal", "add", name, "--data-dir"])
            .arg(self.dir.join("kms"));
        let printed = output(add.arg("--policy").arg(policy))?;
        write_private(&self.dir.join(format!("{name}.json")), printed.as_bytes())?;
        let added: Value = serde_json::from_str(&printed).context("principal add's answer")?;
        Ok(text(&added, "/principal_arn")?.to_owned())
    }

    /// Starts it, or starts it again on the same port with other rules.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve(&mut self, roots: &[&Path], rules: &[&str]) -> Result<()> {
        if let Some(server) = self.server.take() {
            server.stop()?;
        }
        let mut serve = self.scene.program("anchorhold-kms");
        serve.args(["serve", "--listen", &self.address(), "--data-dir"]);
        serve.arg(self.dir.join("kms"));
        serve.arg("--tls-cert").arg(self.dir.join("tls/server.pem"));
        serve
            .arg("--tls-key")
            .arg(self.dir.join("tls/server-key.pem"));
        for root in roots {
            serve.arg("--trust-root").arg(root);
        }
        let server = self.scene.serve(&self.name, serve.args(rules))?;
        let line: Value = serde_json::from_str(server.first_line())
            .with_context(|| format!("the KMS said {}", server.first_line()))?;
        let port = text(&line, "/listening")?
            .rsplit(':')
            .next()
            .and_then(|p| p.parse().ok());
        self.port = port.with_context(|| format!("the KMS said {line}"))?;
        self.server = Some(server);
        Ok(())
    }

    /// Checks its audit trail and counts the events.
    ///
    /// # Errors
    /// The trail does not verify.
    pub fn audit(&self) -> Result<Audit> {
        let mut verify = self.scene.program("anchorhold-kms");
        let printed = output(
            verify
                .args(["audit", "verify", "--data-dir"])
                .arg(self.dir.join("kms")),
        )?;
        serde_json::from_str(&printed).with_context(|| format!("audit verify printed {printed}"))
    }

    /// The administrator's ARN.
    ///
    /// # Errors
    /// `init` printed none.
    pub fn owner_arn(&self) -> Result<String> {
        let printed = fs::read_to_string(self.dir.join("owner.json"))?;
        let owner: Value = serde_json::from_str(&printed).context("init's answer")?;
        Ok(text(&owner, "/principal_arn")?.to_owned())
    }

    /// The region that `init` chose.
    ///
    /// # Errors
    /// `init` printed none.
    pub fn region(&self) -> Result<String> {
        let printed = fs::read_to_string(self.dir.join("owner.json"))?;
        let owner: Value = serde_json::from_str(&printed).context("init's answer")?;
        Ok(text(&owner, "/region")?.to_owned())
    }
}
