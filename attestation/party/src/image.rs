//! The review of an image: does what the party built or was given measure as the contract says?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_joint::contract::{Contract, Image};
use serde::Deserialize;

/// Why an image is not the contract's.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image tool could not be run.
    #[error("cannot run {tool:?}")]
    Tool {
        /// The program.
        tool: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The image tool failed, or says that two builds differ.
    #[error("{tool:?} failed: {said}")]
    Failed {
        /// The program.
        tool: PathBuf,
        /// What it said.
        said: String,
    },
    /// It printed no measurements.
    #[error("{tool:?} printed no measurements")]
    Unreadable {
        /// The program.
        tool: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A register differs.
    #[error("the contract says {register} {expected}, the image measures {got}")]
    Differs {
        /// PCR0, PCR1, PCR2 or PCR8.
        register: &'static str,
        /// The contract's.
        expected: String,
        /// The image's.
        got: String,
    },
    /// The image's signature does not hold.
    #[error("the image is signed, and its signature does not hold")]
    Signature,
    /// The contract names another signer than the one to bind to.
    #[error("the contract names the signer {contract}, and not {wanted}")]
    Signer {
        /// The contract's PCR8.
        contract: String,
        /// The party's.
        wanted: String,
    },
    /// The contract's register is none.
    #[error("the contract's register is none")]
    Register,
    /// The key policy cannot be bound to a contract.
    #[error("the key policy must have {place} for the contract, and has none")]
    Policy {
        /// Where the contract belongs.
        place: &'static str,
    },
}

impl ImageError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Tool { .. } | Self::Failed { .. } | Self::Unreadable { .. } => "image.tool",
            Self::Differs { .. } => "image.pcr",
            Self::Signature => "image.signature",
            Self::Signer { .. } => "image.signer",
            Self::Register => "contract.image",
            Self::Policy { .. } => "policy.conditions",
        }
    }
}

/// The measurements of an image, as `anchorhold-image` prints them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Measured {
    /// Kernel, command line and all ramdisks.
    #[serde(rename = "PCR0")]
    pub pcr0: String,
    /// Kernel, command line and the first ramdisk.
    #[serde(rename = "PCR1")]
    pub pcr1: String,
    /// The application.
    #[serde(rename = "PCR2")]
    pub pcr2: String,
    /// The signing certificate, where there is one.
    #[serde(rename = "PCR8", default)]
    pub pcr8: Option<String>,
}

/// What the image tool prints, as far as a review needs it.
#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "Measurements")]
    measurements: Measured,
    #[serde(rename = "SignatureCheck", default)]
    signature_check: Option<bool>,
}

/// Measures an image file. A signature on it must hold, since nobody boots it otherwise.
///
/// # Errors
/// The tool fails, or the signature does not hold.
pub fn measure(tool: &Path, eif: &Path) -> Result<Measured, ImageError> {
    let mut describe = Command::new(tool);
    describe.args(["describe", "--eif-path"]).arg(eif);
    run(tool, describe)
}

/// Builds a recipe of a checkout and measures it. A build has no signer: its PCR8 is none.
///
/// `fallback_lock` is the image tool's, for when the locked kernel can no longer be had.
///
/// # Errors
/// The build fails.
pub fn rebuild(
    tool: &Path,
    recipe: &Path,
    fallback_lock: Option<&Path>,
) -> Result<Measured, ImageError> {
    let scratch = tempfile::tempdir().map_err(|source| ImageError::Tool {
        tool: tool.to_path_buf(),
        source,
    })?;
    let mut build = Command::new(tool);
    build.args(["build", "--recipe"]).arg(recipe);
    build
        .arg("--output-file")
        .arg(scratch.path().join("rebuilt.eif"));
    if let Some(lock) = fallback_lock {
        build.arg("--fallback-lock").arg(lock);
    }
    build.stderr(Stdio::inherit());
    run(tool, build)
}

fn run(tool: &Path, mut command: Command) -> Result<Measured, ImageError> {
    let done = command.stdin(Stdio::null()).output();
    let tool = || tool.to_path_buf();
    let done = done.map_err(|source| ImageError::Tool {
        tool: tool(),
        source,
    })?;
    if !done.status.success() {
        let said = [done.stderr, done.stdout].concat();
        return Err(ImageError::Failed {
            tool: tool(),
            said: String::from_utf8_lossy(&said).trim().to_owned(),
        });
    }
    let printed: Printed =
        serde_json::from_slice(&done.stdout).map_err(|source| ImageError::Unreadable {
            tool: tool(),
            source,
        })?;
    match printed.signature_check {
        Some(false) => Err(ImageError::Signature),
        _ => Ok(printed.measurements),
    }
}

impl Measured {
    /// These measurements as a contract's.
    pub fn image(&self) -> Image {
        Image {
            pcr0: self.pcr0.clone(),
            pcr1: self.pcr1.clone(),
            pcr2: self.pcr2.clone(),
            pcr8: self.pcr8.clone(),
        }
    }

