//! What a party keeps of its review of contract and image: without it, it binds no key, seals no file
//! and signs nothing.

use anchorhold_joint::contract::{Contract, Image};
use serde::{Deserialize, Serialize};

/// The value of a review's `format` field.
pub const FORMAT: &str = "anchorhold-joint-review/1";

/// That an image was found to measure as a contract says. Nobody signs it: it is a note of the party
/// to itself, and kept as its offer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// The contract, in hex.
    pub contract_sha384: String,
    /// [`FORMAT`].
    pub format: String,
    /// The registers that were found.
    pub image: Image,
    /// Whether the party built the image itself.
    pub rebuilt: bool,
}

/// Why a review does not stand for a contract.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The file is no review.
    #[error("the review is not the JSON of a review")]
    Json(#[from] serde_json::Error),
    /// Of another format.
    #[error("the review's format must be {FORMAT}, and is {got:?}")]
    Format {
        /// What it is.
        got: String,
    },
    /// Of another contract.
    #[error("the contract is {expected}, and the review is of {got}")]
    Contract {
        /// The contract at hand.
        expected: String,
        /// The review's.
        got: String,
    },
    /// Of another image.
    #[error("the contract's image is {expected}, and the reviewed one is {got}")]
    Image {
        /// The contract's registers.
        expected: String,
        /// The review's.
        got: String,
    },
}

impl ReviewError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Format { .. } => "review.json",
            Self::Contract { .. } => "review.contract",
            Self::Image { .. } => "review.image",
        }
    }
}

impl Review {
    /// The review of a contract whose image was found to measure as it says.
    pub fn of(contract: &Contract, rebuilt: bool) -> Self {
        Self {
            contract_sha384: contract.hash().to_string(),
            format: FORMAT.to_owned(),
            image: contract.terms().image.clone(),
            rebuilt,
        }
    }

    /// Reads a review.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(json: &[u8]) -> Result<Self, ReviewError> {
        let review: Self = serde_json::from_slice(json)?;
        if review.format != FORMAT {
            return Err(ReviewError::Format { got: review.format });
        }
        Ok(review)
    }

    /// Checks that it is of this very contract and its image.
    ///
    /// It does not establish that the image is good: whether its sources are, the party has read.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub fn check(&self, contract: &Contract) -> Result<(), ReviewError> {
        let expected = contract.hash().to_string();
        if self.contract_sha384 != expected {
            let got = self.contract_sha384.clone();
            return Err(ReviewError::Contract { expected, got });
        }
        let image = &contract.terms().image;
        if self.image != *image {
            return Err(ReviewError::Image {
                expected: registers(image),
                got: registers(&self.image),
            });
        }
        Ok(())
    }
}

fn registers(image: &Image) -> String {
    let Image {
        pcr0,
        pcr1,
        pcr2,
        pcr8,
    } = image;
    let pcr8 = pcr8.as_deref().unwrap_or("any");
    format!("PCR0 {pcr0}, PCR1 {pcr1}, PCR2 {pcr2}, PCR8 {pcr8}")
}
