//! Guest to host: dialling, forwarding, and the guest's ends.

use std::ffi::OsString;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use vm_memory::VolatileSlice;

use super::{Hub, RETRY};
use crate::endpoint::Endpoint;
use crate::protocol::{Header, HostCid, Key, SHUTDOWN_RECEIVE, StreamId, Verdict};

impl Hub {
    /// Does what the table said about a packet without payload.
    pub(crate) fn act(&mut self, verdict: Verdict<Endpoint>, now: Instant) {
        match verdict {
            Verdict::Nothing | Verdict::Data(_) => {}
            Verdict::Dial(id) => self.dial(id, now),
            Verdict::Answered(id) => self.tell_client(id),
            Verdict::Settle(id) => self.settle(id),
            // Closes the socket.
            Verdict::Departed(departed) => drop(departed),
        }
    }

    /// Resets what a packet belongs to whose buffers are not as its header says.
    pub(crate) fn malformed(&mut self, header: &Header, now: Instant) {
        let verdict = self.table.malformed(header);
        self.act(verdict, now);
    }

    /// Connects the host's socket of a new stream, or refuses the stream.
    pub(super) fn dial(&mut self, id: StreamId, now: Instant) {
        let Some(key) = self.table.key_of(id) else {
            return;
        };
        match self.dial_first(key) {
            Ok(socket) => {
                let Some(endpoint) = self.table.host_mut(id) else {
                    return;
                };
                endpoint.attach(socket);
                if endpoint.watch(&self.poller, id, false).is_ok() {
                    self.table.connected(id);
                } else {
                    self.table.refused(id);
                }
            }
            Err(Errno::EAGAIN) => {
                self.redials.push_back(id);
                self.redial_at.get_or_insert(now + RETRY);
            }
            Err(_) => {
                self.table.refused(id);
            }
        }
    }

    /// The first socket that answers for `key`. A full backlog (`EAGAIN`) is somebody who will.
    pub(super) fn dial_first(&self, key: Key) -> Result<UnixStream, Errno> {
        let port = key.host_port;
        let paths: Vec<PathBuf> = match (key.host_cid, &self.config.console) {
            (HostCid::Hypervisor, Some(console)) => vec![console.path.clone()],
            (HostCid::Hypervisor, None) => Vec::new(),
            _ => {
                let prefixes = self.config.connect_prefixes.iter();
                prefixes.map(|prefix| port_path(prefix, port)).collect()
            }
        };
        let mut last = Errno::ENOENT;
        for path in paths {
            match dial_path(&path) {
                Err(errno) if errno != Errno::EAGAIN => last = errno,
                answered => return answered,
            }
        }
        Err(last)
    }

    /// Sends the payload of a packet to the host's socket of its stream.
    pub(crate) fn forward(&mut self, id: StreamId, pieces: &[VolatileSlice<'_>], now: Instant) {
        let Some(endpoint) = self.table.host_mut(id) else {
            return;
        };
        match endpoint.push(pieces, &self.poller, id) {
            Ok(taken) => self.table.forwarded(id, saturate(taken)),
            Err(_) => self.host_takes_no_more(id, now),
        }
    }

    /// The host's socket takes bytes again.
    pub(super) fn flush(&mut self, id: StreamId, now: Instant) {
        let Some(endpoint) = self.table.host_mut(id) else {
            return;
        };
        match endpoint.flush(&self.poller, id) {
            Ok(flushed) => {
                self.table.forwarded(id, saturate(flushed));
                self.settle(id);
            }
            Err(_) => self.host_takes_no_more(id, now),
        }
    }

    pub(super) fn host_takes_no_more(&mut self, id: StreamId, now: Instant) {
        if let Some(endpoint) = self.table.host_mut(id) {
            endpoint.discard();
        }
        self.table.host_ended(id, SHUTDOWN_RECEIVE, now);
        self.settle(id);
    }

    /// Does what has become due on the host's socket of a stream.
    pub(super) fn settle(&mut self, id: StreamId) {
        let duty = self.table.duty(id);
        if let Some(socket) = self.table.host(id).and_then(Endpoint::socket) {
            // The peer may have hung up, which is the same.
            if duty.shut_read {
                let _ = socket.shutdown(Shutdown::Read);
            }
            if duty.shut_write {
                let _ = socket.shutdown(Shutdown::Write);
            }
        }
        if duty.close {
            self.table.finish(id);
        }
    }
}

/// `<prefix>_<port>`.
fn port_path(prefix: &Path, port: u32) -> PathBuf {
    let mut path = OsString::from(prefix);
    path.push(format!("_{port}"));
    path.into()
}

/// Connects to a Unix socket without waiting: the kernel accepts or refuses at once.
fn dial_path(path: &Path) -> Result<UnixStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd.into())
}

fn saturate(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
