//! Why an image could not be made.

use std::io;
use std::path::{Path, PathBuf};

use anchorhold_eif::EifError;
use anchorhold_eif_signature::{SignError, SignatureError};
use thiserror::Error;

/// A refusal or a failure of the image tool.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or directory could not be written; nothing of it is left behind.
    #[error("cannot write {}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program that the tool needs is not installed.
    #[error("{tool} is not installed or not in PATH: {purpose}")]
    ToolMissing {
        /// The program.
        tool: &'static str,
        /// What it is needed for, and what to do.
        purpose: &'static str,
    },
    /// A program could not be started.
    #[error("cannot start {tool}")]
    ToolStart {
        /// The program.
        tool: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A program failed.
    #[error("{command} failed ({status}){}", indented(stderr))]
    ToolFailed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// A program's output is not what it should be.
    #[error("{tool} printed something unexpected: expected {expected}, got {got:?}")]
    ToolOutput {
        /// The program.
        tool: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// A TOML file does not have the form that it must have.
    #[error("{} is not a valid {what}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// The kernel's lock file does not exist.
    #[error("no kernel is locked in {}: run with --update-lock to lock the present one", path.display())]
    LockMissing {
        /// The lock file.
        path: PathBuf,
    },
    /// A value in the lock file cannot be right.
    #[error("the kernel lock's field {field} is not {expected}: {got:?}")]
    LockField {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// The package client does not know the locked kernel.
    #[error(
        "the locked kernel {package} {version} is not offered by this machine's package sources \
         (the mirrors drop old versions; the newest here is {newest}). {advice}"
    )]
    KernelGone {
        /// The locked package.
        package: String,
        /// The locked version.
        version: String,
        /// The newest package on offer.
        newest: String,
        /// What to do.
        advice: &'static str,
    },
    /// The package client offers no kernel at all.
    #[error(
        "no package linux-image-6.12…+deb12-cloud-amd64 is on offer: this machine's package \
         sources lack Debian bookworm's security suite, or its package lists are empty. {advice}"
    )]
    KernelUnknown {
        /// What to do.
        advice: &'static str,
    },
    /// A file of the kernel package is not the locked one.
    #[error("{what} is not the locked one: expected SHA-256 {expected}, got {got}")]
    KernelHash {
        /// The file.
        what: String,
        /// The lock's hash.
        expected: String,
        /// The file's hash.
        got: String,
    },
    /// The kernel package lacks a file.
    #[error("the kernel package has no {what}")]
    KernelFile {
        /// The missing file.
        what: String,
    },
    /// A kernel module cannot be used.
    #[error("the kernel module {module} cannot be used: {reason}")]
    Module {
        /// The module.
        module: String,
        /// Why not.
        reason: String,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no cache directory: set HOME or XDG_CACHE_HOME, or pass --cache DIR")]
    NoCache,
    /// A path inside the guest that cannot be used.
    #[error("{path:?} is not a path in the guest: {reason}")]
    GuestPath {
        /// The path.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// An argument or environment entry that cannot stand in the guest's line-based lists.
    #[error("the {what} {value:?} cannot be passed to the application: {reason}")]
    Argument {
        /// `command argument` or `environment entry`.
        what: &'static str,
        /// The value.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// No command to run.
    #[error("a root directory has no command of its own: pass --cmd")]
    NoCommand,
    /// A program for the guest that cannot run there.
    #[error("{} cannot run in the guest: {reason}", path.display())]
    NotStatic {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A file in a root directory that an initramfs cannot hold.
    #[error("{} cannot be put into the image: {reason}", path.display())]
    FileKind {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The parts make no valid image, or a file is none.
    #[error("not a valid enclave image")]
    Image(#[from] EifError),
    /// The image's signature does not hold.
    #[error("the image's signature does not hold")]
    Signature(#[from] SignatureError),
    /// The image was not signed.
    #[error("the image cannot be signed")]
    Sign(#[from] SignError),
    /// The private key is not in a file.
    #[error("{} is not in a file: only private keys in PEM files sign here", key.display())]
    KeyElsewhere {
        /// Its name.
        key: PathBuf,
    },
    /// Every locked input is present, but the measurement is another.
    #[error(
        "the image measures to {}, expected {}, though every input that the recipe records is \
         present: the build is not reproducible on this machine",
        got.join(" "), expected.join(" ")
    )]
    NotReproducible {
        /// `PCRn=hex` of the recorded image.
        expected: Vec<String>,
        /// `PCRn=hex` of this image.
        got: Vec<String>,
    },
    /// The recipe has no record of what its image measures to.
    #[error("{} records no measurement: run `anchorhold-image expect --update --recipe …`", path.display())]
    NotRecorded {
        /// The record.
        path: PathBuf,
    },
    /// What the recipe records is not what is here.
    #[error("the record {} is out of date: {}", path.display(), differences.join("; "))]
    RecordDiffers {
        /// The record.
        path: PathBuf,
        /// Every input or register that differs.
        differences: Vec<String>,
    },
    /// Two builds of one recipe differ.
    #[error("the two images differ: {}", differences.join("; "))]
    ImagesDiffer {
        /// What differs, most telling first.
        differences: Vec<String>,
    },
}

impl Error {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Read { .. } => "file.read",
            Self::Write { .. } => "file.write",
            Self::ToolMissing { .. } => "tool.missing",
            Self::ToolStart { .. } => "tool.start",
            Self::ToolFailed { .. } => "tool.failed",
            Self::ToolOutput { .. } => "tool.output",
            Self::Toml { .. } => "toml.form",
            Self::LockMissing { .. } => "kernel.lock-missing",
            Self::LockField { .. } => "kernel.lock-field",
            Self::KernelGone { .. } => "kernel.gone",
            Self::KernelUnknown { .. } => "kernel.unknown",
            Self::KernelHash { .. } => "kernel.hash",
            Self::KernelFile { .. } => "kernel.file",
            Self::Module { .. } => "kernel.module",
            Self::NoCache => "cache.none",
            Self::GuestPath { .. } => "guest.path",
            Self::Argument { .. } => "guest.argument",
            Self::NoCommand => "guest.no-command",
            Self::NotStatic { .. } => "guest.not-static",
            Self::FileKind { .. } => "guest.file-kind",
            Self::Image(error) => error.rule(),
            Self::Signature(error) => error.rule(),
            Self::Sign(error) => error.rule(),
            Self::KeyElsewhere { .. } => "sign.key-elsewhere",
            Self::NotReproducible { .. } => "recipe.not-reproducible",
            Self::NotRecorded { .. } => "recipe.not-recorded",
            Self::RecordDiffers { .. } => "recipe.record-differs",
            Self::ImagesDiffer { .. } => "recipe.images-differ",
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("\n  {line}")).collect()
}
