//! How enclaves ended: one small file each, kept for a while after everything else is gone.

use std::cmp::Reverse;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::registry::Identity;

/// How many endings are kept; older ones are removed.
pub const MAX_ENDED: usize = 64;

/// Why and how an enclave ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// A stable name of the reason, such as `application.exited` or `terminate.requested`.
    #[serde(rename = "Reason")]
    pub reason: String,
    /// The reason in words.
    #[serde(rename = "Message")]
    pub message: String,
    /// The application's exit status, if it exited.
    #[serde(rename = "ExitCode", skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the application, if one did.
    #[serde(rename = "Signal", skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

impl Ending {
    /// An ending in which the application's own status is not known.
    pub fn new(reason: &str, message: String) -> Self {
        Self {
            reason: reason.to_owned(),
            message,
            exit_code: None,
            signal: None,
        }
    }

    /// The ending of an enclave whose hypervisor vanished.
    pub fn hypervisor_killed() -> Self {
        let message = "its hypervisor was killed, and the virtual machine with it";
        Self::new("hypervisor.killed", message.to_owned())
    }
}

#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    #[serde(rename = "State")]
    state: &'static str,
    #[serde(rename = "EndedAt")]
    at: String,
    #[serde(flatten)]
    ending: &'a Ending,
}

/// Writes the ending to `<state>/ended/<EnclaveID>.json`. A file system that refuses loses the
/// record, never the clean-up that calls this.
pub fn record(state: &Path, identity: &Identity, ending: &Ending) {
    let directory = state.join("ended");
    let _ = write(&directory, identity, ending);
    let _ = prune(&directory);
}

/// Writes that the enclave's hypervisor was killed, unless there is a record: what an enclave said
/// of its own end stands, even if its hypervisor was killed right after.
pub(crate) fn record_killed(state: &Path, identity: &Identity) {
    if !path(&state.join("ended"), identity).exists() {
        record(state, identity, &Ending::hypervisor_killed());
    }
}

fn path(directory: &Path, identity: &Identity) -> PathBuf {
    directory.join(format!("{}.json", identity.id))
}

fn write(directory: &Path, identity: &Identity, ending: &Ending) -> io::Result<()> {
    let now = OffsetDateTime::from(SystemTime::now());
    let record = Record {
        identity,
        state: "TERMINATED",
        at: now.format(&Rfc3339).unwrap_or_default(),
        ending,
    };
    let partial = directory.join(format!(".{}", identity.id));
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?
        .write_all(&serde_json::to_vec(&record)?)?;
    fs::rename(partial, path(directory, identity))
}

/// Removes all but the newest [`MAX_ENDED`] records.
fn prune(directory: &Path) -> io::Result<()> {
    let mut records = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        records.push((entry.metadata()?.modified()?, entry.path()));
    }
    records.sort_unstable_by_key(|(modified, _)| Reverse(*modified));
    for (_, path) in records.into_iter().skip(MAX_ENDED) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(n: usize) -> Identity {
        Identity {
            id: format!("i-{n}"),
            name: "hello".into(),
            cid: 16,
            process: 1,
        }
    }

    #[test]
    fn a_missing_directory_loses_the_record_only() {
        record(
            Path::new("/nonexistent"),
            &identity(1),
            &Ending::hypervisor_killed(),
        );
    }

    #[test]
    fn a_record_says_who_ended_and_how() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(root.path().join("ended")).expect("directory");
        let mut ending = Ending::new("application.exited", "it exited".into());
        ending.exit_code = Some(3);
        record(root.path(), &identity(1), &ending);
        let json = fs::read(root.path().join("ended/i-1.json")).expect("record");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["EnclaveID"], "i-1");
        assert_eq!(json["State"], "TERMINATED");
        assert_eq!(json["Reason"], "application.exited");
        assert_eq!(json["ExitCode"], 3);
        assert!(json.get("Signal").is_none());
    }

    #[test]
    fn old_records_go() {
        let root = tempfile::tempdir().expect("temporary directory");
        let directory = root.path().join("ended");
        fs::create_dir(&directory).expect("directory");
        for n in 0..MAX_ENDED + 5 {
            record(root.path(), &identity(n), &Ending::hypervisor_killed());
        }
        let count = fs::read_dir(&directory).expect("directory").count();
        assert_eq!(count, MAX_ENDED);
    }
}
