//! A QEMU machine, ended with its owner.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::image::Kernel;

/// How the machine's vsock device reaches its vhost-user back end.
pub enum Backend<'a> {
    /// A connected descriptor.
    Descriptor(OwnedFd),
    /// A path on which the back end listens.
    Path(&'a Path),
}

/// A running machine.
pub struct Machine {
    child: Child,
    console: PathBuf,
}

impl Machine {
    /// Boots `kernel` with `initramfs` under software emulation, as the hypervisor does where KVM
    /// does not work; its console goes to a file in `directory`.
    pub fn boot(
        kernel: &Kernel,
        initramfs: &Path,
        directory: &Path,
        backend: Backend<'_>,
    ) -> io::Result<Self> {
        let console = directory.join("console");
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-machine",
                "q35,accel=tcg,memory-backend=ram",
                "-cpu",
                "max",
                // With one that is the only one possible, QEMU leaves out the guest's barriers.
                "-smp",
                "1,maxcpus=2",
                "-m",
                "256",
            ])
            .args(["-object", "memory-backend-memfd,id=ram,size=256M,share=on"])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .args(["-append", "console=ttyS0 reboot=t panic=-1 quiet"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-device", "vhost-user-vsock-pci,chardev=vsock"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = match backend {
            Backend::Descriptor(fd) => {
                inherit(&mut command, &fd);
                let chardev = format!("socket,id=vsock,fd={}", fd.as_raw_fd());
                command.args(["-chardev", &chardev]).spawn()
            }
            Backend::Path(path) => {
                let chardev = format!("socket,id=vsock,path={}", path.display());
                command.args(["-chardev", &chardev]).spawn()
            }
        };
        let missing = "qemu-system-x86_64 does not start: run `cargo xtask setup`";
        Ok(Self {
            child: child.map_err(|error| io::Error::new(error.kind(), missing))?,
            console,
        })
    }

    /// What the machine has said so far.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Whether the machine still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the machine without asking it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the machine has ended by itself.
    pub fn wait(&mut self) -> io::Result<()> {
        self.child.wait().map(|_| ())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- console ---\n{}", self.console());
        }
    }
}

/// Lets the command have `fd` under the same number.
fn inherit(command: &mut Command, fd: &OwnedFd) {
    let file = File::from(fd.try_clone().expect("a descriptor can be duplicated"));
    let number = fd.as_raw_fd();
    // SAFETY: between fork and exec only `dup2` and `fcntl` are called, which are
    // async-signal-safe; `file` keeps the descriptor open until the command is gone.
    unsafe {
        command.pre_exec(move || {
            let flags = libc::fcntl(number, libc::F_GETFD);
            let kept = libc::fcntl(number, libc::F_SETFD, flags & !libc::FD_CLOEXEC);
            let _ = &file;
            if kept < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
}
