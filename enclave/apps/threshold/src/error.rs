//! Refusals, as the parent is told them.

use std::fmt::Display;

use anchorhold_channel::ChannelError;
use anchorhold_enclave::CredentialsError;
use anchorhold_enclave::kms::KmsError;
use anchorhold_enclave::nsm::NsmError;
use anchorhold_enclave::recipient::RecipientError;
pub use anchorhold_enclave::refusal::chain;
use anchorhold_threshold::ThresholdError;
use serde::Serialize;

/// Why a command was not carried out: a rule's stable name, and words for people. Holds no secret.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// The rule.
    pub rule: String,
    /// The words.
    pub message: String,
    /// Participants that are proved to have misbehaved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub culprits: Vec<u16>,
}

impl Refusal {
    /// A refusal of this program's own.
    pub fn new(rule: impl Into<String>, message: impl Display) -> Self {
        Self {
            rule: rule.into(),
            message: message.to_string(),
            culprits: Vec::new(),
        }
    }
}

impl From<ThresholdError> for Refusal {
    fn from(error: ThresholdError) -> Self {
        let culprits = error.culprits().into_iter();
        Self {
            culprits: culprits.map(|who| who.number()).collect(),
            ..Self::new(error.rule(), chain(&error))
        }
    }
}

impl From<ChannelError> for Refusal {
    fn from(error: ChannelError) -> Self {
        Self::new(error.rule(), chain(&error))
    }
}

impl From<anchorhold_enclave::Refusal> for Refusal {
    fn from(refusal: anchorhold_enclave::Refusal) -> Self {
        Self::new(refusal.rule, refusal.message)
    }
}

macro_rules! as_the_sdk_refuses {
    ($($error:ty),*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                anchorhold_enclave::Refusal::from(error).into()
            }
        }
    )*};
}

as_the_sdk_refuses!(CredentialsError, KmsError, NsmError, RecipientError);
