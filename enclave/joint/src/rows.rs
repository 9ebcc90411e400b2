//! A strict, bounded RFC 4180 reader that is fed in pieces.
//!
//! Where quoting is broken, nobody knows where the next row starts: going on would mean to guess
//! which text is whose, so the whole file is refused. What is known to be one row is handed on,
//! whatever its fields hold. The common CSV crates repair broken quoting without a word, so this
//! is not one of them.

use zeroize::Zeroizing;

/// The longest row in bytes of content. A longer one is handed on as too long.
pub const MAX_ROW: usize = 64 * 1024;
/// The most fields of a row that are kept; more are counted.
pub const MAX_FIELDS: usize = 1024;

/// Why a file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotingError {
    /// A quote inside a field that does not begin with one (RFC 4180, section 2, rule 5).
    #[error("line {line}: a quote inside a field without quotes")]
    QuoteInField {
        /// The line, from 1.
        line: u64,
    },
    /// Something other than a comma or a line end behind a closing quote (rule 7).
    #[error("line {line}: text behind a closing quote")]
    TextAfterQuote {
        /// The line, from 1.
        line: u64,
    },
    /// A carriage return that ends no line (rule 1: lines end with CRLF; LF alone is taken too).
    #[error("line {line}: a carriage return without a line feed")]
    BareReturn {
        /// The line, from 1.
        line: u64,
    },
    /// The file ends inside a quoted field.
    #[error("line {line}: the file ends inside a quoted field")]
    Unterminated {
        /// The line on which it ends, from 1.
        line: u64,
    },
}

impl QuotingError {
    /// The rule that refused.
    pub fn rule(self) -> &'static str {
        match self {
            Self::QuoteInField { .. } => "csv.quote-in-field",
            Self::TextAfterQuote { .. } => "csv.text-after-quote",
            Self::BareReturn { .. } => "csv.bare-return",
            Self::Unterminated { .. } => "csv.unterminated-quote",
        }
    }
}

/// A row, borrowed from the reader.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
    count: usize,
    too_long: bool,
}

impl<'a> Row<'a> {
    /// A field's bytes without its quotes.
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..end)
    }

    /// How many fields it has, more than [`MAX_FIELDS`] included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Longer than [`MAX_ROW`]: its fields are not kept.
    pub fn too_long(&self) -> bool {
        self.too_long
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    RowStart,
    FieldStart,
    Unquoted,
    Quoted,
    QuoteInQuoted,
    Return,
}

/// The reader. It holds one row, of at most [`MAX_ROW`] bytes, and overwrites it when it is dropped.
pub struct RowReader {
    state: State,
    line: u64,
    /// How much of a byte order mark has been seen; 3 when the question is settled.
    mark: usize,
    bytes: Zeroizing<Vec<u8>>,
    ends: Vec<usize>,
    count: usize,
    too_long: bool,
}

const MARK: [u8; 3] = *b"\xEF\xBB\xBF";

impl Default for RowReader {
    fn default() -> Self {
        Self {
            state: State::RowStart,
            line: 1,
            mark: 0,
            // At once as large as it gets: growing would leave copies behind.
            bytes: Zeroizing::new(Vec::with_capacity(MAX_ROW + MARK.len())),
            ends: Vec::new(),
            count: 0,
            too_long: false,
        }
    }
}

impl RowReader {
    /// Feeds a piece of the file and hands on the rows that it completes. Empty lines are no rows.
    ///
    /// # Errors
    /// [`QuotingError`], or those of `found`, at once; the reader is not to be used again then.
    pub fn feed<E: From<QuotingError>>(
        &mut self,
        piece: &[u8],
        mut found: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for byte in piece {
            if self.is_mark(*byte) {
                continue;
            }
            if self.step(*byte)? {
                self.hand_on(&mut found)?;
            }
        }
        Ok(())
    }

    /// Says that the file is at its end.
    ///
    /// # Errors
    /// As [`RowReader::feed`].
    pub fn finish<E: From<QuotingError>>(
        mut self,
        mut found: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = self.line;
        match self.state {
            State::RowStart => Ok(()),
            State::Quoted => Err(QuotingError::Unterminated { line }.into()),
            State::Return => Err(QuotingError::BareReturn { line }.into()),
            _ => {
                self.end_field();
                self.hand_on(&mut found)
            }
        }
    }

    /// Whether a byte belongs to a mark at the file's start, which is no part of the first name.
    fn is_mark(&mut self, byte: u8) -> bool {
        match MARK.get(self.mark) {
            Some(expected) if *expected == byte => {
                self.mark += 1;
                true
            }
            Some(_) => {
                // What looked like a mark was content.
                for byte in MARK.iter().take(self.mark) {
                    self.state = State::Unquoted;
                    self.bytes.push(*byte);
                }
                self.mark = MARK.len();
                false
            }
            None => false,
        }
    }

    /// Takes a byte; true when it ends a row.
    fn step(&mut self, byte: u8) -> Result<bool, QuotingError> {
        let line = self.line;
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::QuoteInQuoted,
            (State::Quoted, _) => {
                self.line = line.saturating_add(u64::from(byte == b'\n'));
                self.push(byte);
            }
            (State::QuoteInQuoted, b'"') => {
                self.push(byte);
                self.state = State::Quoted;
            }
            (State::RowStart, b'\n') => self.line = line.saturating_add(1),
            (_, b'\n') => {
                self.end_field();
                self.line = line.saturating_add(1);
                return Ok(true);
            }
            (State::Return, _) => return Err(QuotingError::BareReturn { line }),
            (_, b'\r') => {
                // An empty line is no row, whichever way it ends.
                let blank = self.state == State::RowStart;
                self.state = State::Return;
                if blank {
                    self.count = usize::MAX;
                }
            }
            (_, b',') => {
                self.end_field();
                self.state = State::FieldStart;
            }
            (State::QuoteInQuoted, _) => return Err(QuotingError::TextAfterQuote { line }),
            (State::RowStart | State::FieldStart, b'"') => self.state = State::Quoted,
            (_, b'"') => return Err(QuotingError::QuoteInField { line }),
            (_, _) => {
                self.push(byte);
                self.state = State::Unquoted;
            }
        }
        Ok(false)
    }

    fn push(&mut self, byte: u8) {
        if self.bytes.len() < MAX_ROW {
            self.bytes.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn end_field(&mut self) {
        if self.ends.len() < MAX_FIELDS {
            self.ends.push(self.bytes.len());
        }
        self.count = self.count.wrapping_add(1);
    }

    fn hand_on<E>(&mut self, found: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        let row = Row {
            bytes: &self.bytes,
            ends: &self.ends,
            count: self.count,
            too_long: self.too_long,
        };
        // Zero only where a carriage return and a line feed were all of the line.
        if self.count != 0 {
            found(row)?;
        }
        self.bytes.clear();
        self.ends.clear();
        self.count = 0;
        self.too_long = false;
        self.state = State::RowStart;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
