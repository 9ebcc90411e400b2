//! One stream: a connection between a port of the guest's and a port of the host's.

use std::time::Instant;

use super::credit::{ReceiveWindow, SendCredit};
use super::packet::{Header, Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, TYPE_STREAM};
use crate::config::{HOST_CID, HYPERVISOR_CID, PARENT_CID};

/// The CIDs that exist on the host's side of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostCid {
    /// 0: the console, where one is configured.
    Hypervisor,
    /// 2: the parent instance, by the name it has on a plain host.
    Host,
    /// 3: the parent instance.
    Parent,
}

impl HostCid {
    /// The host's CID with this number, if there is one.
    pub fn from_number(cid: u64) -> Option<Self> {
        [Self::Hypervisor, Self::Host, Self::Parent]
            .into_iter()
            .find(|candidate| candidate.number() == cid)
    }

    /// The number.
    pub fn number(self) -> u64 {
        u64::from(match self {
            Self::Hypervisor => HYPERVISOR_CID,
            Self::Host => HOST_CID,
            Self::Parent => PARENT_CID,
        })
    }
}

/// What tells streams apart; the guest's CID is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The CID by which the guest addresses the host: replies carry it.
    pub host_cid: HostCid,
    /// The host's port.
    pub host_port: u32,
    /// The guest's port.
    pub guest_port: u32,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The guest asked; the host's socket is being connected.
    Dialling,
    /// The host asked; the guest's answer is awaited.
    Requesting,
    /// Data may flow.
    Open,
}

/// What a packet on a stream means for its host side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// The guest accepted the host's request.
    Answered,
    /// The packet's payload is to be forwarded.
    Data,
    /// The guest ended a direction.
    Shut,
}

/// The guest broke a rule on this stream, which is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// What is due on the host's socket; each duty is named once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostDuty {
    /// Shut the socket for reading: the guest receives no more.
    pub shut_read: bool,
    /// Shut it for writing: the guest sends no more and everything it sent has gone out.
    pub shut_write: bool,
    /// Close it: the guest has ended both directions and everything has gone out.
    pub close: bool,
}

/// The state of one stream.
#[derive(Debug)]
pub struct Stream {
    phase: Phase,
    receive: ReceiveWindow,
    credit: SendCredit,
    /// Request or response that the guest has not got yet.
    answer: Option<Op>,
    credit_update: bool,
    credit_request: bool,
    /// Directions that the guest ended, as flags.
    guest_shut: u32,
    /// Directions that the host ended, as flags, and those the guest has heard of.
    host_shut: u32,
    told_shut: u32,
    done: HostDuty,
    /// When the stream is given up, if it has not come further by then.
    pub(super) deadline: Option<Instant>,
}

impl Stream {
    /// A stream that the guest asked for with this packet.
    pub(super) fn asked_by_guest(request: &Header, window: u32, deadline: Instant) -> Self {
        let mut stream = Self::new(Phase::Dialling, None, window, deadline);
        stream.credit.update(request.buf_alloc, request.fwd_cnt);
        stream
    }

    /// A stream that the host asks for.
    pub(super) fn asked_by_host(window: u32, deadline: Instant) -> Self {
        Self::new(Phase::Requesting, Some(Op::Request), window, deadline)
    }

    fn new(phase: Phase, answer: Option<Op>, window: u32, deadline: Instant) -> Self {
        Self {
            phase,
            receive: ReceiveWindow::new(window),
            credit: SendCredit::default(),
            answer,
            credit_update: false,
            credit_request: false,
            guest_shut: 0,
            host_shut: 0,
            told_shut: 0,
            done: HostDuty::default(),
            deadline: Some(deadline),
        }
    }

    /// How far the stream has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Bytes of the guest's that have not reached the host.
    pub fn held(&self) -> u32 {
        self.receive.held()
    }

    /// The stream's receive window in bytes.
    pub fn window(&self) -> u32 {
        self.receive.buf_alloc()
    }

    /// Whether the guest has ended both directions.
    pub fn guest_left(&self) -> bool {
        self.guest_shut == SHUTDOWN_BOTH
    }

    /// Takes a packet of the guest's that is neither a request nor a reset.
    pub(super) fn packet(&mut self, op: Op, header: &Header) -> Result<Effect, Violation> {
        self.credit.update(header.buf_alloc, header.fwd_cnt);
        // Its own buffer may have shrunk, and with it what it dares to send.
        self.note_room();
        match (self.phase, op) {
            (Phase::Requesting, Op::Response) => {
                self.phase = Phase::Open;
                self.deadline = None;
                Ok(Effect::Answered)
            }
            (Phase::Open, Op::Data) => self.data(header.len),
            (Phase::Open, Op::Shutdown) => {
                self.guest_shut |= header.flags & SHUTDOWN_BOTH;
                Ok(Effect::Shut)
            }
            (Phase::Open, Op::CreditUpdate) => Ok(Effect::None),
            (Phase::Open, Op::CreditRequest) => {
                self.credit_update = true;
                Ok(Effect::None)
            }
            _ => Err(Violation),
        }
    }

