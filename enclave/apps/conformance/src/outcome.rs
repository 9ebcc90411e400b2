//! What was checked and what came of it.

use std::fmt::Debug;
use std::io;
use std::time::SystemTime;

use serde::Serialize;

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something is not what it should be.
    #[error("{what}: {expected} expected, {got} came")]
    Mismatch {
        /// What was looked at.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The machine refused what the check needs.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a check gives.
pub type Checked = Result<(), Failure>;

/// Fails unless `got` equals `expected`.
pub fn equal<T: PartialEq + Debug>(what: &'static str, got: T, expected: T) -> Checked {
    match got == expected {
        true => Ok(()),
        false => Err(mismatch(what, &expected, &got)),
    }
}

/// Fails unless `holds`; `got` says what there was instead.
pub fn holds(what: &'static str, holds: bool, expected: &str, got: impl Debug) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(Failure::Mismatch {
            what,
            expected: expected.to_owned(),
            got: cut(&got),
        }),
    }
}

/// A mismatch of two values.
pub fn mismatch(what: &'static str, expected: &impl Debug, got: &impl Debug) -> Failure {
    Failure::Mismatch {
        what,
        expected: cut(expected),
        got: cut(got),
    }
}

/// Names what the machine refused.
pub fn machine(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::Machine { what, source }
}

/// Long values say little; their beginning tells which they are.
fn cut(value: &impl Debug) -> String {
    const LIMIT: usize = 200;
    let text = format!("{value:?}");
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    failure: Option<String>,
}

/// The results so far.
#[derive(Debug, Default)]
pub struct Results {
    checks: Vec<Check>,
    module_id: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    passed: usize,
    failed: usize,
    clock_ms: u128,
    module_id: Option<&'a str>,
    arguments: Vec<String>,
    checks: &'a [Check],
}

impl Results {
    /// Runs one check and notes what came of it.
    pub fn note(&mut self, check: &'static str, run: impl FnOnce() -> Checked) {
        let failure = run().err().map(|failure| failure.to_string());
        self.checks.push(Check { check, failure });
    }

    /// Notes what the security module calls itself.
    pub fn note_module_id(&mut self, module_id: String) {
        self.module_id = Some(module_id);
    }

    /// Whether nothing has failed.
    pub fn all_passed(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }

    /// All results as one line of JSON.
    pub fn line(&self) -> String {
        let failed = self
            .checks
            .iter()
            .filter(|check| check.failure.is_some())
            .count();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let line = Line {
            passed: self.checks.len() - failed,
            failed,
            clock_ms: now.as_millis(),
            module_id: self.module_id.as_deref(),
            arguments: std::env::args().skip(1).collect(),
            checks: &self.checks,
        };
        // Nothing in it can fail to be written: no maps, no numbers beyond JSON's.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_whole() {
        let mut results = Results::default();
        results.note("first", || Ok(()));
        assert!(results.all_passed());
        results.note("second", || equal("number", 1, 2));
        assert!(!results.all_passed());
        let line: serde_json::Value = serde_json::from_str(&results.line()).unwrap();
        assert_eq!((&line["passed"], &line["failed"]), (&1.into(), &1.into()));
        assert_eq!(line["checks"][1]["failure"], "number: 2 expected, 1 came");
        assert!(results.line().ends_with("}\n"));
    }

    #[test]
    fn long_values_are_cut() {
        let Err(Failure::Mismatch { got, .. }) = equal("bytes", vec![1u8; 5000], vec![]) else {
            panic!("equal")
        };
        assert!(got.chars().count() <= 201, "{got}");
    }
}
