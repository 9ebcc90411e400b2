//! Log lines on stderr.

use std::time::SystemTime;

use log::{LevelFilter, Log, Metadata, Record};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

struct Stderr;

/// Starts logging: everything of ours, and what is wrong elsewhere.
pub(super) fn start() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let limit = if metadata.target().starts_with("anchorhold") {
            LevelFilter::Info
        } else {
            LevelFilter::Error
        };
        metadata.level() <= limit
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let now = OffsetDateTime::from(SystemTime::now());
            let now = now.format(&Rfc3339).unwrap_or_default();
            eprintln!("{now} {} {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}
