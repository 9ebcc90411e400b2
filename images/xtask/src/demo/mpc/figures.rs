//! What the owners opened, put together: what several may see must be the same for all.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::demo::mpc::compute::Analysis;
use crate::demo::mpc::owner::Owner;
use crate::demo::pii::text;

/// The parts of an answer that are no figure of all.
const OWN: [&str; 4] = ["contract_sha384", "format", "party", "rows"];

/// An owner's check of its answer.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    /// Whether the document over the answer verified.
    pub document_verified: bool,
    /// SHA-384 of the sealed answer, as the document names it.
    pub answer_sha384: String,
}

/// A computation's figures and their receivers. A figure that the contract withholds is null.
#[derive(Debug, Serialize)]
pub(super) struct Answered {
    /// By name.
    #[serde(flatten)]
    pub figures: Map<String, Value>,
    /// By owner.
    pub parties: BTreeMap<String, Checked>,
    /// What became of each owner's rows, which it alone is told: for people only.
    #[serde(skip)]
    rows: BTreeMap<String, Rows>,
}

/// An owner's rows.
#[derive(Debug, Default, Deserialize)]
struct Rows {
    counts: Counts,
    /// By the rule that rejected them.
    rejected_by_rule: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
struct Counts {
    read: u64,
    rejected: u64,
    without_key: u64,
}

impl Rows {
    /// How many there are, how many were left out, and why.
    fn line(&self, owner: &str, join_on: &str) -> String {
        let Counts {
            read,
            rejected,
            without_key,
        } = self.counts;
        let mut why = Vec::new();
        if without_key > 0 {
            why.push(format!("{without_key} without a value of {join_on:?}"));
        }
        let rules = self.rejected_by_rule.iter();
        why.extend(rules.map(|(rule, count)| format!("{count} by {rule}")));
        let out = rejected.saturating_add(without_key);
        let why = match why.is_empty() {
            true => String::new(),
            false => format!(": {}", why.join(", ")),
        };
        format!("{owner}: {read} rows, {out} left out{why}")
    }
}

impl Answered {
    /// Puts together what the owners opened.
    pub(super) fn of(owners: &[Owner<'_>], opened: &[Value], analysis: &Analysis) -> Result<Self> {
        let mut parties = BTreeMap::new();
        let mut rows = BTreeMap::new();
        for (owner, opened) in owners.iter().zip(opened) {
            let verified = opened.pointer("/document/verified");
            let checked = Checked {
                document_verified: verified.and_then(Value::as_bool) == Some(true),
                answer_sha384: text(opened, "/answer_sha384")?.to_owned(),
            };
            parties.insert(owner.name().to_owned(), checked);
            let own = opened.pointer("/output/rows").cloned();
            let own = serde_json::from_value(own.unwrap_or_default());
            let own = own.with_context(|| format!("expected the rows of {}", owner.name()))?;
            rows.insert(owner.name().to_owned(), own);
        }
        let mut all = opened
            .iter()
            .map(|opened| figures(opened, &analysis.column));
        let figures = all.next().context("there is no owner")??;
        for other in all {
            if other? != figures {
                bail!("the owners were not told the same");
            }
        }
        Ok(Self {
            figures,
            parties,
            rows,
        })
    }

    /// A line for each figure, for people.
    pub(super) fn lines(&self, analysis: &Analysis) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, figure) in &self.figures {
            match name.as_str() {
                "intersection_size" | "count" => {
                    let shown = plain(figure, analysis);
                    let column = &analysis.join_on;
                    lines.push(format!(
                        "values of {column:?} that all owners have: {shown}"
                    ));
                }
                "sums" => each(figure, |party, sum| {
                    let sum = plain(sum, analysis);
                    lines.push(format!(
                        "sum of {:?} over them, {party}: {sum}",
                        analysis.column
                    ));
                }),
                "moments" => all(figure, |of| {
                    let (mean, variance) = (&of["mean"], &of["variance"]);
                    let (mean, variance) = (plain(mean, analysis), plain(variance, analysis));
                    lines.push(format!("{}: mean {mean}, variance {variance}", column(of)));
                }),
                "histograms" => all(figure, |of| {
                    let mut counts = Vec::new();
                    all(&of["counts"], |count| {
                        counts.push(count.as_u64().map_or_else(|| "–".into(), |c| c.to_string()));
                    });
                    lines.push(format!("{}: bins {}", column(of), counts.join(" ")));
                }),
                "overlaps" => each(&figure["at_least"], |k, count| {
                    let shown = plain(count, analysis);
                    let column = &analysis.join_on;
                    lines.push(format!(
                        "values of {column:?} that {k} owners or more have: {shown}"
                    ));
                }),
                "regression" if figure.is_null() => lines.push(
                    "regression: withheld, by the rule in the owners' answers: about too few keys, \
                     or no one line"
                        .to_owned(),
                ),
                "privacy" => lines.push(format!(
                    "noise: {}, ε {} and δ {} of this run, shared among {} figures",
                    plain(&figure["mechanism"], analysis),
                    plain(&figure["epsilon"], analysis),
                    plain(&figure["delta"], analysis),
                    plain(&figure["queries"], analysis),
                )),
                other => lines.push(format!("{other}: {}", plain(figure, analysis))),
            }
        }
        let rows = self.rows.iter();
        lines.extend(rows.map(|(owner, rows)| rows.line(owner, &analysis.join_on)));
        for (party, checked) in &self.parties {
            let hash = checked.answer_sha384.get(..16).unwrap_or_default();
            lines.push(format!("{party}'s document verified; answer {hash}…"));
        }
        lines
    }

