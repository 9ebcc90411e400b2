//! Which enclaves run here: claims on identity, CID and name, and what dead hypervisors left.
//!
//! A claim is a directory whose `lock` file its hypervisor keeps locked (flock(2)). The kernel
//! gives the lock back when that process ends, however it ends, so a directory whose lock can be
//! taken has no owner any more and is removed. Claims, sweeps and a claim's own end happen under one
//! lock of the state directory, so none of them sees another half-made or half-gone.

mod claim;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ended;
use crate::layout::{LayoutError, private_directory};

use claim::{is_locked, lock_state};

pub use claim::Claim;

/// The lowest CID an enclave may have: 0 to 2 belong to the address family, 3 is the parent.
pub const MIN_CID: u32 = 4;

/// The lowest CID that is given out without being asked for (as nitro-cli does).
pub const FIRST_AUTOMATIC_CID: u32 = 16;

/// Longest enclave name, in bytes.
pub const MAX_NAME: usize = 128;

/// Largest `enclave.json` that is read, in bytes. Ours are under 300.
const MAX_RECORD: u64 = 4096;

/// How long a command waits while others claim or sweep.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an enclave could not be claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The CID belongs to the address family or the parent.
    #[error("enclave CID {got} is reserved: expected {MIN_CID} to {max}", max = u32::MAX - 1)]
    CidReserved {
        /// What was asked for.
        got: u32,
    },
    /// A running enclave has the CID.
    #[error("enclave CID {cid} is in use by enclave {holder}")]
    CidInUse {
        /// What was asked for.
        cid: u32,
        /// The enclave that has it.
        holder: String,
    },
    /// Every CID is taken.
    #[error("no free enclave CID from {FIRST_AUTOMATIC_CID} on")]
    NoCid,
    /// A name that could not be printed or matched safely.
    #[error(
        "an enclave name is 1 to {MAX_NAME} ASCII letters, digits, '.', '_' or '-', got {got:?}"
    )]
    Name {
        /// What was asked for, cut to the limit.
        got: String,
    },
    /// Another command holds the state directory's lock for too long.
    #[error("{path:?} stayed locked by another command for {} s", LOCK_TIMEOUT.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A directory cannot be used.
    #[error("the state directory cannot be used")]
    Layout(#[from] LayoutError),
}

impl RegistryError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::CidReserved { .. } => "cid.reserved",
            Self::CidInUse { .. } => "cid.in-use",
            Self::NoCid => "cid.exhausted",
            Self::Name { .. } => "name.characters",
            Self::Locked { .. } => "state.locked",
            Self::Layout(error) => error.rule(),
        }
    }
}

/// Who an enclave is, for every command of the same user to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `<instance>-enc<16 hex digits>`; also the module id in its attestation documents.
    #[serde(rename = "EnclaveID")]
    pub id: String,
    /// Its name, unique among running enclaves.
    #[serde(rename = "EnclaveName")]
    pub name: String,
    /// Its vsock address.
    #[serde(rename = "EnclaveCID")]
    pub cid: u32,
    /// Its hypervisor's process id.
    #[serde(rename = "ProcessID")]
    pub process: u32,
}

/// The enclaves of one state directory.
#[derive(Debug, Clone)]
pub struct Registry {
    state: PathBuf,
}

