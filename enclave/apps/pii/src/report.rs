//! The aggregate report, with its k-anonymity floor.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::column::{ColumnType, ValueError};
use crate::job::Job;
use crate::rows::RowError;

/// The value of a report's `format` field.
pub const FORMAT: &str = "anchorhold-pii-report/1";
/// The most rejected rows that are listed one by one; the rest are counted by reason.
pub const MAX_REJECTIONS: usize = 10_000;
/// The most groups that are counted. Rows of further groups count as suppressed.
pub const MAX_GROUPS: usize = 1 << 17;
/// The most bytes of all groups' values together, as the report writes them. Four group columns of
/// long values would otherwise be a report of many times an enclave's memory; rows of groups that do
/// not fit count as suppressed.
pub const MAX_GROUP_BYTES: usize = 16 << 20;
/// The longest value that makes a group, in bytes; rows with longer ones count as suppressed.
pub const MAX_GROUP_VALUE: usize = 128;

/// The report as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// The job's data set.
    pub data_set: String,
    /// SHA-384 of the job, in hex.
    pub job_sha384: String,
    /// How many rows came, went out and were rejected.
    pub rows: RowCounts,
    /// Each column of the records and what of it the answer discloses.
    pub columns: Vec<ColumnReport>,
    /// The columns whose disclosed values make the groups.
    pub group_by: Vec<String>,
    /// The floor: no group below has fewer rows.
    pub k: u32,
    /// Groups of at least `k` rows, by their values.
    pub groups: Vec<Group>,
    /// Rows in groups that are not shown. Either zero or at least `k`, unless fewer than `k` rows
    /// were written at all.
    pub suppressed_rows: u64,
    /// Rejected rows by reason.
    pub rejected_by_reason: BTreeMap<String, u64>,
    /// The first [`MAX_REJECTIONS`] rejected rows.
    pub rejections: Vec<Rejection>,
}

/// Row counts. `read` is `written` and `rejected` together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows behind the header.
    pub read: u64,
    /// Rows in the answer.
    pub written: u64,
    /// Rows that did not parse.
    pub rejected: u64,
}

/// What the answer discloses of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// The column's name.
    pub name: String,
    /// Its type, declared or recognised.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// What is disclosed, in words.
    pub disclosed: String,
}

/// A group of rows with the same disclosed values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The values, in the order of `group_by`.
    pub values: Vec<String>,
    /// How many rows.
    pub rows: u64,
}

/// A rejected row, by number and reason and never by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The row's number, from 1 behind the header, rejected rows counted.
    pub row: u64,
    /// The line on which it starts, from 1.
    pub line: u64,
    /// The column whose value does not parse, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Why.
    pub reason: Reason,
}

/// Why a row is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reason {
    /// It is no row.
    Row(RowError),
    /// A value is not of its column's type.
    Value(ValueError),
    /// It has not as many fields as the header.
    Shape(Shape),
}

/// A row's shape against the header's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// More or fewer fields than the header names.
    FieldCount,
}

impl Reason {
    /// The reason's name, as the report writes it.
    fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => "unnamed".to_owned(),
        }
    }
}

/// Counts rows while they pass.
#[derive(Debug, Default)]
pub struct ReportBuilder {
    rows: RowCounts,
    groups: HashMap<Vec<String>, u64>,
    /// Bytes of the groups' values.
    group_bytes: usize,
    ungrouped: u64,
    by_reason: BTreeMap<String, u64>,
    rejections: Vec<Rejection>,
}

impl ReportBuilder {
    /// Counts a row that goes into the answer; `group` holds its disclosed group values.
    pub fn written(&mut self, group: &[&str]) {
        self.rows.read = self.rows.read.saturating_add(1);
        self.rows.written = self.rows.written.saturating_add(1);
        if group.is_empty() {
            return;
        }
        let key: Vec<String> = group.iter().map(|v| (*v).to_owned()).collect();
        if let Some(count) = self.groups.get_mut(&key) {
            *count = count.saturating_add(1);
            return;
        }
        let short = group.iter().all(|v| v.len() <= MAX_GROUP_VALUE);
        let bytes = group.iter().map(|v| json_length(v)).sum::<usize>();
        let bytes = self.group_bytes.saturating_add(bytes);
        if short && self.groups.len() < MAX_GROUPS && bytes <= MAX_GROUP_BYTES {
            self.groups.insert(key, 1);
            self.group_bytes = bytes;
        } else {
            self.ungrouped = self.ungrouped.saturating_add(1);
        }
    }

    /// Counts a row that does not.
    pub fn rejected(&mut self, line: u64, column: Option<&str>, reason: Reason) {
        self.rows.read = self.rows.read.saturating_add(1);
        self.rows.rejected = self.rows.rejected.saturating_add(1);
        let count = self.by_reason.entry(reason.name()).or_default();
        *count = count.saturating_add(1);
        if self.rejections.len() < MAX_REJECTIONS {
            let column = column.map(str::to_owned);
            self.rejections.push(Rejection {
                row: self.rows.read,
                line,
                column,
                reason,
            });
        }
    }

    /// How many rows have passed.
    pub fn rows(&self) -> RowCounts {
        self.rows
    }

