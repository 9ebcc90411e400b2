//! Every refusal of the KMS, with the exception's name, HTTP status and words of AWS.
//!
//! Clients decide by `__type`; people read the message. Statuses: AWS's model says 404, 409 and
//! 412 for some client faults, recorded answers of the real service carry 400 for all of them, and
//! botocore's retry of throttling needs 400.

use crate::arn::{AliasArn, KeyArn, Region};
use crate::attestation::RecipientError;
use crate::key::KeyState;
use crate::policy::{PolicyError, Refusal};
use crate::text::shown;

use std::borrow::Cow;

/// An exception of the wire API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exception {
    /// `AccessDeniedException`; the only one whose text is called `Message`.
    AccessDenied,
    /// `AlreadyExistsException`.
    AlreadyExists,
    /// `DisabledException`.
    Disabled,
    /// `DryRunOperationException`.
    DryRunOperation,
    /// `IncompleteSignatureException`.
    IncompleteSignature,
    /// `IncorrectKeyException`.
    IncorrectKey,
    /// `InvalidAliasNameException`.
    InvalidAliasName,
    /// `InvalidArnException`.
    InvalidArn,
    /// `InvalidCiphertextException`; carries no message.
    InvalidCiphertext,
    /// `InvalidGrantTokenException`.
    InvalidGrantToken,
    /// `InvalidKeyUsageException`.
    InvalidKeyUsage,
    /// `InvalidMarkerException`.
    InvalidMarker,
    /// `InvalidSignatureException`: the request's SigV4 signature.
    InvalidSignature,
    /// `KMSInternalException`, HTTP 500: the machine's fault.
    KmsInternal,
    /// `KMSInvalidStateException`.
    KmsInvalidState,
    /// `LimitExceededException`.
    LimitExceeded,
    /// `MalformedPolicyDocumentException`.
    MalformedPolicyDocument,
    /// `MissingAuthenticationTokenException`.
    MissingAuthenticationToken,
    /// `NotFoundException`.
    NotFound,
    /// `RequestEntityTooLargeException`, HTTP 413.
    RequestEntityTooLarge,
    /// `SerializationException`.
    Serialization,
    /// `ThrottlingException`; 400, since botocore's retry demands that status.
    Throttling,
    /// `UnknownOperationException`.
    UnknownOperation,
    /// `UnrecognizedClientException`.
    UnrecognizedClient,
    /// `UnsupportedOperationException`.
    UnsupportedOperation,
    /// `ValidationException`.
    Validation,
}

impl Exception {
    /// The bare name, as it stands in `__type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::AlreadyExists => "AlreadyExistsException",
            Self::Disabled => "DisabledException",
            Self::DryRunOperation => "DryRunOperationException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::IncorrectKey => "IncorrectKeyException",
            Self::InvalidAliasName => "InvalidAliasNameException",
            Self::InvalidArn => "InvalidArnException",
            Self::InvalidCiphertext => "InvalidCiphertextException",
            Self::InvalidGrantToken => "InvalidGrantTokenException",
            Self::InvalidKeyUsage => "InvalidKeyUsageException",
            Self::InvalidMarker => "InvalidMarkerException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::KmsInternal => "KMSInternalException",
            Self::KmsInvalidState => "KMSInvalidStateException",
            Self::LimitExceeded => "LimitExceededException",
            Self::MalformedPolicyDocument => "MalformedPolicyDocumentException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::NotFound => "NotFoundException",
            Self::RequestEntityTooLarge => "RequestEntityTooLargeException",
            Self::Serialization => "SerializationException",
            Self::Throttling => "ThrottlingException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::UnsupportedOperation => "UnsupportedOperationException",
            Self::Validation => "ValidationException",
        }
    }

    /// The HTTP status: 400 for the caller's faults, 500 for the machine's, 413 for a body beyond
    /// the limit.
    pub fn status(self) -> u16 {
        match self {
            Self::KmsInternal => 500,
            Self::RequestEntityTooLarge => 413,
            _ => 400,
        }
    }
}

