//! The guest's status port, `status.0`: lines of ASCII that init writes, and nothing the other way.
//!
//! ```text
//! init                        the first thing init does
//! nsm cuse|driver             /dev/nsm is there
//! heartbeat                   the parent answered
//! exit <code>                 the application exited
//! signal <number>             the application was ended by a signal
//! failed <step>: <reason>     init gave up
//! ```
//!
//! What the guest says of itself is a report to people, never evidence: no decision about trust
//! depends on it. Other lines are ignored.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

/// Longest line that is read, in bytes without its newline; the rest of a longer one is skipped.
pub const MAX_LINE: usize = 128;

/// How many lines are reported to the rest of the hypervisor; later ones are read and dropped, so
/// that a guest that floods the port waits for nobody and makes nothing grow.
pub const MAX_LINES: usize = 64;

/// Bytes that are read at once: twice what [`MAX_LINES`] of the longest lines take.
const MAX_BYTES: usize = 2 * MAX_LINES * (MAX_LINE + 1);

/// How long the reader rests between chunks beyond [`MAX_LINES`] and [`MAX_BYTES`]: a guest that
/// writes on, whatever it writes, is held back instead of keeping a processor of the host's busy.
const REST: Duration = Duration::from_millis(20);

/// What init says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// init runs.
    Init,
    /// `/dev/nsm` is there, made as the word says.
    Nsm(String),
    /// init and the parent exchanged the heartbeat.
    Heartbeat,
    /// The application exited with this status.
    Exited(i32),
    /// The application was ended by this signal.
    Signalled(i32),
    /// init gave up: step and reason, printable characters only.
    Failed(String),
}

impl Status {
    /// Reads one line without its newline. `None` for what is not a status.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest) {
            ("init", "") => Some(Self::Init),
            ("nsm", "cuse" | "driver") => Some(Self::Nsm(rest.to_owned())),
            ("heartbeat", "") => Some(Self::Heartbeat),
            ("exit", code) => Some(Self::Exited(code.parse().ok()?)),
            ("signal", number) => Some(Self::Signalled(number.parse().ok()?)),
            ("failed", _) => {
                let reason = rest.chars().filter(|c| !c.is_control()).collect();
                Some(Self::Failed(reason))
            }
            _ => None,
        }
    }
}

/// Reads the port to its end and hands on the first [`MAX_LINES`] statuses.
pub fn read(mut port: impl Read, mut report: impl FnMut(Status)) {
    let mut line = Vec::with_capacity(MAX_LINE);
    let mut reported = 0;
    let mut taken = 0_usize;
    let mut chunk = [0; 512];
    loop {
        let count = match port.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        taken = taken.saturating_add(count);
        if reported >= MAX_LINES || taken > MAX_BYTES {
            thread::sleep(REST);
        }
        if reported >= MAX_LINES {
            continue;
        }
        for &byte in chunk.get(..count).unwrap_or_default() {
            if byte != b'\n' {
                // One byte beyond the limit marks the line as too long.
                if line.len() <= MAX_LINE {
                    line.push(byte);
                }
                continue;
            }
            let status = Status::parse(&line).filter(|_| line.len() <= MAX_LINE);
            line.clear();
            if let Some(status) = status.filter(|_| reported < MAX_LINES) {
                reported += 1;
                report(status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statuses(input: &[u8]) -> Vec<Status> {
        let mut got = Vec::new();
        read(input, |status| got.push(status));
        got
    }

    #[test]
    fn what_is_not_a_status_is_ignored() {
        for line in [
            "",
            " ",
            "Init",
            "init now",
            "nsm mock",
            "exit",
            "exit x",
            "exit 99999999999",
            "heartbeat 1",
            "signal -",
            "\u{7f}",
        ] {
            assert_eq!(Status::parse(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(Status::parse(b"\xff"), None);
    }

    #[test]
    fn lines_too_long_are_skipped_whole() {
        let long = format!("failed {}\ninit\n", "x".repeat(MAX_LINE));
        assert_eq!(statuses(long.as_bytes()), [Status::Init]);
        let edge = format!("failed {}\n", "x".repeat(MAX_LINE - 7));
        assert_eq!(statuses(edge.as_bytes()).len(), 1);
    }

    #[test]
    fn a_line_without_its_end_is_no_status() {
        assert!(statuses(b"exit 0").is_empty());
    }

    #[test]
    fn a_flood_is_reported_up_to_the_limit() {
        assert_eq!(statuses(&b"init\n".repeat(1000)).len(), MAX_LINES);
    }

    #[test]
    fn rubbish_is_held_back_and_what_follows_is_read() {
        for rubbish in [&b"x"[..], b"\n", b"no status\n"] {
            let mut input = rubbish.repeat(2 * MAX_BYTES / rubbish.len());
            input.extend_from_slice(b"\nexit 3\n");
            let begun = std::time::Instant::now();
            assert_eq!(statuses(&input), [Status::Exited(3)]);
            let chunks = u32::try_from(MAX_BYTES / 512).expect("small");
            assert!(begun.elapsed() > REST * (chunks - 2), "{rubbish:?}");
        }
    }

    #[test]
    fn the_whole_course_is_read() {
        let course = b"init\nnsm cuse\nheartbeat\nexit 3\nsignal 11\nfailed clock: \x07bad\n";
        let expected = [
            Status::Init,
            Status::Nsm("cuse".into()),
            Status::Heartbeat,
            Status::Exited(3),
            Status::Signalled(11),
            Status::Failed("clock: bad".into()),
        ];
        assert_eq!(statuses(course), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(input in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = statuses(&input);
        }
    }
}
