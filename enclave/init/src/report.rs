//! Telling the host how far the boot is.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use anchorhold_enclave_sys::process::Outcome;
use anchorhold_enclave_sys::virtio;

use crate::failure::Failure;
use crate::security_module::Source;

/// The status port's name.
const PORT_NAME: &str = "status.0";

/// Longest line in bytes, its end included: what the host reads at a time.
const LINE_LIMIT: usize = 128;

/// How long the port is looked for before the modules are loaded: a moment, in which a
/// kernel with a built-in driver finishes its conversation with the device.
pub const AT_ONCE: Duration = Duration::from_millis(20);

/// How long the port is looked for after the modules, on a machine with a virtio console.
pub const AFTER_MODULES: Duration = Duration::from_secs(1);

/// How long the host may take to read a line before the port is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the host is told.
#[derive(Debug)]
pub enum Line {
    /// init runs.
    Init,
    /// `/dev/nsm` is there.
    Nsm(Source),
    /// The parent has answered the heartbeat; the application is next.
    Heartbeat,
    /// The application has ended.
    Ended(Outcome),
    /// A step has failed.
    Failed(Failure),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Init => f.write_str("init"),
            Line::Nsm(source) => write!(f, "nsm {source}"),
            Line::Heartbeat => f.write_str("heartbeat"),
            Line::Ended(Outcome::Exit(code)) => write!(f, "exit {code}"),
            Line::Ended(Outcome::Signal(number)) => write!(f, "signal {number}"),
            Line::Failed(failure) => write!(f, "failed {}: {}", failure.step(), failure.cause()),
        }
    }
}

/// Where lines go. Clones go to the same place.
#[derive(Debug, Clone, Default)]
pub struct Report {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    port: Option<File>,
    /// Lines from before there was a port: at most those of the first steps.
    waiting: Vec<u8>,
}

impl Report {
    /// Looks for the status port for as long as `patience`, and sends what has been said
    /// so far. A host without one is not missed.
    pub fn attach(&self, patience: Duration) {
        let mut state = self.state();
        if state.port.is_none() {
            state.port = virtio::open_port(PORT_NAME, Instant::now() + patience).ok();
            let waiting = std::mem::take(&mut state.waiting);
            state.send(&waiting);
        }
    }

    /// Says `line` on the port, and on the console, where a failure is told with all its
    /// causes.
    pub fn line(&self, line: &Line) {
        console(&match line {
            Line::Failed(failure) => format!("failed {}: {}", failure.step(), chain(failure)),
            other => other.to_string(),
        });
        self.state().send(&framed(&line.to_string()));
    }

    /// Says that init itself has failed, from a panic that may hold any lock.
    pub fn panicked(&self) {
        match self.state.try_lock() {
            Ok(mut state) => state.send(b"failed panic: a bug in init\n"),
            Err(TryLockError::Poisoned(state)) => {
                state.into_inner().send(b"failed panic: a bug in init\n");
            }
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the machine, so no one sees what it would have left half-done.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn send(&mut self, line: &[u8]) {
        let Some(port) = &self.port else {
            self.waiting.extend(line);
            return;
        };
        if virtio::write_all(port, line, Instant::now() + PATIENCE).is_err() {
            self.port = None;
        }
    }
}

/// A line as the port carries it: printable ASCII, cut to the limit, with its end.
fn framed(text: &str) -> Vec<u8> {
    let printable = |byte: u8| {
        if matches!(byte, b' '..=b'~') {
            byte
        } else {
            b'?'
        }
    };
    let mut line: Vec<u8> = text.bytes().map(printable).take(LINE_LIMIT - 1).collect();
    line.push(b'\n');
    line
}

/// The console may be missing or full; the boot does not depend on it.
fn console(text: &str) {
    let _lost = writeln!(std::io::stderr(), "anchorhold-init: {text}");
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn lines_are_those_that_hosts_read() {
        for (line, text) in [
            (Line::Init, "init"),
            (Line::Nsm(Source::Cuse), "nsm cuse"),
            (Line::Nsm(Source::Driver), "nsm driver"),
            (Line::Heartbeat, "heartbeat"),
            (Line::Ended(Outcome::Exit(0)), "exit 0"),
            (Line::Ended(Outcome::Signal(11)), "signal 11"),
        ] {
            assert_eq!(line.to_string(), text);
        }
    }

    #[test]
    fn a_failure_names_its_step_and_the_innermost_cause() {
        let source = io::Error::from_raw_os_error(2);
        let failure = Failure::Application {
            program: "/app".into(),
            source,
        };
        assert_eq!(
            chain(&failure),
            "/app cannot be run: No such file or directory (os error 2)"
        );
        let line = Line::Failed(failure).to_string();
        assert_eq!(
            line,
            "failed application: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn no_line_is_longer_than_hosts_read_or_other_than_ascii() {
        for text in [
            "é\n\x1b[2J".repeat(60),
            "a".repeat(LINE_LIMIT - 1),
            "a".repeat(LINE_LIMIT),
        ] {
            let line = framed(&text);
            assert!(line.len() <= LINE_LIMIT);
            let (end, rest) = line.split_last().unwrap();
            assert_eq!(*end, b'\n');
            assert!(rest.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }

    #[test]
    fn lines_wait_for_a_port() {
        let report = Report::default();
        report.line(&Line::Init);
        report.line(&Line::Heartbeat);
        assert_eq!(report.state().waiting, b"init\nheartbeat\n");
    }
}
