//! The arguments.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anchorhold_verifier::{
    AppraisalPolicy, Pcr, PcrIndex, Timestamp, TrustRoots, UnverifiedDocument,
};
use clap::{Args, Parser, Subcommand};

use super::Failure;

/// Checks attestation documents of Nitro enclaves and of enclaves that Anchorhold runs
#[derive(Parser)]
#[command(name = "anchorhold-verify", version, after_help = EXAMPLE)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check one document: signature, chain, freshness, registers
    ///
    /// Exits with 0 and the decoded document, with 1 and
    /// {"error":{"rule":…,"message":…}} if the document is refused, with 2 if the arguments or
    /// files are no good.
    #[command(after_help = EXAMPLE)]
    Document(DocumentArguments),
}

const EXAMPLE: &str = "\
Example:
  anchorhold-verify document document.cose --root platform-root.pem --at-document-time";

#[derive(Args)]
pub(crate) struct DocumentArguments {
    /// The document, as raw bytes, base64 or hex; - for standard input
    pub(crate) file: PathBuf,

    /// Trust the root certificates in this PEM file (repeatable)
    #[arg(long = "root", value_name = "PEM")]
    pub(crate) roots: Vec<PathBuf>,

    /// Trust AWS Nitro Enclaves Root G1
    #[arg(long)]
    pub(crate) aws_root: bool,

    /// Check everything at this time instead of now, such as 2025-01-10T03:40:02Z
    #[arg(long, value_name = "RFC3339", conflicts_with = "at_document_time")]
    pub(crate) at: Option<Timestamp>,

    /// Check the chain at the document's own time, for archived documents; its age is still
    /// measured against now
    #[arg(long)]
    pub(crate) at_document_time: bool,

    /// Refuse a document older than this
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_age: Option<u64>,

    /// Demand this register: its number, =, 96 hex digits (repeatable)
    #[arg(long = "pcr", value_name = "N=HEX")]
    pub(crate) pcrs: Vec<Demand>,

    /// Demand this nonce, the challenge that the document answers
    #[arg(long, value_name = "HEX")]
    pub(crate) nonce: Option<HexBytes>,

    /// Accept an enclave in debug mode, whose registers say nothing
    #[arg(long)]
    pub(crate) allow_debug: bool,

    /// Print one JSON object instead of text for people
    #[arg(long)]
    pub(crate) json: bool,
}

impl DocumentArguments {
    /// The roots that were named, at least one.
    pub(super) fn roots(&self) -> Result<TrustRoots, Failure> {
        let mut roots = if self.aws_root {
            TrustRoots::aws_nitro_g1()
        } else {
            TrustRoots::new()
        };
        for file in &self.roots {
            let named = TrustRoots::from_pem_file(file).map_err(|source| Failure::Roots {
                file: file.display().to_string(),
                source,
            })?;
            roots.extend(&named);
        }
        if roots.is_empty() {
            Err(Failure::NoRoots)
        } else {
            Ok(roots)
        }
    }

    /// Refuses a register that is demanded twice.
    pub(super) fn check_registers(&self) -> Result<(), Failure> {
        let mut demanded = BTreeSet::new();
        match self.pcrs.iter().find(|pcr| !demanded.insert(pcr.index)) {
            Some(Demand { index, .. }) => Err(Failure::RegisterTwice { index: *index }),
            None => Ok(()),
        }
    }

    /// The time at which the chain must be valid, and the present against which age is measured.
    pub(super) fn times(
        &self,
        document: &UnverifiedDocument,
    ) -> Result<(Timestamp, Timestamp), Failure> {
        if let Some(at) = self.at {
            return Ok((at, at));
        }
        let now = Timestamp::try_from(SystemTime::now()).map_err(Failure::Clock)?;
        let at = if self.at_document_time {
            document.claimed_time()
        } else {
            now
        };
        Ok((at, now))
    }

    /// What is demanded of an authentic document.
    pub(super) fn policy(&self, now: Timestamp) -> AppraisalPolicy {
        let mut policy = AppraisalPolicy::archived(now);
        policy.max_age = self.max_age.map(Duration::from_secs);
        policy.allow_debug = self.allow_debug;
        policy.pcrs = self
            .pcrs
            .iter()
            .map(|demand| (demand.index, demand.value))
            .collect();
        policy.nonce = self.nonce.clone().map(|nonce| nonce.0);
        policy
    }
}

/// A register and the value that it must have.
#[derive(Clone)]
pub(crate) struct Demand {
    pub(crate) index: PcrIndex,
    pub(crate) value: Pcr,
}

impl FromStr for Demand {
    type Err = DemandError;

    fn from_str(text: &str) -> Result<Self, DemandError> {
        let (index, value) = text.split_once('=').ok_or(DemandError::Form)?;
        let index = index
            .parse::<u64>()
            .ok()
            .and_then(|index| PcrIndex::try_from(index).ok())
            .ok_or(DemandError::Index)?;
        let value = value.parse().map_err(|_| DemandError::Value)?;
        Ok(Self { index, value })
    }
}

#[derive(Debug)]
pub(crate) enum DemandError {
    Form,
    Index,
    Value,
}

impl fmt::Display for DemandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "expected N=HEX, such as 0=4ae29a…",
            Self::Index => "expected a register from 0 to 31 before =",
            Self::Value => "expected 96 hex digits after =",
        })
    }
}

impl std::error::Error for DemandError {}

/// Bytes written in hex.
#[derive(Clone)]
pub(crate) struct HexBytes(pub(crate) Vec<u8>);

impl FromStr for HexBytes {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::decode(text).map(Self)
    }
}
