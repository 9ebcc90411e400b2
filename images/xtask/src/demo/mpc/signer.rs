//! Signers of images, and an image that somebody else signed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::commands::output;
use crate::scene::Scene;

/// A signer's certificate and private key, made for the scene.
pub(super) struct Signer {
    certificate: PathBuf,
    key: PathBuf,
}

impl Signer {
    /// Makes a P-384 key and a certificate of its own.
    pub(super) fn make(scene: &Scene, name: &str) -> Result<Self> {
        let certificate = scene.path(&format!("{name}.pem"));
        let key = scene.path(&format!("{name}-key.pem"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"]);
        make.args(["-pkeyopt", "ec_paramgen_curve:P-384", "-subj"]);
        make.arg(format!("/CN={name}"));
        make.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        output(&mut make).context("openssl makes a signer")?;
        Ok(Self { certificate, key })
    }

    /// The files of certificate and private key.
    pub(super) fn identity(&self) -> (&Path, &Path) {
        (&self.certificate, &self.key)
    }

    /// Signs an image, in place of whoever signed it, into another file.
    pub(super) fn sign(&self, scene: &Scene, eif: &Path, to: &Path) -> Result<()> {
        let mut sign = scene.program("anchorhold-image");
        sign.args(["sign", "--replace", "--eif-path"]).arg(eif);
        sign.arg("--signing-certificate").arg(&self.certificate);
        sign.arg("--private-key").arg(&self.key);
        output(sign.arg("--output-file").arg(to)).map(|_| ())
    }
}
