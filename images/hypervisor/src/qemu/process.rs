//! The QEMU process: started with exactly the descriptors it needs, never outliving its hypervisor.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid};

use super::QemuError;

/// Bytes of QEMU's own messages that are kept: its last words.
pub const MAX_MESSAGES: usize = 8 * 1024;

/// How long the last of it may take to be read once QEMU has ended: the thread that reads it may
/// come late on a busy host, and is waited for no longer than it reads.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What QEMU prints when KVM gave up on a guest. QEMU itself then stays, with the guest stopped.
const KVM_FAILURES: [&str; 3] = ["KVM internal error", "KVM: entry failed", "kvm run failed"];

/// A running QEMU. Dropping it kills it.
#[derive(Debug)]
pub struct QemuProcess {
    child: Child,
    messages: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl QemuProcess {
    /// Starts `program` with `arguments`; of this process's descriptors it inherits `inherited`
    /// under their own numbers, and no others. `on_kvm_failure` is called when QEMU says that KVM
    /// gave up on the guest.
    ///
    /// It has to be called on a thread that lives as long as the process: when that thread ends,
    /// the kernel kills QEMU (PR_SET_PDEATHSIG counts threads, prctl(2)).
    ///
    /// # Errors
    /// [`QemuError::Start`].
    pub fn start(
        program: &Path,
        arguments: &[String],
        inherited: Vec<OwnedFd>,
        on_kvm_failure: impl FnOnce() + Send + 'static,
    ) -> Result<Self, QemuError> {
        let start = |source| QemuError::Start {
            program: program.to_owned(),
            source,
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        confine(&mut command, inherited);
        let mut child = command.spawn().map_err(start)?;
        let messages = Arc::new(Mutex::new(Vec::new()));
        let reader = match child.stderr.take() {
            None => None,
            Some(stderr) => match read_messages(stderr, messages.clone(), on_kvm_failure) {
                Ok(reader) => Some(reader),
                Err(error) => {
                    end(&mut child);
                    return Err(start(error));
                }
            },
        };
        Ok(Self {
            child,
            messages,
            reader,
        })
    }

    /// The exit status, if QEMU has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        // An error means that it is no child of ours any more, and nothing can be known.
        self.child.try_wait().unwrap_or_default()
    }

    /// QEMU's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills QEMU, waits for its end, and gives back the last it said.
    pub fn kill(mut self) -> String {
        end(&mut self.child);
        let until = Instant::now() + LAST_WORDS;
        let reads = |reader: &JoinHandle<()>| !reader.is_finished();
        while self.reader.as_ref().is_some_and(reads) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&messages).into_owned();
        text.trim()
            .replace(|c: char| c.is_control() && c != '\n', " ")
    }
}

