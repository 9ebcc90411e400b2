//! An owner's KMS.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::tools::{program, text};
use crate::scene::{Scene, Server};

/// A KMS that runs for as long as this lives.
pub struct Kms {
    /// Its port on loopback.
    pub port: u16,
    /// Its region.
    pub region: String,
    _server: Server,
}

impl Kms {
    /// Serves what was set up in an owner's directory, with TLS, trusting the owner's platform.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve(scene: &Scene, name: &str, dir: &Path, region: &str) -> Result<Self> {
        let mut serve = program(scene, dir, "anchorhold-kms");
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        serve.arg(dir.join("kms"));
        serve.arg("--tls-cert").arg(dir.join("tls/server.pem"));
        serve.arg("--tls-key").arg(dir.join("tls/server-key.pem"));
        serve.arg("--trust-root").arg(dir.join("root.pem"));
        let server = scene.serve(&format!("{name}-kms"), &serve)?;
        let line: Value = serde_json::from_str(server.first_line())?;
        let port = text(&line, "/listening")?.rsplit(':').next();
        let port = port.and_then(|port| port.parse().ok());
        Ok(Self {
            port: port.with_context(|| format!("the KMS said {line}"))?,
            region: region.to_owned(),
            _server: server,
        })
    }
}
