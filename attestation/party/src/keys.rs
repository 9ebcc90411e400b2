//! A party's own key pairs: one signs approvals, one opens answers.

use std::fs;
use std::path::{Path, PathBuf};

use anchorhold_owner::access::{AccessError, private_key, read, write_new, write_private_key};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const APPROVAL: &str = "approval-key.pem";
const ANSWER: &str = "answer-key.pem";
const PUBLIC: &str = "public.json";
/// Of the answer key. 3072 bits stand for 128 of strength (SP 800-57, part 1, table 2).
const ANSWER_SIZE: KeySize = KeySize::Rsa3072;

/// The public halves, as a contract holds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKeys {
    /// RSA SubjectPublicKeyInfo, base64 of DER.
    pub answer_key: String,
    /// P-384 SubjectPublicKeyInfo, base64 of DER.
    pub approval_key: String,
}

/// Why keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The directory could not be made.
    #[error("cannot make {path:?}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The key could not be generated.
    #[error("no key could be generated")]
    Generate,
    /// The file of public keys is none.
    #[error("{path:?} does not hold the public keys")]
    Public {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl KeysError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Access(error) => error.rule(),
            Self::Directory { .. } | Self::Public { .. } => "keys.file",
            Self::Generate => "machine.random",
        }
    }
}

/// A directory of keys. Private ones are for their owner's eyes only (mode 0600).
#[derive(Clone, Debug)]
pub struct Keys {
    dir: PathBuf,
}

impl Keys {
    /// The keys in a directory.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Makes both key pairs in a new directory.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn generate(dir: &Path) -> Result<(Self, PublicKeys), KeysError> {
        let approval = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)
            .map_err(|_| KeysError::Generate)?;
        let answer =
            PrivateDecryptingKey::generate(ANSWER_SIZE).map_err(|_| KeysError::Generate)?;
        let failed = |_| KeysError::Generate;
        let approval_private = approval.to_pkcs8v1().map_err(failed)?;
        let answer_private: Pkcs8V1Der<'_> = answer.as_der().map_err(failed)?;
        let approval_public: PublicKeyX509Der<'_> =
            approval.public_key().as_der().map_err(failed)?;
        let answer_public: PublicKeyX509Der<'_> = answer.public_key().as_der().map_err(failed)?;
        let public = PublicKeys {
            answer_key: STANDARD.encode(answer_public.as_ref()),
            approval_key: STANDARD.encode(approval_public.as_ref()),
        };
        fs::create_dir(dir).map_err(|source| KeysError::Directory {
            path: dir.to_path_buf(),
            source,
        })?;
        let keys = Self::at(dir);
        for (name, der) in [
            (APPROVAL, approval_private.as_ref()),
            (ANSWER, answer_private.as_ref()),
        ] {
            write_private_key(&keys.dir.join(name), der)?;
        }
        let json = serde_json::to_vec_pretty(&public);
        let path = keys.dir.join(PUBLIC);
        let json = json.map_err(|source| KeysError::Public {
            path: path.clone(),
            source,
        })?;
        write_new(&path, &json, 0o644)?;
        Ok((keys, public))
    }

    /// The public halves.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn public(&self) -> Result<PublicKeys, KeysError> {
        let path = self.dir.join(PUBLIC);
        serde_json::from_slice(&read(&path)?).map_err(|source| KeysError::Public { path, source })
    }

    /// The private key that signs approvals: PKCS#8, DER.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn approval_key(&self) -> Result<Zeroizing<Vec<u8>>, AccessError> {
        private_key(&self.dir.join(APPROVAL))
    }

    /// The private key that opens answers: PKCS#8, DER.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn answer_key(&self) -> Result<Zeroizing<Vec<u8>>, AccessError> {
        private_key(&self.dir.join(ANSWER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anchorhold_joint::contract::{ApprovalKey, answer_key};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_private_and_fit_a_contract() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("keys");
        let (keys, public) = Keys::generate(&at).unwrap();
        assert_eq!(Keys::generate(&at).unwrap_err().rule(), "keys.file");
        assert_eq!(keys.public().unwrap(), public);
        assert!(answer_key(&public.answer_key).is_some());
        for name in [APPROVAL, ANSWER] {
            let mode = fs::metadata(at.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let signer = keys.approval_key().unwrap();
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &signer).unwrap();
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let signature = signer.sign(&rng, b"message").unwrap();
        let verifier = ApprovalKey::from_base64(&public.approval_key).unwrap();
        assert!(verifier.verifies(b"message", signature.as_ref()));
        assert!(PrivateDecryptingKey::from_pkcs8(&keys.answer_key().unwrap()).is_ok());
    }
}
