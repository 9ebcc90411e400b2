//! The roots that a caller trusts, by the hash of their certificates.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::certificate::Certificate;
use crate::error::{ChainPosition, VerifyError};

/// SHA-256 of a root certificate's DER: its identity, since a name can be given to anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootSha256(pub [u8; 32]);

impl RootSha256 {
    /// AWS Nitro Enclaves Root G1. (`8cf60e2b…`, often quoted, is the hash of the ZIP it comes
    /// in.)
    pub const AWS_NITRO_G1: Self = Self([
        0x64, 0x1A, 0x03, 0x21, 0xA3, 0xE2, 0x44, 0xEF, 0xE4, 0x56, 0x46, 0x31, 0x95, 0xD6, 0x06,
        0x31, 0x7E, 0xD7, 0xCD, 0xCC, 0x3C, 0x17, 0x56, 0xE0, 0x98, 0x93, 0xF3, 0xC6, 0x8F, 0x79,
        0xBB, 0x5B,
    ]);

    /// The hash of a certificate.
    pub fn of_der(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for RootSha256 {
    type Err = ParseRootError;

    /// Reads exactly 64 hex digits of either case.
    fn from_str(text: &str) -> Result<Self, ParseRootError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map(|()| Self(bytes))
            .map_err(|_| ParseRootError { got: text.len() })
    }
}

impl fmt::Display for RootSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RootSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootSha256({self})")
    }
}

/// Text that is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("root hash: expected 64 hex digits, got {got} bytes of other text")]
pub struct ParseRootError {
    /// Bytes of the text that came.
    pub got: usize,
}

impl ParseRootError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        "root.hex"
    }
}

/// How a PEM block begins (RFC 7468 §2).
const BEGIN: &[u8] = b"-----BEGIN";

/// A set of trusted roots. An empty one trusts nothing.
///
/// Trusting a root means believing every statement of whoever holds its key: for
/// [`TrustRoots::aws_nitro_g1`] AWS's hardware, for a platform root the host that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustRoots(BTreeSet<RootSha256>);

impl TrustRoots {
    /// Certificates that one PEM file may hold.
    pub const MAX_PEM_CERTIFICATES: usize = 64;

    /// Bytes of the largest file of root certificates that is read: 64 of 1 KiB, in PEM.
    pub const MAX_FILE: u64 = 128 * 1024;

    /// Trusts nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts AWS Nitro Enclaves Root G1 only.
    pub fn aws_nitro_g1() -> Self {
        Self(BTreeSet::from([RootSha256::AWS_NITRO_G1]))
    }

    /// Trusts the certificates of a PEM text, at least one, each a P-384 CA that issued itself.
    ///
    /// This does not establish that they deserve it: the caller says so by passing the text.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self, TrustRootError> {
        // Blocks that cannot be read are passed over by the parser; here they count.
        let begun = text
            .as_ref()
            .windows(BEGIN.len())
            .filter(|window| *window == BEGIN)
            .count();
        let blocks = pem::parse_many(text).map_err(TrustRootError::Pem)?;
        if blocks.len() != begun {
            return Err(TrustRootError::Unreadable {
                begun,
                got: blocks.len(),
            });
        }
        if blocks.is_empty() || blocks.len() > Self::MAX_PEM_CERTIFICATES {
            return Err(TrustRootError::Count { got: blocks.len() });
        }
        let mut roots = Self::new();
        for block in &blocks {
            if block.tag() != "CERTIFICATE" {
                return Err(TrustRootError::NotACertificate {
                    got: block.tag().to_owned(),
                });
            }
            Certificate::parse(block.contents(), ChainPosition::Root)
                .and_then(|certificate| certificate.check_root())
                .map_err(|source| TrustRootError::Certificate(Box::new(source)))?;
            roots.insert(RootSha256::of_der(block.contents()));
        }
        Ok(roots)
    }

    /// [`TrustRoots::from_pem`] of a file, of which no more is read than root certificates take.
    ///
    /// This does not establish more than that either.
    pub fn from_pem_file(path: &Path) -> Result<Self, TrustRootFileError> {
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(Self::MAX_FILE + 1).read_to_end(&mut text))
            .map_err(TrustRootFileError::Unreadable)?;
        if text.len() as u64 > Self::MAX_FILE {
            return Err(TrustRootFileError::TooLarge {
                limit: Self::MAX_FILE,
            });
        }
        Ok(Self::from_pem(text)?)
    }

    /// Trusts one more root; says whether it was new.
    pub fn insert(&mut self, root: RootSha256) -> bool {
        self.0.insert(root)
    }

    /// Trusts everything that `other` trusts as well.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().copied());
    }

    /// Whether `root` is trusted.
    pub fn contains(&self, root: &RootSha256) -> bool {
        self.0.contains(root)
    }

    /// How many roots are trusted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The roots in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = RootSha256> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<RootSha256> for TrustRoots {
    fn from_iter<I: IntoIterator<Item = RootSha256>>(roots: I) -> Self {
        Self(roots.into_iter().collect())
    }
}

/// Why a PEM text names no roots. The caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum TrustRootError {
    /// Not PEM (RFC 7468).
    #[error("trust roots: expected PEM, got text that is none")]
    Pem(#[source] pem::PemError),
    /// A block that begins and cannot be read.
    #[error(
        "trust roots: expected {begun} PEM blocks, as many as begin, got {got} that can be read"
    )]
    Unreadable {
        /// Blocks that begin.
        begun: usize,
        /// Blocks that can be read.
        got: usize,
    },
    /// No certificate, or too many.
    #[error("trust roots: expected 1 to 64 certificates, got {got}")]
    Count {
        /// PEM blocks that came.
        got: usize,
    },
    /// Another kind of PEM block.
    #[error("trust roots: expected CERTIFICATE, got {got}")]
    NotACertificate {
        /// The label that came.
        got: String,
    },
    /// A certificate that can be no root of this kind.
    #[error("trust roots: expected a self-issued P-384 CA certificate")]
    Certificate(#[source] Box<VerifyError>),
}

impl TrustRootError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Pem(_) | Self::Unreadable { .. } => "roots.pem",
            Self::Count { .. } => "roots.count",
            Self::NotACertificate { .. } => "roots.label",
            Self::Certificate(_) => "roots.certificate",
        }
    }
}

/// Why a file names no roots. The caller's fault; who reports it names the file.
#[derive(Debug, thiserror::Error)]
pub enum TrustRootFileError {
    /// It cannot be read.
    #[error("the file of trust roots could not be read")]
    Unreadable(#[source] io::Error),
    /// It is larger than root certificates are.
    #[error("the file is larger than {limit} bytes, more than root certificates take")]
    TooLarge {
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// What is in it names no roots.
    #[error(transparent)]
    Roots(#[from] TrustRootError),
}

impl TrustRootFileError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "roots.file",
            Self::TooLarge { .. } => "roots.size",
            Self::Roots(error) => error.rule(),
        }
    }
}
