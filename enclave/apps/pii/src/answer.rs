//! The sealed answer and the key that releases it.
//!
//! Rows leave the enclave while records come in, so that neither has to fit its memory; but they
//! leave sealed under a key of this run. The key leaves only when the records have verified to
//! their last byte and the answer's document exists: in the clear where anyone may have the answer,
//! else wrapped to each receiver's public key.

use std::io::{Read, Write};

use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, OpenError, SealError, SealPlan, Sealer, Suite,
    UnverifiedMessage,
};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use crate::contexts;
use crate::job::{AnswerTo, Job};

/// The value of a release's `format` field.
pub const FORMAT: &str = "anchorhold-pii-release/1";
/// Binds a wrapped key to its use (RFC 8017, section 7.1.1: the label L).
const LABEL: &[u8] = FORMAT.as_bytes();
/// Frames of the answer, in bytes: larger than the SDKs' default because each costs a tag, small
/// beside the enclave's memory.
const FRAME: u32 = 32 * 1024;

/// How the answer's key is released.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// [`FORMAT`].
    pub format: String,
    /// The key in base64, where anyone may have the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anyone: Option<String>,
    /// The key for each receiver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Wrapped>,
}

/// The answer's key, wrapped by RSAES-OAEP with SHA-256.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    /// The receiver's name in the job.
    pub name: String,
    /// The wrapped key in base64.
    pub wrapped_key: String,
}

/// Why a key could not be released, or an answer not opened.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// A receiver's key does not encrypt.
    #[error("the answer's key cannot be wrapped for {name}")]
    Wrap {
        /// The receiver.
        name: String,
    },
    /// The release is no release.
    #[error("the release is not the JSON of a release")]
    Json(#[from] serde_json::Error),
    /// A field of the release is wrong.
    #[error("the release's {field} must be {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The answer is for others.
    #[error("the answer is released to {expected}, and the given private key is none of theirs")]
    NotARecipient {
        /// The receivers' names.
        expected: String,
    },
    /// The answer is for named receivers, and no private key was given.
    #[error("the answer is released to {expected} only: give one of their private keys")]
    NoPrivateKey {
        /// The receivers' names.
        expected: String,
    },
    /// A sealed part does not open.
    #[error("the answer's {part} does not open")]
    Open {
        /// The part.
        part: &'static str,
        /// Why.
        source: OpenError,
    },
    /// A part could not be sealed.
    #[error("the answer could not be sealed")]
    Seal(#[from] SealError),
    /// The entry that stands for the released key could not be made.
    #[error("the answer's key could not be named")]
    DataKey(#[source] anchorhold_envelope::EdkError),
    /// A part's context could not be made.
    #[error("the answer's context could not be made")]
    Context(#[from] anchorhold_envelope::ContextError),
}

impl AnswerError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Wrap { .. } => "answer.wrap",
            Self::Json(_) | Self::Field { .. } => "answer.release",
            Self::NotARecipient { .. } | Self::NoPrivateKey { .. } => "answer.recipient",
            Self::Open { .. } => "answer.open",
            Self::Seal(_) | Self::DataKey(_) | Self::Context(_) => "answer.seal",
        }
    }
}

impl Release {
    /// Releases the key to whom the job names.
    ///
    /// # Errors
    /// [`AnswerError::Wrap`].
    pub fn of(key: &DataKey, job: &Job) -> Result<Self, AnswerError> {
        let format = FORMAT.to_owned();
        let AnswerTo::Recipients(recipients) = job.answer_to() else {
            let anyone = Some(STANDARD.encode(key.expose()));
            return Ok(Self {
                format,
                anyone,
                recipients: Vec::new(),
            });
        };
        let mut wrapped = Vec::new();
        for recipient in recipients {
            let name = recipient.name.clone();
            let failed = || AnswerError::Wrap {
                name: recipient.name.clone(),
            };
            let public = recipient.encrypting_key().ok_or_else(failed)?;
            let mut out = vec![0; public.ciphertext_size()];
            let out = public
                .encrypt(&OAEP_SHA256_MGF1SHA256, key.expose(), &mut out, Some(LABEL))
                .map_err(|_| failed())?;
            wrapped.push(Wrapped {
                name,
                wrapped_key: STANDARD.encode(out),
            });
        }
        Ok(Self {
            format,
            anyone: None,
            recipients: wrapped,
        })
    }

