//! What a recipe's image is known to measure to, and from which inputs: `expected.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anchorhold_eif::Measurements;
use serde::{Deserialize, Serialize};

use super::build::Built;
use super::{Inputs, Recipe};
use crate::error::Error;
use crate::output::write_atomically;

const FILE_NAME: &str = "expected.toml";
const COMMENT: &str = "\
# What the recipe beside this file measures to, and every input that moves the measurement.
# Written by `anchorhold-image expect --update`.
";

/// Measurements of a recipe's image with the inputs that gave them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `PCR0`, `PCR1` and `PCR2` as hex.
    pub measurements: BTreeMap<String, String>,
    /// What moves them.
    pub inputs: Inputs,
}

impl Record {
    /// The record of an image that was just built.
    pub fn of(built: &Built) -> Self {
        let Measurements {
            pcr0, pcr1, pcr2, ..
        } = built.packed.measurements;
        let named = [("PCR0", pcr0), ("PCR1", pcr1), ("PCR2", pcr2)];
        Self {
            measurements: named
                .map(|(name, pcr)| (name.into(), pcr.to_string()))
                .into(),
            inputs: built.inputs.clone(),
        }
    }

    /// Where a recipe's record is.
    pub fn path(recipe: &Recipe) -> PathBuf {
        recipe.directory().join(FILE_NAME)
    }

    /// Reads a recipe's record; `None` when it has none.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Toml`].
    pub fn read(recipe: &Recipe) -> Result<Option<Self>, Error> {
        let path = Self::path(recipe);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::read(&path)(error)),
        };
        let record = toml::from_str(&text).map_err(|error| invalid(&path, error.message()))?;
        Ok(Some(record))
    }

    /// Writes a recipe's record.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, recipe: &Recipe) -> Result<(), Error> {
        let path = Self::path(recipe);
        let text = toml::to_string(self).map_err(|error| invalid(&path, &error.to_string()))?;
        write_atomically(&path, format!("{COMMENT}{text}").as_bytes())
    }

    /// Holds an image against this record. With the same inputs the measurements must be the
    /// same; with others, the answer names the inputs that differ.
    ///
    /// # Errors
    /// [`Error::NotReproducible`] when only the measurements differ.
    pub fn compare(&self, built: &Built) -> Result<Comparison, Error> {
        let here = Self::of(built);
        let differing = here.inputs.differences(&self.inputs);
        if here.measurements == self.measurements {
            return Ok(Comparison::Same { differing });
        }
        if differing.is_empty() {
            return Err(Error::NotReproducible {
                expected: listed(&self.measurements),
                got: listed(&here.measurements),
            });
        }
        Ok(Comparison::Other { differing })
    }

    /// Demands that an image's own inputs are the recorded ones, and with the recorded kernel and
    /// tools its measurements too. Returns what the host brings that differs; then measurements
    /// cannot be compared.
    ///
    /// # Errors
    /// [`Error::RecordDiffers`] with everything that differs.
    pub fn demand(&self, recipe: &Recipe, built: &Built) -> Result<Vec<String>, Error> {
        let here = Self::of(built);
        let ((host, own), (recorded_host, recorded_own)) =
            (here.inputs.split(), self.inputs.split());
        let of_host = host.differences(&recorded_host);
        let registers = here.measurements.iter().filter_map(|(name, got)| {
            let recorded = self.measurements.get(name).map_or("none", String::as_str);
            (recorded != got).then(|| format!("{name}: recorded {recorded}, here {got}"))
        });
        let mut differences: Vec<_> = match of_host.is_empty() {
            true => registers.collect(),
            false => Vec::new(),
        };
        differences.extend(own.differences(&recorded_own));
        if differences.is_empty() {
            Ok(of_host)
        } else {
            Err(Error::RecordDiffers {
                path: Self::path(recipe),
                differences,
            })
        }
    }
}

/// How an image stands to its recipe's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// It measures to what is recorded.
    Same {
        /// Inputs that differ without moving the measurement.
        differing: Vec<String>,
    },
    /// It measures to something else, and these inputs are why.
    Other {
        /// Inputs that differ.
        differing: Vec<String>,
    },
}

fn listed(measurements: &BTreeMap<String, String>) -> Vec<String> {
    measurements
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

fn invalid(path: &Path, reason: &str) -> Error {
    Error::Toml {
        path: path.to_owned(),
        what: "record of measurements",
        reason: reason.into(),
    }
}
