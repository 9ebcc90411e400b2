//! One measured figure, with what it is held against.

use std::fmt;

use serde_json::{Map, Value, json};

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The measured value.
    pub value: f64,
    /// What it is held against; a baseline that came to no end has no value.
    pub baseline: Option<(String, Option<f64>)>,
    /// What the project wants: of the ratio where there is a baseline, else of the value.
    pub goal: Option<Goal>,
}

/// What the project wants of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Figure {
    /// Measured over baseline.
    pub fn ratio(&self) -> Option<f64> {
        let (_, baseline) = self.baseline.as_ref()?;
        Some(self.value / (*baseline)?)
    }

    /// Whether the goal is met; `None` without a goal or a baseline's value.
    pub fn met(&self) -> Option<bool> {
        let judged = match &self.baseline {
            Some(_) => self.ratio()?,
            None => self.value,
        };
        Some(match self.goal? {
            Goal::AtMost(most) => judged <= most,
            Goal::AtLeast(least) => judged >= least,
        })
    }

    fn json(&self) -> Value {
        let (what, baseline) = self
            .baseline
            .as_ref()
            .map_or((None, None), |(what, value)| (Some(what), *value));
        json!({
            "unit": self.unit,
            "value": self.value,
            "baseline": baseline,
            "baseline_name": what,
            "ratio": self.ratio(),
            "goal": self.goal.map(|goal| goal.to_string()),
            "met": self.met(),
        })
    }
}

/// All figures as one object by name.
pub fn json(figures: &[Figure]) -> Value {
    let named = figures
        .iter()
        .map(|figure| (figure.name.clone(), figure.json()));
    Value::Object(named.collect::<Map<_, _>>())
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {} {}", self.name, short(self.value), self.unit)?;
        match &self.baseline {
            Some((what, Some(value))) => {
                write!(f, "; {what}: {} {}", short(*value), self.unit)?;
            }
            Some((what, None)) => write!(f, "; {what}: hangs")?,
            None => {}
        }
        if let Some(ratio) = self.ratio() {
            write!(f, "; ratio {}", short(ratio))?;
        }
        if let Some(goal) = self.goal {
            let met = match self.met() {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "nothing to compare with",
            };
            write!(f, " (goal {goal}: {met})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

fn short(value: f64) -> String {
    if value < 0.1 {
        format!("{value:.4}")
    } else if value < 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// The median; of an even number of values the upper one of the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The least value that no less than this part of all reach at most, from 0 to 1: the nearest rank.
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (part * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, baseline: Option<Option<f64>>, goal: Goal) -> Figure {
        Figure {
            name: "n".into(),
            unit: "s".into(),
            value,
            baseline: baseline.map(|value| ("b".into(), value)),
            goal: Some(goal),
        }
    }

    #[test]
    fn a_goal_is_of_the_ratio_or_of_the_value() {
        let judged = |value, baseline, goal| figure(value, baseline, goal).met();
        assert_eq!(judged(5.0, Some(Some(4.0)), Goal::AtMost(1.25)), Some(true));
        assert_eq!(
            judged(5.1, Some(Some(4.0)), Goal::AtMost(1.25)),
            Some(false)
        );
        assert_eq!(
            judged(5.1, Some(Some(4.0)), Goal::AtLeast(1.25)),
            Some(true)
        );
        assert_eq!(judged(33.0, None, Goal::AtMost(32.0)), Some(false));
        // What hangs is no number to be better than.
        assert_eq!(judged(5.0, Some(None), Goal::AtLeast(1.0)), None);
    }

    #[test]
    fn the_text_says_when_a_goal_is_missed() {
        let text = figure(33.0, None, Goal::AtMost(32.0)).to_string();
        assert!(text.contains("goal at most 32: NOT MET"), "{text}");
        let text = figure(33.0, Some(None), Goal::AtLeast(1.5)).to_string();
        assert!(text.contains("hangs"), "{text}");
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=50).rev().map(f64::from).collect();
        let of = |part| quantile(&values, part);
        assert_eq!((of(0.5), of(0.99)), (Some(25.0), Some(50.0)));
        assert_eq!((of(0.0), of(1.0)), (Some(1.0), Some(50.0)));
        assert_eq!(quantile(&[3.0], 0.99), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn what_is_small_is_not_printed_as_nothing() {
        let text = figure(0.004, Some(Some(2.0)), Goal::AtMost(1.0)).to_string();
        assert!(
            text.contains("0.0040 s") && text.contains("ratio 0.0020"),
            "{text}"
        );
    }
}
