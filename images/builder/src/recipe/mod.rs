//! Recipes: what to build with cargo, and what the image then measures to.

mod build;
mod inputs;
mod record;
mod reproduce;
mod scratch;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::pack::CMDLINE;
use crate::ramdisk::ExtraFile;
use crate::tree::GuestPath;

pub use build::{Build, Built};
pub use inputs::Inputs;
pub use record::{Comparison, Record};
pub use reproduce::Reproduce;

/// A recipe file, `recipe.toml`.
///
/// ```toml
/// name = "hello"
/// version = "0.1.0"
/// environment = ["LOG=info"]
///
/// [[binaries]]
/// package = "anchorhold-hello"
///
/// [[files]]
/// host = "ca.pem"
/// guest = "/etc/ca.pem"
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the image.
    pub name: String,
    /// Version of the image.
    pub version: String,
    /// What runs as PID 1.
    #[serde(default = "default_init")]
    pub init: Binary,
    /// The application's executables, the first of which runs unless a command says otherwise.
    pub binaries: Vec<Binary>,
    /// The command with its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// The environment as `NAME=value`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// Further files.
    #[serde(default)]
    files: Vec<RecipeFile>,
    /// The kernel's command line.
    #[serde(default = "default_cmdline")]
    pub cmdline: String,
    #[serde(skip)]
    path: PathBuf,
}

/// An executable that cargo builds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    /// The package of the workspace.
    pub package: String,
    /// The package's binary, if it has another name.
    bin: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    host: PathBuf,
    guest: String,
}

impl Binary {
    /// Name of the executable.
    pub fn name(&self) -> &str {
        self.bin.as_deref().unwrap_or(&self.package)
    }
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Toml`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::read(path))?;
        let invalid = |reason: String| Error::Toml {
            path: path.into(),
            what: "recipe",
            reason,
        };
        let mut recipe: Self =
            toml::from_str(&text).map_err(|error| invalid(error.message().to_owned()))?;
        if recipe.binaries.is_empty() {
            return Err(invalid("it names no binary".into()));
        }
        for binary in recipe.binaries.iter().chain([&recipe.init]) {
            if [binary.name(), &binary.package]
                .iter()
                .any(|name| !is_name(name))
            {
                return Err(invalid(format!(
                    "{:?} is not a package's name",
                    binary.name()
                )));
            }
        }
        recipe.path = path.to_owned();
        Ok(recipe)
    }

    /// The recipe's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that the recipe's files are relative to.
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// The recipe's files, and `further` ones that replace those with the same place in the guest.
    ///
    /// # Errors
    /// [`Error::GuestPath`].
    pub fn files(&self, further: &[ExtraFile]) -> Result<Vec<ExtraFile>, Error> {
        let mut files = Vec::new();
        for file in &self.files {
            let guest = GuestPath::new(&file.guest)?;
            if !further.iter().any(|other| other.guest == guest) {
                files.push(ExtraFile {
                    host: self.directory().join(&file.host),
                    guest,
                });
            }
        }
        files.extend_from_slice(further);
        Ok(files)
    }
}

fn default_init() -> Binary {
    Binary {
        package: "anchorhold-init".into(),
        bin: None,
    }
}

fn default_cmdline() -> String {
    CMDLINE.into()
}

/// What cargo allows in names of packages and binaries, and nothing that reads as an option.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
