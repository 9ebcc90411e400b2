//! AWS Signature Version 4, the checking side.
//!
//! Source of the rules: AWS's "Signature Version 4 signing process for API
//! requests", and botocore's signer, against which this is tested. Only what a
//! JSON 1.1 service needs is here: the signature stands in the `Authorization`
//! header, the method is `POST`, the path `/`, the query empty. Presigned URLs,
//! chunked signing and unsigned payloads are refused.
//!
//! The check has parts, because the body comes after the head and the secret key is looked up in
//! between: [`Head::read`] refuses what can be refused without the body,
//! [`Head::with_body`] what can be refused without the key, and [`Presented::prove`] compares the
//! signature and gives an [`Authentic`] value, which nothing else can make.
//!
//! What a valid signature does not establish: that the request is not a replay
//! within [`MAX_SKEW`] (TLS is what stops that), and that its sender may do what
//! it asks.

mod authorization;
mod canonical;
mod error;
mod key;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderMap;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use time::macros::format_description;
use zeroize::Zeroizing;

pub use authorization::{Authorization, MAX_AUTHORIZATION, MAX_SIGNED_HEADERS};
pub use error::SignatureError;
pub use key::SecretAccessKey;

use canonical::canonical_request;

/// The only signing algorithm taken.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the time of a request may lie from ours, either way. AWS's own bound.
pub const MAX_SKEW: Duration = Duration::from_secs(5 * 60);
/// The last part of a credential scope.
pub const TERMINATOR: &str = "aws4_request";

/// What the server expects a credential scope to say.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The region, for instance `us-east-1`.
    pub region: &'a str,
    /// The service, `kms`.
    pub service: &'a str,
}

/// The head of a request whose signature is well formed, fresh and for this service.
pub struct Head {
    authorization: Authorization,
    date: String,
}

/// A request whose signature is well formed, fresh and for this service, but not yet proved.
pub struct Presented {
    authorization: Authorization,
    string_to_sign: String,
}

/// Proof that a request was signed with the secret key of `access_key_id`.
pub struct Authentic {
    access_key_id: String,
}

impl Head {
    /// Checks everything about a signed request that needs neither its body nor a secret key;
    /// `now` is the server's time.
    ///
    /// # Errors
    /// A [`SignatureError`] naming the rule: what is missing, malformed, out of
    /// time, or for another scope.
    pub fn read(
        headers: &HeaderMap,
        scope: Scope<'_>,
        now: OffsetDateTime,
    ) -> Result<Self, SignatureError> {
        let authorization = Authorization::from_headers(headers)?;
        let date = single(headers, "x-amz-date")?.ok_or(SignatureError::MissingDate)?;
        let at = parse_date(date)?;
        authorization.check_scope(scope, date)?;
        check_skew(date, at, now)?;
        if single(headers, "x-amz-security-token")?.is_some() {
            return Err(SignatureError::UnknownToken);
        }
        let date = date.to_owned();
        Ok(Self {
            authorization,
            date,
        })
    }

    /// The access key that the request says it was signed with.
    pub fn access_key_id(&self) -> &str {
        self.authorization.access_key_id()
    }

    /// Joins the head with the body, of which `body_sha256` is the digest as received. `headers`
    /// are those that were read.
    ///
    /// # Errors
    /// A [`SignatureError`]: another body than the one that was signed, a header that is present but
    /// unsigned, or a signed one that cannot be.
    pub fn with_body(
        self,
        headers: &HeaderMap,
        body_sha256: &[u8; 32],
    ) -> Result<Presented, SignatureError> {
        check_payload(headers, body_sha256)?;
        self.authorization.check_coverage(headers)?;
        let signed = self.authorization.signed_headers();
        let request = canonical_request(headers, signed, body_sha256)?;
        let string_to_sign = self.authorization.string_to_sign(&self.date, &request);
        Ok(Presented {
            authorization: self.authorization,
            string_to_sign,
        })
    }
}

impl Presented {
    /// Checks everything about a signed request that needs no secret key.
    ///
    /// `body_sha256` is the digest of the body as received, `now` the server's time.
    ///
    /// # Errors
    /// Those of [`Head::read`] and [`Head::with_body`].
    pub fn read(
        headers: &HeaderMap,
        body_sha256: &[u8; 32],
        scope: Scope<'_>,
        now: OffsetDateTime,
    ) -> Result<Self, SignatureError> {
        Head::read(headers, scope, now)?.with_body(headers, body_sha256)
    }

    /// The access key whose secret is needed for [`Presented::prove`].
    pub fn access_key_id(&self) -> &str {
        self.authorization.access_key_id()
    }

    /// Compares the signature, in constant time, with the one that `secret` makes.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`].
    pub fn prove(self, secret: &SecretAccessKey) -> Result<Authentic, SignatureError> {
        let signing_key = secret.signing_key(self.authorization.scope());
        let message = self.string_to_sign.as_bytes();
        let expected = Zeroizing::new(key::hmac_sha256(signing_key.as_slice(), message));
        if bool::from(expected.ct_eq(self.authorization.signature())) {
            Ok(Authentic {
                access_key_id: self.authorization.into_access_key_id(),
            })
        } else {
            Err(SignatureError::Mismatch)
        }
    }
}

impl Authentic {
    /// The access key that signed the request.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }
}

/// The one value of a header, `None` when absent. Twice the same header is refused:
/// which of the two was meant is not for us to guess.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(SignatureError::RepeatedHeader { name });
    }
    first
        .to_str()
        .map(Some)
        .map_err(|_| SignatureError::HeaderNotText {
            name: name.to_owned(),
        })
}

/// `YYYYMMDD'T'HHMMSS'Z'`, the basic format of ISO 8601.
fn parse_date(date: &str) -> Result<OffsetDateTime, SignatureError> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    time::PrimitiveDateTime::parse(date, format)
        .map(time::PrimitiveDateTime::assume_utc)
        .map_err(|_| SignatureError::MalformedDate)
}

fn check_skew(date: &str, at: OffsetDateTime, now: OffsetDateTime) -> Result<(), SignatureError> {
    if at < now - MAX_SKEW {
        return Err(SignatureError::Expired {
            at: date.to_owned(),
            now: basic_format(now),
        });
    }
    if at > now + MAX_SKEW {
        return Err(SignatureError::NotYetCurrent {
            at: date.to_owned(),
            now: basic_format(now),
        });
    }
    Ok(())
}

/// The inverse of [`parse_date`]; fractions of a second are dropped.
pub(crate) fn basic_format(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// `X-Amz-Content-Sha256`, where a client sends it, has to be the body's digest.
fn check_payload(headers: &HeaderMap, body_sha256: &[u8; 32]) -> Result<(), SignatureError> {
    match single(headers, "x-amz-content-sha256")? {
        None => Ok(()),
        Some(claimed) if claimed == hex::encode(body_sha256) => Ok(()),
        Some("UNSIGNED-PAYLOAD") => Err(SignatureError::UnsignedPayload),
        Some(_) => Err(SignatureError::PayloadMismatch),
    }
}
