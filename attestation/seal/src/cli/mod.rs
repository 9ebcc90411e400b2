//! The command line.

mod args;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use anchorhold_envelope::{Sealed, Verified};
use anchorhold_seal::ToolError;
use anchorhold_seal::inspect;
use anchorhold_seal::shown::printable;
use anchorhold_seal::work::{Files, Job, Session, outline};
use clap::Parser;
use serde_json::{Value, json};

use args::{Cli, Command};

/// Runs a command line.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    // Also where the command line itself is refused.
    let json = arguments.iter().any(|argument| argument == "--json");
    let pipes = arguments.last().is_some_and(|argument| argument == "-")
        && !arguments.iter().any(|argument| argument == "inspect");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && json => {
            let message = error.to_string();
            let failure: Box<Failure> = ToolError::Usage { message }.into();
            return fail(&failure, true, pipes);
        }
        Err(error) => error.exit(),
    };
    let data_on_stdout = cli.data_on_stdout();
    match cli.run() {
        Ok(said) => {
            print(&said, data_on_stdout);
            ExitCode::SUCCESS
        }
        Err(failure) => fail(&failure, json, data_on_stdout),
    }
}

/// Why a command ended, and what it had done by then.
struct Failure {
    error: ToolError,
    /// Of several inputs, the one that was refused.
    input: Option<String>,
    done: Option<Value>,
}

impl From<ToolError> for Box<Failure> {
    fn from(error: ToolError) -> Self {
        Self::new(Failure {
            error,
            input: None,
            done: None,
        })
    }
}

fn fail(failure: &Failure, json: bool, data_on_stdout: bool) -> ExitCode {
    let error = &failure.error;
    if json {
        let mut said = failure.done.clone().unwrap_or_else(|| json!({}));
        said["error"] = json!({"rule": error.rule(), "message": error.chain()});
        if let Some(input) = &failure.input {
            said["error"]["input"] = json!(input);
        }
        print(&format!("{said}\n"), data_on_stdout);
    } else {
        let input = failure.input.iter().map(|input| format!("{input}: "));
        let input: String = input.collect();
        // A message's context and a KMS's words may stand in it.
        let said = printable(&format!("{input}{} ({})", error.chain(), error.rule()));
        print(&format!("anchorhold-seal: {said}\n"), true);
    }
    ExitCode::from(error.exit_code())
}

/// Whoever does not listen any more is told nothing.
fn print(text: &str, on_stderr: bool) {
    let _ = if on_stderr {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        std::io::stdout().write_all(text.as_bytes())
    };
}

impl Cli {
    fn data_on_stdout(&self) -> bool {
        match &self.command {
            Command::Seal { job, .. } | Command::Open { job, .. } => job.is_to_standard_output(),
            Command::Inspect { .. } => false,
        }
    }

    /// Does the work, and gives what is to be printed.
    fn run(self) -> Result<String, Box<Failure>> {
        let said = match self.command {
            Command::Seal {
                job,
                suite,
                frame_length,
            } => {
                let (several, files) = (job.is_into_a_folder(), job.files(false)?);
                let seal = |session: &Session<'_>, files: &Files| {
                    Ok(sealed(&session.seal(files, suite, frame_length)?))
                };
                work(&job.job()?, false, &files, several, seal)?
            }
            Command::Open {
                job,
                allow_more_context,
            } => {
                let (several, files) = (job.is_into_a_folder(), job.files(true)?);
                let open = |session: &Session<'_>, files: &Files| {
                    Ok(opened(&session.open(files, allow_more_context)?))
                };
                work(&job.job()?, true, &files, several, open)?
            }
            Command::Inspect { file } => {
                let outline = outline(&file)?;
                if !self.json {
                    return Ok(inspect::to_text(&outline));
                }
                inspect::to_json(&outline)
            }
        };
        if self.json {
            return Ok(format!("{said}\n"));
        }
        Ok(String::new())
    }
}

/// File after file, to the first that is refused: those before it stand.
fn work(
    job: &Job,
    opening: bool,
    files: &[Files],
    several: bool,
    each: impl Fn(&Session<'_>, &Files) -> Result<Value, ToolError>,
) -> Result<Value, Box<Failure>> {
    let session = job.begin(opening)?;
    let mut done = Vec::new();
    for files in files {
        match each(&session, files) {
            Ok(mut said) if several => {
                said["input"] = json!(files.input.to_string_lossy());
                said["output"] = json!(files.output.to_string_lossy());
                done.push(said);
            }
            Ok(mut said) => {
                said["kms_calls"] = json!(session.kms_calls());
                return Ok(said);
            }
            Err(error) if several => {
                return Err(Box::new(Failure {
                    error,
                    input: Some(files.input.to_string_lossy().into_owned()),
                    done: Some(json!({"files": done, "kms_calls": session.kms_calls()})),
                }));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(json!({"files": done, "kms_calls": session.kms_calls()}))
}

fn sealed(sealed: &Sealed) -> Value {
    json!({
        "suite": format!("{:#06x}", sealed.suite().id()),
        "message_id": sealed.message_id().to_string(),
        "header_sha384": hex::encode(sealed.header_sha384()),
        "context": sealed.encryption_context().as_map(),
        "plaintext_bytes": sealed.plaintext_length(),
        "message_bytes": sealed.message_length(),
    })
}

fn opened(verified: &Verified) -> Value {
    json!({
        "verified": true,
        "suite": format!("{:#06x}", verified.suite().id()),
        "message_id": verified.message_id().to_string(),
        "header_sha384": hex::encode(verified.header_sha384()),
        "context": verified.encryption_context().as_map(),
        "plaintext_bytes": verified.plaintext_length(),
    })
}
