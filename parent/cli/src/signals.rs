//! Signals that ask the agent to end while it starts an enclave, and after.
//!
//! While the enclave boots, the hypervisor is asked to end as well, and its report says so. From its
//! report on the enclave is nobody's but its own: a signal then ends the agent alone, with the
//! status that shells give for it.

use std::fs;
use std::process::{self, Child};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::AgentError;

/// How far the enclave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody but this process knows of it.
    Booting,
    /// Its hypervisor was asked to end while it booted.
    Interrupted,
    /// Its hypervisor has reported.
    Over,
}

/// Signals that are caught, and not yet handled.
#[derive(Debug)]
pub(crate) struct Caught(Option<Signals>);

/// An enclave's boot, as far as signals are concerned.
#[derive(Debug, Clone)]
pub(crate) struct Boot(Arc<Mutex<State>>);

/// Catches SIGINT, SIGTERM and SIGHUP from now on. A SIGHUP that this process was started to ignore
/// (nohup(1)) stays ignored.
///
/// # Errors
/// [`AgentError::Io`].
pub(crate) fn listen() -> Result<Caught, AgentError> {
    let caught = match ignores(SIGHUP) {
        true => Signals::new([SIGINT, SIGTERM]),
        false => Signals::new([SIGINT, SIGTERM, SIGHUP]),
    };
    let signals = caught.map_err(AgentError::io("handling signals"))?;
    Ok(Caught(Some(signals)))
}

impl Caught {
    /// Handles the signals, those that came already included, on a thread of their own.
    pub(crate) fn hand_on_to(&mut self, hypervisor: &Child) -> Boot {
        let boot = Boot(Arc::new(Mutex::new(State::Booting)));
        let process = i32::try_from(hypervisor.id()).map(Pid::from_raw);
        if let (Some(mut signals), Ok(process)) = (self.0.take(), process) {
            let boot = boot.clone();
            thread::spawn(move || {
                for signal in signals.forever() {
                    boot.signal(process, signal);
                }
            });
        }
        boot
    }
}

impl Boot {
    /// The hypervisor has reported, or ended. Says whether it was asked to end before.
    pub(crate) fn over(&self) -> bool {
        std::mem::replace(&mut *self.state(), State::Over) == State::Interrupted
    }

    /// The hypervisor is this process's child and not waited for before [`Boot::over`], so the id is
    /// still its own.
    fn signal(&self, hypervisor: Pid, signal: i32) {
        let mut state = self.state();
        if *state == State::Over {
            process::exit(128_i32.saturating_add(signal));
        }
        *state = State::Interrupted;
        // It may have ended by itself.
        let _ = kill(hypervisor, Signal::SIGTERM);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this process was started with that signal ignored (`SigIgn` of proc_pid_status(5): bit 0
/// is signal 1).
fn ignores(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal.saturating_sub(1)).unwrap_or(u32::MAX);
    mask.and_then(|mask| mask.checked_shr(bit))
        .is_some_and(|mask| mask & 1 == 1)
}
