//! A strict, bounded RFC 4180 reader that is fed in pieces and names every row it cannot take.
//!
//! A reader that guesses where a row with wrong quoting ends may read the rest of a long note as
//! rows of its own, and what the job withholds would leave under the name of a column that is passed
//! through. So this one never guesses:
//!
//! - A row that is too long, has too many fields or is not UTF-8 is well quoted: it is read to its
//!   real end, without being kept, and refused alone.
//! - So is a row with a quote in the midst of an unquoted field (`Ann "Bo,DE`): the quote counts as
//!   a letter.
//! - Any other wrong quoting leaves open which line ends are row ends, in this row and in those
//!   before it: the file is refused as a whole. Its answer was not released yet, so nothing of the
//!   rows that were misread is disclosed.
//!
//! That this holds for every file that one change has made of a well-formed one (a byte lost,
//! replaced or added, or many bytes without quotes and line ends) is seen so. Call the reader
//! *inverted* while it takes for quoted what is not, or the other way round. A change that leaves it
//! as it should be touches one row, whose number of fields then is another, or a value within its
//! column. A change that inverts it (a quote lost or added; text before an opening quote) also makes
//! an odd number of quotes left for it, and rows that are well quoted take quotes in pairs: so a
//! fault must follow, the end of the file at the latest. While it is inverted it meets opening
//! quotes as quoted text, closing quotes with a comma, a line end or the file's end behind them, and
//! doubled quotes. None of these is a single quote between letters, so the fault that follows
//! is one that refuses the file. Several changes may hide each other, and a file whose writer quoted
//! nothing at all is a well-formed file of other rows: no reader can tell.

/// The longest row in bytes: quotes and commas included, its line end not.
pub const MAX_ROW: usize = 64 * 1024;
/// The most fields of a row: as many as a job may name columns.
pub const MAX_FIELDS: usize = crate::job::MAX_COLUMNS;

/// What may stand before the first row, and is no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why a row is not one, where its end is known.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum RowError {
    /// A quote in the midst of a field that does not begin with one (RFC 4180, rule 5).
    QuoteInUnquotedField,
    /// Longer than [`MAX_ROW`].
    RowTooLong,
    /// More than [`MAX_FIELDS`] fields.
    TooManyFields,
    /// Not UTF-8.
    NotUtf8,
}

/// Why rows cannot be told from each other any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotingError {
    /// A quote at the end of a field that does not begin with one, or two quotes within it: it may
    /// close a field whose opening quote is lost.
    #[error("a quote ends a field, or is doubled in it, that does not begin with one")]
    QuoteEndsUnquotedField,
    /// Something other than a comma or a line end behind a closing quote (RFC 4180, rule 7).
    #[error("text stands behind a closing quote")]
    TextAfterQuote,
    /// The file ends inside a quoted field.
    #[error("the file ends inside a quoted field")]
    UnterminatedQuote,
}

/// The fields of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    text: String,
    ends: Vec<usize>,
    /// The line on which the row starts, from 1.
    pub line: u64,
}

impl Row {
    /// The fields, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.ends.len()).map(|i| self.field(i).unwrap_or_default())
    }

    /// The field at an index.
    pub fn field(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }
}

