//! One virtual machine: QEMU, its security module, its console and its vsock, started together.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use anchorhold_nsm::SecurityModule;
use anchorhold_switch::{Switch, SwitchConfig, SwitchError, SwitchHandle};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::console::Console;
use crate::event::{VmEvent, VmEvents};
use crate::image::Image;
use crate::ports::{nsm, status};
use crate::qemu::command::{Machine, VsockDevice};
use crate::qemu::process::QemuProcess;
use crate::qemu::{Accelerator, QemuError};
use crate::registry::Identity;
use crate::sockets::SocketDirectory;

/// Stack of a port's thread, in bytes. Signing takes the most: a few tens of KiB.
const PORT_STACK: usize = 256 * 1024;

/// How the guest's vsock is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VsockMode {
    /// By this process: the parent is CID 3 and CID 2, and is reached through Unix sockets.
    Switch,
    /// By the host's kernel (vhost-vsock): the parent is CID 2 only, since that driver drops what
    /// is sent to CID 3.
    Kernel,
}

/// Everything that stays the same over all attempts to boot an enclave.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The measured image.
    pub image: &'a Image,
    /// Who the enclave is.
    pub identity: &'a Identity,
    /// The QEMU program.
    pub program: &'a Path,
    /// Guest memory in MiB.
    pub memory_mib: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// How its vsock is served.
    pub vsock: VsockMode,
    /// The enclave's directory, for its sockets.
    pub directory: &'a SocketDirectory,
    /// The state directory, for the sockets that all enclaves share.
    pub state: &'a SocketDirectory,
    /// Takes the guest's output.
    pub console: &'a Console,
}

/// Why a virtual machine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// The switch did not start.
    #[error("the vsock switch did not start")]
    Switch(#[from] SwitchError),
    /// QEMU did not start.
    #[error("the virtual machine did not start")]
    Qemu(#[from] QemuError),
    /// The machine refused a socket or a thread.
    #[error("cannot make {what}")]
    Resource {
        /// What was to be made.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl VmError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Switch(error) => error.rule(),
            Self::Qemu(error) => error.rule(),
            Self::Resource { .. } => "vm.resource",
        }
    }
}

/// A running virtual machine. Dropping it kills it and ends its switch.
#[derive(Debug)]
pub struct Vm {
    // Before the switch: QEMU must not outlive the other end of its vsock.
    process: QemuProcess,
    _switch: Option<SwitchHandle>,
    console: JoinHandle<()>,
    // Our ends of the guest's sockets, to close them under the threads that use them.
    ends: Vec<UnixStream>,
}

impl Vm {
    /// Starts everything. `security` answers this machine and no other: its port is a socket pair
    /// whose other end only this QEMU holds.
    ///
    /// To be called on a thread that lives as long as the process ([`QemuProcess::start`]).
    ///
    /// # Errors
    /// [`VmError`], with nothing left running.
    pub fn start(
        plan: &Plan<'_>,
        accelerator: Accelerator,
        security: SecurityModule,
        events: &VmEvents,
    ) -> Result<Self, VmError> {
        let (ours, theirs) = sockets()?;
        let (switch, vsock) = switch(plan, events)?;
        let ends = ours.reopened()?;
        serve_nsm(ours.nsm, security, events.clone())?;
        read_status(ours.status, events.clone())?;
        let console = plan
            .console
            .drain(ours.console)
            .map_err(resource("the console's thread"))?;

        let files = [
            reopen(&plan.image.kernel, "the kernel's descriptor")?,
            reopen(&plan.image.initrd, "the ramdisk's descriptor")?,
        ];
        let arguments = machine(plan, accelerator, &files, &theirs, vsock.as_ref()).arguments();
        let mut inherited = Vec::from(files);
        inherited.extend([theirs.nsm, theirs.status, theirs.console].map(OwnedFd::from));
        inherited.extend(vsock);
        let failed = events.clone();
        let process = QemuProcess::start(plan.program, &arguments, inherited, move || {
            failed.kvm_failed();
        })?;
        Ok(Self {
            process,
            _switch: switch,
            console,
            ends,
        })
    }

