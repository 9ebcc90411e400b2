//! The project's programs and images, built and in place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::commands::{cargo, command, output, run};
use crate::paths;

/// How programs of the host are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quickly: for demos and tests.
    Debug,
    /// As they are shipped: for measurements.
    Release,
}

/// Where built programs are: `$ANCHORHOLD_BINS`, else cargo's debug folder.
pub fn bins() -> PathBuf {
    named_bins().unwrap_or_else(|| paths::target().join("debug"))
}

fn named_bins() -> Option<PathBuf> {
    let named = std::env::var_os("ANCHORHOLD_BINS").filter(|v| !v.is_empty());
    named.map(|bins| paths::root().join(bins))
}

/// Builds every program that runs on the host and says where they are. Programs that
/// `$ANCHORHOLD_BINS` names are taken as they are.
///
/// # Errors
/// The build fails.
pub fn build_programs(profile: Profile) -> Result<PathBuf> {
    if let Some(bins) = named_bins() {
        return Ok(bins);
    }
    let mut build = cargo();
    // Not quiet: the first build takes minutes.
    build.args(["build", "--locked", "--workspace", "--bins"]);
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    run(&mut build)?;
    Ok(paths::target().join(folder))
}

/// PCR0, PCR1, PCR2 and, where it is signed, PCR8 of an image, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Pcrs {
    /// Over the whole image.
    #[serde(rename = "PCR0")]
    pub pcr0: String,
    /// Over kernel, command line and boot ramdisk.
    #[serde(rename = "PCR1")]
    pub pcr1: String,
    /// Over the application.
    #[serde(rename = "PCR2")]
    pub pcr2: String,
    /// Over the signer's certificate, where the image is signed.
    #[serde(rename = "PCR8", default, skip_serializing_if = "Option::is_none")]
    pub pcr8: Option<String>,
}

/// nitro-cli's answer to build-enclave and, in part, to describe-eif.
#[derive(Deserialize)]
struct Built {
    #[serde(rename = "Measurements")]
    measurements: Pcrs,
}

/// A built enclave image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The enclave image file.
    pub eif: PathBuf,
    /// Its measurements.
    pub pcrs: Pcrs,
}

/// Builds the recipe of a name to a file, with the image tool in `bins`. `files` are further
/// `HOST=GUEST` pairs.
///
/// The recipe's kernel lock is used where its version can still be had; otherwise the present
/// version is taken, said so, and noted in the cache, never in the tree.
///
/// # Errors
/// The build fails.
pub fn build_image(bins: &Path, recipe: &str, files: &[String], eif: &Path) -> Result<Image> {
    build_image_signed(bins, recipe, files, None, eif)
}

/// As [`build_image`], signed by a certificate with its private key, where there is one.
///
/// # Errors
/// The build fails.
pub fn build_image_signed(
    bins: &Path,
    recipe: &str,
    files: &[String],
    signer: Option<(&Path, &Path)>,
    eif: &Path,
) -> Result<Image> {
    let recipe = format!("images/recipes/{recipe}/recipe.toml");
    let mut build = command(bins.join("anchorhold-image"));
    build
        .args(["build", "--recipe", &recipe, "--output-file"])
        .arg(eif)
        .arg("--fallback-lock")
        .arg(fallback_lock()?);
    for file in files {
        build.args(["--file", file]);
    }
    if let Some((certificate, key)) = signer {
        build.arg("--signing-certificate").arg(certificate);
        build.arg("--private-key").arg(key);
    }
    // So that a scene's keeper knows a build that its run left behind.
    build.env("ANCHORHOLD_STATE_DIR", eif.with_file_name("state"));
    build.stderr(std::process::Stdio::inherit());
    let printed = output(&mut build)?;
    let built: Built = serde_json::from_str(&printed)
        .with_context(|| format!("anchorhold-image printed no measurements: {printed}"))?;
    Ok(Image {
        eif: eif.to_path_buf(),
        pcrs: built.measurements,
    })
}

/// A kernel, fetched and unpacked.
#[derive(Clone, Debug, Deserialize)]
pub struct Kernel {
    /// The kernel image.
    pub bzimage: PathBuf,
}

/// Fetches the kernel, so that image builds find it.
///
/// # Errors
/// It can neither be found nor fetched.
pub fn fetch_kernel(bins: &Path) -> Result<Kernel> {
    let mut kernel = command(bins.join("anchorhold-image"));
    kernel
        .args(["kernel", "--fallback-lock"])
        .arg(fallback_lock()?);
    kernel.stderr(std::process::Stdio::inherit());
    let printed = output(&mut kernel)?;
    serde_json::from_str(&printed)
        .with_context(|| format!("anchorhold-image kernel printed {printed}"))
}

/// The kernel's second lock, for when Debian's mirrors have dropped the version of the tree's.
///
/// # Errors
/// As [`paths::cache`].
pub fn fallback_lock() -> Result<PathBuf> {
    Ok(paths::cache()?.join("kernel.lock"))
}

/// The images that tests boot, under the cache's folder of them: built by `cargo xtask test`.
///
/// # Errors
/// The folder is not there.
pub fn test_image(recipe: &str) -> Result<PathBuf> {
    let eif = test_images()?.join(format!("{recipe}.eif"));
    fs::metadata(&eif).with_context(|| {
        format!(
            "{} is missing: run `cargo xtask test` once, it builds it",
            eif.display()
        )
    })?;
    Ok(eif)
}

/// The folder of the images that tests boot.
///
/// # Errors
/// It cannot be made.
pub fn test_images() -> Result<PathBuf> {
    let dir = paths::target().join("images");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
