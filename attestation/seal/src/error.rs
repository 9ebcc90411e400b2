//! Why nothing was sealed or opened.

use std::error::Error;
use std::path::{Path, PathBuf};

use anchorhold_access::AccessError;
use anchorhold_enclave::kms::KmsError;
use anchorhold_envelope::bucket::BucketError;
use anchorhold_envelope::keyring::{KeyringError, KeyringsError};
use anchorhold_envelope::materials::MaterialsError;
use anchorhold_envelope::{ContextError, OpenError, SealError};

/// Why a command failed. No variant holds plaintext, key material or credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The command line.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
    },
    /// The output is there already.
    #[error("{} is there already: give --force to replace it", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// A file, the credentials in it, or what it says of the KMS.
    #[error(transparent)]
    Access(AccessError),
    /// The context is none, or not the expected one.
    #[error("the encryption context was refused")]
    Context(#[from] ContextError),
    /// The bucket's rules.
    #[error("bucket keys were refused")]
    Bucket(#[from] BucketError),
    /// Too many keys, or none of them opens.
    #[error("no key opens the message")]
    Keys(#[from] KeyringsError),
    /// No data key was made.
    #[error("no data key was made")]
    Materials(#[from] MaterialsError),
    /// The message was not sealed.
    #[error("the message was not sealed")]
    Seal(#[from] SealError),
    /// The message was refused.
    #[error("the message was refused")]
    Open(#[from] OpenError),
}

impl From<AccessError> for ToolError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Exists { path } => Self::Exists { path },
            other => Self::Access(other),
        }
    }
}

impl ToolError {
    /// The same error, naming the file where reading the input or writing the output failed.
    pub(crate) fn between(self, input: &Path, output: &Path) -> Self {
        match self {
            Self::Open(OpenError::Read(source)) => AccessError::file("read", input)(source).into(),
            Self::Open(OpenError::Write(source)) | Self::Seal(SealError::Write(source)) => {
                AccessError::file("write", output)(source).into()
            }
            other => other,
        }
    }

    /// Stable name of the rule that was broken; `kms.` and the KMS's own code where it refused.
    #[must_use]
    pub fn rule(&self) -> String {
        if let Some(refusal) = self.kms().and_then(KmsError::refusal) {
            return format!("kms.{}", refusal.code);
        }
        let rule = match self {
            Self::Usage { .. } => "usage",
            Self::Exists { .. } => "file.exists",
            Self::Access(AccessError::File { .. } | AccessError::TooLarge { .. }) => "file.io",
            Self::Access(AccessError::Content { .. }) => "file.form",
            Self::Access(AccessError::NotReplaceable { .. }) => "file.kind",
            Self::Access(error) => error.rule(),
            Self::Context(error) => error.rule(),
            Self::Bucket(error) => error.rule(),
            Self::Keys(error) => error.rule(),
            Self::Materials(error) => error.rule(),
            Self::Seal(error) => error.rule(),
            Self::Open(error) => error.rule(),
        };
        rule.to_owned()
    }

    /// 1 for a refusal, 2 for the command line, a file, or the machine: a KMS that cannot be reached
    /// has refused nothing.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if let Some(KmsError::Connect(_)) = self.kms() {
            return 2;
        }
        match self {
            Self::Usage { .. }
            | Self::Exists { .. }
            | Self::Access(_)
            | Self::Materials(MaterialsError::Limit { .. } | MaterialsError::Age { .. })
            | Self::Bucket(BucketError::Policy { .. }) => 2,
            _ => 1,
        }
    }

    /// The error and what lies behind it, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        // Where there was one attempt, its refusal is the reason.
        let mut next = match self.refusals() {
            [only] => Some(only as &(dyn Error + 'static)),
            _ => self.source(),
        };
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }

    fn refusals(&self) -> &[KeyringError] {
        match self {
            Self::Keys(KeyringsError::NoneReleased { refusals, .. }) => refusals,
            _ => &[],
        }
    }

    /// The KMS's error, if one lies behind this.
    fn kms(&self) -> Option<&KmsError> {
        let mut next: Option<&(dyn Error + 'static)> = match self.refusals() {
            [only] => Some(only),
            _ => Some(self),
        };
        while let Some(error) = next {
            if let Some(kms) = error.downcast_ref() {
                return Some(kms);
            }
            next = error.source();
        }
        None
    }
}
