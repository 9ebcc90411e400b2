//! Host to guest: clients, their requests, and what sockets have to say.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;
use vm_memory::VolatileSlice;

use super::{Hub, RETRY};
use crate::endpoint::Endpoint;
use crate::handshake::{self, Handshake, Progress};
use crate::poller::Token;
use crate::protocol::{Phase, SHUTDOWN_BOTH, SHUTDOWN_SEND, StreamId};

/// Clients accepted in one go, so that many of them do not keep the streams waiting.
const ACCEPT_BATCH: usize = 16;

impl Hub {
    pub(super) fn stream_event(&mut self, id: StreamId, flags: EpollFlags, now: Instant) {
        let hangup = flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        let Some(endpoint) = self.table.host_mut(id) else {
            return;
        };
        endpoint.hangup |= hangup;
        endpoint.read_hangup |= hangup || flags.contains(EpollFlags::EPOLLRDHUP);
        let ended = endpoint.read_end && hangup;
        let buffered = endpoint.buffered() > 0;
        if buffered && flags.intersects(EpollFlags::EPOLLOUT | EpollFlags::EPOLLHUP) {
            self.flush(id, now);
        }
        if self.gave_up_waiting(id) {
            // The client left before the guest answered; if it still does, it gets a reset.
            self.table.abandon(id);
        } else if ended {
            self.table.host_ended(id, SHUTDOWN_BOTH, now);
        } else if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP) || hangup {
            self.table.set_readable(id, true);
        }
    }

    pub(super) fn gave_up_waiting(&self, id: StreamId) -> bool {
        let requesting = self
            .table
            .stream(id)
            .is_some_and(|stream| stream.phase() == Phase::Requesting);
        requesting && self.table.host(id).is_some_and(|endpoint| endpoint.hangup)
    }

    /// The last read of a stream's socket gave its end, or an error.
    pub(crate) fn read_ended(&mut self, id: StreamId, failed: bool, now: Instant) {
        let Some(endpoint) = self.table.host_mut(id) else {
            return;
        };
        endpoint.read_end = true;
        let both = failed || endpoint.hangup;
        if both {
            endpoint.discard();
        }
        self.table.set_readable(id, false);
        let flags = if both { SHUTDOWN_BOTH } else { SHUTDOWN_SEND };
        self.table.host_ended(id, flags, now);
        self.settle(id);
    }

    /// Tells a client that the guest accepted; one that cannot even take that is dropped.
    pub(super) fn tell_client(&mut self, id: StreamId) {
        let (Some(key), Some(endpoint)) = (self.table.key_of(id), self.table.host_mut(id)) else {
            return;
        };
        let mut line = handshake::accepted(key.host_port).into_bytes();
        let len = line.len();
        let told = endpoint.push(&[VolatileSlice::from(&mut line[..])], &self.poller, id);
        if !told.is_ok_and(|taken| taken == len) {
            self.table.finish(id);
        }
    }

    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = &self.listener else {
                return;
            };
            if self.handshakes.is_full() {
                // Watched again when a handshake ends.
                self.watch_listener(false);
                return;
            }
            match listener.listener().accept() {
                Ok((socket, _)) => self.greet(socket, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    // No descriptors or no memory: not a reason to spin.
                    self.watch_listener(false);
                    self.listen_again = Some(now + RETRY);
                    return;
                }
            }
        }
    }

    pub(super) fn watch_listener(&mut self, watch: bool) {
        self.listen_again = None;
        if let Some(listener) = &self.listener {
            let flags = if watch {
                EpollFlags::EPOLLIN
            } else {
                EpollFlags::empty()
            };
            if let Err(error) = self
                .poller
                .modify(listener.listener(), Token::Listener, flags)
            {
                log::warn!("cannot watch the vsock listener: {error}");
            }
        }
    }

    /// A client has connected: its line is awaited, unless there is no guest to connect it to.
    pub(super) fn greet(&mut self, socket: UnixStream, now: Instant) {
        if !self.guest_up || socket.set_nonblocking(true).is_err() {
            return;
        }
        let deadline = now + self.config.limits.handshake_deadline;
        let Ok(id) = self.handshakes.insert(Handshake::new(socket, deadline)) else {
            return;
        };
        let Some(handshake) = self.handshakes.at(id) else {
            return;
        };
        let token = Token::Handshake(id);
        if self
            .poller
            .add(&handshake.socket, token, EpollFlags::EPOLLIN)
            .is_err()
        {
            self.end_handshake(id);
        }
    }

    pub(super) fn advance(&mut self, id: StreamId, now: Instant) {
        let Some(handshake) = self.handshakes.at_mut(id) else {
            return;
        };
        match handshake.advance() {
            Progress::Waiting => {}
            Progress::Refused => {
                self.end_handshake(id);
            }
            Progress::Port(port) => {
                if let Some(handshake) = self.end_handshake(id) {
                    self.request(port, handshake.socket, now);
                }
            }
        }
    }

    pub(super) fn end_handshake(&mut self, id: StreamId) -> Option<Handshake> {
        let was_full = self.handshakes.is_full();
        let handshake = self.handshakes.remove(id);
        if was_full {
            self.watch_listener(true);
        }
        handshake
    }

    /// Asks the guest for a port on behalf of a client.
    pub(super) fn request(&mut self, port: u32, socket: UnixStream, now: Instant) {
        if !self.guest_up {
            return;
        }
        let Ok((id, _)) = self.table.open(port, Endpoint::new(socket), now) else {
            return;
        };
        let watched = self
            .table
            .host(id)
            .is_some_and(|endpoint| endpoint.watch(&self.poller, id, true).is_ok());
        if !watched {
            self.table.abandon(id);
        }
    }
}
