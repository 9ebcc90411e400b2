//! Reading a response.

use std::io::{self, Read};

use zeroize::Zeroizing;

use super::{HttpError, MAX_BODY, MAX_HEAD, MAX_HEADERS, MAX_INTERIM};

/// Bytes that are asked for at a time.
const STEP: usize = 4096;

/// Longest line that announces a chunk or ends the body, in bytes. Extensions and trailers are
/// allowed and ignored (RFC 9112, 7.1), but not without end.
const MAX_CHUNK_LINE: usize = 256;

/// Most trailer lines.
const MAX_TRAILERS: usize = 16;

/// A response.
pub struct Response {
    /// Status code: 200 to 999.
    pub status: u16,
    /// The value of `x-amzn-RequestId`, when it is printable ASCII of at most 128 bytes.
    pub request_id: Option<String>,
    /// The body; it may hold plaintext.
    pub body: Zeroizing<Vec<u8>>,
}

/// Reads one response, and demands that nothing follows it in what was read.
///
/// # Errors
/// [`HttpError`].
pub fn read_response(input: &mut impl Read) -> Result<Response, HttpError> {
    let mut reader = Buffered {
        input,
        bytes: Zeroizing::new(Vec::with_capacity(2 * STEP)),
        start: 0,
    };
    for _ in 0..=MAX_INTERIM {
        let head = reader.head()?;
        if head.status < 200 {
            continue;
        }
        let body = match head.framing {
            Framing::Length(length) => reader.body(length)?,
            Framing::Chunked => reader.chunked_body()?,
        };
        if reader.start < reader.bytes.len() {
            return Err(HttpError::Trailing);
        }
        return Ok(Response {
            status: head.status,
            request_id: head.request_id,
            body,
        });
    }
    Err(HttpError::Interim { limit: MAX_INTERIM })
}

struct Head {
    status: u16,
    request_id: Option<String>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// What was read and not yet used.
struct Buffered<'a, R> {
    input: &'a mut R,
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
}

impl<R: Read> Buffered<'_, R> {
    fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Reads more; an end of the input is an error.
    fn more(&mut self) -> io::Result<()> {
        let mut step = Zeroizing::new([0; STEP]);
        let count = loop {
            match self.input.read(step.as_mut()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        append(&mut self.bytes, step.get(..count).unwrap_or_default());
        Ok(())
    }

    fn head(&mut self) -> Result<Head, HttpError> {
        loop {
            if let Some((head, length)) = parse_head(self.unread())? {
                self.start += length;
                return Ok(head);
            }
            if self.unread().len() >= MAX_HEAD {
                return Err(HttpError::HeadLength { limit: MAX_HEAD });
            }
            let is_first = self.bytes.is_empty();
            self.more().map_err(|source| match is_first {
                true => HttpError::NoResponse(source),
                false => HttpError::Cut {
                    part: "head",
                    source,
                },
            })?;
        }
    }

    fn body(&mut self, length: usize) -> Result<Zeroizing<Vec<u8>>, HttpError> {
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        self.take_into(&mut body, length)?;
        Ok(body)
    }

    /// RFC 9112, 7.1.
    fn chunked_body(&mut self) -> Result<Zeroizing<Vec<u8>>, HttpError> {
        let mut body = Zeroizing::new(Vec::new());
        loop {
            let size = parse_chunk_size(&self.line()?)?;
            if size == 0 {
                break;
            }
            if size > MAX_BODY.saturating_sub(body.len()) {
                return Err(HttpError::BodyLength { limit: MAX_BODY });
            }
            self.take_into(&mut body, size)?;
            if !self.line()?.is_empty() {
                return Err(HttpError::BodyFraming {
                    reason: "a chunk does not end where it says",
                });
            }
        }
        for _ in 0..=MAX_TRAILERS {
            if self.line()?.is_empty() {
                return Ok(body);
            }
        }
        Err(HttpError::BodyFraming {
            reason: "its trailer does not end",
        })
    }

    /// Moves the next `length` bytes to `out`; `length` is bounded by the callers.
    fn take_into(&mut self, out: &mut Zeroizing<Vec<u8>>, length: usize) -> Result<(), HttpError> {
        let mut left = length;
        while left > 0 {
            if self.unread().is_empty() {
                self.bytes.clear();
                self.start = 0;
                self.more().map_err(|source| HttpError::Cut {
                    part: "body",
                    source,
                })?;
            }
            let available = self.unread();
            let taken = available.get(..left).unwrap_or(available);
            let count = taken.len();
            append(out, taken);
            self.start += count;
            left -= count;
        }
        Ok(())
    }

    /// The next line without its CR LF.
    fn line(&mut self) -> Result<Vec<u8>, HttpError> {
        loop {
            let unread = self.unread();
            if let Some(end) = unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = unread.get(..end).unwrap_or_default().to_vec();
                self.start += end + 2;
                return Ok(line);
            }
            if unread.len() > MAX_CHUNK_LINE {
                return Err(HttpError::BodyFraming {
                    reason: "a line of it is too long",
                });
            }
            self.more().map_err(|source| HttpError::Cut {
                part: "body",
                source,
            })?;
        }
    }
}

