//! What a person sees while a demo runs, and how long each step took. All on standard error.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

/// The steps of a run.
#[derive(Default)]
pub struct Progress {
    quiet: bool,
    seconds: BTreeMap<String, f64>,
}

impl Progress {
    /// A run; a quiet one says nothing.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            seconds: BTreeMap::new(),
        }
    }

    /// Runs a step, says what it is and how it ended.
    ///
    /// # Errors
    /// The step's own.
    pub fn step<T>(
        &mut self,
        name: &str,
        what: &str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.say(&format!("▶ {what}"));
        let start = Instant::now();
        let result = work(self);
        let seconds = start.elapsed().as_secs_f64();
        *self.seconds.entry(name.to_owned()).or_default() += seconds;
        if result.is_ok() {
            self.say(&format!("  done in {seconds:.1} s"));
        } else {
            eprintln!("  failed after {seconds:.1} s: {what}");
        }
        result
    }

    /// A line under the present step.
    pub fn note(&self, line: &str) {
        self.say(&format!("  {line}"));
    }

    /// A line.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// Seconds of each step by name, to the millisecond.
    pub fn seconds(&self) -> BTreeMap<String, f64> {
        let rounded = |s: &f64| (s * 1000.0).round() / 1000.0;
        self.seconds
            .iter()
            .map(|(name, seconds)| (name.clone(), rounded(seconds)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_one_name_add_up_and_failures_pass_through() {
        let mut progress = Progress::new(true);
        let failed: Result<()> = progress.step("a", "one", |_| anyhow::bail!("why"));
        assert_eq!(failed.unwrap_err().to_string(), "why");
        assert_eq!(progress.step("a", "two", |_| Ok(7)).unwrap(), 7);
        assert_eq!(progress.seconds().len(), 1);
    }
}
