//! The joint analysis for measurements: owners, host and enclave that stay for several contracts.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::demo::guest::touched;
use crate::demo::mpc::compute::{Analysis, Parameters, compute};
use crate::demo::mpc::figures::Answered;
use crate::demo::mpc::host::Host;
use crate::demo::mpc::inputs::{Inputs, named};
use crate::demo::mpc::owner::Owner;
use crate::demo::mpc::size::Native;
use crate::demo::progress::Progress;
use crate::demo::{Enclave, run_enclave, terminate};
use crate::scene::Scene;
use crate::stage::{self, Image};

/// Everybody who takes part.
pub struct Timed<'s> {
    scene: &'s Scene,
    host: Host<'s>,
    owners: Vec<Owner<'s>>,
    analysis: Analysis,
    image: Image,
    enclave: Enclave,
}

/// A run of the analysis.
pub struct Ran {
    /// Seconds from handing the sealed files over to the answers.
    pub seconds: f64,
    answered: Answered,
}

impl<'s> Timed<'s> {
    /// Assembles one owner for each file, the image and its enclave. `write` makes the files, which
    /// may change between runs.
    ///
    /// # Errors
    /// A step fails.
    pub fn assemble(
        scene: &'s Scene,
        files: &[PathBuf],
        write: impl FnOnce() -> Result<()>,
        columns: [&str; 2],
        progress: &mut Progress,
    ) -> Result<Self> {
        write()?;
        let input = |(place, file): (usize, &PathBuf)| {
            named(&format!("owner-{place:02}={}", file.display())).map_err(anyhow::Error::msg)
        };
        let inputs: Vec<_> = files.iter().enumerate().map(input).collect::<Result<_>>()?;
        let [join_on, sum] = columns;
        let inputs = Inputs::check(&inputs, join_on, sum, true)?;
        let (host, owners) = super::assemble(scene, &inputs)?;
        let intersection = compute("intersection").map_err(anyhow::Error::msg)?;
        let parameters = Parameters::of_cohorts(10);
        let analysis = intersection.analysis(scene, &inputs, (join_on, sum), &parameters)?;
        owners.iter().try_for_each(|owner| owner.offer(&analysis))?;
        let image = progress.step("joint-image", "building the joint image", |_| {
            stage::build_image(scene.bins(), "joint", &[], &scene.path("joint-bench.eif"))
        })?;
        let enclave = run_enclave(scene, &image.eif, &["--memory", "512"])?;
        host.wait_for(&enclave)?;
        Ok(Self {
            scene,
            host,
            owners,
            analysis,
            image,
            enclave,
        })
    }

    /// Runs the analysis once, under a contract of its own.
    ///
    /// # Errors
    /// A step fails, or an owner's answer does not verify.
    pub fn run(&self, name: &str) -> Result<Ran> {
        let round = self
            .host
            .draft(name, &self.owners, &self.image.eif, &self.analysis)?;
        for owner in &self.owners {
            owner.review(&round, &self.image.eif)?;
            owner.bind(&round, None)?;
            owner.submit(&round)?;
        }
        let answers = self.scene.path(&format!("answers-{name}"));
        let packages = self.host.packages(&round, &self.owners);
        let start = Instant::now();
        self.host
            .submit(&self.enclave, &round, &packages, &answers)?;
        let seconds = start.elapsed().as_secs_f64();
        let opened = self.owners.iter().map(|owner| owner.open(&round, &answers));
        let opened = opened.collect::<Result<Vec<_>>>()?;
        let answered = Answered::of(&self.owners, &opened, &self.analysis)?;
        answered.judge()?;
        Ok(Ran { seconds, answered })
    }

    /// Holds what the owners were told against the same join run natively.
    ///
    /// # Errors
    /// They differ.
    pub fn compare(&self, ran: &Ran, native: &Native) -> Result<()> {
        native.must_equal(&ran.answered, &self.analysis.column)
    }

    /// The most bytes of guest memory that the enclave has had in use at once, in all its runs.
    ///
    /// # Errors
    /// Its process cannot be looked into.
    pub fn guest_memory(&self) -> Result<u64> {
        touched(self.enclave.pid)
    }

    /// Ends the enclave.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(self) -> Result<()> {
        terminate(self.scene, &self.enclave)
    }
}
