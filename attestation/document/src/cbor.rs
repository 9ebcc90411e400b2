//! A reader and a writer for the CBOR subset that documents and NSM messages use.
//!
//! The reader hands out one item at a time, as the schema asks for it; it borrows strings from the
//! input and never recurses. Strings must be of definite length; maps and arrays may be of either.

use ciborium_ll::{Decoder, Encoder, Error, Header, simple};

use crate::error::DocumentError;
use crate::limits::MAX_NAME;

/// Reads items from a slice.
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`, which may be `limit` bytes long.
    pub(crate) fn new(
        input: &'a [u8],
        item: &'static str,
        limit: usize,
    ) -> Result<Self, DocumentError> {
        if input.len() > limit {
            return Err(DocumentError::TooLarge {
                item,
                limit,
                got: input.len(),
            });
        }
        Ok(Self { input, at: 0 })
    }

    /// Refuses anything that follows the value.
    pub(crate) fn finish(self, item: &'static str) -> Result<(), DocumentError> {
        match self.rest().len() {
            0 => Ok(()),
            count => Err(DocumentError::TrailingBytes { item, count }),
        }
    }

    /// The next header: type and length or value.
    pub(crate) fn header(&mut self, item: &'static str) -> Result<Header, DocumentError> {
        let mut decoder = Decoder::from(self.rest());
        match decoder.pull() {
            Ok(header) => {
                self.at = self.at.saturating_add(decoder.offset());
                Ok(header)
            }
            Err(Error::Io(_)) => Err(DocumentError::Truncated { item, at: self.at }),
            Err(Error::Syntax(_)) => Err(DocumentError::Syntax { item, at: self.at }),
        }
    }

    /// A byte string of `min..=max` bytes.
    pub(crate) fn bytes(
        &mut self,
        item: &'static str,
        min: usize,
        max: usize,
    ) -> Result<&'a [u8], DocumentError> {
        match self.header(item)? {
            Header::Bytes(Some(length)) => self.take(item, length, min, max),
            other => Err(wrong_type(item, "a byte string of definite length", other)),
        }
    }

    /// A byte string of at most `max` bytes, or null.
    pub(crate) fn bytes_or_null(
        &mut self,
        item: &'static str,
        min: usize,
        max: usize,
    ) -> Result<Option<&'a [u8]>, DocumentError> {
        match self.header(item)? {
            Header::Simple(simple::NULL) => Ok(None),
            Header::Bytes(Some(length)) => self.take(item, length, min, max).map(Some),
            other => Err(wrong_type(
                item,
                "a byte string of definite length or null",
                other,
            )),
        }
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn array_of_bytes<const N: usize>(
        &mut self,
        item: &'static str,
    ) -> Result<[u8; N], DocumentError> {
        let bytes = self.bytes(item, N, N)?;
        <[u8; N]>::try_from(bytes).map_err(|_| DocumentError::Length {
            item,
            min: N,
            max: N,
            got: bytes.len(),
        })
    }

    /// A text string of `min..=max` bytes.
    pub(crate) fn text(
        &mut self,
        item: &'static str,
        min: usize,
        max: usize,
    ) -> Result<&'a str, DocumentError> {
        let header = self.header(item)?;
        self.text_after(header, item, min, max)
    }

    /// The text whose header has been read already.
    pub(crate) fn text_after(
        &mut self,
        header: Header,
        item: &'static str,
        min: usize,
        max: usize,
    ) -> Result<&'a str, DocumentError> {
        match header {
            Header::Text(Some(length)) => std::str::from_utf8(self.take(item, length, min, max)?)
                .map_err(|_| DocumentError::NotUtf8 { item }),
            other => Err(wrong_type(item, "a text string of definite length", other)),
        }
    }

    /// An unsigned integer.
    pub(crate) fn uint(&mut self, item: &'static str) -> Result<u64, DocumentError> {
        match self.header(item)? {
            Header::Positive(value) => Ok(value),
            other => Err(wrong_type(item, "an unsigned integer", other)),
        }
    }

    /// An unsigned integer of 16 bits.
    pub(crate) fn uint16(&mut self, item: &'static str) -> Result<u16, DocumentError> {
        let got = self.uint(item)?;
        u16::try_from(got).map_err(|_| DocumentError::OutOfRange {
            item,
            min: 0,
            max: u64::from(u16::MAX),
            got,
        })
    }

    /// True or false.
    pub(crate) fn bool(&mut self, item: &'static str) -> Result<bool, DocumentError> {
        match self.header(item)? {
            Header::Simple(simple::TRUE) => Ok(true),
            Header::Simple(simple::FALSE) => Ok(false),
            other => Err(wrong_type(item, "true or false", other)),
        }
    }

    /// Opens a map; its entries are then asked for with [`Reader::next_name`] or
    /// [`Reader::next_entry`].
    pub(crate) fn map(&mut self, item: &'static str) -> Result<Entries, DocumentError> {
        match self.header(item)? {
            Header::Map(length) => Ok(Entries(length)),
            other => Err(wrong_type(item, "a map", other)),
        }
    }

    /// Opens an array; its items are asked for with [`Reader::next_entry`].
    pub(crate) fn array(&mut self, item: &'static str) -> Result<Entries, DocumentError> {
        match self.header(item)? {
            Header::Array(length) => Ok(Entries(length)),
            other => Err(wrong_type(item, "an array", other)),
        }
    }

    /// The header of the next key or item, or nothing at the end of the map or array.
    pub(crate) fn next_entry(
        &mut self,
        entries: &mut Entries,
        item: &'static str,
    ) -> Result<Option<Header>, DocumentError> {
        match &mut entries.0 {
            Some(0) => Ok(None),
            Some(left) => {
                *left -= 1;
                self.header(item).map(Some)
            }
            None => match self.header(item)? {
                Header::Break => Ok(None),
                header => Ok(Some(header)),
            },
        }
    }

    /// The next key of a map whose keys are names, or nothing at its end.
    pub(crate) fn next_name(
        &mut self,
        entries: &mut Entries,
        map: &'static str,
    ) -> Result<Option<&'a str>, DocumentError> {
        match self.next_entry(entries, map)? {
            None => Ok(None),
            Some(header) => self.text_after(header, map, 0, MAX_NAME).map(Some),
        }
    }

    /// A byte string whose header has been read already.
    pub(crate) fn bytes_after(
        &mut self,
        header: Header,
        item: &'static str,
        min: usize,
        max: usize,
    ) -> Result<&'a [u8], DocumentError> {
        match header {
            Header::Bytes(Some(length)) => self.take(item, length, min, max),
            other => Err(wrong_type(item, "a byte string of definite length", other)),
        }
    }

    /// `length` bytes, if the limits and the input allow them.
    fn take(
        &mut self,
        item: &'static str,
        length: usize,
        min: usize,
        max: usize,
    ) -> Result<&'a [u8], DocumentError> {
        if length < min || length > max {
            return Err(DocumentError::Length {
                item,
                min,
                max,
                got: length,
            });
        }
        match self.rest().get(..length) {
            Some(bytes) => {
                self.at = self.at.saturating_add(length);
                Ok(bytes)
            }
            None => Err(DocumentError::Truncated { item, at: self.at }),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }
}

/// How many entries an open map or array still has; none for one that ends with a break.
pub(crate) struct Entries(Option<usize>);

/// Fills a map's slot, refusing a second value for it.
pub(crate) fn fill<T>(
    slot: &mut Option<T>,
    map: &'static str,
    key: &'static str,
    value: T,
) -> Result<(), DocumentError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(DocumentError::DuplicateKey {
            map,
            key: key.to_owned(),
        }),
    }
}

/// Empties a map's slot, refusing one that nothing filled.
pub(crate) fn demand<T>(
    slot: Option<T>,
    map: &'static str,
    key: &'static str,
) -> Result<T, DocumentError> {
    slot.ok_or(DocumentError::MissingKey { map, key })
}

pub(crate) fn wrong_type(item: &'static str, expected: &'static str, got: Header) -> DocumentError {
    let got = match got {
        Header::Positive(_) => "an unsigned integer",
        Header::Negative(_) => "a negative integer",
        Header::Float(_) => "a floating-point number",
        Header::Simple(simple::NULL) => "null",
        Header::Simple(simple::TRUE | simple::FALSE) => "a boolean",
        Header::Simple(_) => "another simple value",
        Header::Tag(_) => "a tag",
        Header::Break => "a break",
        Header::Bytes(Some(_)) => "a byte string",
        Header::Bytes(None) => "a byte string of indefinite length",
        Header::Text(Some(_)) => "a text string",
        Header::Text(None) => "a text string of indefinite length",
        Header::Array(_) => "an array",
        Header::Map(_) => "a map",
    };
    DocumentError::WrongType {
        item,
        expected,
        got,
    }
}

/// Writes items in preferred serialization (RFC 8949 §4.1), maps and arrays of definite length.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn map(&mut self, entries: usize) {
        self.header(Header::Map(Some(entries)));
    }

    pub(crate) fn array(&mut self, items: usize) {
        self.header(Header::Array(Some(items)));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.header(Header::Text(Some(text.len())));
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.header(Header::Bytes(Some(bytes.len())));
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bytes_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.header(Header::Simple(simple::NULL)),
        }
    }

    pub(crate) fn uint(&mut self, value: u64) {
        self.header(Header::Positive(value));
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.header(Header::Simple(if value {
            simple::TRUE
        } else {
            simple::FALSE
        }));
    }

    fn header(&mut self, header: Header) {
        Encoder::from(&mut self.0)
            .push(header)
            .expect("a Vec takes every byte written to it");
    }
}
