//! Commands on recipes: build, expect, reproduce.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{KernelOptions, extra_file, print, progress, sign};
use crate::error::Error;
use crate::output::write_atomically;
use crate::ramdisk::ExtraFile;
use crate::recipe::{Build, Comparison, Recipe, Record, Reproduce};
use crate::report::BuildReport;

/// Build a recipe's image and print its measurements.
///
/// Compares with what the recipe records. When the measurement is another one, names the inputs
/// that differ from the recorded ones; when none differs, refuses.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  anchorhold-image build --recipe \
    images/recipes/hello/recipe.toml --output-file hello.eif")]
pub(super) struct BuildCommand {
    /// The recipe
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Where to write the image
    #[arg(long, value_name = "FILE")]
    output_file: PathBuf,
    /// File of the host to put below the application's root, in place of the recipe's; repeatable
    #[arg(long = "file", value_name = "HOST=GUEST", value_parser = extra_file)]
    files: Vec<ExtraFile>,
    #[command(flatten)]
    signing: sign::SigningOptions,
    #[command(flatten)]
    kernel: KernelOptions,
}

/// Build a recipe and check that measurements and inputs are the recorded ones.
///
/// Where the host has another kernel or other tools than recorded, names them and compares the
/// other inputs only.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  anchorhold-image expect --recipe \
    images/recipes/hello/recipe.toml --update")]
pub(super) struct ExpectCommand {
    /// The recipe
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Record what is here instead of checking
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    kernel: KernelOptions,
}

/// Build a recipe twice, the second time from a copy of the checkout under another path with
/// another cargo home, and check that the images are the same byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  anchorhold-image reproduce --recipe \
    images/recipes/pii/recipe.toml")]
pub(super) struct ReproduceCommand {
    /// The recipe
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Directory to make the second build in, of which nothing stays [default: reproduce in the
    /// cache]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelOptions,
}

/// What `reproduce` prints.
#[derive(Serialize)]
struct ReproduceReport {
    #[serde(flatten)]
    build: BuildReport,
    #[serde(rename = "Reproduced")]
    reproduced: bool,
}

impl BuildCommand {
    pub fn run(self) -> Result<(), Error> {
        let recipe = Recipe::read(&self.recipe)?;
        let identity = self.signing.identity()?;
        let kernel = self.kernel.fetch_for(&recipe)?;
        let build = Build {
            files: self.files,
            ..Build::new(&recipe, &kernel)
        };
        let built = build.run()?;
        match Record::read(&recipe)?
            .map(|record| record.compare(&built))
            .transpose()?
        {
            Some(Comparison::Same { .. }) => progress("the image measures to what is recorded"),
            Some(Comparison::Other { differing }) => {
                progress("the image measures to something else than recorded, because of");
                for input in differing {
                    progress(&format!("  {input}"));
                }
            }
            None => progress("no measurement is recorded for this recipe"),
        }
        // The record and its comparison are of the image without a signature.
        let packed = sign::finish(built.packed, identity.as_ref())?;
        write_atomically(&self.output_file, &packed.bytes)?;
        print(&BuildReport::from(&packed.measurements))
    }
}

impl ExpectCommand {
    pub fn run(self) -> Result<(), Error> {
        let recipe = Recipe::read(&self.recipe)?;
        let kernel = self.kernel.fetch_for(&recipe)?;
        let built = Build::new(&recipe, &kernel).run()?;
        if self.update {
            Record::of(&built).write(&recipe)?;
            progress(&format!("recorded in {}", Record::path(&recipe).display()));
        } else {
            let record = Record::read(&recipe)?.ok_or_else(|| Error::NotRecorded {
                path: Record::path(&recipe),
            })?;
            let of_host = record.demand(&recipe, &built)?;
            if of_host.is_empty() {
                progress("the image measures to what is recorded");
            } else {
                progress("measurements cannot be compared here, because of");
                for input in of_host {
                    progress(&format!("  {input}"));
                }
            }
        }
        print(&BuildReport::from(&built.packed.measurements))
    }
}

impl ReproduceCommand {
    pub fn run(self) -> Result<(), Error> {
        let recipe = Recipe::read(&self.recipe)?;
        let kernel = self.kernel.fetch_for(&recipe)?;
        let work_dir = match self.work_dir {
            Some(directory) => directory,
            None => self.kernel.cache()?.join("reproduce"),
        };
        let reproduce = Reproduce {
            recipe: &recipe,
            kernel: &kernel,
            work_dir,
        };
        let built = reproduce.run(&mut progress)?;
        let build = BuildReport::from(&built.packed.measurements);
        print(&ReproduceReport {
            build,
            reproduced: true,
        })
    }
}
