//! Starting, watching and ending a switch.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use vhost::vhost_user::{Error as VhostError, Listener};
use vhost_user_backend::{Error as DaemonError, ShutdownHandle, VhostUserDaemon};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap, VolatileSlice};
use vmm_sys_util::epoll::EventSet;

use crate::config::{SwitchConfig, VHOST_SUFFIX};
use crate::device::{Device, HOST_EVENT};
use crate::error::SwitchError;
use crate::io;
use crate::listen::BoundSocket;

type SharedDevice = Arc<Mutex<Device>>;
type Daemon = VhostUserDaemon<SharedDevice>;

/// Starts switches.
#[derive(Debug)]
pub struct Switch;

impl Switch {
    /// Starts a switch on threads of its own and returns its handle and the front end's side of
    /// the vhost-user connection, already connected: QEMU takes it as
    /// `-chardev socket,id=vsock,fd=<N>` for `-device vhost-user-vsock-pci,chardev=vsock` (or
    /// `-device vhost-user-vsock-device,…`). The descriptor is close-on-exec. The guest's memory
    /// must be shareable (`-object memory-backend-memfd,share=on`).
    ///
    /// When it returns, the listening socket stands and no path leads to the vhost-user
    /// connection any more.
    ///
    /// # Errors
    /// [`SwitchError`] when the configuration contradicts itself, a socket cannot be made, or the
    /// machine has no resources left.
    pub fn start(config: SwitchConfig) -> Result<(SwitchHandle, OwnedFd), SwitchError> {
        config.check()?;
        let vhost_path = vhost_path(&config.listen_path);
        let listener = BoundSocket::bind(&config.listen_path)?;
        let drain_deadline = config.limits.drain_deadline;
        let device = Device::new(config, listener)?;
        let events_fd = device.events_fd();
        let device = Arc::new(Mutex::new(device));

        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let mut daemon = Daemon::new("vsock-vhost".to_owned(), device.clone(), memory)?;
        for handler in daemon.get_epoll_handlers() {
            handler
                .register_listener(events_fd, EventSet::IN, HOST_EVENT.into())
                .map_err(|source| SwitchError::Resource {
                    what: "the event loop",
                    source,
                })?;
        }
        let frontend = connect(&mut daemon, &vhost_path)?;
        let handle = SwitchHandle::supervise(daemon, device, drain_deadline)?;
        Ok((handle, frontend.into()))
    }
}

/// A running switch. Dropping the handle ends it.
pub struct SwitchHandle {
    shutdown: ShutdownHandle,
    ended: Arc<EventFd>,
    supervisor: Option<JoinHandle<Result<(), SwitchError>>>,
}

impl SwitchHandle {
    /// A descriptor that becomes readable when the switch has ended, for whatever reason, so that
    /// an event loop can watch it. Reading it is not necessary.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Asks the switch to end; does not wait for it. Idempotent.
    pub fn stop(&self) {
        self.shutdown.shutdown();
    }

    /// Waits until the switch has ended: after [`stop`](Self::stop), or because the virtual
    /// machine monitor hung up, both of which are no errors.
    ///
    /// # Errors
    /// [`SwitchError::Frontend`] when the vhost-user protocol was broken, [`SwitchError::Fault`]
    /// when the switch itself failed.
    pub fn wait(mut self) -> Result<(), SwitchError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), SwitchError> {
        match self.supervisor.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(SwitchError::Fault("the supervising thread panicked")),
        }
    }

    fn supervise(
        daemon: Daemon,
        device: SharedDevice,
        drain_deadline: Duration,
    ) -> Result<Self, SwitchError> {
        let shutdown = daemon.shutdown_handle().ok_or(SwitchError::Fault(
            "the vhost-user connection has no handle",
        ))?;
        lock(&device).set_shutdown(shutdown.clone());
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let ended = EventFd::from_flags(flags).map_err(|errno| SwitchError::Resource {
            what: "the event of the switch's end",
            source: errno.into(),
        })?;
        let ended = Arc::new(ended);
        let signal = ended.clone();
        let supervisor = thread::Builder::new()
            .name("vsock-end".to_owned())
            .spawn(move || {
                let result = serve(daemon, &device, drain_deadline);
                // An eventfd's counter cannot overflow by one.
                let _ = signal.write(1);
                result
            })
            .map_err(|source| SwitchError::Resource {
                what: "the supervising thread",
                source,
            })?;
        Ok(Self {
            shutdown,
            ended,
            supervisor: Some(supervisor),
        })
    }
}

