//! Building a recipe a second time from another checkout with another cargo home, and demanding
//! the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use anchorhold_eif::{Eif, Section};

use super::build::{Build, Built, cargo_home};
use super::scratch::Scratch;
use super::{Recipe, build};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::tool::Tool;

/// Directories of a checkout that are no source.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// Parts of cargo's home that packages come from; sources are unpacked anew.
const CARGO_HOME_PARTS: [&str; 4] = ["config.toml", "registry/index", "registry/cache", "git/db"];

const CP: Tool = Tool {
    name: "cp",
    purpose: "it copies cargo's package cache",
};

/// A recipe to build twice.
#[derive(Debug, Clone)]
pub struct Reproduce<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The kernel to boot.
    pub kernel: &'a Kernel,
    /// Where the second checkout, cargo home and build directory go; removed afterwards, or by the
    /// next run if this one is killed.
    pub work_dir: PathBuf,
}

impl Reproduce<'_> {
    /// Builds here, then in a copy of the workspace under another path, of another length, with
    /// another cargo home and nothing built before.
    ///
    /// # Errors
    /// [`Error::ImagesDiffer`] with the parts that differ.
    pub fn run(&self, progress: &mut dyn FnMut(&str)) -> Result<Built, Error> {
        progress("building in this checkout");
        let here = Build::new(self.recipe, self.kernel).run()?;

        let scratch = Scratch::take(&self.work_dir, progress)?;
        let elsewhere = Elsewhere::of(scratch.path());
        progress(&format!("building in {}", elsewhere.checkout.display()));
        let root = here_root(self.recipe)?;
        copy_checkout(&root, &elsewhere.checkout, scratch.path())?;
        copy_cargo_home(&cargo_home()?, &elsewhere.cargo_home)?;
        let recipe_path = self
            .recipe
            .path()
            .canonicalize()
            .map_err(Error::read(&root))?;
        let relative = recipe_path.strip_prefix(&root).unwrap_or(&recipe_path);
        let recipe = Recipe::read(&elsewhere.checkout.join(relative))?;
        let there = Build {
            cargo_home: Some(elsewhere.cargo_home.clone()),
            target_dir: Some(elsewhere.target_dir.clone()),
            offline: true,
            ..Build::new(&recipe, self.kernel)
        };
        let there = there.run()?;

        if here.packed.bytes == there.packed.bytes {
            return Ok(here);
        }
        let mut differences = different_parts(&here.packed.bytes, &there.packed.bytes)?;
        differences.extend(there.inputs.differences(&here.inputs));
        Err(Error::ImagesDiffer { differences })
    }
}

/// Directories of the second build.
struct Elsewhere {
    checkout: PathBuf,
    cargo_home: PathBuf,
    target_dir: PathBuf,
}

impl Elsewhere {
    fn of(scratch: &Path) -> Self {
        Self {
            checkout: scratch.join("another/checkout-of-the-same-sources"),
            cargo_home: scratch.join("somebody-elses-cargo"),
            target_dir: scratch.join("out"),
        }
    }
}

fn here_root(recipe: &Recipe) -> Result<PathBuf, Error> {
    let directory = recipe.directory();
    let directory = directory.canonicalize().map_err(Error::read(directory))?;
    build::workspace_root(&directory, None)
}

/// Copies files and directories, but not `scratch`, which may lie inside of the checkout.
fn copy_checkout(from: &Path, to: &Path, scratch: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::write(to))?;
    for entry in fs::read_dir(from).map_err(Error::read(from))? {
        let entry = entry.map_err(Error::read(from))?;
        let kind = entry.file_type().map_err(Error::read(&entry.path()))?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if !skipped && entry.path() != scratch {
                copy_checkout(&entry.path(), &target, scratch)?;
            }
        } else if kind.is_file() {
            fs::copy(entry.path(), &target).map_err(Error::write(&target))?;
        }
    }
    Ok(())
}

fn copy_cargo_home(from: &Path, to: &Path) -> Result<(), Error> {
    for part in CARGO_HOME_PARTS {
        let (source, target) = (from.join(part), to.join(part));
        if source.exists() {
            let parent = target.parent().unwrap_or(to);
            fs::create_dir_all(parent).map_err(Error::write(parent))?;
            CP.run(CP.command().arg("-r").arg(&source).arg(&target))?;
        }
    }
    fs::create_dir_all(to).map_err(Error::write(to))
}

/// Names the sections of two images that are not the same.
fn different_parts(here: &[u8], there: &[u8]) -> Result<Vec<String>, Error> {
    let (here, there) = (Eif::parse(here)?, Eif::parse(there)?);
    let pairs = here.sections().iter().zip(there.sections()).enumerate();
    Ok(pairs
        .filter_map(|(index, (here, there))| difference(index, here, there))
        .collect())
}

fn difference(index: usize, here: &Section<'_>, there: &Section<'_>) -> Option<String> {
    if here == there {
        return None;
    }
    let at = here.data.iter().zip(there.data).position(|(a, b)| a != b);
    let at = at.unwrap_or(here.data.len().min(there.data.len()));
    let sizes = (here.data.len(), there.data.len());
    Some(format!(
        "section {index} ({}) from byte {at} on, of {} and {} bytes",
        here.kind, sizes.0, sizes.1
    ))
}