/// Why the KMS refuses a request. `Display` is the wire's message, in AWS's words where AWS has
/// any; it is safe to show to the caller.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KmsError {
    /// Policies do not allow the call; the text names who, what, on what and why.
    #[error("{0}")]
    AccessDenied(Box<Refusal>),
    /// A ciphertext names a key that is not here, or that the caller may not use: the same words
    /// for both, so that ciphertexts cannot probe for keys.
    #[error(
        "The ciphertext refers to a customer master key that does not exist, does not exist in \
         this region, or you are not allowed to access."
    )]
    CiphertextKeyInaccessible,
    /// The attestation document of `Recipient` was refused.
    #[error("The attestation document was refused ({rule}): {}", chain(.0), rule = .0.rule())]
    Recipient(RecipientError),

    /// No such key.
    #[error("Key '{arn}' does not exist")]
    KeyNotFound {
        /// The key that was asked for.
        arn: KeyArn,
    },
    /// A `KeyId` that is neither an id, an ARN nor an alias of the right form.
    #[error("Invalid keyId '{}'", shown(given))]
    InvalidKeyId {
        /// What the caller gave.
        given: String,
    },
    /// No such alias.
    #[error("Alias {arn} is not found.")]
    AliasNotFound {
        /// The alias that was asked for.
        arn: AliasArn,
    },
    /// The only policy of a key is `default`.
    #[error("No such policy exists")]
    PolicyNameNotFound,
    /// An ARN of a region that this KMS does not serve.
    #[error("Invalid arn {region}")]
    WrongRegion {
        /// The ARN's region.
        region: Region,
    },
    /// Begins with `arn:` and is no ARN of KMS, or an ARN of the wrong kind.
    #[error("Invalid arn '{}'", shown(given))]
    InvalidArn {
        /// What the caller gave.
        given: String,
    },
    /// An alias name outside its alphabet, or reserved for AWS.
    #[error("{}", alias_message(*.reserved))]
    InvalidAliasName {
        /// Whether the name begins with `alias/aws/`.
        reserved: bool,
    },
    /// The alias exists.
    #[error("An alias with the name {arn} already exists")]
    AliasExists {
        /// The alias.
        arn: AliasArn,
    },

    /// The key is disabled.
    #[error("{arn} is disabled.")]
    Disabled {
        /// The key.
        arn: KeyArn,
    },
    /// The key's state does not permit the operation.
    #[error("{arn} is {}.", .state.phrase())]
    InvalidState {
        /// The key.
        arn: KeyArn,
        /// Its state.
        state: KeyState,
    },
    /// CancelKeyDeletion of a key that is not pending deletion.
    #[error("{arn} is not pending deletion.")]
    NotPendingDeletion {
        /// The key.
        arn: KeyArn,
    },

    /// The ciphertext is damaged, of another format, or its encryption context differs. Without
    /// any detail, so that it is no oracle.
    #[error("")]
    InvalidCiphertext,
    /// Decrypt with a `KeyId` other than the ciphertext's key.
    #[error("The key ID in the request does not identify a CMK that can perform this operation.")]
    IncorrectKey,
    /// The operation, key spec, usage or origin is one that this KMS does not do.
    #[error("{0}")]
    Unsupported(Cow<'static, str>),

    /// The policy cannot be read, or must not be accepted.
    #[error("{0}")]
    MalformedPolicy(PolicyError),
    /// A policy longer than 32,768 bytes.
    #[error("The policy has {size} bytes; a key policy has at most {max}.")]
    PolicyTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The caller would lock itself out.
    #[error("The new key policy will not allow you to update the key policy in the future.")]
    PolicyLockout,

    /// A parameter of the request breaks its constraint.
    #[error("{message}")]
    Validation {
        /// A stable name of the rule.
        rule: &'static str,
        /// The wire's text.
        message: Cow<'static, str>,
    },
    /// Any other exception of the wire: authentication, limits, pagination, the machine's faults.
    #[error("{message}")]
    Other {
        /// Which one.
        exception: Exception,
        /// A stable name of the rule.
        rule: &'static str,
        /// The wire's text; empty for none.
        message: Cow<'static, str>,
    },
}

impl KmsError {
    /// A `ValidationException`: `rule` names the constraint, `message` is the wire's text.
    pub fn validation(rule: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Validation {
            rule,
            message: message.into(),
        }
    }

    /// Any exception by name.
    pub fn other(
        exception: Exception,
        rule: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Other {
            exception,
            rule,
            message: message.into(),
        }
    }

