//! Why a call did not give what it was asked for.

use std::io;

use serde::Deserialize;
use thiserror::Error;

use super::Repeat;
use crate::http::{HttpError, Response};
use crate::nsm::NsmError;
use crate::recipient::RecipientError;
use crate::sigv4::SigningError;

/// Longest message of a refusal that is kept, in characters.
const MAX_MESSAGE: usize = 1024;

/// Why a call failed. No variant holds plaintext, key material or credentials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The endpoint's host or region has a form that no endpoint has: the caller's fault.
    #[error("the endpoint's {part} is not valid")]
    Endpoint {
        /// "host" or "region".
        part: &'static str,
    },
    /// A field of the request is empty or too long: the caller's fault.
    #[error("the request's {field} has {found} bytes, expected 1 to {limit}")]
    Length {
        /// Which field.
        field: &'static str,
        /// Most bytes that KMS takes.
        limit: usize,
        /// Its length, in bytes.
        found: usize,
    },
    /// The key was not named by its full ARN: the caller's fault.
    #[error("`{found}` is not a full key ARN, and an answer could not be compared with it")]
    NotKeyArn {
        /// What the caller gave.
        found: String,
    },
    /// The request could not be encoded.
    #[error("the request of {operation} could not be encoded")]
    Request {
        /// The operation.
        operation: &'static str,
    },
    /// The request could not be signed.
    #[error("the request could not be signed")]
    Signing(#[from] SigningError),
    /// No connection, or it broke before anything was sent: a fault of machine or network.
    #[error("the KMS cannot be reached")]
    Connect(#[source] io::Error),
    /// TLS refuses the peer: another CA, another host name, an expired certificate.
    #[error("the peer is not the KMS that was pinned")]
    Tls(#[source] rustls::Error),
    /// The exchange broke, or is not HTTP.
    #[error("the exchange for {operation} failed")]
    Http {
        /// The operation.
        operation: &'static str,
        /// How.
        source: HttpError,
    },
    /// The KMS refused.
    #[error(transparent)]
    Refused(ServiceError),
    /// The answer is not the operation's.
    #[error("the answer of {operation} cannot be decoded (line {line}, column {column})")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// Line of the answer where decoding stopped.
        line: usize,
        /// Column of the answer where decoding stopped.
        column: usize,
    },
    /// The answer lacks a field that it must have.
    #[error("the answer of {operation} has no `{field}`")]
    Missing {
        /// The operation.
        operation: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The answer has the plaintext in clear, though it was to be encrypted to the recipient.
    #[error("the answer of {operation} has `Plaintext` beside the one for the recipient")]
    PlaintextInClear {
        /// The operation.
        operation: &'static str,
    },
    /// The answer is about another key.
    #[error("the answer of {operation} is about key `{found}`, expected `{expected}`")]
    OtherKey {
        /// The operation.
        operation: &'static str,
        /// The key that was asked for.
        expected: String,
        /// The key that the answer names.
        found: String,
    },
    /// The answer has another length than was asked for.
    #[error("the answer of {operation} has {found} bytes, expected {expected}")]
    OtherLength {
        /// The operation.
        operation: &'static str,
        /// The length that was asked for, in bytes.
        expected: usize,
        /// The answer's length, in bytes.
        found: usize,
    },
    /// The security module did not give a document.
    #[error("no attestation document for the request")]
    Nsm(#[from] NsmError),
    /// The answer to the recipient does not open.
    #[error("the answer to the recipient was refused")]
    Recipient(#[from] RecipientError),
}

impl KmsError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "kms.endpoint",
            Self::Length { .. } => "kms.request-length",
            Self::NotKeyArn { .. } => "kms.key-arn",
            Self::Request { .. } => "kms.request",
            Self::Signing(error) => error.rule(),
            Self::Connect(_) => "kms.connect",
            Self::Tls(_) => "kms.tls",
            Self::Http { source, .. } => source.rule(),
            Self::Refused(_) => "kms.refused",
            Self::Answer { .. } => "kms.answer",
            Self::Missing { .. } => "kms.answer-missing",
            Self::PlaintextInClear { .. } => "kms.plaintext-in-clear",
            Self::OtherKey { .. } => "kms.other-key",
            Self::OtherLength { .. } => "kms.answer-length",
            Self::Nsm(error) => error.rule(),
            Self::Recipient(error) => error.rule(),
        }
    }

    /// The KMS's refusal, when it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&ServiceError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the same call may succeed now, and may be made again.
    pub(super) fn may_repeat(&self, repeat: Repeat) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Http { source, .. } => {
                let broke = matches!(
                    source,
                    HttpError::Send(_) | HttpError::NoResponse(_) | HttpError::Cut { .. }
                );
                broke && repeat == Repeat::Safe
            }
            Self::Refused(refusal) => {
                refusal.kind == ErrorKind::Throttling
                    || (refusal.status >= 500 && repeat == Repeat::Safe)
            }
            _ => false,
        }
    }
}

