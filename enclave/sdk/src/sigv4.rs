//! AWS Signature Version 4 for requests of the JSON 1.1 protocol.
//!
//! Such a request is always `POST /` without a query, so the canonical request has a fixed method,
//! path and query; headers, body, credentials, scope and time vary.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, Tag, sign as hmac};
use thiserror::Error;
use time::OffsetDateTime;

use crate::credentials::Credentials;

/// A signature's scope: region and service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Region, for instance `us-east-1`.
    pub region: &'a str,
    /// Service, for instance `kms`.
    pub service: &'a str,
}

/// The headers that a signature adds.
pub struct SignedHeaders {
    /// `X-Amz-Date`: the time in ISO 8601's basic form, UTC.
    pub date: String,
    /// `X-Amz-Security-Token`, with temporary credentials.
    pub security_token: Option<zeroize::Zeroizing<String>>,
    /// `Authorization`.
    pub authorization: String,
}

/// Signs `POST /` with these headers and this body at time `at`.
///
/// `headers` are those that shall be signed, beside the ones that the signature adds: names in any
/// case, each at most once, `host` among them. They must be sent as they are signed.
///
/// # Errors
/// [`SigningError`] when the time has no date in four-digit years.
pub fn sign(
    headers: &[(&str, &str)],
    body: &[u8],
    credentials: &Credentials,
    scope: Scope<'_>,
    at: SystemTime,
) -> Result<SignedHeaders, SigningError> {
    let (day, date) = timestamp(at)?;
    let token = credentials.session_token();
    let (canonical, names) = canonical_request(headers, &date, token, body);
    let Scope { region, service } = scope;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let request_hash = hex::encode(digest(&SHA256, canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request_hash}");
    let signature = signature(credentials, &day, region, service, &to_sign);
    let id = credentials.access_key_id();
    Ok(SignedHeaders {
        authorization: format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
        date,
        security_token: token.map(|token| zeroize::Zeroizing::new(token.to_owned())),
    })
}

/// The canonical request, and the list of signed header names.
fn canonical_request(
    headers: &[(&str, &str)],
    date: &str,
    token: Option<&str>,
    body: &[u8],
) -> (zeroize::Zeroizing<String>, String) {
    let mut all: Vec<(String, &str)> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), *value))
        .collect();
    all.push(("x-amz-date".to_owned(), date));
    if let Some(token) = token {
        all.push(("x-amz-security-token".to_owned(), token));
    }
    all.sort();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");

    let mut canonical = zeroize::Zeroizing::new(String::with_capacity(16 * 1024));
    canonical.push_str("POST\n/\n\n");
    for (name, value) in &all {
        canonical.push_str(name);
        canonical.push(':');
        push_collapsed(&mut canonical, value);
        canonical.push('\n');
    }
    // Writing to a String does not fail.
    let _ = write!(
        canonical,
        "\n{names}\n{}",
        hex::encode(digest(&SHA256, body))
    );
    (canonical, names)
}

/// A header's value without outer white space and with inner runs of it as one space.
fn push_collapsed(out: &mut String, value: &str) {
    for (index, word) in value.split_ascii_whitespace().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(word);
    }
}

fn signature(
    credentials: &Credentials,
    day: &str,
    region: &str,
    service: &str,
    to_sign: &str,
) -> String {
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", credentials.secret()));
    let mut key = Key::new(HMAC_SHA256, secret.as_bytes());
    for part in [day, region, service, "aws4_request"] {
        let tag: Tag = hmac(&key, part.as_bytes());
        key = Key::new(HMAC_SHA256, tag.as_ref());
    }
    hex::encode(hmac(&key, to_sign.as_bytes()))
}

/// `YYYYMMDD` and `YYYYMMDDTHHMMSSZ`.
fn timestamp(at: SystemTime) -> Result<(String, String), SigningError> {
    let seconds = at
        .duration_since(UNIX_EPOCH)
        .map_err(|_| SigningError)?
        .as_secs();
    let seconds = i64::try_from(seconds).map_err(|_| SigningError)?;
    let at = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| SigningError)?;
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let day = format!("{year:04}{month:02}{day:02}");
    let date = format!(
        "{day}T{:02}{:02}{:02}Z",
        at.hour(),
        at.minute(),
        at.second()
    );
    Ok((day, date))
}

/// The machine's clock shows a time that has no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the clock shows a time before 1970 or after 9999")]
pub struct SigningError;

impl SigningError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        "sigv4.clock"
    }
}
