//! Export and verification of the trail.
//!
//! An export is JSON lines: `{"sequence":n,"event":{…},"previous":"<hex>","hash":"<hex>"}`.
//! The bytes of `event` are the stored ones, so that whoever has an export can
//! recompute the chain by the formula in [`super::Link`]'s module, with or without
//! this program (`anchorhold-kms audit verify --export FILE`).

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Link, Sealer};
use crate::store::{Store, StoreError};

/// Events read from the database at a time.
const PAGE: i64 = 256;
/// Longest line of an export that is read, in bytes: the largest event and room for the rest.
const MAX_LINE: u64 = 1024 * 1024;

/// Where and how a trail is broken.
#[derive(Debug, Error)]
pub enum TrailError {
    /// The database failed.
    #[error("the audit trail cannot be read")]
    Store(#[from] StoreError),
    /// The export cannot be read or written.
    #[error("the export failed")]
    Io(#[from] std::io::Error),
    /// A line of an export is no exported event.
    #[error("line {line} of the export is not an exported event")]
    Line {
        /// The line's number, from 1.
        line: i64,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Events are missing, or in another order.
    #[error("expected event {expected}, found event {got}: events are missing or out of order")]
    Sequence {
        /// Number expected.
        expected: i64,
        /// Number found.
        got: i64,
    },
    /// An event, or one before it, is not the one that was written.
    #[error(
        "event {sequence} does not have the hash that it was written with: expected {expected}, got {got}"
    )]
    Hash {
        /// The event's number.
        sequence: i64,
        /// The hash that the events give.
        expected: String,
        /// The hash that is stored.
        got: String,
    },
    /// The chain was computed by somebody who has not got the audit key.
    #[error("event {sequence} is not sealed by this KMS")]
    Seal {
        /// The event's number.
        sequence: i64,
    },
    /// The trail ends before an event that was there once, or has another one in its place.
    #[error("event {sequence} with hash {expected} was there once; found {got}")]
    Head {
        /// The event's number.
        sequence: i64,
        /// The hash it had.
        expected: String,
        /// The hash it has, or that there is no such event.
        got: String,
    },
}

impl TrailError {
    /// Stable name of the rule that is broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Store(error) => error.rule(),
            Self::Io(_) => "audit.io",
            Self::Line { .. } => "audit.line",
            Self::Sequence { .. } => "audit.sequence",
            Self::Hash { .. } => "audit.hash",
            Self::Seal { .. } => "audit.seal",
            Self::Head { .. } => "audit.head",
        }
    }
}

/// Walks a trail and checks each event against its predecessor.
pub struct Verification {
    head: Link,
    expected: Option<Link>,
    seen_expected: Option<[u8; 32]>,
}

impl Verification {
    /// Begins before the first event. `expected` is a head kept earlier.
    pub fn new(expected: Option<Link>) -> Self {
        Self {
            head: Link::GENESIS,
            expected,
            seen_expected: None,
        }
    }

    /// Checks the next event.
    ///
    /// # Errors
    /// [`TrailError::Sequence`] or [`TrailError::Hash`].
    pub fn follow(&mut self, sequence: i64, event: &str, hash: &[u8]) -> Result<Link, TrailError> {
        let link = self.head.next(event);
        if link.sequence != sequence {
            return Err(TrailError::Sequence {
                expected: link.sequence,
                got: sequence,
            });
        }
        if link.hash != *hash {
            return Err(TrailError::Hash {
                sequence,
                expected: hex::encode(link.hash),
                got: hex::encode(hash),
            });
        }
        if self.expected.is_some_and(|e| e.sequence == sequence) {
            self.seen_expected = Some(link.hash);
        }
        self.head = link;
        Ok(link)
    }

    /// The newest link, when all is well.
    ///
    /// # Errors
    /// [`TrailError::Head`] when the head kept earlier is not in the trail.
    pub fn finish(self) -> Result<Link, TrailError> {
        match self.expected {
            Some(expected) if self.seen_expected != Some(expected.hash) => Err(TrailError::Head {
                sequence: expected.sequence,
                expected: hex::encode(expected.hash),
                got: self
                    .seen_expected
                    .map_or_else(|| "no such event".to_owned(), hex::encode),
            }),
            _ => Ok(self.head),
        }
    }
}

/// Checks the whole stored trail, seals included, and gives its head.
///
/// # Errors
/// The first break as a [`TrailError`].
pub async fn verify(
    store: &Store,
    sealer: &Sealer,
    expected: Option<Link>,
) -> Result<Link, TrailError> {
    let mut verification = Verification::new(expected);
    let mut after = 0;
    loop {
        let page = store.events_after(after, PAGE).await?;
        let Some(last) = page.last() else {
            return verification.finish();
        };
        after = last.sequence;
        for stored in &page {
            let link = verification.follow(stored.sequence, &stored.event, &stored.hash)?;
            if !sealer.fits(&link, &stored.seal) {
                return Err(TrailError::Seal {
                    sequence: stored.sequence,
                });
            }
        }
    }
}