    /// Applies the floor and makes the report.
    pub fn finish(self, job: &Job, columns: Vec<(String, ColumnType)>) -> Report {
        let (groups, suppressed_rows) = floor(self.groups, self.ungrouped, job.k());
        Report {
            format: FORMAT.to_owned(),
            data_set: job.data_set().to_owned(),
            job_sha384: hex::encode(job.sha384()),
            rows: self.rows,
            columns: columns
                .into_iter()
                .map(|(name, column_type)| ColumnReport {
                    name,
                    column_type,
                    disclosed: column_type.disclosure().to_owned(),
                })
                .collect(),
            group_by: job.group_by().to_vec(),
            k: job.k(),
            groups,
            suppressed_rows,
            rejected_by_reason: self.by_reason,
            rejections: self.rejections,
        }
    }
}

/// The bytes of a value in JSON without its quotes, or more: control characters take up to six
/// (RFC 8259, section 7).
fn json_length(value: &str) -> usize {
    let each = |byte: u8| match byte {
        0x00..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    value.bytes().map(each).sum()
}

/// Leaves out groups below `k`, and then the smallest others until the rows left out are at least
/// `k` themselves: otherwise one small group could be told from the total (complementary
/// suppression).
fn floor(groups: HashMap<Vec<String>, u64>, ungrouped: u64, k: u32) -> (Vec<Group>, u64) {
    let k = u64::from(k);
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|(values, rows)| Group { values, rows })
        .collect();
    groups.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.values.cmp(&b.values)));
    let mut suppressed = ungrouped;
    while let Some(smallest) = groups.last() {
        if smallest.rows >= k && (suppressed == 0 || suppressed >= k) {
            break;
        }
        suppressed = suppressed.saturating_add(smallest.rows);
        groups.pop();
    }
    groups.sort_by(|a, b| a.values.cmp(&b.values));
    (groups, suppressed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(of: &[u64]) -> HashMap<Vec<String>, u64> {
        of.iter()
            .enumerate()
            .map(|(i, n)| (vec![format!("g{i:03}")], *n))
            .collect()
    }

    fn shown(of: &[u64], k: u32) -> (Vec<u64>, u64) {
        let (groups, suppressed) = floor(counts(of), 0, k);
        (groups.iter().map(|g| g.rows).collect(), suppressed)
    }

    #[test]
    fn small_groups_and_what_would_betray_them_are_left_out() {
        assert_eq!(shown(&[9, 7, 4], 5), (vec![9], 11));
        assert_eq!(shown(&[9, 4, 3], 5), (vec![9], 7));
        assert_eq!(shown(&[9, 7], 5), (vec![9, 7], 0));
        assert_eq!(shown(&[2], 5), (vec![], 2));
        assert_eq!(shown(&[], 5), (vec![], 0));
    }

    #[test]
    fn rejections_are_bounded_and_still_counted() {
        let mut report = ReportBuilder::default();
        for line in 0..MAX_REJECTIONS as u64 + 5 {
            report.rejected(
                line + 2,
                Some("card"),
                Reason::Value(ValueError::CardCheckDigit),
            );
        }
        let job = br#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone",
                       "columns":[{"name":"card","type":"card"}]}"#;
        let report = report.finish(&Job::from_draft(job, &[0; 48]).unwrap(), vec![]);
        assert_eq!(report.rejections.len(), MAX_REJECTIONS);
        assert_eq!(
            report.rejected_by_reason["card-check-digit"],
            MAX_REJECTIONS as u64 + 5
        );
        assert_eq!(report.rejections[1].row, 2);
        assert_eq!(report.rejections[1].line, 3);
    }

    /// A report over groups of four values, each of two rows.
    fn report_of(groups: usize, fill: &str) -> Report {
        let job = br#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone","k":2,
                       "columns":[],"pass_through":["a","b","c","d"],
                       "group_by":["a","b","c","d"]}"#;
        let mut report = ReportBuilder::default();
        for group in 0..groups {
            let value = format!("{group:08}{}", fill.repeat(MAX_GROUP_VALUE - 8));
            for _ in 0..2 {
                report.written(&[&value, &value, &value, &value]);
            }
        }
        report.finish(&Job::from_draft(job, &[0; 48]).unwrap(), vec![])
    }

    #[test]
    fn groups_are_bounded_in_bytes_and_the_rest_is_still_counted() {
        let length = 8 + 6 * (MAX_GROUP_VALUE - 8);
        let fit = MAX_GROUP_BYTES / (4 * length);
        let report = report_of(fit + 10, "\u{1}");
        assert_eq!(report.groups.len(), fit);
        assert_eq!(report.suppressed_rows, 20);
        let json = serde_json::to_vec(&report).unwrap();
        assert!(json.len() < MAX_GROUP_BYTES + 64 * fit);
    }

    proptest! {
        #[test]
        fn a_values_json_is_not_longer_than_it_counts(value in any::<String>()) {
            let json = serde_json::to_string(&value).unwrap();
            prop_assert!(json.len() <= json_length(&value) + 2);
        }

        #[test]
        fn the_floor_holds(sizes in proptest::collection::vec(1_u64..20, 0..40), k in 2_u32..12) {
            let total: u64 = sizes.iter().sum();
            let (groups, suppressed) = shown(&sizes, k);
            prop_assert!(groups.iter().all(|rows| *rows >= u64::from(k)));
            prop_assert_eq!(groups.iter().sum::<u64>() + suppressed, total);
            prop_assert!(suppressed == 0 || suppressed >= u64::from(k) || groups.is_empty());
        }
    }
}