/// Appends without leaving a copy in memory that was outgrown.
fn append(out: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if out.capacity() - out.len() < bytes.len() {
        let mut larger = Vec::with_capacity((out.len() + bytes.len()) * 2);
        larger.extend_from_slice(out);
        *out = Zeroizing::new(larger);
    }
    out.extend_from_slice(bytes);
}

/// The head at the front of `bytes` and its length, or `None` when it is not complete.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Complete(_)) => {
            return Err(HttpError::HeadLength { limit: MAX_HEAD });
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpError::HeaderCount { limit: MAX_HEADERS });
        }
        Err(_) => return Err(HttpError::Head),
    };
    let status = response
        .code
        .filter(|code| *code >= 100)
        .ok_or(HttpError::Head)?;
    if response.version != Some(1) {
        return Err(HttpError::Head);
    }
    let framing = if status < 200 {
        Framing::Length(0)
    } else {
        framing(response.headers)?
    };
    let request_id = request_id(response.headers);
    Ok(Some((
        Head {
            status,
            request_id,
            framing,
        },
        length,
    )))
}

/// RFC 9112, 6.3, without its cases of doubt: exactly one of `Content-Length` and
/// `Transfer-Encoding: chunked`, once.
fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing, HttpError> {
    let refuse = |reason| Err(HttpError::BodyFraming { reason });
    let mut found = None;
    for header in headers {
        let framing = if header.name.eq_ignore_ascii_case("content-length") {
            Framing::Length(parse_length(header.value)?)
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return refuse("its transfer encoding is not `chunked`");
            }
            Framing::Chunked
        } else if header.name.eq_ignore_ascii_case("content-encoding") {
            return refuse("it has a content encoding, though none was offered");
        } else {
            continue;
        };
        if found.replace(framing).is_some() {
            return refuse("its length is given more than once");
        }
    }
    match found {
        Some(framing) => Ok(framing),
        None => refuse("its length is not given"),
    }
}

fn parse_length(digits: &[u8]) -> Result<usize, HttpError> {
    let reason = "its `Content-Length` is not a number";
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::BodyFraming { reason });
    }
    let length = digits.iter().try_fold(0usize, |length, digit| {
        length
            .checked_mul(10)?
            .checked_add(usize::from(digit.wrapping_sub(b'0')))
    });
    length
        .filter(|length| *length <= MAX_BODY)
        .ok_or(HttpError::BodyLength { limit: MAX_BODY })
}

/// The size in front of a chunk: hexadecimal digits, then nothing or an extension.
fn parse_chunk_size(line: &[u8]) -> Result<usize, HttpError> {
    let reason = "the size of a chunk is not a number";
    let end = line
        .iter()
        .position(|byte| *byte == b';')
        .unwrap_or(line.len());
    let digits = line.get(..end).unwrap_or_default();
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(HttpError::BodyFraming { reason });
    }
    let text = core::str::from_utf8(digits).map_err(|_| HttpError::BodyFraming { reason })?;
    usize::from_str_radix(text, 16).map_err(|_| HttpError::BodyFraming { reason })
}

fn request_id(headers: &[httparse::Header<'_>]) -> Option<String> {
    let header = headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("x-amzn-requestid"))?;
    let text = core::str::from_utf8(header.value).ok()?;
    let fits = text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}