    /// Reads a release.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(json: &[u8]) -> Result<Self, AnswerError> {
        let release: Self = serde_json::from_slice(json)?;
        if release.format != FORMAT {
            return Err(AnswerError::Field {
                field: "format",
                expected: FORMAT,
            });
        }
        if release.anyone.is_some() == release.recipients.is_empty() {
            return Ok(release);
        }
        Err(AnswerError::Field {
            field: "key",
            expected: "given to anyone, or to recipients",
        })
    }

    /// The answer's key, where it is released in the clear or to this private key (PKCS#8, DER).
    ///
    /// # Errors
    /// It is not released to the caller.
    pub fn key(&self, private_key: Option<&[u8]>) -> Result<DataKey, AnswerError> {
        let bad = |_| AnswerError::Field {
            field: "key",
            expected: "32 bytes in base64",
        };
        if let Some(key) = &self.anyone {
            let key = Zeroizing::new(STANDARD.decode(key).map_err(|_| ()).map_err(bad)?);
            return DataKey::from_bytes(&key).map_err(|_| bad(()));
        }
        let names: Vec<_> = self.recipients.iter().map(|r| r.name.as_str()).collect();
        let expected = names.join(", ");
        let Some(private_key) = private_key else {
            return Err(AnswerError::NoPrivateKey { expected });
        };
        let private = PrivateDecryptingKey::from_pkcs8(private_key)
            .ok()
            .and_then(|key| OaepPrivateDecryptingKey::new(key).ok())
            .ok_or(AnswerError::Field {
                field: "private key",
                expected: "an RSA key in PKCS#8",
            })?;
        for wrapped in &self.recipients {
            let wrapped = STANDARD.decode(&wrapped.wrapped_key).map_err(|_| bad(()))?;
            let mut out = Zeroizing::new(vec![0; private.min_output_size()]);
            let opened = private.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut out, Some(LABEL));
            if let Ok(key) = opened {
                return DataKey::from_bytes(key).map_err(|_| bad(()));
            }
        }
        Err(AnswerError::NotARecipient { expected })
    }
}

/// Writes a part of the answer: hashed as it is, sealed on its way out.
pub struct PartWriter<W: Write> {
    hash: Sha384,
    sealer: Sealer<W>,
}

impl<W: Write> PartWriter<W> {
    /// Seals the part named by its purpose in [`contexts`].
    ///
    /// # Errors
    /// No randomness, or the output failed.
    pub fn new(out: W, key: &DataKey, job: &Job, purpose: &str) -> Result<Self, AnswerError> {
        let plan = SealPlan::new(Suite::Committed, contexts::answer(job, purpose)?)?
            .with_frame_length(FRAME)?;
        // The key travels beside the message, in the release, so its wrapped form says where.
        let elsewhere =
            EncryptedDataKey::new("anchorhold-pii", b"answer".to_vec(), b"release".to_vec())
                .map_err(AnswerError::DataKey)?;
        let sealer = plan.seal_to(out, key, vec![elsewhere])?;
        Ok(Self {
            hash: Sha384::new(),
            sealer,
        })
    }

    /// Ends the part and gives the SHA-384 of its plaintext.
    ///
    /// # Errors
    /// The output failed.
    pub fn finish(self) -> Result<[u8; 48], AnswerError> {
        let (mut out, _) = self.sealer.finish()?;
        out.flush().map_err(SealError::Write)?;
        Ok(self.hash.finalize().into())
    }
}

impl<W: Write> Write for PartWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.sealer.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or(bytes));
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sealer.flush()
    }
}