/// What the reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A row.
    Row(&'a Row),
    /// A row that is refused alone.
    Bad {
        /// The line on which it starts, from 1.
        line: u64,
        /// Why.
        error: RowError,
    },
    /// The file has no rows that can be told from each other: nothing else is found after this.
    Broken {
        /// The line on which the row starts that shows it, from 1.
        line: u64,
        /// Why.
        error: QuotingError,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    /// Behind a quote in an unquoted field.
    StrayQuote,
    Quoted,
    /// Behind a quote in a quoted field: the next byte tells whether it closes the field.
    QuoteInQuoted,
}

/// The reader. Its memory is bounded by [`MAX_ROW`], and what it finds does not depend on where the
/// pieces are cut.
#[derive(Debug)]
pub struct RowReader {
    /// The file's first bytes, until there are enough to tell a byte order mark.
    start: Option<Vec<u8>>,
    state: State,
    /// Behind a carriage return outside quotes: the next byte tells whether it ends the line.
    carriage_return: bool,
    broken: bool,
    /// Where the row starts, and the line ends within it.
    line: u64,
    lines: u64,
    /// The row's bytes so far.
    length: usize,
    has_quote: bool,
    refused: Option<RowError>,
    bytes: Vec<u8>,
    row: Row,
}

impl Default for RowReader {
    fn default() -> Self {
        Self {
            start: Some(Vec::new()),
            state: State::FieldStart,
            carriage_return: false,
            broken: false,
            line: 1,
            lines: 0,
            length: 0,
            has_quote: false,
            refused: None,
            bytes: Vec::new(),
            row: Row::default(),
        }
    }
}

impl RowReader {
    /// Feeds a piece of the file and hands on the rows that it completes.
    ///
    /// # Errors
    /// Those of `found`, at once; the reader is not to be used again then.
    pub fn feed<E>(
        &mut self,
        mut piece: &[u8],
        mut found: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(start) = &mut self.start {
            let missing = BYTE_ORDER_MARK.len().saturating_sub(start.len());
            let (first, rest) = piece.split_at(missing.min(piece.len()));
            start.extend_from_slice(first);
            if start.len() < BYTE_ORDER_MARK.len() {
                return Ok(());
            }
            self.begin(&mut found)?;
            piece = rest;
        }
        self.take(piece, &mut found)
    }

    /// Says that the file is at its end.
    ///
    /// # Errors
    /// Those of `found`.
    pub fn finish<E>(
        &mut self,
        mut found: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.begin(&mut found)?;
        if self.carriage_return {
            self.lone_carriage_return(&mut found)?;
        }
        match self.state {
            _ if self.broken => Ok(()),
            State::StrayQuote => self.break_off(QuotingError::QuoteEndsUnquotedField, &mut found),
            State::Quoted => self.break_off(QuotingError::UnterminatedQuote, &mut found),
            _ if self.length == 0 => Ok(()),
            _ => self.end_row(&mut found),
        }
    }

    fn begin<E>(&mut self, found: &mut impl FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        let start = self.start.take().unwrap_or_default();
        let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start);
        self.take(start, found)
    }

    fn take<E>(
        &mut self,
        mut piece: &[u8],
        found: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((&byte, behind)) = piece.split_first() {
            if self.broken {
                break;
            }
            if self.carriage_return && byte != b'\n' {
                self.lone_carriage_return(found)?;
                continue;
            }
            match piece.split_at(self.plain(piece)) {
                ([], _) => {
                    self.special(byte, found)?;
                    piece = behind;
                }
                (plain, rest) => {
                    self.keep(plain);
                    piece = rest;
                }
            }
        }
        Ok(())
    }

    /// How many bytes at the start of a piece are a field's content whatever is before them.
    fn plain(&self, piece: &[u8]) -> usize {
        let end = match self.state {
            _ if self.carriage_return => Some(0),
            State::Quoted => piece.iter().position(|b| *b == b'"'),
            State::FieldStart | State::Unquoted => piece
                .iter()
                .position(|b| matches!(b, b'"' | b',' | b'\n' | b'\r')),
            State::StrayQuote | State::QuoteInQuoted => Some(0),
        };
        end.unwrap_or(piece.len())
    }

    fn special<E>(
        &mut self,
        byte: u8,
        found: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match (self.state, byte) {
            (State::StrayQuote, b'"' | b',' | b'\n' | b'\r') => {
                return self.break_off(QuotingError::QuoteEndsUnquotedField, found);
            }
            (State::Quoted, _) => {
                self.state = State::QuoteInQuoted;
                self.count(1);
            }
            (State::QuoteInQuoted, b'"') => {
                self.state = State::Quoted;
                self.keep(b"\"");
            }
            (State::FieldStart, b'"') => {
                self.state = State::Quoted;
                self.has_quote = true;
                self.count(1);
            }
            (State::Unquoted, b'"') => {
                self.state = State::StrayQuote;
                self.refuse(RowError::QuoteInUnquotedField);
            }
            (_, b',') => self.end_field(),
            (_, b'\n') => {
                self.lines = self.lines.saturating_add(1);
                return self.end_row(found);
            }
            (_, b'\r') => self.carriage_return = true,
            (State::QuoteInQuoted, _) => {
                return self.break_off(QuotingError::TextAfterQuote, found);
            }
            (State::FieldStart | State::Unquoted | State::StrayQuote, _) => {
                self.state = State::Unquoted;
                self.keep(&[byte]);
            }
        }
        Ok(())
    }

    /// A carriage return that ends no line is content.
    fn lone_carriage_return<E>(
        &mut self,
        found: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.carriage_return = false;
        if self.state == State::QuoteInQuoted {
            return self.break_off(QuotingError::TextAfterQuote, found);
        }
        self.keep(b"\r");
        Ok(())
    }

    fn keep(&mut self, content: &[u8]) {
        if self.state == State::Quoted {
            let lines = content.iter().filter(|b| **b == b'\n').count();
            self.lines = self.lines.saturating_add(lines as u64);
        } else {
            self.state = State::Unquoted;
        }
        self.count(content.len());
        if self.refused.is_none() {
            self.bytes.extend_from_slice(content);
        }
    }

    fn count(&mut self, bytes: usize) {
        self.length = self.length.saturating_add(bytes);
        if self.length > MAX_ROW {
            self.refuse(RowError::RowTooLong);
        }
    }

    /// The first reason is the one that is told.
    fn refuse(&mut self, error: RowError) {
        self.refused.get_or_insert(error);
    }

    fn end_field(&mut self) {
        self.count(1);
        self.state = State::FieldStart;
        if self.refused.is_none() {
            self.row.ends.push(self.bytes.len());
            if self.row.ends.len() >= MAX_FIELDS {
                self.refuse(RowError::TooManyFields);
            }
        }
    }

    fn end_row<E>(&mut self, found: &mut impl FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        self.row.ends.push(self.bytes.len());
        self.row.line = self.line;
        let bytes = std::mem::take(&mut self.bytes);
        let blank = bytes.is_empty() && self.row.ends.len() == 1 && !self.has_quote;
        let text = match self.refused {
            Some(error) => Err(error),
            None => String::from_utf8(bytes).map_err(|_| RowError::NotUtf8),
        };
        match text {
            Ok(text) if text.is_ascii() || on_boundaries(&text, &self.row.ends) => {
                self.row.text = text;
                if !blank {
                    found(Found::Row(&self.row))?;
                }
                self.bytes = std::mem::take(&mut self.row.text).into_bytes();
            }
            refused => found(Found::Bad {
                line: self.line,
                error: refused.err().unwrap_or(RowError::NotUtf8),
            })?,
        }
        self.line = self.line.saturating_add(self.lines);
        self.lines = 0;
        self.length = 0;
        self.state = State::FieldStart;
        self.carriage_return = false;
        self.has_quote = false;
        self.refused = None;
        self.bytes.clear();
        self.row.ends.clear();
        Ok(())
    }

    fn break_off<E>(
        &mut self,
        error: QuotingError,
        found: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.broken = true;
        found(Found::Broken {
            line: self.line,
            error,
        })
    }
}

fn on_boundaries(text: &str, ends: &[usize]) -> bool {
    ends.iter().all(|end| text.is_char_boundary(*end))
}

#[cfg(test)]
mod tests;
