//! Whether KVM really boots a kernel here.
//!
//! A `/dev/kvm` proves little: on some hosts ordinary guests fail on it with an emulation error.
//! So the first enclave boots on KVM, and if its init never speaks, the enclave boots under software
//! emulation. If KVM or the virtual machine ended by itself, that verdict is remembered for the
//! host's boot; mere silence is not, since one image or a busy moment may be to blame.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Largest verdict file that is read, in bytes.
const MAX_VERDICT: u64 = 4096;

/// What is known about KVM on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A kernel booted on it.
    Works,
    /// A kernel did not, or there is no device.
    Broken,
    /// Nobody has tried since the host booted.
    Untried,
}

#[derive(Serialize, Deserialize)]
struct Record {
    boot_id: String,
    qemu: PathBuf,
    works: bool,
}

/// The verdicts of one state directory for one QEMU program.
#[derive(Debug, Clone)]
pub struct KvmVerdicts {
    path: PathBuf,
    boot_id: String,
    qemu: PathBuf,
}

impl KvmVerdicts {
    /// The verdicts kept in `<state>/kvm.json`.
    ///
    /// # Errors
    /// The kernel does not tell its boot id.
    pub fn new(state: &Path, qemu: &Path) -> io::Result<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            path: state.join("kvm.json"),
            boot_id: boot_id.trim().to_owned(),
            qemu: qemu.to_owned(),
        })
    }

    /// What is known. A device that this process may not open needs no trial.
    pub fn verdict(&self) -> Verdict {
        let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
        if device.is_err() {
            return Verdict::Broken;
        }
        match self.recorded() {
            Some(true) => Verdict::Works,
            Some(false) => Verdict::Broken,
            None => Verdict::Untried,
        }
    }

    /// Remembers how a trial went. A verdict that cannot be written is found out again.
    pub fn remember(&self, works: bool) {
        let _ = self.write(works);
    }

    fn recorded(&self) -> Option<bool> {
        let file = fs::File::open(&self.path).ok()?;
        let mut json = Vec::new();
        file.take(MAX_VERDICT).read_to_end(&mut json).ok()?;
        let record: Record = serde_json::from_slice(&json).ok()?;
        let same = record.boot_id == self.boot_id && record.qemu == self.qemu;
        same.then_some(record.works)
    }

    fn write(&self, works: bool) -> io::Result<()> {
        let record = Record {
            boot_id: self.boot_id.clone(),
            qemu: self.qemu.clone(),
            works,
        };
        let partial = self.path.with_extension(std::process::id().to_string());
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?
            .write_all(&serde_json::to_vec(&record)?)?;
        fs::rename(partial, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(root: &Path) -> KvmVerdicts {
        KvmVerdicts::new(root, Path::new("/usr/bin/qemu")).expect("boot id")
    }

    #[test]
    fn rubbish_is_no_verdict() {
        let root = tempfile::tempdir().expect("temporary directory");
        let verdicts = verdicts(root.path());
        assert_eq!(verdicts.recorded(), None);
        for rubbish in ["", "{", "true", r#"{"works":true}"#] {
            fs::write(root.path().join("kvm.json"), rubbish).expect("written");
            assert_eq!(verdicts.recorded(), None, "{rubbish}");
        }
    }

    #[test]
    fn a_verdict_holds_for_this_boot_and_this_qemu() {
        let root = tempfile::tempdir().expect("temporary directory");
        let verdicts = verdicts(root.path());
        verdicts.remember(false);
        assert_eq!(verdicts.recorded(), Some(false));
        verdicts.remember(true);
        assert_eq!(verdicts.recorded(), Some(true));

        let mut rebooted = verdicts.clone();
        rebooted.boot_id = "another".into();
        assert_eq!(rebooted.recorded(), None);
        let other = KvmVerdicts::new(root.path(), Path::new("/opt/qemu")).expect("boot id");
        assert_eq!(other.recorded(), None);
    }
}
