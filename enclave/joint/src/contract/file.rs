//! The fields of a contract, as they are written. Field order is alphabetical: it is the canonical
//! order.

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

/// The fields of a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What is too small to show.
    pub cohorts: Cohorts,
    /// What is computed.
    pub computation: Computation,
    /// RFC 3339 in UTC, to the second: `2030-01-31T00:00:00Z`.
    pub expires: String,
    /// [`super::FORMAT`].
    pub format: String,
    /// What the enclave must measure as.
    pub image: Image,
    /// 32 random bytes in hex: two contracts of the same terms have different hashes.
    pub nonce: String,
    /// 2 to 16 parties, by name.
    pub parties: Vec<Party>,
    /// Noise, where the parties want it.
    pub privacy: Option<Privacy>,
}

/// What is too small to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cohorts {
    /// No count below it is shown; at least 2.
    pub minimum: u32,
    /// Whether a figure is withheld too when a party could take it from the number of its own
    /// distinct keys and be left with a small count. Off, a party may learn that all or nearly all
    /// of its keys are in the intersection; on, equal files show nothing at all.
    pub withhold_complements: bool,
}

/// PCR0 to PCR2 and the signer, each 96 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The image.
    pub pcr0: String,
    /// Kernel and boot ramdisk.
    pub pcr1: String,
    /// The application.
    pub pcr2: String,
    /// The certificate that signed the image, where the parties require one.
    pub pcr8: Option<String>,
}

/// What is computed. The unit of every count is a distinct key, not a row: several rows of one key
/// are one member of a cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Computation {
    /// How many keys all parties have, how many each two have, and the sums of the value columns
    /// over all rows whose key all parties have.
    Intersection {},
    /// Statistics over the keys that all parties have; a key's value is the sum of its rows.
    Statistics {
        /// In the order of the report.
        histograms: Vec<Histogram>,
        /// A linear regression.
        regression: Option<Regression>,
    },
    /// How many keys at least two, three, … all parties have.
    Overlap {},
}

/// A value column of a party.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRef {
    /// The column.
    pub column: String,
    /// The party.
    pub party: String,
}

/// A histogram of one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// The column.
    pub column: String,
    /// 1 to 64 rising edges make one bin more than edges: below the first, from each (included) to
    /// the next, and from the last upwards.
    pub edges: Vec<Decimal>,
    /// Its party.
    pub party: String,
}

/// `target = intercept + Σ coefficient · on`, by least squares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// 1 to 8 columns.
    pub on: Vec<ColumnRef>,
    /// What is explained.
    pub target: ColumnRef,
}

/// A party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// RSA SubjectPublicKeyInfo (DER, base64), 2048 to 8192 bits: its answer is sealed to it.
    pub answer_key: String,
    /// ECDSA P-384 SubjectPublicKeyInfo (DER, base64): what its approval verifies under.
    pub approval_key: String,
    /// What its columns are.
    pub columns: Vec<Column>,
    /// The CA of its KMS: one certificate in PEM.
    pub kms_ca: String,
    /// The host of its KMS, with `:port` where that is not 443.
    pub kms_endpoint: String,
    /// The ARN of its KMS key.
    pub kms_key: String,
    /// 1 to 32 of `[a-z0-9-]`, unique; parties stand in the order of their names.
    pub name: String,
    /// What it may see.
    pub outputs: Vec<Output>,
    /// SHA-256 of the platform root that it trusts, in hex.
    pub platform_root: String,
    /// How many releases of its key it approves: runs of this contract.
    pub runs: u32,
}

/// A column of a party's file. Columns that the contract does not name are not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// As in the CSV header.
    pub name: String,
    /// What it holds.
    pub role: Role,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// What is joined on. One column of each party.
    Key,
    /// Exact decimals. At most [`crate::table::MAX_VALUES`] of a party.
    Value,
}

/// A part of the report that a party may see. Its own row counts it always sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// How many keys all parties have (intersection).
    IntersectionSize,
    /// How many keys each two parties have (intersection).
    PairwiseSizes,
    /// The joint sums of all parties' columns (intersection).
    Sums,
    /// The joint sums of the party's own columns (intersection).
    OwnSums,
    /// How many keys the statistics are over (statistics).
    Count,
    /// Mean and variance of each column (statistics).
    Moments,
    /// The histograms (statistics).
    Histograms,
    /// The regression (statistics).
    Regression,
    /// The overlap report (overlap).
    Overlaps,
}

/// Noise on every figure shown, (ε, δ)-differentially private for adding or removing all rows of
/// one key at one party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// What a key's sum counts for: it is cut to these bounds before it is added up.
    pub bounds: Vec<Bounds>,
    /// δ of one run: 0 for Laplace, above 0 and at most 0.01 for Gauss.
    pub delta: Decimal,
    /// ε of one run, shared evenly among its figures: above 0, at most 20.
    pub epsilon: Decimal,
    /// The mechanism.
    pub mechanism: Mechanism,
}

/// How noise is distributed. Both are drawn exactly, over the integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// The discrete Laplace (two-sided geometric) distribution.
    Laplace,
    /// The discrete Gaussian.
    Gaussian,
}

/// The bounds of one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The column.
    pub column: String,
    /// At most zero.
    pub lower: Decimal,
    /// The party.
    pub party: String,
    /// At least zero, and not equal to `lower`.
    pub upper: Decimal,
}
