//! Why a signature is refused.

use anchorhold_kms_core::Exception;
use thiserror::Error;

/// A refusal of a request's signature. The messages are AWS's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// No `Authorization` header.
    #[error("Missing Authentication Token")]
    MissingToken,
    /// Another algorithm than [`super::ALGORITHM`].
    #[error("Unsupported AWS 'algorithm' in the Authorization header: expected 'AWS4-HMAC-SHA256'")]
    UnsupportedAlgorithm,
    /// The header is longer than [`super::MAX_AUTHORIZATION`].
    #[error("Authorization header is {got} bytes long, the limit is {limit}")]
    TooLong {
        /// Bytes allowed.
        limit: usize,
        /// Bytes received.
        got: usize,
    },
    /// A parameter that the header must have.
    #[error("Authorization header requires '{name}' parameter.")]
    MissingParameter {
        /// `Credential`, `SignedHeaders` or `Signature`.
        name: &'static str,
    },
    /// A parameter that stands twice in the header.
    #[error("Authorization header has the '{name}' parameter more than once.")]
    RepeatedParameter {
        /// `Credential`, `SignedHeaders` or `Signature`.
        name: &'static str,
    },
    /// Something in the header that is no `Name=value` of ours.
    #[error(
        "Authorization header has a parameter other than 'Credential', 'SignedHeaders' and 'Signature'."
    )]
    UnknownParameter,
    /// `Credential` has not five parts, or no valid access key id.
    #[error(
        "Credential must have exactly 5 slash-delimited elements: access key id, date, region, service and 'aws4_request'"
    )]
    MalformedCredential,
    /// `SignedHeaders` is empty, too long, unsorted or not in lower case.
    #[error("SignedHeaders must be lower-case header names, sorted, separated by ';', each once")]
    MalformedSignedHeaders,
    /// `Signature` is not 64 lower-case hexadecimal digits.
    #[error("Signature must be 64 lower-case hexadecimal digits")]
    MalformedSignature,
    /// No `X-Amz-Date` header.
    #[error("Authorization header requires existence of a 'X-Amz-Date' header.")]
    MissingDate,
    /// `X-Amz-Date` is not in the basic format of ISO 8601.
    #[error("Date must be in ISO-8601 'basic format' (YYYYMMDD'T'HHMMSS'Z')")]
    MalformedDate,
    /// A header that may stand once stands more often.
    #[error("The header '{name}' is present more than once.")]
    RepeatedHeader {
        /// Its name.
        name: &'static str,
    },
    /// A header that takes part in the signature is not visible ASCII.
    #[error("The header '{name}' has bytes that cannot be signed.")]
    HeaderNotText {
        /// Its name.
        name: String,
    },
    /// The scope ends with another word than `aws4_request`.
    #[error("Credential should be scoped with a valid terminator: 'aws4_request'.")]
    WrongTerminator,
    /// The scope names another region.
    #[error("Credential should be scoped to a valid region: '{expected}'.")]
    WrongRegion {
        /// The server's region.
        expected: String,
    },
    /// The scope names another service.
    #[error("Credential should be scoped to correct service: '{expected}'.")]
    WrongService {
        /// The server's service.
        expected: String,
    },
    /// The scope's day is not the day of `X-Amz-Date`.
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: expected '{expected}'"
    )]
    WrongDay {
        /// The day of `X-Amz-Date`.
        expected: String,
    },
    /// The request is older than [`super::MAX_SKEW`].
    #[error("Signature expired: {at} is now earlier than {now} - 5 min.")]
    Expired {
        /// Time of the request.
        at: String,
        /// The server's time.
        now: String,
    },
    /// The request is further in the future than [`super::MAX_SKEW`].
    #[error("Signature not yet current: {at} is still later than {now} + 5 min.")]
    NotYetCurrent {
        /// Time of the request.
        at: String,
        /// The server's time.
        now: String,
    },
    /// `X-Amz-Content-Sha256: UNSIGNED-PAYLOAD`.
    #[error("The payload must be signed: 'UNSIGNED-PAYLOAD' is not taken.")]
    UnsignedPayload,
    /// `X-Amz-Content-Sha256` is not the digest of the body.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    PayloadMismatch,
    /// The host or an `x-amz-*` header is present but not in `SignedHeaders`.
    #[error("'{name}' must be a signed header in the AWS Signature.")]
    UnsignedHeader {
        /// Its name.
        name: String,
    },
    /// `SignedHeaders` names a header that the request does not have.
    #[error("The signed header '{name}' is not present in the request.")]
    SignedHeaderAbsent {
        /// Its name.
        name: String,
    },
    /// A session token: this server issues none, so none can be known.
    #[error("The security token included in the request is invalid.")]
    UnknownToken,
    /// No such access key.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The signature is not the one that the secret key makes.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl SignatureError {
    /// The exception on the wire.
    pub fn exception(&self) -> Exception {
        match self {
            Self::MissingToken => Exception::MissingAuthenticationToken,
            Self::UnknownToken | Self::UnknownKey => Exception::UnrecognizedClient,
            Self::WrongTerminator
            | Self::WrongRegion { .. }
            | Self::WrongService { .. }
            | Self::WrongDay { .. }
            | Self::Expired { .. }
            | Self::NotYetCurrent { .. }
            | Self::UnsignedPayload
            | Self::PayloadMismatch
            | Self::UnsignedHeader { .. }
            | Self::Mismatch => Exception::InvalidSignature,
            _ => Exception::IncompleteSignature,
        }
    }

    /// Stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::MissingToken => "signature.missing",
            Self::UnsupportedAlgorithm => "signature.algorithm",
            Self::TooLong { .. }
            | Self::MissingParameter { .. }
            | Self::RepeatedParameter { .. }
            | Self::UnknownParameter
            | Self::MalformedCredential
            | Self::MalformedSignedHeaders
            | Self::MalformedSignature => "signature.authorization-header",
            Self::MissingDate | Self::MalformedDate => "signature.date",
            Self::RepeatedHeader { .. }
            | Self::HeaderNotText { .. }
            | Self::SignedHeaderAbsent { .. } => "signature.headers",
            Self::WrongTerminator
            | Self::WrongRegion { .. }
            | Self::WrongService { .. }
            | Self::WrongDay { .. } => "signature.scope",
            Self::Expired { .. } => "signature.expired",
            Self::NotYetCurrent { .. } => "signature.not-yet-current",
            Self::UnsignedPayload | Self::PayloadMismatch => "signature.payload",
            Self::UnsignedHeader { .. } => "signature.unsigned-header",
            Self::UnknownToken => "signature.session-token",
            Self::UnknownKey => "signature.unknown-key",
            Self::Mismatch => "signature.mismatch",
        }
    }
}