    /// Checks them against a contract's. A contract without PCR8 says nothing about the signer.
    ///
    /// # Errors
    /// [`ImageError::Differs`].
    pub fn check(&self, image: &Image) -> Result<(), ImageError> {
        let unsigned = "none".to_owned();
        let own8 = self.pcr8.as_ref().unwrap_or(&unsigned);
        self.check_build(image)?;
        Self::differs([("PCR8", image.pcr8.as_ref(), own8)])
    }

    /// Checks those of a build: all but the signer, which is not built.
    ///
    /// # Errors
    /// [`ImageError::Differs`].
    pub fn check_build(&self, image: &Image) -> Result<(), ImageError> {
        Self::differs([
            ("PCR0", Some(&image.pcr0), &self.pcr0),
            ("PCR1", Some(&image.pcr1), &self.pcr1),
            ("PCR2", Some(&image.pcr2), &self.pcr2),
        ])
    }

    fn differs<'a, const N: usize>(
        registers: [(&'static str, Option<&'a String>, &'a String); N],
    ) -> Result<(), ImageError> {
        for (register, expected, got) in registers {
            if let Some(expected) = expected.filter(|expected| *expected != got) {
                return Err(ImageError::Differs {
                    register,
                    expected: expected.clone(),
                    got: got.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The registers that a contract names.
///
/// # Errors
/// Never for a checked contract.
pub fn registers(contract: &Contract) -> Result<BTreeMap<PcrIndex, Pcr>, ImageError> {
    let image = &contract.terms().image;
    let named = [
        (0, Some(&image.pcr0)),
        (1, Some(&image.pcr1)),
        (2, Some(&image.pcr2)),
        (8, image.pcr8.as_ref()),
    ];
    let named = named.into_iter().filter_map(|(i, pcr)| Some((i, pcr?)));
    let register = |(index, pcr): (u8, &String)| {
        let index = PcrIndex::new(index).map_err(|_| ImageError::Register)?;
        Ok((index, pcr.parse().map_err(|_| ImageError::Register)?))
    };
    named.map(register).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A tool that prints what it is given, whatever it is asked.
    fn tool(dir: &Path, printed: &str) -> PathBuf {
        let path = dir.join("tool");
        let script = format!("#!/bin/sh\necho \"$@\" >{}/asked\n", dir.display());
        std::fs::write(&path, format!("{script}cat <<'END'\n{printed}\nEND\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_signature_must_hold() {
        let dir = tempfile::tempdir().unwrap();
        let printed = |check: &str| {
            format!(r#"{{"Measurements":{{"PCR0":"0","PCR1":"1","PCR2":"2","PCR8":"8"}}{check}}}"#)
        };
        let forged = tool(dir.path(), &printed(r#","SignatureCheck":false"#));
        let refused = measure(&forged, Path::new("x.eif")).unwrap_err();
        assert_eq!(refused.rule(), "image.signature");
        let good = tool(dir.path(), &printed(r#","SignatureCheck":true"#));
        let measured = measure(&good, Path::new("x.eif")).unwrap();
        assert_eq!(measured.pcr8.as_deref(), Some("8"));
        let none = tool(dir.path(), "{}");
        let refused = measure(&none, Path::new("x.eif")).unwrap_err();
        assert_eq!(refused.rule(), "image.tool");
    }

    #[test]
    fn a_recipe_is_built_with_the_lock_that_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let built = tool(
            dir.path(),
            r#"{"Measurements":{"PCR0":"0","PCR1":"1","PCR2":"2"}}"#,
        );
        let lock = Path::new("kernel.lock");
        assert_eq!(
            rebuild(&built, Path::new("r.toml"), Some(lock))
                .unwrap()
                .pcr2,
            "2"
        );
        let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
        assert!(asked.starts_with("build --recipe r.toml --output-file "));
        assert!(asked.ends_with("rebuilt.eif --fallback-lock kernel.lock\n"));
    }

    #[test]
    fn each_register_counts() {
        let measured = Measured {
            pcr0: "0".to_owned(),
            pcr1: "1".to_owned(),
            pcr2: "2".to_owned(),
            pcr8: None,
        };
        let image = measured.image();
        measured.check(&image).unwrap();
        let changes: [fn(&mut Image); 4] = [
            |i| i.pcr0.push('x'),
            |i| i.pcr1.push('x'),
            |i| i.pcr2.push('x'),
            |i| i.pcr8 = Some("8".to_owned()),
        ];
        for change in changes {
            let mut other = image.clone();
            change(&mut other);
            assert_eq!(measured.check(&other).unwrap_err().rule(), "image.pcr");
            // A build says nothing about who signs.
            let signer = other.pcr8.is_some();
            assert_eq!(measured.check_build(&other).is_ok(), signer);
        }
    }
}
