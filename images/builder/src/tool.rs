//! Running other programs.

use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

use crate::error::Error;

/// Most lines of a failed program's messages that an error repeats.
const STDERR_LINES: usize = 20;

/// A program that the image tool calls, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub name: &'static str,
    pub purpose: &'static str,
}

impl Tool {
    /// A command with the C locale, so that output can be read.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.name);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Runs to the end and demands success; the output is text.
    pub fn run(self, command: &mut Command) -> Result<String, Error> {
        let output = self.output(command)?;
        if !output.status.success() {
            return Err(self.failed(command, &output));
        }
        String::from_utf8(output.stdout).map_err(|error| Error::ToolOutput {
            tool: self.name,
            expected: "UTF-8",
            got: String::from_utf8_lossy(error.as_bytes())
                .chars()
                .take(200)
                .collect(),
        })
    }

    /// Runs to the end, whatever the exit status.
    pub fn output(self, command: &mut Command) -> Result<Output, Error> {
        command.output().map_err(|source| self.not_started(source))
    }

    /// Runs to the end with messages going to this process's stderr, and demands success.
    pub fn run_shown(self, command: &mut Command) -> Result<(), Error> {
        command.stdout(std::io::stderr());
        let status = command
            .status()
            .map_err(|source| self.not_started(source))?;
        if status.success() {
            return Ok(());
        }
        let (command, status) = (line(command), status.to_string());
        Err(Error::ToolFailed {
            command,
            status,
            stderr: String::new(),
        })
    }

    pub fn failed(self, command: &Command, output: &Output) -> Error {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().collect();
        let stderr = lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n");
        Error::ToolFailed {
            command: line(command),
            status: output.status.to_string(),
            stderr,
        }
    }

    fn not_started(self, source: std::io::Error) -> Error {
        if source.kind() == ErrorKind::NotFound {
            Error::ToolMissing {
                tool: self.name,
                purpose: self.purpose,
            }
        } else {
            Error::ToolStart {
                tool: self.name,
                source,
            }
        }
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
