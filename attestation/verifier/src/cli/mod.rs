//! The command line: arguments, input, report.

mod args;
mod input;
mod report;

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anchorhold_verifier::{
    Appraised, PcrIndex, TimestampError, TrustRootFileError, UnverifiedDocument, VerifyError,
};
use clap::Parser;

use args::{Arguments, Command, DocumentArguments};

/// The document holds what was asked of it.
const ACCEPTED: u8 = 0;
/// The document is refused.
const REFUSED: u8 = 1;
/// The question cannot be put: wrong arguments, unreadable files. What clap exits with as well.
const MISUSED: u8 = 2;

/// Runs the program with the process's arguments.
pub(crate) fn run() -> ExitCode {
    let Command::Document(arguments) = Arguments::parse().command;
    let (text, code) = match verify(&arguments) {
        Ok(appraised) if arguments.json => (report::json(&appraised), ACCEPTED),
        Ok(appraised) => (report::text(&appraised, &arguments), ACCEPTED),
        Err(Failure::Refused(refusal)) => {
            if !arguments.json {
                eprintln!(
                    "refused: {} (rule {})",
                    with_causes(&refusal),
                    refusal.rule()
                );
            }
            (
                report::refusal(refusal.rule(), &with_causes(&refusal)),
                REFUSED,
            )
        }
        Err(failure) => {
            eprintln!("error: {}", with_causes(&failure));
            return ExitCode::from(MISUSED);
        }
    };
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: could not write the result: {error}");
            ExitCode::from(MISUSED)
        }
    }
}

fn verify(arguments: &DocumentArguments) -> Result<Appraised, Failure> {
    let roots = arguments.roots()?;
    arguments.check_registers()?;
    let bytes = input::document(&arguments.file)?;
    let unverified = UnverifiedDocument::parse(&bytes).map_err(Failure::Refused)?;
    let (at, now) = arguments.times(&unverified)?;
    unverified
        .authenticate(&roots, at)
        .and_then(|authentic| authentic.appraise(&arguments.policy(now)))
        .map_err(Failure::Refused)
}

/// Why there is no appraised document.
#[derive(Debug)]
enum Failure {
    /// The document's fault.
    Refused(VerifyError),
    /// No root was named.
    NoRoots,
    /// A file could not be read.
    Unreadable { file: String, source: io::Error },
    /// A file holds no root certificates.
    Roots {
        file: String,
        source: TrustRootFileError,
    },
    /// A register is demanded twice: of two values, one would not have been asked for.
    RegisterTwice { index: PcrIndex },
    /// The host's clock is before 1970.
    Clock(TimestampError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => f.write_str("the document is refused"),
            Self::NoRoots => f.write_str(
                "no trusted root: pass --root FILE with a root certificate, or --aws-root",
            ),
            Self::Unreadable { file, .. } => write!(f, "could not read {file}"),
            Self::RegisterTwice { index } => {
                write!(f, "--pcr {index} is given twice: demand each register once")
            }
            Self::Roots { file, .. } => write!(f, "--root {file}"),
            Self::Clock(_) => f.write_str("this computer's clock; pass --at"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(source) => Some(source),
            Self::Unreadable { source, .. } => Some(source),
            Self::Roots { source, .. } => Some(source),
            Self::Clock(source) => Some(source),
            Self::NoRoots | Self::RegisterTwice { .. } => None,
        }
    }
}

/// An error and its causes on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