#[derive(Serialize)]
struct ExportLine<'a> {
    sequence: i64,
    event: &'a RawValue,
    previous: String,
    hash: String,
}

#[derive(Deserialize)]
struct ImportLine {
    sequence: i64,
    event: Box<RawValue>,
    hash: String,
}

/// Writes the trail as JSON lines, and gives the number of events.
///
/// # Errors
/// [`TrailError`]; an event that is no JSON is a broken trail too.
pub async fn export(store: &Store, output: &mut impl Write) -> Result<i64, TrailError> {
    let mut previous = Link::GENESIS.hash.to_vec();
    let mut after = 0;
    loop {
        let page = store.events_after(after, PAGE).await?;
        let Some(last) = page.last() else {
            output.flush()?;
            return Ok(after);
        };
        after = last.sequence;
        for stored in page {
            let line = |source| TrailError::Line {
                line: stored.sequence,
                source,
            };
            let raw = RawValue::from_string(stored.event.clone()).map_err(line)?;
            let line = ExportLine {
                sequence: stored.sequence,
                event: &raw,
                previous: hex::encode(&previous),
                hash: hex::encode(&stored.hash),
            };
            serde_json::to_writer(&mut *output, &line).map_err(std::io::Error::from)?;
            output.write_all(b"\n")?;
            previous = stored.hash;
        }
    }
}

/// Checks an export's chain (it carries no seals) and gives its head.
///
/// # Errors
/// The first break as a [`TrailError`].
pub fn verify_export(mut input: impl BufRead, expected: Option<Link>) -> Result<Link, TrailError> {
    let mut verification = Verification::new(expected);
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        if std::io::Read::take(&mut input, MAX_LINE).read_line(&mut line)? == 0 {
            break;
        }
        let parsed: ImportLine =
            serde_json::from_str(&line).map_err(|source| TrailError::Line {
                line: number,
                source,
            })?;
        let hash = hex::decode(&parsed.hash).unwrap_or_default();
        verification.follow(parsed.sequence, parsed.event.get(), &hash)?;
    }
    verification.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [&str; 3] = [
        r#"{"eventName":"A"}"#,
        r#"{"eventName":"B"}"#,
        r#"{"x":"é","y":1.50}"#,
    ];

    fn exported(events: &[&str]) -> String {
        let mut head = Link::GENESIS;
        let mut text = String::new();
        for event in events {
            let next = head.next(event);
            text.push_str(&format!(
                "{{\"sequence\":{},\"event\":{event},\"previous\":\"{}\",\"hash\":\"{}\"}}\n",
                next.sequence,
                hex::encode(head.hash),
                hex::encode(next.hash)
            ));
            head = next;
        }
        text
    }

    fn rule(text: &str, expected: Option<Link>) -> &'static str {
        verify_export(text.as_bytes(), expected)
            .expect_err("broken")
            .rule()
    }

    #[test]
    fn a_changed_event_is_found() {
        let text = exported(&EVENTS).replace("\"B\"", "\"C\"");
        assert_eq!(rule(&text, None), "audit.hash");
    }

    #[test]
    fn a_removed_or_moved_event_is_found() {
        let text = exported(&EVENTS);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(rule(&lines[1..].join("\n"), None), "audit.sequence");
        assert_eq!(
            rule(&[lines[0], lines[2]].join("\n"), None),
            "audit.sequence"
        );
        assert_eq!(
            rule(&[lines[1], lines[0]].join("\n"), None),
            "audit.sequence"
        );
    }

    #[test]
    fn a_cut_or_rewritten_trail_is_found_with_a_kept_head() {
        let head = verify_export(exported(&EVENTS).as_bytes(), None).expect("sound");
        assert_eq!(rule(&exported(&EVENTS[..2]), Some(head)), "audit.head");
        assert_eq!(
            rule(&exported(&["{}", "{}", "{}"]), Some(head)),
            "audit.head"
        );
        let longer = [&EVENTS[..], &["{}"]].concat();
        verify_export(exported(&longer).as_bytes(), Some(head)).expect("grown");
    }

    #[test]
    fn what_is_no_export_is_refused() {
        for text in [
            "x",
            "{}",
            "{\"sequence\":1,\"event\":{},\"hash\":1}",
            "[]\n[]",
        ] {
            assert_eq!(rule(text, None), "audit.line");
        }
    }
}