    /// Refuses an answer whose document did not verify.
    pub(super) fn judge(&self) -> Result<()> {
        let mut parties = self.parties.iter();
        if let Some((name, _)) = parties.find(|(_, checked)| !checked.document_verified) {
            bail!("the document of {name}'s answer did not verify");
        }
        Ok(())
    }
}

/// The figures of an opened answer.
fn figures(opened: &Value, column: &str) -> Result<Map<String, Value>> {
    let output = opened.get("output").and_then(Value::as_object);
    let output = output.with_context(|| format!("expected an output in {opened}"))?;
    let mut figures = Map::new();
    for (name, figure) in output {
        if OWN.contains(&name.as_str()) {
            continue;
        }
        let figure = match name.as_str() {
            "sums" => sums(figure, column)?,
            _ => withheld_as_null(figure),
        };
        figures.insert(name.clone(), figure);
    }
    Ok(figures)
}

/// By owner, of the owners that have the column.
fn sums(found: &Value, column: &str) -> Result<Value> {
    let found = found.as_object().context("expected sums by owner")?;
    let mut sums = Map::new();
    for (party, columns) in found {
        if let Some(sum) = columns.get(column) {
            sums.insert(party.clone(), withheld_as_null(sum));
        }
    }
    Ok(sums.into())
}

fn withheld_as_null(figure: &Value) -> Value {
    match figure {
        Value::Object(fields) if fields.contains_key("suppressed") => Value::Null,
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, figure)| (name.clone(), withheld_as_null(figure)));
            Value::Object(fields.collect())
        }
        Value::Array(figures) => figures.iter().map(withheld_as_null).collect(),
        other => other.clone(),
    }
}

fn plain(figure: &Value, analysis: &Analysis) -> String {
    match figure {
        Value::Null if analysis.privacy.is_some() => "withheld".to_owned(),
        Value::Null => format!("withheld: fewer than {}", analysis.min_cohort),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn column(of: &Value) -> String {
    let text = |name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{:?} of {}", text("column"), text("party"))
}

fn each(figures: &Value, mut line: impl FnMut(&str, &Value)) {
    for (name, figure) in figures.as_object().into_iter().flatten() {
        line(name, figure);
    }
}

fn all(figures: &Value, line: impl FnMut(&Value)) {
    figures.as_array().into_iter().flatten().for_each(line);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_withheld_is_null_and_what_is_an_owner_s_is_left_out() {
        let withheld = json!({"suppressed": true});
        let opened = json!({"output": {
            "contract_sha384": "x", "format": "x", "party": "a", "rows": {},
            "sums": {"a": {"v": "1", "w": "2"}, "b": {}, "c": {"v": withheld}},
            "histograms": [{"counts": [3, withheld]}],
        }});
        let expected = json!({
            "sums": {"a": "1", "c": null},
            "histograms": [{"counts": [3, null]}],
        });
        assert_eq!(Value::Object(figures(&opened, "v").unwrap()), expected);
        assert!(figures(&json!({}), "v").is_err());
    }

    #[test]
    fn rows_that_were_left_out_are_told_with_the_reason() {
        let rows = json!({
            "counts": {"joined": 5, "read": 10, "rejected": 3, "without_key": 2},
            "first_rejected": [{"row": 4, "rule": "row.fields"}],
            "rejected_by_rule": {"decimal.syntax": 2, "row.fields": 1},
        });
        let rows: Rows = serde_json::from_value(rows).unwrap();
        assert_eq!(
            rows.line("a", "email"),
            "a: 10 rows, 5 left out: 2 without a value of \"email\", 2 by decimal.syntax, \
             1 by row.fields"
        );
        assert_eq!(Rows::default().line("b", "email"), "b: 0 rows, 0 left out");
        let answered = Answered {
            figures: Map::new(),
            parties: BTreeMap::new(),
            rows: BTreeMap::from([("a".to_owned(), rows)]),
        };
        assert_eq!(
            serde_json::to_value(answered).unwrap(),
            json!({"parties": {}})
        );
    }
}
