//! What an answer costs: time and memory of the enclave, beside the same join run natively.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::{cargo, output};
use crate::demo::Enclave;
use crate::demo::guest::touched;
use crate::demo::mpc::compute::Analysis;
use crate::demo::mpc::figures::Answered;
use crate::demo::mpc::host::Submitted;
use crate::demo::mpc::inputs::Inputs;

/// What an answer cost.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Size {
    /// Seconds from the first byte handed over to the last of the answers.
    pub seconds: f64,
    /// Bytes of sealed files.
    pub sent: u64,
    /// Bytes of guest memory in use before the files came.
    pub guest_idle: u64,
    /// The most bytes of guest memory in use at once.
    pub guest_peak: u64,
    /// Sealed pages that the host kept.
    pub pages: u64,
    /// Their bytes.
    pub page_bytes: u64,
    /// The same join natively.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
}

/// A join without enclave: of plain files, without KMS and answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Native {
    /// Rows read.
    pub rows: u64,
    /// Seconds.
    pub seconds: f64,
    /// The most bytes of resident memory.
    pub peak_rss: Option<u64>,
    /// How many values all files have.
    pub intersection_size: Value,
    /// The sums.
    #[serde(skip_serializing)]
    pub sums: Value,
}

impl Size {
    /// Of an answer that took so many seconds, of an enclave that had so much in use before.
    pub(super) fn of(
        enclave: &Enclave,
        guest_idle: u64,
        seconds: f64,
        submitted: &Submitted,
    ) -> Result<Self> {
        Ok(Self {
            seconds,
            sent: submitted.sent,
            guest_idle,
            guest_peak: touched(enclave.pid)?,
            pages: submitted.pages,
            page_bytes: submitted.page_bytes,
            native: None,
        })
    }

    /// With the same join natively.
    pub(super) fn beside(self, native: Native) -> Self {
        Self {
            native: Some(native),
            ..self
        }
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "in the enclave: {:.1} s for {:.1} MiB of sealed files; {:.1} MiB of guest memory at most, {:.1} before",
            self.seconds,
            mib(self.sent),
            mib(self.guest_peak),
            mib(self.guest_idle),
        )];
        if self.pages > 0 {
            let (pages, bytes) = (self.pages, mib(self.page_bytes));
            lines.push(format!(
                "{pages} sealed pages, {bytes:.1} MiB, waited at the host"
            ));
        }
        lines.extend(self.native.iter().map(Native::line));
        lines
    }
}

impl Native {
    /// Holds an intersection's figures against those that the enclave shows.
    ///
    /// # Errors
    /// They differ, or the answer is of no intersection.
    pub(super) fn must_equal(&self, answered: &Answered, column: &str) -> Result<()> {
        let size = answered.figures.get("intersection_size");
        let size = size.context("only an intersection can be compared with a native join")?;
        if size.is_null() {
            return Ok(());
        }
        let sums = self.sums.as_object().into_iter().flatten();
        let sums = sums.map(|(_, sums)| sums.get(column));
        let inside = answered.figures.get("sums").and_then(Value::as_object);
        let inside = inside.into_iter().flatten().map(|(_, sum)| Some(sum));
        if self.intersection_size != *size || !sums.eq(inside) {
            bail!("natively the join gives {self:?}, in the enclave {answered:?}");
        }
        Ok(())
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        format!(
            "natively: {:.1} s for {} rows; {:.1} MiB at most",
            self.seconds,
            self.rows,
            mib(self.peak_rss.unwrap_or_default())
        )
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Runs the same join natively.
///
/// # Errors
/// The program fails, or comes to another result than the enclave, where that shows one.
pub(super) fn natively(
    inputs: &Inputs,
    analysis: &Analysis,
    answered: &Answered,
) -> Result<Native> {
    let files: Vec<_> = inputs.owners().map(|input| input.file.clone()).collect();
    let native = run("native_join", &analysis.join_on, &analysis.column, &files)?;
    native.must_equal(answered, &analysis.column)?;
    Ok(native)
}

/// Runs an example of the joint analysis on plain files.
///
/// # Errors
/// It fails.
pub fn run(
    example: &str,
    join_on: &str,
    sum: &str,
    files: &[std::path::PathBuf],
) -> Result<Native> {
    let mut run = cargo();
    run.args(["run", "--locked", "--release", "--package"]);
    run.args(["anchorhold-joint", "--example", example, "--", join_on, sum]);
    let printed = output(run.args(files).stderr(Stdio::inherit()))?;
    serde_json::from_str(&printed).with_context(|| format!("{example} printed {printed}"))
}
