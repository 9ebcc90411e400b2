//! Records in, disclosed rows out: the streaming heart of the application.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::column::ColumnType;
use crate::job::Job;
use crate::recognise::{SAMPLE_ROWS, recognise};
use crate::report::{Reason, Report, ReportBuilder, Shape};
use crate::rows::{Found, QuotingError, Row, RowError, RowReader};
use crate::token::TokenKey;

/// Why the records as a whole are refused. Never holds their content; of the header it names
/// positions only, because a file without a header has a person in its first line.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The file has no first line, or one that is no row.
    #[error("the records have no header line: {reason}")]
    NoHeader {
        /// What stands there.
        reason: &'static str,
    },
    /// Its quotes do not tell its rows apart: see [`crate::rows`].
    #[error("the records' rows cannot be told apart from line {line} on: {error}")]
    Quoting {
        /// The line on which the row starts that shows it, from 1.
        line: u64,
        /// Why.
        error: QuotingError,
    },
    /// The header names a column that the job does not.
    #[error("column {position} of the records' header is none of the job's {expected} columns")]
    UnknownColumn {
        /// Its position, from 1.
        position: usize,
        /// How many columns the job names.
        expected: usize,
    },
    /// The header names a column twice.
    #[error("column {position} of the records' header has the name of an earlier one")]
    RepeatedColumn {
        /// Its position, from 1.
        position: usize,
    },
    /// The header leaves out a column of the job.
    #[error("the records' header has {got} columns, the job names {expected}")]
    MissingColumn {
        /// How many the job names.
        expected: usize,
        /// How many the header has.
        got: usize,
    },
    /// A group column whose disclosed values single out a person.
    #[error(
        "the job groups by a column of type {got:?}; groups are made of dates of birth, postcodes and passed-through columns"
    )]
    GroupColumn {
        /// The column's type.
        got: ColumnType,
    },
    /// The rows could not be handed on.
    #[error("the processed rows could not be written")]
    Output(#[source] io::Error),
}

impl ProcessError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NoHeader { .. } => "records.header",
            Self::Quoting { .. } => "records.quoting",
            Self::UnknownColumn { .. } => "records.unknown-column",
            Self::RepeatedColumn { .. } => "records.repeated-column",
            Self::MissingColumn { .. } => "records.missing-column",
            Self::GroupColumn { .. } => "job.group-by",
            Self::Output(_) => "answer.output",
        }
    }
}

/// Takes the records' CSV in pieces and writes the answer's. Memory is bounded: one row, the sample
/// and the group counts.
pub struct Processor<W: Write> {
    reader: RowReader,
    rows: RowProcessor<W>,
}

struct RowProcessor<W: Write> {
    job: Job,
    tokens: TokenKey,
    out: csv::Writer<W>,
    report: ReportBuilder,
    stage: Stage,
}

enum Stage {
    Header,
    /// Rows and refused lines wait, in order, until the columns are recognised.
    Sampling {
        names: Vec<String>,
        waiting: Vec<Waiting>,
        rows: usize,
    },
    Running(Plan),
}

enum Waiting {
    Row(Row),
    Bad(u64, RowError),
}

struct Plan {
    columns: Vec<(String, ColumnType)>,
    /// Indexes of the group columns, in the job's order.
    groups: Vec<usize>,
}

impl<W: Write> Processor<W> {
    /// A processor of one file of records.
    pub fn new(job: Job, tokens: TokenKey, out: W) -> Self {
        let rows = RowProcessor {
            job,
            tokens,
            out: csv::Writer::from_writer(out),
            report: ReportBuilder::default(),
            stage: Stage::Header,
        };
        Self {
            reader: RowReader::default(),
            rows,
        }
    }

    /// Feeds a piece of the records.
    ///
    /// # Errors
    /// [`ProcessError`] when the records as a whole are refused.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), ProcessError> {
        let rows = &mut self.rows;
        self.reader.feed(piece, |found| rows.take(found))
    }

    /// Ends the records: the report, and the writer behind the rows.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn finish(mut self) -> Result<(Report, W), ProcessError> {
        let rows = &mut self.rows;
        self.reader.finish(|found| rows.take(found))?;
        self.rows.finish()
    }
}

