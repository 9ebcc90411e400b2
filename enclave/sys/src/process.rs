//! Processes, as PID 1 sees them.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this status, 0 to 255.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Starts `command` in a session of its own and returns its process id.
///
/// The standard library resets the signal mask and `SIGPIPE`, and reports a failing
/// `exec` as the error of this call.
///
/// # Errors
/// What the kernel answers to `fork`, `setsid` or `exec`.
pub fn start(command: &mut Command) -> io::Result<i32> {
    // SAFETY: the closure runs in the forked child before `exec`, where only functions
    // that are safe after a fork of a threaded process may be called. It makes one system
    // call, and converts its result without allocating.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Ok(())
        });
    }
    let child = command.spawn()?;
    // Kernel process ids are positive and below 2^22.
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// Reaps children and orphans until the process `awaited` has ended.
///
/// # Errors
/// What the kernel answers to `wait`: `ECHILD` if `awaited` is no child of ours.
pub fn reap_until(awaited: i32) -> io::Result<Outcome> {
    loop {
        let mut status: libc::c_int = 0;
        // SAFETY: `status` is an exclusive borrow of an integer that outlives the call; the
        // kernel writes nothing else. (The wrapper of `nix` loses a process that a
        // real-time signal killed.)
        let pid = match Errno::result(unsafe { libc::wait(&raw mut status) }) {
            Ok(pid) => pid,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if pid == awaited {
            return Ok(outcome(ExitStatus::from_raw(status)));
        }
    }
}

/// Without `WUNTRACED` and `WCONTINUED` a process has either exited or been killed.
fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Exit(code),
        (None, signal) => Outcome::Signal(signal.unwrap_or_default()),
    }
}

/// Kills every process but the caller and, where the caller is PID 1, kernel threads.
/// For PID 1 only: anywhere else it kills all that the caller may signal.
pub fn kill_all_others() {
    if std::process::id() == 1 {
        // ESRCH, nobody left, is what is wanted; PID 1 lacks no privilege.
        let _nobody_left = kill(Pid::from_raw(-1), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test for all of these: `wait` takes the children of the whole process.
    #[test]
    fn ends_are_reported_and_others_reaped_meanwhile() {
        let error = start(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);

        let early = start(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap();
        // A minute at most, until the other has been reaped: a zombie has its directory still.
        let wait = format!(
            "n=0; while [ -e /proc/{early} ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; exit 255"
        );
        let late = start(Command::new("/bin/sh").args(["-c", &wait])).unwrap();
        assert_eq!(reap_until(late).unwrap(), Outcome::Exit(255));
        assert!(
            !std::path::Path::new(&format!("/proc/{early}")).exists(),
            "not reaped"
        );

        for signal in [9, 15, 40] {
            let script = format!("kill -{signal} $$");
            let killed = start(Command::new("/bin/sh").args(["-c", &script])).unwrap();
            assert_eq!(reap_until(killed).unwrap(), Outcome::Signal(signal));
        }

        let mut leader = Command::new("/bin/sh");
        leader.args(["-c", "set -- $(cat /proc/$$/stat); [ \"$6\" = $$ ]"]);
        let leader = start(&mut leader).unwrap();
        assert_eq!(reap_until(leader).unwrap(), Outcome::Exit(0));

        assert_eq!(
            reap_until(1).unwrap_err().raw_os_error(),
            Some(libc::ECHILD)
        );
    }
}
