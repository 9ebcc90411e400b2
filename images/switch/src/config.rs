//! What a switch is told: the guest, the sockets, the limits.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::SwitchError;

/// The CID by which an enclave addresses its parent instance (AWS Nitro Enclaves: "the parent
/// instance CID is always 3").
pub const PARENT_CID: u32 = 3;

/// The CID of the host in the vsock address family (`VMADDR_CID_HOST`). On the switch it means the
/// parent as well, so that software written for a plain host works unchanged.
pub const HOST_CID: u32 = 2;

/// The CID of the hypervisor (`VMADDR_CID_HYPERVISOR`), which on Nitro carries the console.
pub const HYPERVISOR_CID: u32 = 0;

/// The lowest CID an enclave may have: 0, 1 and 2 are reserved by the address family, 3 is the
/// parent instance.
pub const MIN_GUEST_CID: u32 = 4;

/// Everything [`Switch::start`](crate::Switch::start) needs.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// CID of the enclave, at least [`MIN_GUEST_CID`] and not `VMADDR_CID_ANY` (2³² − 1).
    pub guest_cid: u32,
    /// Unix socket that the switch makes, mode 0600, for host → guest connections: the client
    /// writes `CONNECT <port>\n` and reads `OK <port>\n` (Firecracker's convention). Nothing may
    /// stand at the path. While the switch starts, `<listen_path>.vhost` exists as well.
    /// Its directory must be closed to other users.
    pub listen_path: PathBuf,
    /// Guest → host: a connection to port `P` of CID 2 or 3 goes to the Unix socket
    /// `<prefix>_<P>` of the first prefix where one answers.
    pub connect_prefixes: Vec<PathBuf>,
    /// Guest → hypervisor (CID 0): without it, every connection to CID 0 is reset.
    pub console: Option<ConsolePort>,
    /// Bounds on what guest and host can make the switch hold.
    pub limits: Limits,
}

impl SwitchConfig {
    /// A configuration without console port and with the default [`Limits`].
    pub fn new(guest_cid: u32, listen_path: PathBuf, connect_prefixes: Vec<PathBuf>) -> Self {
        Self {
            guest_cid,
            listen_path,
            connect_prefixes,
            console: None,
            limits: Limits::default(),
        }
    }
}

/// The one port of CID 0 that the guest may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsolePort {
    /// Port number; on Nitro it is the enclave's CID + 10000.
    pub port: u32,
    /// The Unix socket that answers.
    pub path: PathBuf,
}

/// Bounds on everything that a guest or a local client can make the switch hold.
///
/// Memory: a stream buffers only what its host socket did not take, at most its window, and the
/// windows of all streams together never exceed [`buffer_budget`](Self::buffer_budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at the same time, both directions together. Further ones are reset (guest) or
    /// closed (host).
    pub streams: usize,
    /// The largest receive window of a stream in bytes: what the guest may have on the way and in
    /// the buffer. A power of two.
    pub window: u32,
    /// The smallest, for when there are many streams: each new one gets a part of what is left of
    /// the budget. A power of two; `streams` of them must fit in the budget.
    pub small_window: u32,
    /// Sum of the windows of all streams, in bytes.
    pub buffer_budget: usize,
    /// Host → guest connections whose client has not finished its `CONNECT` line. While there are
    /// so many, no further one is accepted.
    pub handshakes: usize,
    /// How long a client may take for its `CONNECT` line.
    pub handshake_deadline: Duration,
    /// How long the guest may take to answer a host → guest request.
    pub response_deadline: Duration,
    /// How long a connect to a host socket whose backlog is full is tried again; 2 s is the
    /// guest kernel's own limit (`VSOCK_DEFAULT_CONNECT_TIMEOUT`).
    pub dial_deadline: Duration,
    /// How long after a SHUTDOWN of both directions the peer's RST is waited for; 8 s is the guest
    /// kernel's own limit (`VSOCK_CLOSE_TIMEOUT`).
    pub close_deadline: Duration,
    /// Resets waiting for a buffer of the guest's. At the limit the guest's transmit queue rests
    /// until it takes some.
    pub pending_resets: usize,
    /// How long, after the guest is gone, buffered bytes may still go out to the host's readers.
    pub drain_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 256,
            window: 256 * 1024,
            small_window: 8 * 1024,
            buffer_budget: 12 * 1024 * 1024,
            handshakes: 64,
            handshake_deadline: Duration::from_secs(5),
            response_deadline: Duration::from_secs(10),
            dial_deadline: Duration::from_secs(2),
            close_deadline: Duration::from_secs(8),
            pending_resets: 1024,
            drain_deadline: Duration::from_secs(2),
        }
    }
}