impl<W: Write> RowProcessor<W> {
    fn take(&mut self, found: Found<'_>) -> Result<(), ProcessError> {
        let found = match found {
            Found::Row(row) => Ok(row),
            Found::Bad { line, error } => Err((line, error)),
            Found::Broken { line, error } => return Err(ProcessError::Quoting { line, error }),
        };
        match &mut self.stage {
            Stage::Header => return self.header(found.ok()),
            Stage::Sampling { waiting, rows, .. } => {
                match found {
                    Ok(row) => {
                        waiting.push(Waiting::Row(row.clone()));
                        *rows += 1;
                    }
                    Err((line, error)) => waiting.push(Waiting::Bad(line, error)),
                }
                let full = *rows >= SAMPLE_ROWS || waiting.len() >= 2 * SAMPLE_ROWS;
                return if full { self.end_sample() } else { Ok(()) };
            }
            Stage::Running(_) => {}
        }
        match found {
            Ok(row) => self.row(row),
            Err((line, error)) => {
                self.report.rejected(line, None, Reason::Row(error));
                Ok(())
            }
        }
    }

    fn header(&mut self, row: Option<&Row>) -> Result<(), ProcessError> {
        let Some(row) = row else {
            return Err(ProcessError::NoHeader {
                reason: "the first line is not a row",
            });
        };
        let expected = self.job.columns().len() + self.job.pass_through().len();
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        let mut recognising = false;
        for (i, name) in row.fields().enumerate() {
            let position = i + 1;
            let Some(declared) = self.job.declared(name) else {
                return Err(ProcessError::UnknownColumn { position, expected });
            };
            if !seen.insert(name) {
                return Err(ProcessError::RepeatedColumn { position });
            }
            recognising |= declared.is_none();
            names.push(name.to_owned());
        }
        if names.len() != expected {
            return Err(ProcessError::MissingColumn {
                expected,
                got: names.len(),
            });
        }
        self.stage = Stage::Sampling {
            names,
            waiting: Vec::new(),
            rows: 0,
        };
        if recognising {
            Ok(())
        } else {
            self.end_sample()
        }
    }

    /// Decides the columns, writes the answer's header and then the rows that waited.
    fn end_sample(&mut self) -> Result<(), ProcessError> {
        let Stage::Sampling { names, waiting, .. } = &mut self.stage else {
            return Ok(());
        };
        let (names, waiting) = (std::mem::take(names), std::mem::take(waiting));
        let sample = || {
            waiting.iter().filter_map(|w| match w {
                Waiting::Row(row) => Some(row),
                Waiting::Bad(..) => None,
            })
        };
        let columns: Vec<_> = names
            .into_iter()
            .enumerate()
            .map(|(i, name)| {
                let declared = self.job.declared(&name).flatten();
                let column = declared
                    .unwrap_or_else(|| recognise(&name, sample().filter_map(|row| row.field(i))));
                (name, column)
            })
            .collect();
        let groups = group_indexes(&self.job, &columns)?;
        let disclosed = columns.iter().filter(|(_, c)| *c != ColumnType::Withheld);
        self.out
            .write_record(disclosed.map(|(name, _)| name))
            .map_err(output)?;
        self.stage = Stage::Running(Plan { columns, groups });
        for waited in waiting {
            match waited {
                Waiting::Row(row) => self.row(&row)?,
                Waiting::Bad(line, error) => self.report.rejected(line, None, Reason::Row(error)),
            }
        }
        Ok(())
    }