    /// The exit status, if QEMU has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Kills the virtual machine, waits for its end and the end of its console, and gives back
    /// QEMU's last words.
    pub fn kill(self) -> String {
        let messages = self.process.kill();
        for end in &self.ends {
            // One that is closed already is as good.
            let _ = end.shutdown(Shutdown::Both);
        }
        // It reads what is left and ends; it cannot panic.
        let _ = self.console.join();
        messages
    }
}

/// One side of the guest's private sockets.
struct Sockets {
    nsm: UnixStream,
    status: UnixStream,
    console: UnixStream,
}

impl Sockets {
    fn reopened(&self) -> Result<Vec<UnixStream>, VmError> {
        [&self.nsm, &self.status, &self.console]
            .into_iter()
            .map(UnixStream::try_clone)
            .collect::<io::Result<_>>()
            .map_err(resource("the sockets' descriptors"))
    }
}

/// Both sides of the guest's private sockets: ours first.
fn sockets() -> Result<(Sockets, Sockets), VmError> {
    let pair = || UnixStream::pair().map_err(resource("the guest's sockets"));
    let (nsm, status, console) = (pair()?, pair()?, pair()?);
    let side = |nsm, status, console| Sockets {
        nsm,
        status,
        console,
    };
    Ok((
        side(nsm.0, status.0, console.0),
        side(nsm.1, status.1, console.1),
    ))
}

/// The switch and QEMU's end of it, unless the kernel serves the guest's vsock.
fn switch(
    plan: &Plan<'_>,
    events: &VmEvents,
) -> Result<(Option<SwitchHandle>, Option<OwnedFd>), VmError> {
    if plan.vsock == VsockMode::Kernel {
        return Ok((None, None));
    }
    let own = plan.directory.join("vsock.sock");
    let shared = plan.state.join("vsock");
    let config = SwitchConfig::new(plan.identity.cid, own.clone(), vec![own, shared]);
    let (handle, front) = Switch::start(config)?;
    watch_switch(&handle, events.clone())?;
    Ok((Some(handle), Some(front)))
}

fn machine<'a>(
    plan: &Plan<'a>,
    accelerator: Accelerator,
    [kernel, initrd]: &[OwnedFd; 2],
    guest: &Sockets,
    vsock: Option<&OwnedFd>,
) -> Machine<'a> {
    Machine {
        name: &plan.identity.id,
        accelerator,
        memory_mib: plan.memory_mib,
        cpus: plan.cpus,
        kernel: kernel.as_raw_fd(),
        initrd: initrd.as_raw_fd(),
        cmdline: &plan.image.cmdline,
        console: guest.console.as_raw_fd(),
        nsm: guest.nsm.as_raw_fd(),
        status: guest.status.as_raw_fd(),
        vsock: match vsock {
            Some(front) => VsockDevice::Switch(front.as_raw_fd()),
            None => VsockDevice::Kernel(plan.identity.cid),
        },
    }
}

fn serve_nsm(
    port: UnixStream,
    mut security: SecurityModule,
    events: VmEvents,
) -> Result<(), VmError> {
    spawn("nsm", move || {
        let answer =
            |request: &[u8]| security.handle(request, SystemTime::now(), &mut UnwrapErr(SysRng));
        events.send(VmEvent::NsmEnded(nsm::serve(port, answer)));
    })
}

fn read_status(port: UnixStream, events: VmEvents) -> Result<(), VmError> {
    spawn("status", move || {
        status::read(port, |status| events.send(VmEvent::Status(status)));
        events.send(VmEvent::StatusEnded);
    })
}

fn watch_switch(handle: &SwitchHandle, events: VmEvents) -> Result<(), VmError> {
    let ended = handle
        .ended()
        .try_clone_to_owned()
        .map_err(resource("the switch's descriptor"))?;
    spawn("switch-watch", move || {
        let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        events.send(VmEvent::SwitchEnded);
    })
}

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<(), VmError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(PORT_STACK)
        .spawn(body)
        .map(drop)
        .map_err(resource("a port's thread"))
}

fn reopen(file: &impl AsFd, what: &'static str) -> Result<OwnedFd, VmError> {
    file.as_fd().try_clone_to_owned().map_err(resource(what))
}

fn resource(what: &'static str) -> impl FnOnce(io::Error) -> VmError {
    move |source| VmError::Resource { what, source }
}