/// Opens a part into a writer and gives the SHA-384 of its plaintext.
///
/// What is written before this returns is not verified to its end: the caller removes it on an
/// error.
///
/// # Errors
/// The part is not one of this answer, or was changed or cut.
pub fn open_part(
    sealed: impl Read,
    key: &DataKey,
    job: &Job,
    (part, purpose): (&'static str, &str),
    out: &mut impl Write,
) -> Result<[u8; 48], AnswerError> {
    let failed = |source| AnswerError::Open { part, source };
    let rule = ContextRule::Exactly(contexts::answer(job, purpose)?);
    let message = UnverifiedMessage::begin(sealed).map_err(failed)?;
    let mut opener = message.authenticate(key, &rule).map_err(failed)?;
    let mut hash = Sha384::new();
    while let Some(frame) = opener.next_frame().map_err(failed)? {
        hash.update(frame.peek());
        out.write_all(frame.peek())
            .map_err(|e| failed(OpenError::Write(e)))?;
    }
    opener.finish().map_err(failed)?;
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::KeySize;

    fn job(answer_to: &str) -> Job {
        let draft = format!(
            r#"{{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":{answer_to},
                "columns":[{{"name":"a","type":"name"}}]}}"#
        );
        Job::from_draft(draft.as_bytes(), &[0; 48]).unwrap()
    }

    fn rsa() -> (Vec<u8>, String) {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key)
            .unwrap()
            .as_ref()
            .to_vec();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&key.public_key()).unwrap();
        (private, STANDARD.encode(public.as_ref()))
    }

    fn rule(result: Result<DataKey, AnswerError>) -> &'static str {
        result.map(|_| ()).unwrap_err().rule()
    }

    #[test]
    fn only_a_recipient_has_the_key() {
        let (ann, ann_public) = rsa();
        let (other, _) = rsa();
        let job = job(&format!(
            r#"[{{"name":"ann","public_key":"{ann_public}"}}]"#
        ));
        let key = DataKey::generate().unwrap();
        let json = serde_json::to_vec(&Release::of(&key, &job).unwrap()).unwrap();
        let release = Release::parse(&json).unwrap();
        assert_eq!(rule(release.key(None)), "answer.recipient");
        assert_eq!(rule(release.key(Some(&other))), "answer.recipient");
        assert_eq!(rule(release.key(Some(b"no key"))), "answer.release");
        assert_eq!(release.key(Some(&ann)).unwrap().expose(), key.expose());
        assert!(
            !String::from_utf8(json)
                .unwrap()
                .contains(&STANDARD.encode(key.expose()))
        );
    }

    #[test]
    fn releases_that_are_none() {
        for json in [
            "{}",
            r#"{"format":"other","anyone":"AAAA"}"#,
            r#"{"format":"anchorhold-pii-release/1"}"#,
            r#"{"format":"anchorhold-pii-release/1","anyone":"AA","recipients":[{"name":"a","wrapped_key":""}]}"#,
        ] {
            assert_eq!(
                Release::parse(json.as_bytes()).unwrap_err().rule(),
                "answer.release"
            );
        }
        let short = r#"{"format":"anchorhold-pii-release/1","anyone":"AAAA"}"#;
        assert_eq!(
            rule(Release::parse(short.as_bytes()).unwrap().key(None)),
            "answer.release"
        );
    }

    #[test]
    fn parts_open_as_what_they_are() {
        let (job, other_job) = (job("\"anyone\""), {
            let draft = br#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone",
                             "columns":[{"name":"b","type":"name"}]}"#;
            Job::from_draft(draft, &[0; 48]).unwrap()
        });
        let key = DataKey::generate().unwrap();
        let mut sealed = Vec::new();
        let mut part = PartWriter::new(&mut sealed, &key, &job, contexts::ANSWER_ROWS).unwrap();
        let rows = vec![b'x'; 100_000];
        part.write_all(&rows).unwrap();
        let hash = part.finish().unwrap();
        assert_eq!(hash, <[u8; 48]>::from(Sha384::digest(&rows)));

        let open = |sealed: &[u8], key: &DataKey, job: &Job, purpose: &str| {
            let mut out = Vec::new();
            open_part(sealed, key, job, ("rows", purpose), &mut out).map(|hash| (hash, out))
        };
        let rows_part = contexts::ANSWER_ROWS;
        assert_eq!(open(&sealed, &key, &job, rows_part).unwrap(), (hash, rows));
        let other_key = DataKey::generate().unwrap();
        for refused in [
            open(&sealed, &other_key, &job, rows_part),
            open(&sealed, &key, &other_job, rows_part),
            open(&sealed, &key, &job, contexts::ANSWER_REPORT),
            open(&sealed[..sealed.len() - 1], &key, &job, rows_part),
            open(&sealed[..sealed.len() / 2], &key, &job, rows_part),
        ] {
            assert_eq!(refused.unwrap_err().rule(), "answer.open");
        }
    }
}
