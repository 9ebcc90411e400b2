//! What the owners have computed: options into a contract's computation, noise and outputs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::demo::mpc::inputs::Inputs;
use crate::scene::Scene;

/// A computation, as in `--compute statistics+laplace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    what: What,
    noise: Option<Noise>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Intersection,
    Statistics,
    Overlap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noise {
    Laplace,
    Gaussian,
}

/// Parameters of computations.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Parameters {
    /// No count below it is shown.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..))]
    pub min_cohort: u32,
    /// Where the bins of histograms begin, rising.
    #[arg(
        long,
        value_name = "NUMBER,…",
        value_delimiter = ',',
        default_value = "100,200,300,400",
        value_parser = decimal,
        allow_hyphen_values = true
    )]
    edges: Vec<String>,
    /// How much noise tells of one key: ε of a run, shared among its figures.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = decimal)]
    epsilon: String,
    /// δ of a run, for gaussian noise.
    #[arg(long, value_name = "NUMBER", default_value = "0.000001", value_parser = decimal)]
    delta: String,
    /// What one key can add to a noisy sum: its own sum is cut to this. Around 0.
    #[arg(
        long,
        value_name = "LOWER..UPPER",
        default_value = "0..1000",
        value_parser = bounds,
        allow_hyphen_values = true
    )]
    bounds: (String, String),
}

impl Parameters {
    /// Of computations that have neither histograms nor noise.
    pub(super) fn of_cohorts(min_cohort: u32) -> Self {
        let none = || "0".to_owned();
        Self {
            min_cohort,
            edges: Vec::new(),
            epsilon: none(),
            delta: none(),
            bounds: (none(), none()),
        }
    }
}

/// What the owners want computed, in the files that their programs take.
pub(super) struct Analysis {
    /// What it is called, in the form of `--compute`.
    pub name: String,
    /// The column that is joined on.
    pub join_on: String,
    /// The column of values.
    pub column: String,
    /// No count below it is shown.
    pub min_cohort: u32,
    /// What each owner may see.
    pub outputs: &'static [&'static str],
    /// Whether values are used at all.
    pub values: bool,
    /// The computation, as JSON.
    pub computation: PathBuf,
    /// Noise, as JSON.
    pub privacy: Option<PathBuf>,
}

impl Analysis {
    /// What offers and contracts say of it alike.
    pub(super) fn common(&self, command: &mut Command) {
        command.arg("--computation").arg(&self.computation);
        if let Some(privacy) = &self.privacy {
            command.arg("--privacy").arg(privacy);
        }
    }
}

/// Reads COMPUTATION or COMPUTATION+NOISE.
pub(super) fn compute(text: &str) -> Result<Compute, String> {
    let (what, noise) = match text.split_once('+') {
        Some((what, noise)) => (what, Some(noise)),
        None => (text, None),
    };
    let what = match what {
        "intersection" => What::Intersection,
        "statistics" => What::Statistics,
        "overlap" => What::Overlap,
        other => {
            return Err(format!(
                "a computation is intersection, statistics or overlap, got {other:?}"
            ));
        }
    };
    let noise = match noise {
        None => None,
        Some("laplace") => Some(Noise::Laplace),
        Some("gaussian") => Some(Noise::Gaussian),
        Some(other) => return Err(format!("noise is laplace or gaussian, got {other:?}")),
    };
    Ok(Compute { what, noise })
}

fn decimal(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if all(whole) && all(fraction) {
        return Ok(text.to_owned());
    }
    Err(format!("expected a decimal number, got {text:?}"))
}

fn bounds(text: &str) -> Result<(String, String), String> {
    let (lower, upper) = text.split_once("..").ok_or("expected LOWER..UPPER")?;
    Ok((decimal(lower)?, decimal(upper)?))
}

impl std::fmt::Display for Compute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.what {
            What::Intersection => "intersection",
            What::Statistics => "statistics",
            What::Overlap => "overlap",
        })?;
        f.write_str(match self.noise {
            None => "",
            Some(Noise::Laplace) => "+laplace",
            Some(Noise::Gaussian) => "+gaussian",
        })
    }
}

impl Compute {
    /// Whether it uses values.
    pub(super) fn values(self) -> bool {
        self.what != What::Overlap
    }

