//! The host's side of the switch: dials, listens, forwards, and keeps the table of streams told.

mod inward;
mod outward;

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;

use crate::config::SwitchConfig;
use crate::endpoint::Endpoint;
use crate::error::SwitchError;
use crate::handshake::Handshake;
use crate::listen::BoundSocket;
use crate::poller::{Poller, Token};
use crate::protocol::{Slab, StreamId, Table, TableConfig};

/// How long a full backlog, or a machine without descriptors, is left alone.
const RETRY: Duration = Duration::from_millis(10);

/// How long a stream with data may wait for credit before the guest is asked for it.
const STALL: Duration = Duration::from_millis(500);

/// Everything on the host's side, and the table of streams between it and the guest.
pub(crate) struct Hub {
    pub(crate) table: Table<Endpoint>,
    pub(crate) poller: Poller,
    /// Whether the guest's driver has its queues running.
    pub(crate) guest_up: bool,
    config: SwitchConfig,
    listener: Option<BoundSocket>,
    /// When the listener is watched again, if it is not now.
    listen_again: Option<Instant>,
    handshakes: Slab<Handshake>,
    /// Streams whose host socket's backlog was full, and when it is tried again.
    redials: VecDeque<StreamId>,
    redial_at: Option<Instant>,
    /// When guests are asked for credit that they should have told of.
    ask_at: Option<Instant>,
}

impl Hub {
    /// Takes the listening socket and watches it.
    pub(crate) fn new(config: SwitchConfig, listener: BoundSocket) -> Result<Self, SwitchError> {
        let resource = |source| SwitchError::Resource {
            what: "the event loop",
            source,
        };
        let poller = Poller::new().map_err(resource)?;
        poller
            .add(listener.listener(), Token::Listener, EpollFlags::EPOLLIN)
            .map_err(resource)?;
        let table = Table::new(TableConfig {
            guest_cid: config.guest_cid,
            console_port: config.console.as_ref().map(|console| console.port),
            limits: config.limits,
        });
        Ok(Self {
            table,
            poller,
            guest_up: false,
            handshakes: Slab::new(config.limits.handshakes),
            config,
            listener: Some(listener),
            listen_again: None,
            redials: VecDeque::new(),
            redial_at: None,
            ask_at: None,
        })
    }

    /// Takes what happened on the host since the last call.
    pub(crate) fn poll(&mut self, now: Instant) -> io::Result<()> {
        for (token, flags) in self.poller.take()? {
            match token {
                Token::Listener => self.accept(now),
                Token::Handshake(id) => self.advance(id, now),
                Token::Stream(id) => self.stream_event(id, flags, now),
                Token::Timer => self.time_passed(now),
                Token::Reminder => {}
            }
        }
        Ok(())
    }

    /// Has the timer fire when the next thing is due.
    pub(crate) fn set_timer(&mut self, also: Option<Instant>, now: Instant) {
        let handshakes = self
            .handshakes
            .iter()
            .map(|(_, handshake)| handshake.deadline);
        if self.table.is_stalled() {
            self.ask_at.get_or_insert(now + STALL);
        }
        let due = [
            also,
            self.listen_again,
            self.redial_at,
            self.ask_at,
            self.table.next_deadline(),
        ];
        if let Some(next) = due.into_iter().flatten().chain(handshakes).min() {
            self.poller.wake_at(next, now);
        }
    }

    pub(crate) fn time_passed(&mut self, now: Instant) {
        if self.listen_again.is_some_and(|when| when <= now) {
            self.watch_listener(true);
        }
        if self.redial_at.is_some_and(|when| when <= now) {
            self.redial_at = None;
            for id in std::mem::take(&mut self.redials) {
                self.dial(id, now);
            }
        }
        if self.ask_at.is_some_and(|when| when <= now) {
            self.ask_at = None;
            self.table.ask_for_credit();
        }
        let late: Vec<_> = self
            .handshakes
            .iter()
            .filter(|(_, handshake)| handshake.deadline <= now)
            .map(|(id, _)| id)
            .collect();
        for id in late {
            self.end_handshake(id);
        }
        for id in self.table.expired(now) {
            self.table.finish(id);
        }
    }

    /// The guest is gone: its streams end, those of which the host has not taken everything yet
    /// as soon as it has.
    pub(crate) fn guest_gone(&mut self) {
        self.guest_up = false;
        drop(self.table.guest_gone());
    }

    /// Ends every stream; the sockets that the host has not taken everything from come back with
    /// what is left.
    pub(crate) fn take_rest(&mut self) -> Vec<(UnixStream, VecDeque<u8>)> {
        let all = self.table.end().into_iter();
        all.filter_map(|departed| departed.host.into_rest())
            .collect()
    }

    /// Takes no more clients, and removes the listening socket's path.
    pub(crate) fn close(&mut self) {
        self.listener = None;
        let ids: Vec<_> = self.handshakes.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.handshakes.remove(id);
        }
        let counters = self.table.counters();
        log::info!(
            "vsock switch: {} streams, {} bytes to the host, {} to the guest, {} resets, \
             {} packets dropped",
            counters.opened,
            counters.to_host,
            counters.to_guest,
            counters.reset,
            counters.dropped
        );
    }
}
