//! A line on a terminal that tells how far the work is.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

/// How often the line changes.
const PAUSE: Duration = Duration::from_millis(200);

/// Counts what is read through it, and says so on standard error if that is a terminal.
pub struct Progress<R> {
    input: R,
    verb: &'static str,
    done: u64,
    total: Option<u64>,
    start: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl<R: Read> Progress<R> {
    /// Counts `input`, of which `total` bytes are expected where that is known.
    pub fn new(input: R, verb: &'static str, total: Option<u64>) -> Self {
        Self {
            input,
            verb,
            done: 0,
            total,
            start: Instant::now(),
            shown: None,
            terminal: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self) {
        let now = Instant::now();
        let due = self
            .shown
            .is_none_or(|last| now.duration_since(last) >= PAUSE);
        if !self.terminal || !due || now.duration_since(self.start) < PAUSE {
            return;
        }
        self.shown = Some(now);
        let line = line(
            self.verb,
            self.done,
            self.total,
            now.duration_since(self.start),
        );
        // A terminal that is gone stops no work.
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }
}

impl<R> Drop for Progress<R> {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.done = self.done.saturating_add(count as u64);
        self.show();
        Ok(count)
    }
}

fn line(verb: &str, done: u64, total: Option<u64>, time: Duration) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let rate = megabytes(done) / time.as_secs_f64().max(1e-3);
    match total {
        Some(total) if total > 0 => {
            let part = 100.0 * done.min(total) as f64 / total as f64;
            let (done, total) = (megabytes(done), megabytes(total));
            format!("{verb} {done:.1} of {total:.1} MB, {part:.0} %, {rate:.0} MB/s")
        }
        _ => format!("{verb} {:.1} MB, {rate:.0} MB/s", megabytes(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_part_and_rate() {
        let second = Duration::from_secs(1);
        let of = |done, total| line("sealing", done, total, second);
        assert_eq!(
            of(25_000_000, Some(100_000_000)),
            "sealing 25.0 of 100.0 MB, 25 %, 25 MB/s"
        );
        assert_eq!(of(1_500_000, None), "sealing 1.5 MB, 2 MB/s");
        assert_eq!(of(0, Some(0)), "sealing 0.0 MB, 0 MB/s");
        assert_eq!(of(9, Some(3)), "sealing 0.0 of 0.0 MB, 100 %, 0 MB/s");
    }

    #[test]
    fn what_is_read_is_counted_and_passed_on() {
        let mut progress = Progress::new(&b"some bytes"[..], "reading", None);
        let mut out = String::new();
        progress.read_to_string(&mut out).unwrap();
        assert_eq!((out.as_str(), progress.done), ("some bytes", 10));
    }
}
