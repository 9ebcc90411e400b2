//! What the parties agree on: one canonical document.
//!
//! It is JSON rather than CBOR because every party has to read what it signs, with any tool; it is
//! canonical (compact, fields in alphabetical order, parties by name, every value in one spelling),
//! so that equal terms under one nonce have one hash. What does not come out as it went in when
//! written again is refused; that also refuses fields that stand twice.

mod check;
mod file;
mod keys;

use ciborium::Value;
use sha2::{Digest, Sha384};
use time::OffsetDateTime;

pub use self::file::{
    Bounds, Cohorts, Column, ColumnRef, Computation, Histogram, Image, Mechanism, Output, Party,
    Privacy, Regression, Role, Terms,
};
pub use self::keys::{ApprovalKey, answer_key};

/// The value of a contract's `format` field, and the domain of its hash.
pub const FORMAT: &str = "anchorhold-joint-contract/1";
/// Names the `user_data` of a document at release time; no other CBOR of this system holds it.
pub const RELEASE_DOMAIN: &str = "anchorhold-joint-release/1";
/// The largest contract in bytes: 16 parties with the largest keys and certificates fit in half.
pub const MAX_CONTRACT: usize = 256 * 1024;
/// The fewest and most parties.
pub const PARTIES: std::ops::RangeInclusive<usize> = 2..=16;

/// A checked contract. Only [`Contract::parse`] and [`Contract::from_draft`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    terms: Terms,
    canonical: Vec<u8>,
    hash: ContractHash,
}

/// The SHA-384 that stands for a contract wherever it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContractHash(pub [u8; 48]);

impl std::fmt::Display for ContractHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Why a contract is refused. Safe to log: a contract holds no secret and no record.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// Larger than [`MAX_CONTRACT`].
    #[error("the contract has {got} bytes, at most {MAX_CONTRACT} are allowed")]
    TooLarge {
        /// Its size in bytes.
        got: usize,
    },
    /// Not JSON, or a field that is unknown, missing, there twice or of the wrong type.
    #[error("the contract is not the JSON of a contract")]
    Json(#[from] serde_json::Error),
    /// Written in another way than the canonical one.
    #[error("the contract is not in its canonical form (first difference at byte {at})")]
    NotCanonical {
        /// The first byte that differs.
        at: usize,
    },
    /// A field says what a contract may not say.
    #[error("by rule {rule}, expected {expected}, got {got}")]
    Field {
        /// The rule.
        rule: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// It is over.
    #[error("the contract ran out at {expired}, and it is {now}")]
    Expired {
        /// When, in RFC 3339.
        expired: String,
        /// The time given.
        now: OffsetDateTime,
    },
}

impl ContractError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "contract.size",
            Self::Json(_) => "contract.json",
            Self::NotCanonical { .. } => "contract.canonical",
            Self::Field { rule, .. } => rule,
            Self::Expired { .. } => "contract.expired",
        }
    }
}

impl Contract {
    /// Takes a contract only in its canonical form. It does not establish that the contract is
    /// still running ([`Contract::check_running`]) or that anybody approved it
    /// ([`crate::approval`]).
    ///
    /// # Errors
    /// [`ContractError`] with the rule that it breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, ContractError> {
        let contract = Self::from_json(bytes, false)?;
        if contract.canonical != bytes {
            let same = contract.canonical.iter().zip(bytes);
            let at = same.take_while(|(a, b)| a == b).count();
            return Err(ContractError::NotCanonical { at });
        }
        Ok(contract)
    }

    /// Takes a contract in any JSON form, puts the parties in order and makes it canonical.
    ///
    /// # Errors
    /// [`ContractError`] with the rule that it breaks.
    pub fn from_draft(bytes: &[u8]) -> Result<Self, ContractError> {
        Self::from_json(bytes, true)
    }

    /// Makes a contract of terms, with the parties in order.
    ///
    /// # Errors
    /// [`ContractError`] with the rule that they break.
    pub fn from_terms(mut terms: Terms) -> Result<Self, ContractError> {
        terms.parties.sort_by(|a, b| a.name.cmp(&b.name));
        Self::checked(terms)
    }

    fn from_json(bytes: &[u8], draft: bool) -> Result<Self, ContractError> {
        if bytes.len() > MAX_CONTRACT {
            return Err(ContractError::TooLarge { got: bytes.len() });
        }
        let terms: Terms = serde_json::from_slice(bytes)?;
        if draft {
            return Self::from_terms(terms);
        }
        Self::checked(terms)
    }

    fn checked(terms: Terms) -> Result<Self, ContractError> {
        terms.check()?;
        let canonical = serde_json::to_vec(&terms)?;
        if canonical.len() > MAX_CONTRACT {
            let got = canonical.len();
            return Err(ContractError::TooLarge { got });
        }
        let hash = Sha384::new()
            .chain_update(FORMAT)
            .chain_update([0])
            .chain_update(&canonical)
            .finalize();
        Ok(Self {
            terms,
            canonical,
            hash: ContractHash(hash.into()),
        })
    }

    /// What it says.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The canonical bytes.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// SHA-384 over [`FORMAT`], a zero byte and the canonical bytes.
    pub fn hash(&self) -> ContractHash {
        self.hash
    }

    /// The parties, by name.
    pub fn parties(&self) -> &[Party] {
        &self.terms.parties
    }

    /// A party and its place among the parties.
    pub fn party(&self, name: &str) -> Option<(usize, &Party)> {
        let mut parties = self.terms.parties.iter().enumerate();
        parties.find(|(_, party)| party.name == name)
    }

    /// The `user_data` of the document that the parties' keys are released to, which their key
    /// policies name: deterministic CBOR (RFC 8949, section 4.2.1) of
    /// `{"domain": tstr, "contract": bstr .size 48}`. It is the map and not its hash, so that the
    /// contract can be read out of any document; with about 100 bytes it stays far below the 512
    /// that AWS allows.
    pub fn user_data(&self) -> Vec<u8> {
        let entries = [
            ("domain", Value::Text(RELEASE_DOMAIN.to_owned())),
            ("contract", Value::Bytes(self.hash.0.to_vec())),
        ];
        let entries = entries.map(|(key, value)| (Value::Text(key.to_owned()), value));
        let mut out = Vec::new();
        if ciborium::into_writer(&Value::Map(entries.into()), &mut out).is_err() {
            unreachable!("writing to a Vec does not fail");
        }
        out
    }

    /// Refuses a contract that is over.
    ///
    /// # Errors
    /// [`ContractError::Expired`] from its expiry on.
    pub fn check_running(&self, now: OffsetDateTime) -> Result<(), ContractError> {
        let running = check::expiry(&self.terms.expires).is_some_and(|expiry| now < expiry);
        if running {
            return Ok(());
        }
        Err(ContractError::Expired {
            expired: self.terms.expires.clone(),
            now,
        })
    }
}

impl Party {
    /// The host of its KMS, which its certificate must name, and the port.
    pub fn kms_host_and_port(&self) -> (&str, u16) {
        check::host_and_port(&self.kms_endpoint).unwrap_or((&self.kms_endpoint, 443))
    }

    /// The names of its value columns, in the contract's order.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.with_role(Role::Value)
    }

    /// The name of the column that is joined on.
    pub fn key(&self) -> Option<&str> {
        self.with_role(Role::Key).next()
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter().filter(move |c| c.role == role);
        columns.map(|c| c.name.as_str())
    }

    /// Whether it may see an output.
    pub fn may_see(&self, output: Output) -> bool {
        self.outputs.contains(&output)
    }
}

#[cfg(test)]
mod tests;