/// A refusal of the KMS.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the KMS refused {operation}: {code} ({status}): {message}")]
pub struct ServiceError {
    /// The operation.
    pub operation: &'static str,
    /// What kind of refusal it is.
    pub kind: ErrorKind,
    /// AWS's name of it, without a namespace; `Unknown` when the answer names none.
    pub code: String,
    /// The KMS's words: printable, at most 1024 characters, empty when there are none.
    pub message: String,
    /// HTTP status.
    pub status: u16,
    /// The KMS's id of the request, for its audit trail.
    pub request_id: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(rename = "__type", default)]
    code: String,
    // Both spellings are in use: AccessDeniedException has the capital one.
    #[serde(alias = "Message", default)]
    message: Option<String>,
}

impl ServiceError {
    pub(super) fn from_response(operation: &'static str, response: &Response) -> Self {
        let unknown = ErrorBody {
            code: "Unknown".to_owned(),
            message: None,
        };
        let body = serde_json::from_slice::<ErrorBody>(&response.body).unwrap_or(unknown);
        // `namespace#Name`, and in some services `Name:url`.
        let code = body.code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        Self {
            operation,
            kind: ErrorKind::of(code),
            code: printable(code, 128),
            message: printable(&body.message.unwrap_or_default(), MAX_MESSAGE),
            status: response.status,
            request_id: response.request_id.clone(),
        }
    }
}

/// Text of the peer's, made fit for a log: without control characters, and cut.
pub(super) fn printable(text: &str, limit: usize) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(limit)
        .collect()
}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident = $($name:literal)|+,)+) => {
        /// AWS's names of refusals, as far as a caller may want to tell them apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)+
            /// Another name, or none.
            Other,
        }

        impl ErrorKind {
            fn of(code: &str) -> Self {
                match code {
                    $($($name)|+ => Self::$kind,)+
                    _ => Self::Other,
                }
            }
        }
    };
}

error_kinds! {
    /// Policy does not allow it: wrong measurement, principal, encryption context or key.
    AccessDenied = "AccessDeniedException" | "AccessDenied",
    /// The key does not exist.
    NotFound = "NotFoundException",
    /// The key is disabled.
    Disabled = "DisabledException",
    /// The key is in a state that does not allow it.
    InvalidState = "KMSInvalidStateException",
    /// The ciphertext is not the KMS's, was changed, or has another encryption context.
    InvalidCiphertext = "InvalidCiphertextException",
    /// The ciphertext is another key's.
    IncorrectKey = "IncorrectKeyException",
    /// The key is not made for the operation.
    InvalidKeyUsage = "InvalidKeyUsageException",
    /// An ARN is malformed or of another region.
    InvalidArn = "InvalidArnException",
    /// The policy is not one, or would lock out its author.
    MalformedPolicy = "MalformedPolicyDocumentException",
    /// A limit is reached.
    LimitExceeded = "LimitExceededException",
    /// The operation, or this form of it, does not exist.
    Unsupported = "UnsupportedOperationException" | "UnknownOperationException",
    /// A field has a value that it cannot have; attestation documents are refused with this name.
    Validation = "ValidationException",
    /// Too many calls: slow down.
    Throttling = "ThrottlingException",
    /// Nobody has these credentials.
    UnrecognizedClient = "UnrecognizedClientException" | "InvalidClientTokenId",
    /// The signature does not match, or the clocks differ by more than five minutes.
    InvalidSignature = "InvalidSignatureException" | "SignatureDoesNotMatch",
    /// The temporary credentials have expired.
    ExpiredToken = "ExpiredTokenException",
    /// A fault inside the KMS.
    Internal = "KMSInternalException" | "InternalFailure" | "DependencyTimeoutException"
        | "KeyUnavailableException" | "ServiceUnavailableException",
}
