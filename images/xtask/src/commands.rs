//! Running other programs, and saying which one failed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A command of this checkout: its directory is the root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(crate::paths::root());
    command
}

/// Cargo, as it was called for this program.
pub fn cargo() -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Set for this program's own package; another cargo must not take them for its own.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Runs a command with its output on the terminal; all of it on standard error, because standard
/// output belongs to results.
///
/// # Errors
/// It cannot be started, or ends with another status than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let said = describe(command);
    let stderr = std::io::stderr();
    let status = command
        .stdin(Stdio::null())
        .stdout(stderr)
        .status()
        .with_context(|| format!("cannot start `{said}`"))?;
    if !status.success() {
        bail!("`{said}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns what it printed on standard output.
///
/// # Errors
/// As [`run`]; what the command printed is part of the error.
pub fn output(command: &mut Command) -> Result<String> {
    let said = describe(command);
    let output = capture(command)?;
    if !output.status.success() {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{said}` failed ({})\n{}{}", output.status, stdout, stderr);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{said}` did not print text"))
}

/// Runs a command and returns all it did, whatever its status.
///
/// # Errors
/// It cannot be started.
pub fn capture(command: &mut Command) -> Result<Output> {
    let said = describe(command);
    let output = command.stdin(Stdio::null()).output();
    output.with_context(|| format!("cannot start `{said}`"))
}

/// Whether a program can be run at all.
pub fn runs(program: impl AsRef<OsStr>, argument: &str) -> bool {
    let mut probe = Command::new(program);
    let probe = probe
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    probe
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one line, its program without its folders.
pub fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_command_and_what_it_said() {
        let error = output(command("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sh -c") && text.contains("why") && text.contains('3'),
            "{text}"
        );
        let error = run(&mut command("/nowhere/program")).unwrap_err();
        assert!(error.to_string().contains("cannot start `program`"));
    }
}
