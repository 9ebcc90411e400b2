//! What a relying party demands of an authentic document.

use std::collections::BTreeMap;
use std::time::Duration;

use anchorhold_document::{AttestationDocument, Pcr, PcrIndex};

use crate::error::VerifyError;
use crate::time::Timestamp;

/// A relying party's demands. Made by [`AppraisalPolicy::fresh`] or
/// [`AppraisalPolicy::archived`], then narrowed field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppraisalPolicy {
    /// The present, against which age is measured.
    pub now: Timestamp,
    /// The oldest a document may be; none for archived documents, of any age.
    pub max_age: Option<Duration>,
    /// How far in the future its timestamp may lie: room for clocks that differ.
    pub max_future: Duration,
    /// Whether an enclave in debug mode, whose console anyone on its host can read and whose
    /// registers say nothing, is acceptable.
    pub allow_debug: bool,
    /// Registers that must be in the document with just these values.
    pub pcrs: BTreeMap<PcrIndex, Pcr>,
    /// The challenge that must be in it.
    pub nonce: Option<Vec<u8>>,
    /// The user data that must be in it.
    pub user_data: Option<Vec<u8>>,
    /// The public key that must be in it.
    pub public_key: Option<Vec<u8>>,
}

impl AppraisalPolicy {
    /// How far in the future a document may lie unless the caller says otherwise.
    pub const DEFAULT_MAX_FUTURE: Duration = Duration::from_secs(60);

    /// Documents of at most `max_age` (and at most [`Self::DEFAULT_MAX_FUTURE`] in the future),
    /// no debug mode, any registers.
    pub const fn fresh(now: Timestamp, max_age: Duration) -> Self {
        Self {
            now,
            max_age: Some(max_age),
            max_future: Self::DEFAULT_MAX_FUTURE,
            allow_debug: false,
            pcrs: BTreeMap::new(),
            nonce: None,
            user_data: None,
            public_key: None,
        }
    }

    /// Documents of any age, for audits. **Never for releasing a key.**
    pub const fn archived(now: Timestamp) -> Self {
        let mut policy = Self::fresh(now, Duration::ZERO);
        policy.max_age = None;
        policy
    }

    /// Demands a register.
    #[must_use]
    pub fn require_pcr(mut self, index: PcrIndex, value: Pcr) -> Self {
        self.pcrs.insert(index, value);
        self
    }

    /// Demands a challenge.
    #[must_use]
    pub fn require_nonce(mut self, nonce: impl Into<Vec<u8>>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }

    /// Demands user data.
    #[must_use]
    pub fn require_user_data(mut self, user_data: impl Into<Vec<u8>>) -> Self {
        self.user_data = Some(user_data.into());
        self
    }

    /// Checks a document's statements against the demands.
    ///
    /// This does not establish that they are anybody's statements: only an
    /// [`AuthenticDocument`](crate::AuthenticDocument) can be appraised from outside.
    pub(crate) fn check(&self, document: &AttestationDocument) -> Result<(), VerifyError> {
        self.check_freshness(document)?;
        self.check_debug(document)?;
        self.check_pcrs(document)?;
        let (public_key, user_data, nonce) =
            (&document.public_key, &document.user_data, &document.nonce);
        check_field("nonce.mismatch", "nonce", &self.nonce, nonce)?;
        check_field(
            "user-data.mismatch",
            "user_data",
            &self.user_data,
            user_data,
        )?;
        check_field(
            "public-key.mismatch",
            "public_key",
            &self.public_key,
            public_key,
        )
    }

    /// Does not establish when the document was signed by any clock but the security module's.
    fn check_freshness(&self, document: &AttestationDocument) -> Result<(), VerifyError> {
        let signed = Timestamp::from_millis(document.timestamp_ms);
        let ahead = signed.saturating_since(self.now);
        if ahead > self.max_future {
            let max_future = self.max_future;
            return Err(VerifyError::Future {
                signed,
                now: self.now,
                max_future,
                ahead,
            });
        }
        let age = self.now.saturating_since(signed);
        match self.max_age {
            Some(max_age) if age > max_age => Err(VerifyError::TooOld {
                signed,
                now: self.now,
                max_age,
                age,
            }),
            _ => Ok(()),
        }
    }

    /// Does not establish that nobody watches the enclave by other means.
    fn check_debug(&self, document: &AttestationDocument) -> Result<(), VerifyError> {
        if document.is_debug() && !self.allow_debug {
            return Err(VerifyError::Debug);
        }
        Ok(())
    }

    /// Does not establish anything about registers that the policy leaves out.
    fn check_pcrs(&self, document: &AttestationDocument) -> Result<(), VerifyError> {
        for (&index, &expected) in &self.pcrs {
            match document.pcrs.get(&index) {
                Some(&got) if got == expected => {}
                Some(&got) => {
                    return Err(VerifyError::PcrMismatch {
                        index,
                        expected,
                        got,
                    });
                }
                None => return Err(VerifyError::PcrMissing { index, expected }),
            }
        }
        Ok(())
    }
}

fn check_field(
    rule: &'static str,
    field: &'static str,
    expected: &Option<Vec<u8>>,
    got: &Option<Vec<u8>>,
) -> Result<(), VerifyError> {
    match expected {
        Some(expected) if got.as_ref() != Some(expected) => Err(VerifyError::FieldMismatch {
            rule,
            field,
            expected: expected.clone(),
            got: got.clone(),
        }),
        _ => Ok(()),
    }
}
