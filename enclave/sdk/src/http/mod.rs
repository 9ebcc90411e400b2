//! As much of HTTP/1.1 (RFC 9112) as the JSON 1.1 protocol needs: one request and one response on a
//! connection that is closed afterwards, everything bounded.

mod response;

use std::io::{self, Read, Write};

use thiserror::Error;
use zeroize::Zeroizing;

pub use response::{Response, read_response};

/// Longest head of a response (status line and headers), in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// Most headers of a response.
pub const MAX_HEADERS: usize = 64;

/// Longest body of a response, in bytes. KMS's answers are at most some ten KiB.
pub const MAX_BODY: usize = 1024 * 1024;

/// Most interim responses (1xx) before the one that counts.
pub const MAX_INTERIM: usize = 4;

/// A `POST /` with a body.
pub struct Request<'a> {
    /// Headers in the order in which they are sent, `Content-Length` apart. Names and values must be
    /// printable ASCII.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Writes the request.
    ///
    /// # Errors
    /// [`HttpError::Header`] for a header that could not stand on its line, [`HttpError::Send`] when
    /// the connection fails.
    pub fn write_to(&self, output: &mut impl Write) -> Result<(), HttpError> {
        let mut head = Zeroizing::new(Vec::with_capacity(MAX_HEAD));
        head.extend_from_slice(b"POST / HTTP/1.1\r\n");
        for (name, value) in self.headers {
            if !is_field(name) || name.contains([':', ' ']) || !is_field(value) {
                return Err(HttpError::Header);
            }
            for part in [*name, ": ", *value, "\r\n"] {
                head.extend_from_slice(part.as_bytes());
            }
        }
        head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        let mut send = |bytes| output.write_all(bytes);
        send(&head)
            .and_then(|()| send(self.body))
            .map_err(HttpError::Send)?;
        output.flush().map_err(HttpError::Send)
    }
}

fn is_field(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Sends a request and reads its response.
///
/// # Errors
/// [`HttpError`].
pub fn exchange<S: Read + Write>(
    stream: &mut S,
    request: &Request<'_>,
) -> Result<Response, HttpError> {
    request.write_to(stream)?;
    read_response(stream)
}

/// Why an exchange failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// A header of the request cannot stand on its line: the caller's fault.
    #[error("a header of the request is not printable ASCII")]
    Header,
    /// The request could not be sent.
    #[error("the request could not be sent")]
    Send(#[source] io::Error),
    /// The connection ended before the first byte of a response.
    #[error("the connection ended before the response")]
    NoResponse(#[source] io::Error),
    /// The connection ended inside the response.
    #[error("the connection ended inside the response's {part}")]
    Cut {
        /// "head" or "body".
        part: &'static str,
        /// How it ended.
        #[source]
        source: io::Error,
    },
    /// The head is not HTTP/1.1.
    #[error("the response's head is not HTTP/1.1")]
    Head,
    /// The head is too long.
    #[error("the response's head has more than {limit} bytes")]
    HeadLength {
        /// [`MAX_HEAD`].
        limit: usize,
    },
    /// Too many headers.
    #[error("the response has more than {limit} headers")]
    HeaderCount {
        /// [`MAX_HEADERS`].
        limit: usize,
    },
    /// Interim responses without end.
    #[error("the response does not come after {limit} interim ones")]
    Interim {
        /// [`MAX_INTERIM`].
        limit: usize,
    },
    /// The body's length is missing, ambiguous or not a number.
    #[error("the response's body has no single, clear length: {reason}")]
    BodyFraming {
        /// What is wrong.
        reason: &'static str,
    },
    /// The body is too long.
    #[error("the response's body has more than {limit} bytes")]
    BodyLength {
        /// [`MAX_BODY`].
        limit: usize,
    },
    /// Bytes follow the body, though nothing more was asked.
    #[error("bytes follow the response's body")]
    Trailing,
}

impl HttpError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Header => "http.request-header",
            Self::Send(_) => "http.send",
            Self::NoResponse(_) => "http.no-response",
            Self::Cut { .. } => "http.cut",
            Self::Head => "http.head",
            Self::HeadLength { .. } => "http.head-length",
            Self::HeaderCount { .. } => "http.header-count",
            Self::Interim { .. } => "http.interim",
            Self::BodyFraming { .. } => "http.body-framing",
            Self::BodyLength { .. } => "http.body-length",
            Self::Trailing => "http.trailing",
        }
    }
}
