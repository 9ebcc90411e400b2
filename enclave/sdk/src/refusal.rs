//! Why an application gives no answer, as the parent is told it.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::credentials::CredentialsError;
use crate::frame::{self, FrameError};
use crate::kms::KmsError;
use crate::nsm::NsmError;
use crate::recipient::RecipientError;
use crate::tls::TlsError;

/// A refusal: a rule's stable name, and words for people. It goes to the parent, so whoever makes
/// one puts no content of records into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule that refused.
    pub rule: String,
    /// What was expected and what came.
    pub message: String,
}

impl Refusal {
    /// A refusal by a rule.
    pub fn new(rule: impl Into<String>, message: impl Display) -> Self {
        Self {
            rule: rule.into(),
            message: message.to_string(),
        }
    }

    /// A refusal by a rule for an error's reasons.
    pub fn because(rule: impl Into<String>, error: &dyn Error) -> Self {
        Self::new(rule, chain(error))
    }

    /// A refusal of what belongs to one of several, say a party.
    pub fn of(whose: &str, rule: impl Into<String>, message: impl Display) -> Self {
        Self::new(rule, format_args!("{whose}: {message}"))
    }

    /// The same refusal, said to be of what belongs to one of several.
    #[must_use]
    pub fn about(self, whose: &str) -> Self {
        Self::of(whose, self.rule, self.message)
    }

    /// Sends the refusal as JSON in a frame of type `frame`, the session's last. Whoever broke the
    /// connection does not hear it.
    pub fn send(&self, to: &mut impl Write, frame: u8) {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let _ = frame::write(to, frame, &json).and_then(|()| to.flush());
    }
}

/// An error and its sources on one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl From<KmsError> for Refusal {
    /// The KMS's refusal under AWS's name of it.
    fn from(error: KmsError) -> Self {
        match error.refusal() {
            Some(refusal) => Self::new(format!("kms.{}", refusal.code), refusal),
            None => Self::because(error.rule(), &error),
        }
    }
}

macro_rules! by_their_rule {
    ($($error:ty),*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::because(error.rule(), &error)
            }
        }
    )*};
}

by_their_rule!(
    CredentialsError,
    FrameError,
    NsmError,
    RecipientError,
    TlsError
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_rule_and_all_reasons() {
        let broken = FrameError::Io(std::io::Error::other("reset"));
        let refusal = Refusal::from(broken).about("clinic");
        assert_eq!(refusal.rule, "wire.connection");
        assert_eq!(refusal.message, "clinic: the connection failed: reset");
    }

    #[test]
    fn a_refusal_is_the_last_frame() {
        let refusal = Refusal::new("job.rows", "expected 1, got 2");
        let mut sent = Vec::new();
        refusal.send(&mut sent, 0xFF);
        let got = frame::expect(&mut &sent[..], 0xFF, 1024).unwrap();
        assert_eq!(serde_json::from_slice::<Refusal>(&got).unwrap(), refusal);
    }
}
