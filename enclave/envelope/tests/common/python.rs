//! A Python process that answers JSON lines.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The interpreter of the project's tools: `$ANCHORHOLD_PYTHON`, or the one that set-up installed.
fn interpreter() -> PathBuf {
    let path = std::env::var_os("ANCHORHOLD_PYTHON").map_or_else(installed, PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask setup`",
        path.display()
    );
    path
}

fn installed() -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("anchorhold/venv/bin/python")
}

/// A script of this crate's tests, running.
pub struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    /// Starts `tests/<script>`.
    pub fn start(script: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(script);
        let mut child = Command::new(interpreter())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// Sends a command and gives the answer.
    pub fn ask(&mut self, command: &serde_json::Value) -> serde_json::Value {
        writeln!(self.input, "{command}").expect("the script takes commands");
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the script answers");
        serde_json::from_str(&line).expect("the script answers with JSON")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