    fn data(&mut self, len: u32) -> Result<Effect, Violation> {
        if self.guest_shut & SHUTDOWN_SEND != 0 {
            return Err(Violation);
        }
        self.receive.receive(len).map_err(|_| Violation)?;
        if self.host_shut & SHUTDOWN_RECEIVE != 0 {
            self.forwarded(len);
            return Ok(Effect::None);
        }
        Ok(Effect::Data)
    }

    /// The host's socket is connected.
    pub(super) fn connected(&mut self) {
        if self.phase == Phase::Dialling {
            self.phase = Phase::Open;
            self.answer = Some(Op::Response);
            self.deadline = None;
        }
    }

    /// `len` bytes went out to the host.
    pub(super) fn forwarded(&mut self, len: u32) {
        self.receive.forward(len);
        self.note_room();
    }

    /// Has the guest told of the room that there is, if it needs to know.
    fn note_room(&mut self) {
        self.credit_update |= self.receive.wants_update(self.credit.buf_alloc());
    }

    /// The host ended directions, as seen from the host; `deadline` holds once both are ended.
    pub(super) fn host_ended(&mut self, flags: u32, deadline: Instant) {
        self.host_shut |= flags & SHUTDOWN_BOTH;
        if self.host_shut & SHUTDOWN_RECEIVE != 0 {
            self.forwarded(self.held());
        }
        if self.host_shut == SHUTDOWN_BOTH && self.deadline.is_none() {
            self.deadline = Some(deadline);
        }
    }

    /// Asks the guest for credit, because there is data and none left.
    pub(super) fn ask_for_credit(&mut self) {
        self.credit_request = true;
    }

    /// Bytes of the host's that may go to the guest now, if only there are some.
    pub fn sendable(&self) -> u32 {
        let ended = self.host_shut & SHUTDOWN_SEND != 0 || self.guest_shut & SHUTDOWN_RECEIVE != 0;
        if self.phase != Phase::Open || ended {
            return 0;
        }
        self.credit.available()
    }

    /// Whether the host's bytes wait for nothing but the guest's credit.
    pub(super) fn stalled(&self) -> bool {
        let ended = self.host_shut & SHUTDOWN_SEND != 0 || self.guest_shut & SHUTDOWN_RECEIVE != 0;
        self.phase == Phase::Open && !ended && self.credit.available() == 0
    }

    /// Whether [`next_control`](Self::next_control) has something.
    pub(super) fn has_control(&self) -> bool {
        self.answer.is_some()
            || (self.phase == Phase::Open
                && (self.host_shut != self.told_shut || self.credit_update || self.credit_request))
    }

    /// The next packet without payload that the guest has to get.
    pub(super) fn next_control(&mut self, key: Key, guest_cid: u64) -> Option<Header> {
        if let Some(op) = self.answer.take() {
            return Some(self.header(key, guest_cid, op, 0, 0));
        }
        if self.phase != Phase::Open {
            return None;
        }
        if self.host_shut != self.told_shut {
            self.told_shut = self.host_shut;
            return Some(self.header(key, guest_cid, Op::Shutdown, 0, self.told_shut));
        }
        if std::mem::take(&mut self.credit_update) {
            return Some(self.header(key, guest_cid, Op::CreditUpdate, 0, 0));
        }
        if std::mem::take(&mut self.credit_request) {
            return Some(self.header(key, guest_cid, Op::CreditRequest, 0, 0));
        }
        None
    }

    /// The header of a packet with `len` bytes of the host's, which are then sent.
    pub(super) fn send(&mut self, key: Key, guest_cid: u64, len: u32) -> Header {
        self.credit.send(len);
        self.header(key, guest_cid, Op::Data, len, 0)
    }

    fn header(&mut self, key: Key, guest_cid: u64, op: Op, len: u32, flags: u32) -> Header {
        Header {
            src_cid: key.host_cid.number(),
            dst_cid: guest_cid,
            src_port: key.host_port,
            dst_port: key.guest_port,
            len,
            kind: TYPE_STREAM,
            op: op as u16,
            flags,
            buf_alloc: self.receive.buf_alloc(),
            fwd_cnt: self.receive.tell(),
        }
    }

    /// What has become due on the host's socket since the last call.
    pub(super) fn duty(&mut self) -> HostDuty {
        let drained = self.held() == 0;
        let shut_write = drained && self.guest_shut & SHUTDOWN_SEND != 0;
        let due = HostDuty {
            shut_read: self.guest_shut & SHUTDOWN_RECEIVE != 0,
            shut_write,
            close: shut_write && self.guest_left(),
        };
        let new = HostDuty {
            shut_read: due.shut_read && !self.done.shut_read,
            shut_write: due.shut_write && !self.done.shut_write,
            close: due.close && !self.done.close,
        };
        self.done = due;
        new
    }
}