    /// Whether a plain join comes to the same figures: an intersection without noise.
    pub(super) fn is_exact_join(self) -> bool {
        self.what == What::Intersection && self.noise.is_none()
    }

    /// What each owner may see: everything that there is.
    fn outputs(self) -> &'static [&'static str] {
        match (self.what, self.noise) {
            (What::Intersection, _) => &["intersection-size", "sums"],
            (What::Statistics, None) => &["count", "moments", "histograms", "regression"],
            // Noise on the parts of a regression does not make it private and useful.
            (What::Statistics, Some(_)) => &["count", "moments", "histograms"],
            (What::Overlap, _) => &["overlaps"],
        }
    }

    /// Writes computation and noise as files.
    pub(super) fn analysis(
        self,
        scene: &Scene,
        inputs: &Inputs,
        (join_on, column): (&str, &str),
        parameters: &Parameters,
    ) -> Result<Analysis> {
        let name = self.to_string();
        let write = |kind: &str, json: &Value| {
            let path = scene.path(&format!("{kind}-{name}.json"));
            fs::write(&path, json.to_string()).with_context(|| format!("cannot write {kind}"))?;
            Ok::<_, anyhow::Error>(path)
        };
        let owners: Vec<&str> = inputs
            .owners()
            .filter(|input| input.sums && self.values())
            .map(|input| input.name.as_str())
            .collect();
        let computation = write(
            "computation",
            &self.computation(&owners, column, parameters),
        )?;
        let privacy = self.privacy(&owners, column, parameters);
        let privacy = privacy.map(|json| write("privacy", &json)).transpose()?;
        let regression = owners.len() >= 2;
        let outputs = match self.outputs() {
            [all @ .., "regression"] if !regression => all,
            all => all,
        };
        Ok(Analysis {
            name,
            join_on: join_on.to_owned(),
            column: column.to_owned(),
            min_cohort: parameters.min_cohort,
            outputs,
            values: self.values(),
            computation,
            privacy,
        })
    }

    fn computation(self, owners: &[&str], column: &str, parameters: &Parameters) -> Value {
        let of = |party: &&str| json!({"column": column, "party": party});
        match self.what {
            What::Intersection => json!({"intersection": {}}),
            What::Overlap => json!({"overlap": {}}),
            What::Statistics => {
                let histogram = |party: &&str| json!({"column": column, "edges": parameters.edges, "party": party});
                let regression = match owners {
                    [target, on @ ..] if !on.is_empty() && self.noise.is_none() => {
                        let on: Vec<_> = on.iter().take(8).map(of).collect();
                        json!({"on": on, "target": of(target)})
                    }
                    _ => Value::Null,
                };
                let histograms: Vec<_> = owners.iter().map(histogram).collect();
                json!({"statistics": {"histograms": histograms, "regression": regression}})
            }
        }
    }

    fn privacy(self, owners: &[&str], column: &str, parameters: &Parameters) -> Option<Value> {
        let (mechanism, delta) = match self.noise? {
            Noise::Laplace => ("laplace", "0"),
            Noise::Gaussian => ("gaussian", parameters.delta.as_str()),
        };
        let (lower, upper) = &parameters.bounds;
        let bounds = |party: &&str| json!({"column": column, "lower": lower, "party": party, "upper": upper});
        Some(json!({
            "bounds": owners.iter().map(bounds).collect::<Vec<_>>(),
            "delta": delta,
            "epsilon": parameters.epsilon,
            "mechanism": mechanism,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_computation() {
        for text in [
            "",
            "sum",
            "overlap+",
            "overlap+uniform",
            "+laplace",
            "Overlap",
        ] {
            assert!(compute(text).is_err(), "{text}");
        }
        for text in ["intersection", "statistics+laplace", "overlap+gaussian"] {
            assert_eq!(compute(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_number() {
        for text in ["", "-", "1.", ".5", "1e3", "1.2.3", "--1", "NaN"] {
            assert!(decimal(text).is_err(), "{text}");
        }
        for text in ["0..", "..1", "0-1", "a..b"] {
            assert!(bounds(text).is_err(), "{text}");
        }
        assert_eq!(bounds("-0.5..1").unwrap(), ("-0.5".into(), "1".into()));
    }
}