impl SwitchConfig {
    /// Refuses what contradicts itself.
    pub(crate) fn check(&self) -> Result<(), SwitchError> {
        let max = u32::MAX - 1;
        if !(MIN_GUEST_CID..=max).contains(&self.guest_cid) {
            return Err(SwitchError::GuestCid {
                got: self.guest_cid,
                min: MIN_GUEST_CID,
                max,
            });
        }
        self.check_paths()?;
        self.limits.check()
    }

    /// Refuses paths that no socket can have, before every connection to them fails.
    fn check_paths(&self) -> Result<(), SwitchError> {
        let listen = [(&self.listen_path, VHOST_SUFFIX.len())];
        let prefixes = self
            .connect_prefixes
            .iter()
            .map(|path| (path, LONGEST_PORT.len()));
        let console = self.console.iter().map(|console| (&console.path, 0));
        for (path, suffix) in listen.into_iter().chain(prefixes).chain(console) {
            let got = path.as_os_str().len() + suffix;
            if got > MAX_SOCKET_PATH {
                return Err(SwitchError::PathTooLong {
                    path: path.clone(),
                    got,
                    most: MAX_SOCKET_PATH,
                });
            }
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<(), SwitchError> {
        let windows = [("window", self.window), ("small_window", self.small_window)];
        for (limit, got) in windows {
            if !got.is_power_of_two() || !WINDOW_RANGE.contains(&got) {
                return Err(SwitchError::Limit {
                    limit,
                    requirement: "a power of two from 4 KiB to 1 MiB",
                    got: got.into(),
                });
            }
        }
        if self.small_window > self.window {
            return Err(SwitchError::Limit {
                limit: "small_window",
                requirement: "at most the window",
                got: self.small_window.into(),
            });
        }
        let counts = [
            ("streams", self.streams, MAX_STREAMS),
            ("handshakes", self.handshakes, MAX_STREAMS),
            ("pending_resets", self.pending_resets, MAX_PENDING_RESETS),
        ];
        for (limit, got, most) in counts {
            if got == 0 || got > most {
                return Err(SwitchError::Limit {
                    limit,
                    requirement: "at least 1 and at most 65536",
                    got: got as u64,
                });
            }
        }
        let least = self.streams as u64 * u64::from(self.small_window);
        if (self.buffer_budget as u64) < least {
            return Err(SwitchError::Limit {
                limit: "buffer_budget",
                requirement: "room for the small window of every stream",
                got: self.buffer_budget as u64,
            });
        }
        Ok(())
    }
}

/// What stands behind the listening socket's path while the switch connects to itself.
pub(crate) const VHOST_SUFFIX: &str = ".vhost";

/// What stands behind a prefix, at most.
const LONGEST_PORT: &str = "_4294967295";

/// `sockaddr_un` holds 108 bytes, one of which ends the path (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// A window below a page makes no progress worth having; one above 1 MiB is no bound.
const WINDOW_RANGE: std::ops::RangeInclusive<u32> = 4096..=1 << 20;
const MAX_STREAMS: usize = 65536;
const MAX_PENDING_RESETS: usize = 65536;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut SwitchConfig)) -> &'static str {
        let mut config = SwitchConfig::new(MIN_GUEST_CID, "/nowhere".into(), Vec::new());
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err().rule()
    }

    #[test]
    fn reserved_cids_are_refused() {
        for cid in [0, 1, HOST_CID, PARENT_CID, u32::MAX] {
            assert_eq!(refused(|config| config.guest_cid = cid), "switch.guest-cid");
        }
    }

    #[test]
    fn paths_that_no_socket_can_have_are_refused() {
        let long = || PathBuf::from("/".to_owned() + &"x".repeat(101));
        let changes: [fn(&mut SwitchConfig, PathBuf); 3] = [
            |config, path| config.listen_path = path,
            |config, path| config.connect_prefixes.push(path),
            |config, path| {
                let path = path.join("longer");
                config.console = Some(ConsolePort { port: 1, path });
            },
        ];
        for change in changes {
            assert_eq!(
                refused(|config| change(config, long())),
                "switch.path-length"
            );
        }
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let changes: [fn(&mut Limits); 7] = [
            |limits| limits.window = 100_000,
            |limits| limits.window = 1 << 21,
            |limits| limits.small_window = 2048,
            |limits| limits.small_window = limits.window * 2,
            |limits| limits.streams = 0,
            |limits| limits.handshakes = 1 << 20,
            |limits| limits.buffer_budget = limits.streams * limits.small_window as usize - 1,
        ];
        for change in changes {
            assert_eq!(refused(|config| change(&mut config.limits)), "switch.limit");
        }
    }
}