impl Registry {
    /// Takes `state` as the state directory and makes what is missing of it, closed to others.
    ///
    /// # Errors
    /// [`RegistryError::Layout`].
    pub fn open(state: &Path) -> Result<Self, RegistryError> {
        private_directory(state)?;
        private_directory(&state.join("enclaves"))?;
        private_directory(&state.join("ended"))?;
        Ok(Self {
            state: state.to_owned(),
        })
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Removes what enclaves without a living hypervisor left, and says which those were.
    ///
    /// # Errors
    /// [`RegistryError::Locked`] or [`RegistryError::Layout`].
    pub fn sweep(&self) -> Result<Vec<String>, RegistryError> {
        let _guard = lock_state(&self.state)?;
        Ok(self.survey()?.swept)
    }

    /// Claims `id` with a free CID, or with `cid` if that is free, under a name that is free:
    /// `name` itself, else `name_1`, `name_2` and so on (as nitro-cli does).
    ///
    /// # Errors
    /// [`RegistryError`], having claimed nothing.
    pub fn claim(&self, id: &str, name: &str, cid: Option<u32>) -> Result<Claim, RegistryError> {
        check_name(name)?;
        if let Some(got) = cid.filter(|&cid| cid < MIN_CID || cid == u32::MAX) {
            return Err(RegistryError::CidReserved { got });
        }
        let _guard = lock_state(&self.state)?;
        let running = self.survey()?.running;
        let identity = Identity {
            id: id.to_owned(),
            name: free_name(name, &running),
            cid: free_cid(cid, &running)?,
            process: std::process::id(),
        };
        Ok(Claim::make(&self.state, identity)?)
    }

    /// Looks at every claim: removes the dead, lists the living.
    fn survey(&self) -> Result<Survey, RegistryError> {
        let enclaves = self.state.join("enclaves");
        let io = LayoutError::io(&enclaves);
        let mut survey = Survey::default();
        for entry in fs::read_dir(&enclaves).map_err(io)? {
            let directory = entry.map_err(io)?.path();
            let identity = read_identity(&directory);
            if is_locked(&directory) {
                survey.running.extend(identity);
                continue;
            }
            if let Some(identity) = identity {
                // Unless it has said itself how it ended.
                ended::record_killed(&self.state, &identity);
                survey.swept.push(identity.id);
            }
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(LayoutError::io(&directory))?,
            }
        }
        Ok(survey)
    }
}

#[derive(Debug, Default)]
struct Survey {
    running: Vec<Identity>,
    swept: Vec<String>,
}