impl Drop for SwitchHandle {
    fn drop(&mut self) {
        self.stop();
        if let Err(error) = self.join() {
            log::warn!("the vsock switch ended with an error: {error}");
        }
    }
}

impl fmt::Debug for SwitchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchHandle").finish_non_exhaustive()
    }
}

/// Connects the daemon to itself through a path that is gone before anybody learns of it: QEMU
/// gets the other end by descriptor.
fn connect(daemon: &mut Daemon, path: &Path) -> Result<UnixStream, SwitchError> {
    let socket = BoundSocket::bind(path)?;
    let resource = |source| SwitchError::Resource {
        what: "the vhost-user connection",
        source,
    };
    let frontend = UnixStream::connect(path).map_err(resource)?;
    let listener = socket.listener().try_clone().map_err(resource)?;
    drop(socket);
    daemon.start(&mut Listener::from(listener))?;
    Ok(frontend)
}

fn vhost_path(listen_path: &Path) -> PathBuf {
    let mut path = OsString::from(listen_path);
    path.push(VHOST_SUFFIX);
    path.into()
}

/// Serves until the front end hangs up or the switch is stopped, then lets the host's readers have
/// what is left for them.
fn serve(
    mut daemon: Daemon,
    device: &SharedDevice,
    drain_deadline: Duration,
) -> Result<(), SwitchError> {
    let result = outcome(daemon.wait());
    let (rest, failed) = {
        let mut device = lock(device);
        (device.end(), device.failed())
    };
    // Ends the thread of the event loop.
    drop(daemon);
    drain(rest, Instant::now() + drain_deadline);
    if failed {
        return Err(SwitchError::Fault("its event loop ended"));
    }
    result
}

/// Sends each socket what is left for it, until `deadline`.
fn drain(mut rest: Vec<(UnixStream, VecDeque<u8>)>, deadline: Instant) {
    while !rest.is_empty() {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = PollTimeout::try_from(timeout) else {
            return;
        };
        let mut sockets: Vec<_> = rest
            .iter()
            .map(|(socket, _)| PollFd::new(socket.as_fd(), PollFlags::POLLOUT))
            .collect();
        if matches!(poll(&mut sockets, timeout), Ok(0)) {
            log::warn!(
                "{} streams end before their readers took everything",
                rest.len()
            );
            return;
        }
        rest.retain_mut(|(socket, bytes)| send_some(socket, bytes));
    }
}

/// Sends what the socket takes now; whether it is worth trying again comes back.
fn send_some(socket: &UnixStream, bytes: &mut VecDeque<u8>) -> bool {
    let (front, back) = bytes.as_mut_slices();
    let pieces = [VolatileSlice::from(front), VolatileSlice::from(back)];
    match io::send(socket.as_fd(), &pieces) {
        Ok(sent) => {
            bytes.drain(..sent);
            !bytes.is_empty()
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// The device, whatever happened to another holder of the lock.
fn lock(device: &SharedDevice) -> MutexGuard<'_, Device> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A front end that hangs up, even in the middle of a message, is a virtual machine that ended.
fn outcome(result: Result<(), DaemonError>) -> Result<(), SwitchError> {
    match result {
        Ok(())
        | Err(DaemonError::HandleRequest(
            VhostError::Disconnected | VhostError::PartialMessage | VhostError::SocketBroken(_),
        )) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
