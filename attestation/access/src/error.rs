//! Why a file or the KMS cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use anchorhold_enclave::CredentialsError;
use anchorhold_enclave::kms::KmsError;
use anchorhold_enclave::tls::TlsError;

/// Why a file or the KMS cannot be used. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// A file could not be read or written.
    #[error("cannot {doing} {}", name(path))]
    File {
        /// "read" or "write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is longer than [`MAX_FILE`](crate::MAX_FILE).
    #[error("{path:?} has more than {} bytes", crate::MAX_FILE)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what it must be.
    #[error("{path:?} is no {expected}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it must be.
        expected: &'static str,
    },
    /// The output is there already.
    #[error("{path:?} is there already")]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output is neither a file nor a link, which could be replaced.
    #[error("{path:?} is no file and is not replaced")]
    NotReplaceable {
        /// The output.
        path: PathBuf,
    },
    /// The credentials cannot be used.
    #[error("the credentials cannot be used")]
    Credentials(#[from] CredentialsError),
    /// The KMS's authority cannot be used.
    #[error("the KMS's authority cannot be used")]
    Authority(#[from] TlsError),
    /// The KMS's name or region cannot be used.
    #[error("the KMS cannot be called")]
    Kms(#[from] KmsError),
}

impl AccessError {
    /// What the system says of a file that is read or written.
    pub fn file(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path: path.clone(),
            source,
        }
    }

    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::File { .. }
            | Self::TooLarge { .. }
            | Self::Content { .. }
            | Self::Exists { .. }
            | Self::NotReplaceable { .. } => "owner.file",
            Self::Credentials(error) => error.rule(),
            Self::Authority(error) => error.rule(),
            Self::Kms(error) => error.rule(),
        }
    }
}

fn name(path: &Path) -> String {
    match path == Path::new("-") {
        true => "standard input or output".to_owned(),
        false => format!("{path:?}"),
    }
}