fn read_identity(directory: &Path) -> Option<Identity> {
    let file = File::open(directory.join("enclave.json")).ok()?;
    let mut json = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

fn free_cid(asked: Option<u32>, running: &[Identity]) -> Result<u32, RegistryError> {
    let holder = |cid| running.iter().find(|enclave| enclave.cid == cid);
    match asked {
        Some(cid) => match holder(cid) {
            None => Ok(cid),
            Some(enclave) => Err(RegistryError::CidInUse {
                cid,
                holder: enclave.id.clone(),
            }),
        },
        None => (FIRST_AUTOMATIC_CID..u32::MAX)
            .find(|&cid| holder(cid).is_none())
            .ok_or(RegistryError::NoCid),
    }
}

fn free_name(asked: &str, running: &[Identity]) -> String {
    let is_free = |name: &String| running.iter().all(|enclave| enclave.name != *name);
    std::iter::once(asked.to_owned())
        .chain((1..).map(|n| format!("{asked}_{n}")))
        .find(is_free)
        .unwrap_or_else(|| asked.to_owned())
}

/// Refuses a name that could not be printed or matched safely.
///
/// # Errors
/// [`RegistryError::Name`].
pub fn check_name(name: &str) -> Result<(), RegistryError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain) {
        return Ok(());
    }
    Err(RegistryError::Name {
        got: name.chars().take(MAX_NAME).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::ended::Ending;

    fn registry() -> (tempfile::TempDir, Registry) {
        let root = tempfile::tempdir().expect("temporary directory");
        let registry = Registry::open(&root.path().join("state")).expect("registry");
        (root, registry)
    }

    #[test]
    fn reserved_cids_are_refused() {
        let (_root, registry) = registry();
        for cid in [0, 1, 2, 3, u32::MAX] {
            let error = registry.claim("i-1", "a", Some(cid)).expect_err("reserved");
            assert_eq!(error.rule(), "cid.reserved");
        }
    }

    #[test]
    fn a_cid_in_use_is_refused_naming_its_holder() {
        let (_root, registry) = registry();
        let _first = registry.claim("i-1", "a", Some(20)).expect("first");
        let error = registry.claim("i-2", "b", Some(20)).expect_err("in use");
        assert_eq!(error.rule(), "cid.in-use");
        assert!(error.to_string().contains("i-1"), "{error}");
        assert!(!registry.state().join("enclaves/i-2").exists());
    }

    #[test]
    fn names_that_mislead_are_refused() {
        let (_root, registry) = registry();
        for name in ["", "a/b", "a b", "a\n", "ä", &"n".repeat(129)] {
            let error = registry.claim("i-1", name, None).expect_err("name");
            assert_eq!(error.rule(), "name.characters");
        }
    }

    #[test]
    fn automatic_cids_start_at_sixteen_and_are_reused() {
        let (_root, registry) = registry();
        let first = registry.claim("i-1", "a", None).expect("first");
        let second = registry.claim("i-2", "a", None).expect("second");
        assert_eq!((first.identity().cid, second.identity().cid), (16, 17));
        assert_eq!(second.identity().name, "a_1");
        drop(first);
        let third = registry.claim("i-3", "a", None).expect("third");
        assert_eq!(third.identity().cid, 16);
        assert_eq!(third.identity().name, "a");
    }

    #[test]
    fn a_dropped_claim_leaves_nothing() {
        let (_root, registry) = registry();
        let claim = registry.claim("i-1", "a", None).expect("claim");
        let directory = claim.directory().to_owned();
        fs::write(directory.join("vsock.sock_9000"), b"").expect("a socket's place");
        drop(claim);
        assert!(!directory.exists());
        assert_eq!(registry.sweep().expect("sweep"), Vec::<String>::new());
    }

    #[test]
    fn what_a_killed_hypervisor_left_is_swept_and_the_living_stay() {
        let (_root, registry) = registry();
        let living = registry.claim("i-1", "a", None).expect("living");
        let mut dead = registry.claim("i-2", "b", None).expect("dead");
        let left = dead.directory().to_owned();
        // As the kernel does for a killed process: the lock goes, the directory stays.
        dead.lose_lock();
        assert_eq!(registry.sweep().expect("sweep"), ["i-2"]);
        assert!(!left.exists());
        assert!(living.directory().exists());
        assert!(registry.state().join("ended/i-2.json").exists());
    }

    #[test]
    fn what_an_enclave_said_of_its_end_stands() {
        let (_root, registry) = registry();
        let mut claim = registry.claim("i-1", "a", None).expect("claim");
        let ending = Ending::new("terminate.requested", "it was terminated".into());
        ended::record(registry.state(), claim.identity(), &ending);
        // Killed between its record and its directory's end.
        claim.lose_lock();
        assert_eq!(registry.sweep().expect("sweep"), ["i-1"]);
        let record = fs::read_to_string(registry.state().join("ended/i-1.json"));
        assert!(record.expect("record").contains("terminate.requested"));
    }

    #[test]
    fn enclaves_that_end_while_others_sweep_and_start_disturb_nobody() {
        let (_root, registry) = registry();
        let live = |thread: usize| {
            for round in 0..20 {
                let id = format!("i-{thread}-{round}");
                let claim = registry.claim(&id, "a", None).expect("claim");
                let ending = Ending::new("terminate.requested", String::new());
                ended::record(registry.state(), claim.identity(), &ending);
                drop(claim);
                assert!(!registry.state().join("enclaves").join(&id).exists());
                // What is over cannot be found dead.
                assert_eq!(registry.sweep().expect("sweep"), Vec::<String>::new());
            }
        };
        thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || live(thread));
            }
        });
        for entry in fs::read_dir(registry.state().join("ended")).expect("records") {
            let path = entry.expect("entry").path();
            let record = fs::read_to_string(&path).expect("record");
            assert!(record.contains("terminate.requested"), "{path:?}");
        }
    }

    #[test]
    fn claims_at_once_get_cids_of_their_own() {
        let (_root, registry) = registry();
        let claims: Vec<Claim> = thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|n| {
                    let registry = &registry;
                    scope.spawn(move || registry.claim(&format!("i-{n}"), "a", None))
                })
                .collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().expect("thread"));
            joined.map(|claim| claim.expect("claim")).collect()
        });
        let mut cids: Vec<u32> = claims.iter().map(|claim| claim.identity().cid).collect();
        cids.sort_unstable();
        assert_eq!(cids, (16..32).collect::<Vec<_>>());
    }
}