    /// A `KMSInternalException`. Details belong into the server's log, never on the wire.
    pub fn internal(rule: &'static str) -> Self {
        Self::other(
            Exception::KmsInternal,
            rule,
            "The request failed because of an internal error.",
        )
    }

    /// The exception on the wire.
    pub fn exception(&self) -> Exception {
        match self {
            Self::AccessDenied(_) | Self::CiphertextKeyInaccessible => Exception::AccessDenied,
            Self::Recipient(error) => error.exception(),
            Self::KeyNotFound { .. }
            | Self::InvalidKeyId { .. }
            | Self::AliasNotFound { .. }
            | Self::PolicyNameNotFound
            | Self::WrongRegion { .. } => Exception::NotFound,
            Self::InvalidArn { .. } => Exception::InvalidArn,
            Self::InvalidAliasName { .. } => Exception::InvalidAliasName,
            Self::AliasExists { .. } => Exception::AlreadyExists,
            Self::Disabled { .. } => Exception::Disabled,
            Self::InvalidState { .. } | Self::NotPendingDeletion { .. } => {
                Exception::KmsInvalidState
            }
            Self::InvalidCiphertext => Exception::InvalidCiphertext,
            Self::IncorrectKey => Exception::IncorrectKey,
            Self::Unsupported(_) => Exception::UnsupportedOperation,
            Self::MalformedPolicy(_) | Self::PolicyLockout => Exception::MalformedPolicyDocument,
            Self::PolicyTooLarge { .. } => Exception::LimitExceeded,
            Self::Validation { .. } => Exception::Validation,
            Self::Other { exception, .. } => *exception,
        }
    }

    /// A stable name of the rule that refused, for audit events and tests.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::AccessDenied(refusal) => refusal.rule(),
            Self::CiphertextKeyInaccessible => "ciphertext.key",
            Self::Recipient(error) => error.rule(),
            Self::KeyNotFound { .. } => "key.not-found",
            Self::InvalidKeyId { .. } => "key.id",
            Self::AliasNotFound { .. } => "alias.not-found",
            Self::PolicyNameNotFound => "policy.name",
            Self::WrongRegion { .. } => "arn.region",
            Self::InvalidArn { .. } => "arn.form",
            Self::InvalidAliasName { .. } => "alias.name",
            Self::AliasExists { .. } => "alias.exists",
            Self::Disabled { .. } => "key.disabled",
            Self::InvalidState { .. } => "key.state",
            Self::NotPendingDeletion { .. } => "key.not-pending-deletion",
            Self::InvalidCiphertext => "ciphertext.invalid",
            Self::IncorrectKey => "ciphertext.other-key",
            Self::Unsupported(_) => "request.unsupported",
            Self::MalformedPolicy(error) => error.rule(),
            Self::PolicyTooLarge { .. } => "policy.size",
            Self::PolicyLockout => "policy.lockout",
            Self::Validation { rule, .. } | Self::Other { rule, .. } => rule,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.exception().status()
    }

    /// The body of the HTTP answer: `{"__type":"NotFoundException","message":"…"}`;
    /// AccessDeniedException calls its text `Message`, and an empty text is left out.
    pub fn body(&self) -> String {
        let exception = self.exception();
        let mut body = serde_json::Map::new();
        body.insert("__type".to_owned(), exception.name().into());
        let message = self.to_string();
        if !message.is_empty() {
            let field = if exception == Exception::AccessDenied {
                "Message"
            } else {
                "message"
            };
            body.insert(field.to_owned(), message.into());
        }
        serde_json::Value::Object(body).to_string()
    }
}

impl From<RecipientError> for KmsError {
    fn from(error: RecipientError) -> Self {
        Self::Recipient(error)
    }
}

impl From<PolicyError> for KmsError {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::TooLarge { size, max } => Self::PolicyTooLarge { size, max },
            error => Self::MalformedPolicy(error),
        }
    }
}

/// An error and what it came from, in one line: the wire has no other place for the source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        out = format!("{out}: {error}");
        source = error.source();
    }
    out
}

/// AWS's words for a bad alias name.
fn alias_message(reserved: bool) -> &'static str {
    if reserved {
        "Alias names that begin with 'alias/aws/' are reserved."
    } else {
        "Alias must start with the prefix \"alias/\" and may hold letters, digits, '/', '_' and '-'."
    }
}
