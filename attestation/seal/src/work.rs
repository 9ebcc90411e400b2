//! Sealing and opening files.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anchorhold_access::AccessError;
use anchorhold_access::output::{self, Output};
use anchorhold_envelope::crypto::default_provider;
use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::{
    ContextRule, EncryptionContext, Outline, SealError, Sealed, Suite, UnreleasedSink,
    UnverifiedMessage, Verified,
};
use zeroize::Zeroizing;

use crate::error::ToolError;
use crate::keys;
use crate::progress::Progress;
use crate::source::{KeyOptions, KeySource};

const PIECE: usize = 1 << 16;

/// What all messages of a command have in common.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose keys, and how often they are asked for.
    pub keys: KeyOptions,
    /// The whole encryption context.
    pub context: EncryptionContext,
    /// Keys of the context whose pairs do not stand in the message.
    pub required: BTreeSet<String>,
    /// Most plaintext of a message, in bytes.
    pub plaintext_limit: Option<u64>,
    /// Replace what is there.
    pub replace: bool,
}

/// What is read and what is written; `-` for standard input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// What is read.
    pub input: PathBuf,
    /// What is written.
    pub output: PathBuf,
}

/// A job at work: what is kept of keys lasts as long as it does.
pub struct Session<'a> {
    job: &'a Job,
    source: KeySource,
    /// The pairs that do not stand in messages.
    required: EncryptionContext,
}

impl Job {
    /// Reads what the owners' files say. No KMS is asked yet.
    ///
    /// # Errors
    /// [`ToolError`].
    pub fn begin(&self, opening: bool) -> Result<Session<'_>, ToolError> {
        Ok(Session {
            required: keys::subset(&self.context, &self.required)?,
            source: KeySource::new(&self.keys, &self.context, opening)?,
            job: self,
        })
    }
}

impl Session<'_> {
    /// Seals a file. The output stands when the message is whole.
    ///
    /// # Errors
    /// [`ToolError`]; no output stands then.
    pub fn seal(
        &self,
        files: &Files,
        suite: Suite,
        frame_length: u32,
    ) -> Result<Sealed, ToolError> {
        let sealed = self.seal_input(files, suite, frame_length);
        sealed.map_err(|error| error.between(&files.input, &files.output))
    }

    fn seal_input(
        &self,
        files: &Files,
        suite: Suite,
        frame_length: u32,
    ) -> Result<Sealed, ToolError> {
        // Everything that needs no key comes first: a refused command costs the KMS no call.
        let (input, length) = output::input(&files.input)?;
        let limit = self.job.plaintext_limit;
        if let (Some(limit), Some(length)) = (limit, length)
            && length > limit
        {
            return Err(SealError::PlaintextLength { limit }.into());
        }
        let out = Output::new(&files.output, self.job.replace, false)?;
        let (made, counted) = self.source.for_sealing(suite, &self.job.context, length)?;
        let mut plan = made.plan()?.with_frame_length(frame_length)?;
        plan = plan.with_required_context(&self.job.required)?;
        if let Some(limit) = [limit, counted].into_iter().flatten().min() {
            plan = plan.with_plaintext_limit(limit);
        }
        let keys = made.encrypted_data_keys().to_vec();
        let mut sealer = plan.seal_to(out, made.data_key(), keys)?;
        let input = Progress::new(input, "sealing", length);
        pour(input, &mut sealer, &files.input)?;
        let (out, sealed) = sealer.finish()?;
        out.keep()?;
        Ok(sealed)
    }

    /// Opens a message. The output stands when the message has verified to its end.
    ///
    /// # Errors
    /// [`ToolError`]; no output stands then.
    pub fn open(&self, files: &Files, allow_more: bool) -> Result<Verified, ToolError> {
        let verified = self.open_input(files, allow_more);
        verified.map_err(|error| error.between(&files.input, &files.output))
    }

    fn open_input(&self, files: &Files, allow_more: bool) -> Result<Verified, ToolError> {
        let context = self.job.context.clone();
        let rule = match allow_more {
            true => ContextRule::AtLeast(context),
            false => ContextRule::Exactly(context),
        };
        let (input, length) = output::input(&files.input)?;
        let input = Progress::new(input, "opening", length);
        let mut limits = Limits::default();
        limits.plaintext_length = self.job.plaintext_limit.unwrap_or(limits.plaintext_length);
        let begun = UnverifiedMessage::begin_with(input, limits, default_provider())?;
        let begun = begun.with_reproduced_context(&self.required)?;
        begun.check_context(&rule)?;
        let mut out = Held(Output::new(&files.output, self.job.replace, true)?);
        let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
        let data_key = self.source.for_opening(begun.suite(), keys, context)?;
        let opener = begun.authenticate(&data_key, &rule)?;
        let verified = opener.open_into(&mut out)?;
        // Only here, with the proof.
        out.0.keep()?;
        Ok(verified)
    }

    /// How many calls for data keys the KMSs were asked.
    #[must_use]
    pub fn kms_calls(&self) -> u64 {
        self.source.calls()
    }
}

/// Passes plaintext on, to its end.
fn pour(mut input: impl Read, out: &mut impl Write, path: &Path) -> Result<(), ToolError> {
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    loop {
        let count = match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(AccessError::file("read", path)(source).into()),
        };
        let piece = piece.get(..count).unwrap_or_default();
        out.write_all(piece).map_err(refusal)?;
    }
}

/// An output that nobody sees before it is kept.
struct Held(Output);

impl UnreleasedSink for Held {
    fn write_unreleased(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.0.write_all(plaintext)
    }
}

/// What a sealer refused stands inside the error of its writer.
fn refusal(error: io::Error) -> ToolError {
    match error.downcast::<SealError>() {
        Ok(refusal) => refusal.into(),
        Err(error) => SealError::Write(error).into(),
    }
}

/// Reads a message's parts without its key.
///
/// # Errors
/// [`ToolError`].
pub fn outline(path: &Path) -> Result<Outline, ToolError> {
    let (input, length) = output::input(path)?;
    let input = Progress::new(input, "reading", length);
    let outline = Outline::read(input, Limits::default());
    outline.map_err(|error| ToolError::from(error).between(path, path))
}
