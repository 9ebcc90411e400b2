//! Who asks the KMS.

use serde::Deserialize;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Longest access key id or secret, in bytes (IAM: 16 to 128 characters for an id).
const MAX_KEY: usize = 128;

/// Longest session token, in bytes; AWS names no limit, headers of 8 KiB are what servers take.
const MAX_TOKEN: usize = 8192;

/// An access key, zeroized when dropped. It comes from the parent at run time and is never part of
/// an image; what it may do is the KMS's policy.
#[derive(Clone)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

impl Credentials {
    /// Takes an access key and, for temporary credentials, its session token.
    ///
    /// # Errors
    /// A part that is empty, too long, or not printable ASCII without spaces: it could not stand in
    /// a header.
    pub fn new(
        access_key_id: &str,
        secret_access_key: &str,
        session_token: Option<&str>,
    ) -> Result<Self, CredentialsError> {
        check("access key id", access_key_id, MAX_KEY)?;
        check("secret access key", secret_access_key, MAX_KEY)?;
        if let Some(token) = session_token {
            check("session token", token, MAX_TOKEN)?;
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: Zeroizing::new(secret_access_key.to_owned()),
            session_token: session_token.map(|token| Zeroizing::new(token.to_owned())),
        })
    }

    /// Takes an access key from the JSON of an [`AccessKey`].
    ///
    /// # Errors
    /// It is none, or a part is refused as by [`Credentials::new`]. Neither tells of its content.
    pub fn from_json(json: &[u8]) -> Result<Self, CredentialsError> {
        let key: AccessKey = serde_json::from_slice(json).map_err(|_| CredentialsError::Json)?;
        Self::try_from(&key)
    }

    /// The access key id, which is not secret.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret_access_key
    }

    pub(crate) fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }
}

/// An access key as a parent hands it over in JSON, zeroized when dropped.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct AccessKey {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl TryFrom<&AccessKey> for Credentials {
    type Error = CredentialsError;

    fn try_from(key: &AccessKey) -> Result<Self, CredentialsError> {
        let token = key.session_token.as_deref();
        Self::new(&key.access_key_id, &key.secret_access_key, token)
    }
}

fn check(part: &'static str, text: &str, limit: usize) -> Result<(), CredentialsError> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > limit || !printable {
        return Err(CredentialsError::Form { part, limit });
    }
    Ok(())
}

/// An access key was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// A part could not stand in a header.
    #[error("the {part} must be 1 to {limit} printable ASCII characters without spaces")]
    Form {
        /// The part.
        part: &'static str,
        /// The most characters that it may have.
        limit: usize,
    },
    /// It is not the JSON of an access key.
    #[error("expected JSON with access_key_id and secret_access_key")]
    Json,
}

impl CredentialsError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Form { .. } => "credentials.form",
            Self::Json => "credentials.json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_header_is_refused() {
        for bad in [
            "",
            "with space",
            "line\r\nInjected: x",
            "é",
            &"x".repeat(MAX_KEY + 1),
        ] {
            assert!(
                Credentials::new(bad, "secret", None).is_err(),
                "{bad:?} as id"
            );
            assert!(
                Credentials::new("AKID", bad, None).is_err(),
                "{bad:?} as secret"
            );
        }
        for bad in ["", "a b", "\n", &"x".repeat(MAX_TOKEN + 1)] {
            assert!(
                Credentials::new("AKID", "secret", Some(bad)).is_err(),
                "{bad:?} as token"
            );
        }
        assert!(Credentials::new("AKIDEXAMPLE", "wJalr/+=", Some("IQoJ+/==")).is_ok());
    }

    #[test]
    fn what_is_no_access_key_is_refused_without_its_content() {
        let sound = r#"{"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalr"}"#;
        let credentials = Credentials::from_json(sound.as_bytes()).ok();
        assert_eq!(
            credentials.as_ref().map(Credentials::access_key_id),
            Some("AKIDEXAMPLE")
        );
        assert!(credentials.is_some_and(|made| made.session_token().is_none()));
        for (json, rule) in [
            ("", "credentials.json"),
            ("[]", "credentials.json"),
            (r#"{"access_key_id": "AKID"}"#, "credentials.json"),
            (
                r#"{"access_key_id": "AKID", "secret_access_key": 5}"#,
                "credentials.json",
            ),
            (
                r#"{"access_key_id": "A D", "secret_access_key": "wJalr"}"#,
                "credentials.form",
            ),
        ] {
            let refused = Credentials::from_json(json.as_bytes()).map(|_| ());
            let refused = refused.unwrap_err();
            assert_eq!(refused.rule(), rule, "{json}");
            assert!(!refused.to_string().contains("wJalr"));
        }
    }
}