    fn row(&mut self, row: &Row) -> Result<(), ProcessError> {
        let Stage::Running(plan) = &self.stage else {
            return Ok(());
        };
        if row.fields().len() != plan.columns.len() {
            self.report
                .rejected(row.line, None, Reason::Shape(Shape::FieldCount));
            return Ok(());
        }
        let mut disclosed: Vec<Option<Cow<'_, str>>> = Vec::with_capacity(plan.columns.len());
        for ((name, column), value) in plan.columns.iter().zip(row.fields()) {
            match column.disclose(value, &self.tokens) {
                Ok(value) => disclosed.push(value),
                Err(error) => {
                    self.report
                        .rejected(row.line, Some(name), Reason::Value(error));
                    return Ok(());
                }
            }
        }
        let group: Vec<&str> = plan
            .groups
            .iter()
            .map(|i| {
                disclosed
                    .get(*i)
                    .and_then(Option::as_deref)
                    .unwrap_or_default()
            })
            .collect();
        self.report.written(&group);
        self.out
            .write_record(disclosed.iter().flatten().map(|v| v.as_bytes()))
            .map_err(output)
    }

    fn finish(mut self) -> Result<(Report, W), ProcessError> {
        if matches!(self.stage, Stage::Header) {
            return Err(ProcessError::NoHeader {
                reason: "the file is empty",
            });
        }
        self.end_sample()?;
        let columns = match self.stage {
            Stage::Running(plan) => plan.columns,
            Stage::Header | Stage::Sampling { .. } => Vec::new(),
        };
        let out = self
            .out
            .into_inner()
            .map_err(|e| ProcessError::Output(e.into_error()))?;
        Ok((self.report.finish(&self.job, columns), out))
    }
}

fn group_indexes(job: &Job, columns: &[(String, ColumnType)]) -> Result<Vec<usize>, ProcessError> {
    let mut indexes = Vec::new();
    for group in job.group_by() {
        let found = columns.iter().position(|(name, _)| name == group);
        if let Some((index, (_, column))) = found.and_then(|i| Some((i, columns.get(i)?))) {
            if !column.may_group() {
                return Err(ProcessError::GroupColumn { got: *column });
            }
            indexes.push(index);
        }
    }
    Ok(indexes)
}

