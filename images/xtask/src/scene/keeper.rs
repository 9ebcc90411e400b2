//! Ends a scene when its run has gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, lock_path, program};
use crate::commands::capture;

/// A keeper, as the run sees it.
pub(super) struct Keeper(Child);

impl Keeper {
    /// Starts the keeper of a scene. It is out of the reach of what a terminal sends to the run.
    pub(super) fn start(dir: &Path, bins: &Path) -> Result<Self> {
        let mut keeper = Command::new(bins.join("xtask"));
        keeper.arg("keep").arg(dir).arg(bins);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null());
        let child = keeper.process_group(0).spawn();
        child.map(Self).with_context(|| {
            let program = bins.join("xtask");
            format!(
                "cannot start {}, which ends what a run starts",
                program.display()
            )
        })
    }

    /// Has it end the scene, and waits until it has.
    pub(super) fn end(mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The keeper's process: waits for the run, then ends the scene.
pub fn keep(dir: &Path, bins: &Path) {
    // What the run's end looks like, however it came.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    end(dir, bins);
}

/// Ends scenes whose run is gone and whose keeper is: their lock is free and stays so.
pub(super) fn end_stale(all: &Path, bins: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let dir = entry.path();
        if !dir.is_dir() {
            continue;
        }
        let free = File::open(lock_path(&dir)).map_or(true, |lock| lock.try_lock().is_ok());
        if free && processes(&dir, Some("keep")).is_empty() {
            say(&format!(
                "set-up: ending what an earlier run left in {}",
                dir.display()
            ));
            end(&dir, bins);
        }
    }
}

/// Ends a scene's enclaves, then its other processes, and removes its directory.
fn end(dir: &Path, bins: &Path) {
    let states = fs::read_dir(dir).into_iter().flatten().flatten();
    // A scene may hold more than one state directory: platforms of their own have their own.
    for state in states
        .map(|entry| entry.path())
        .filter(|path| path.join("enclaves").is_dir())
    {
        let mut terminate = program(bins, dir, "anchorhold");
        terminate.env("ANCHORHOLD_STATE_DIR", state);
        let done = capture(terminate.args(["terminate-enclave", "--all"]));
        if let Ok(done) = done
            && !done.status.success()
        {
            say(&String::from_utf8_lossy(&done.stderr));
        }
    }
    // Servers, an agent in the middle of a boot, and hypervisors that did not hear.
    end_processes(dir);
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        say(&format!("cannot remove {}: {error}", dir.display()));
    }
    let _ = fs::remove_file(lock_path(dir));
}

/// Asks every process of a scene to end, until none is left; then makes them.
fn end_processes(dir: &Path) {
    let start = Instant::now();
    let mut asked = BTreeSet::new();
    loop {
        let left = processes(dir, None);
        if left.is_empty() {
            return;
        }
        let late = start.elapsed() > PATIENCE;
        for pid in left {
            let signal = if late {
                Signal::SIGKILL
            } else {
                Signal::SIGTERM
            };
            if late || asked.insert(pid) {
                // One that has just ended is what is wanted.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
        if start.elapsed() > 2 * PATIENCE {
            say(&format!("processes of {} do not end", dir.display()));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of a scene: those that were told to keep their state in it with what they started,
/// or with `word` those that have it and the scene as arguments. Never this one.
fn processes(dir: &Path, word: Option<&str>) -> Vec<i32> {
    let inside = [b"ANCHORHOLD_STATE_DIR=", dir.as_os_str().as_bytes(), b"/"].concat();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let belongs = |process: &Path| match word {
        None => {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            let mut settings = environment.split(|byte| *byte == 0);
            settings.any(|setting| setting.starts_with(&inside))
        }
        Some(word) => {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            words.contains(&word.as_bytes()) && words.contains(&dir.as_os_str().as_bytes())
        }
    };
    let all: BTreeMap<i32, PathBuf> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(pid, _)| *pid != own)
        .collect();
    let mut found: BTreeSet<i32> = all
        .iter()
        .filter(|(_, process)| belongs(process))
        .map(|(pid, _)| *pid)
        .collect();
    let parents: Vec<(i32, i32)> = all
        .iter()
        .filter_map(|(pid, process)| Some((*pid, parent(process)?)))
        .collect();
    while let Some((pid, _)) = parents
        .iter()
        .find(|(pid, parent)| word.is_none() && found.contains(parent) && !found.contains(pid))
    {
        found.insert(*pid);
    }
    found.into_iter().collect()
}

/// Who started a process: the second field behind its name in parentheses (proc(5)).
fn parent(process: &Path) -> Option<i32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// A line on standard error; whoever read it may have gone.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_s_processes_are_found_by_their_state_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let sleep = |state: &Path| {
            let mut sleep = Command::new("sleep");
            sleep.arg("60").env("ANCHORHOLD_STATE_DIR", state);
            sleep.spawn().unwrap()
        };
        let mut own = sleep(&dir.path().join("state"));
        // What a process of the scene starts without telling it of the scene.
        let mut shell = Command::new("sh");
        shell.args(["-c", "env -u ANCHORHOLD_STATE_DIR sleep 60 & wait"]);
        shell.env("ANCHORHOLD_STATE_DIR", dir.path().join("state"));
        let mut shell = shell.spawn().unwrap();
        // Another scene, whose name begins as this one's does.
        let mut other = sleep(&dir.path().with_extension("x").join("state"));
        // A process has its parent's environment until it has become its program.
        while processes(dir.path(), None).len() != 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let waited = std::thread::spawn(move || [own.wait().unwrap(), shell.wait().unwrap()]);
        end_processes(dir.path());
        assert!(
            waited
                .join()
                .unwrap()
                .iter()
                .all(|status| !status.success())
        );
        assert!(other.try_wait().unwrap().is_none(), "another scene's");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