impl Drop for QemuProcess {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills the process group that QEMU leads, and waits for QEMU.
fn end(child: &mut Child) {
    // A child that has been waited for leads no group any more, and its number may be another's.
    if let Ok(None) = child.try_wait()
        && let Ok(leader) = i32::try_from(child.id())
    {
        // It fails only if nothing is left to kill.
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Has the child die with its parent, leave its parent's process group (a key typed at the
/// hypervisor's terminal is the hypervisor's affair) and inherit just what it is given.
#[allow(unsafe_code)]
fn confine(command: &mut Command, inherited: Vec<OwnedFd>) {
    command.process_group(0);
    let parent = getpid();
    let prepare = move || {
        die_with(parent)?;
        for fd in &inherited {
            keep_over_exec(fd.as_fd())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe functions may run: `prepare` calls
    // prctl, getppid and fcntl, and its errors are built from an errno, so it neither allocates
    // nor takes a lock.
    unsafe { command.pre_exec(prepare) };
}

fn die_with(parent: Pid) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before the request stood.
    if getppid() == parent {
        Ok(())
    } else {
        Err(Errno::ESRCH.into())
    }
}

fn keep_over_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// Keeps the last of what QEMU says, on a thread of its own.
fn read_messages(
    mut stderr: ChildStderr,
    messages: Arc<Mutex<Vec<u8>>>,
    on_kvm_failure: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut on_kvm_failure = Some(on_kvm_failure);
    let body = move || {
        let mut chunk = [0; 1024];
        loop {
            let count = match stderr.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let mut kept = messages.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(chunk.get(..count).unwrap_or_default());
            let excess = kept.len().saturating_sub(MAX_MESSAGES);
            kept.drain(..excess);
            let text = String::from_utf8_lossy(&kept);
            if KVM_FAILURES.iter().any(|failure| text.contains(failure))
                && let Some(report) = on_kvm_failure.take()
            {
                report();
            }
        }
    };
    thread::Builder::new()
        .name("qemu-messages".to_owned())
        .stack_size(64 * 1024)
        .spawn(body)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;

    use super::*;

    fn shell(script: &str, inherited: Vec<OwnedFd>) -> QemuProcess {
        let arguments = ["-c".to_owned(), script.to_owned()];
        QemuProcess::start(Path::new("/bin/sh"), &arguments, inherited, || {}).expect("started")
    }

    fn finished(mut process: QemuProcess) -> (ExitStatus, String) {
        loop {
            if let Some(status) = process.ended() {
                return (status, process.kill());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_program_that_does_not_start_is_named() {
        let error = QemuProcess::start(Path::new("/dev/null"), &[], Vec::new(), || {})
            .expect_err("not a program");
        assert_eq!(error.rule(), "qemu.start");
        assert!(error.to_string().contains("/dev/null"));
    }

    #[test]
    fn it_inherits_what_it_is_given_and_nothing_else() {
        let given = OwnedFd::from(File::open("/dev/zero").expect("file"));
        let other = OwnedFd::from(File::open("/dev/full").expect("file"));
        let numbers = (given.as_raw_fd(), other.as_raw_fd());
        let (_, said) = finished(shell("ls -l /proc/self/fd >&2; env >&2", vec![given]));
        assert!(
            said.contains(&format!("{} -> /dev/zero", numbers.0)),
            "{said}"
        );
        assert!(!said.contains("/dev/full"), "{said}");
        assert!(!said.contains("CARGO"), "{said}");
    }

    #[test]
    fn its_last_words_are_kept_and_bounded() {
        let script = "i=0; while [ $i -lt 3000 ]; do echo message $i >&2; i=$((i+1)); done; exit 4";
        let (status, said) = finished(shell(script, Vec::new()));
        assert_eq!(status.code(), Some(4));
        assert!(said.ends_with("message 2999"), "{said}");
        assert!(said.len() <= MAX_MESSAGES);
    }

    #[test]
    fn killing_it_ends_it() {
        let process = shell("exec sleep 1000", Vec::new());
        let path = format!("/proc/{}", process.id());
        assert!(Path::new(&path).exists());
        process.kill();
        assert!(!Path::new(&path).exists());
    }

    #[test]
    fn killing_it_ends_what_it_started() {
        let process = shell("sleep 1000 & echo $! >&2; wait", Vec::new());
        let child = loop {
            let said = process.messages.lock().expect("messages").clone();
            let said = String::from_utf8(said).expect("text");
            if let Ok(child) = said.trim().parse::<u32>() {
                break child;
            }
            thread::sleep(Duration::from_millis(5));
        };
        process.kill();
        let path = format!("/proc/{child}");
        while Path::new(&path).exists() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_failure_of_kvm_is_reported_once() {
        let (sender, receiver) = mpsc::channel();
        let script = "echo 'KVM internal error. Suberror: 1' >&2; echo more >&2; exec sleep 1000";
        let arguments = ["-c".to_owned(), script.to_owned()];
        let report = move || sender.send(()).expect("receiver");
        let process = QemuProcess::start(Path::new("/bin/sh"), &arguments, Vec::new(), report)
            .expect("started");
        receiver.recv().expect("reported");
        process.kill();
    }
}