fn output(error: csv::Error) -> ProcessError {
    ProcessError::Output(match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => io::Error::other("the row could not be encoded"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JOB: &str = r#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone","k":2,
        "columns":[{"name":"email","type":"email"},{"name":"card","type":"card"},
                   {"name":"born","type":"date-of-birth"},{"name":"notes","type":"withhold"}],
        "pass_through":["country"],"group_by":["country","born"]}"#;

    fn run(job: &str, records: &str) -> Result<(Report, String), ProcessError> {
        let job = Job::from_draft(job.as_bytes(), &[0; 48]).unwrap();
        let mut processor = Processor::new(job, TokenKey::new(&[9; 32]).unwrap(), Vec::new());
        for piece in records.as_bytes().chunks(7) {
            processor.feed(piece)?;
        }
        let (report, rows) = processor.finish()?;
        Ok((report, String::from_utf8(rows).unwrap()))
    }

    fn rule(job: &str, records: &str) -> &'static str {
        run(job, records).unwrap_err().rule()
    }

    #[test]
    fn a_header_that_is_not_the_jobs_is_refused_unseen() {
        assert_eq!(rule(JOB, ""), "records.header");
        assert_eq!(rule(JOB, "em\"ail,card"), "records.header");
        assert_eq!(rule(JOB, "\"email,card"), "records.quoting");
        assert_eq!(
            rule(JOB, "email,card,born,notes\n"),
            "records.missing-column"
        );
        assert_eq!(
            rule(JOB, "email,email,born,notes,country\n"),
            "records.repeated-column"
        );
        let secret = "ann@example.org,4111111111111111,1980-01-01,x,DE\n";
        let error = run(JOB, secret).unwrap_err();
        assert_eq!(error.rule(), "records.unknown-column");
        assert!(!error.to_string().contains("ann"));
    }

    #[test]
    fn groups_may_not_be_made_of_tokens() {
        let job = JOB.replace("[\"country\",\"born\"]", "[\"email\"]");
        assert_eq!(
            rule(&job, "email,card,born,notes,country\n"),
            "job.group-by"
        );
    }

    #[test]
    fn rows_are_disclosed_or_rejected() {
        let records = "country,email,card,born,notes\n\
            DE,ann@example.org,4111 1111 1111 1111,1980-01-02,secret one\n\
            DE,Ann@example.org,,1980-05-06,\"secret, two\"\n\
            DE,broken,4111111111111111,1980-01-02,x\n\
            FR,cat@example.org,4111111111111112,1980-01-02,x\n\
            FR,short\n\
            FR,quo\"te,,,\n\
            FR,dan@example.org,,1999-01-01,x\n";
        let (report, rows) = run(JOB, records).unwrap();
        let lines: Vec<_> = rows.lines().collect();
        assert_eq!(lines[0], "country,email,card,born");
        assert_eq!(lines.len(), 4);
        let ann = lines[1].split(',').nth(1).unwrap();
        assert!(ann.starts_with("tok_") && lines[2].contains(ann));
        assert!(lines[1].ends_with(",****1111,1980"));
        for secret in ["secret", "ann@", "4111", "01-02"] {
            let report = serde_json::to_string(&report).unwrap();
            assert!(
                !rows.replace("****", "").contains(secret),
                "{secret} in {rows}"
            );
            assert!(!report.contains(secret), "{secret} in {report}");
        }
        let rejected: Vec<_> = report
            .rejections
            .iter()
            .map(|r| (r.row, r.line, r.column.as_deref()))
            .collect();
        assert_eq!(
            rejected,
            [
                (3, 4, Some("email")),
                (4, 5, Some("card")),
                (5, 6, None),
                (6, 7, None)
            ]
        );
        assert_eq!(
            (report.rows.read, report.rows.written, report.rows.rejected),
            (7, 3, 4)
        );
        // One French row alone is below k = 2, and alone it would be told from the total.
        assert!(report.groups.is_empty());
        assert_eq!(report.suppressed_rows, 3);
    }

    #[test]
    fn columns_are_recognised_before_the_first_row_leaves() {
        let job = r#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone",
            "columns":[{"name":"a","type":"recognise"},{"name":"zip","type":"recognise"},
                       {"name":"free","type":"recognise"}]}"#;
        let mut records = String::from("a,zip,free\n");
        for i in 0..SAMPLE_ROWS + 50 {
            records.push_str(&format!("user{i}@example.org,02139,text {i}\n"));
        }
        let (report, rows) = run(job, &records).unwrap();
        assert_eq!(rows.lines().next(), Some("a,zip"));
        assert_eq!(rows.lines().count(), SAMPLE_ROWS + 51);
        assert!(rows.lines().nth(1).unwrap().ends_with(",021"));
        assert_eq!(report.columns[2].column_type, ColumnType::Withheld);
        assert!(!rows.contains("user") && !rows.contains("text"));
    }

    proptest! {
        #[test]
        fn any_records_are_counted_or_refused(
            body in "[a-z@.,\"\n0-9é]{0,300}", cut in any::<prop::sample::Index>())
        {
            let records = format!("email,card,born,notes,country\n{body}");
            let job = Job::from_draft(JOB.as_bytes(), &[0; 48]).unwrap();
            let mut p = Processor::new(job, TokenKey::new(&[9; 32]).unwrap(), Vec::new());
            let (a, b) = records.as_bytes().split_at(cut.index(records.len()));
            let fed = p.feed(a).and_then(|()| p.feed(b)).and_then(|()| p.finish());
            let (report, rows) = match fed {
                Ok(done) => done,
                Err(error) => {
                    prop_assert_eq!(error.rule(), "records.quoting");
                    return Ok(());
                }
            };
            prop_assert_eq!(report.rows.read, report.rows.written + report.rows.rejected);
            let lines = csv::Reader::from_reader(rows.as_slice()).into_records().count();
            prop_assert_eq!(lines as u64, report.rows.written);
        }
    }
}
