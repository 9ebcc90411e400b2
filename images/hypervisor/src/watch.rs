//! One virtual machine's course, from its start to its end, as events tell it.

use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::control::Waiting;
use crate::event::{Event, VmEvent, VmEvents};
use crate::ports::nsm::NsmPortError;
use crate::ports::status::Status;
use crate::vm::Vm;

/// How long the virtual machine may take to power off once its application has ended.
const POWER_OFF: Duration = Duration::from_secs(10);

/// How long QEMU may take to end once one of its sockets has closed: the kernel may close them well
/// before it tells of the end.
const CLOSING: Duration = Duration::from_secs(10);

/// How long init's last words may take to arrive once QEMU has ended. They end with QEMU, so only a
/// busy host's reader is waited for.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What the loop is told next.
#[derive(Debug)]
pub enum Step {
    /// init was heard of for the first time.
    Init,
    /// The heartbeat was exchanged: the application starts.
    Heartbeat,
    /// The time limit passed.
    Timeout,
    /// The virtual machine has to end, or has ended.
    Over(Over),
}

/// Why a virtual machine is over.
#[derive(Debug)]
pub enum Over {
    /// A signal asked the hypervisor to end.
    Signal(i32),
    /// A client of the control socket asked for it.
    Terminate,
    /// QEMU ended.
    Qemu(ExitStatus),
    /// The application ended and the guest did not power off.
    PowerOff,
    /// The security module's port broke a rule or closed.
    Nsm(Option<NsmPortError>),
    /// The vsock switch ended.
    Switch,
    /// KVM gave up on the guest.
    Kvm,
}

/// What was heard of one attempt to boot.
#[derive(Debug)]
pub struct Course {
    /// The attempt's own end of its events.
    own: VmEvents,
    /// Whether anything of init's was heard.
    pub init_seen: bool,
    /// How the application ended, by init's report.
    pub application: Option<Status>,
    /// Why init gave up, by its own words.
    pub gave_up: Option<String>,
    qemu: Option<ExitStatus>,
    status_ended: bool,
    /// What ends the machine at that time, unless QEMU ends before.
    pending: Option<(Instant, Over)>,
}

impl Course {
    /// The course of the attempt that sends these events.
    pub fn new(own: VmEvents) -> Self {
        Self {
            own,
            init_seen: false,
            application: None,
            gave_up: None,
            qemu: None,
            status_ended: false,
            pending: None,
        }
    }

    /// Waits until something happens that the loop has to know, or until `until`. Clients that ask
    /// for the end are put into `waiting`.
    pub fn next(
        &mut self,
        vm: &mut Vm,
        events: &Receiver<Event>,
        waiting: &mut Vec<Waiting>,
        until: Option<Instant>,
    ) -> Step {
        loop {
            if let Some(over) = self.due(Instant::now(), || vm.ended()) {
                return Step::Over(over);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Step::Timeout;
            }
            let event = match self.receive(events, until) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => continue,
                // The sender of signals lives as long as the process.
                Err(RecvTimeoutError::Disconnected) => return Step::Over(Over::Terminate),
            };
            if let Some(step) = self.hear(event, || vm.ended(), waiting) {
                return step;
            }
        }
    }

    /// What an event comes to. What another attempt's virtual machine said means nothing here.
    fn hear(
        &mut self,
        event: Event,
        ended: impl FnOnce() -> Option<ExitStatus>,
        waiting: &mut Vec<Waiting>,
    ) -> Option<Step> {
        match event {
            Event::Signal(signal) => Some(Step::Over(Over::Signal(signal))),
            Event::Terminate(client) => {
                waiting.push(client);
                Some(Step::Over(Over::Terminate))
            }
            Event::Child => self.child(ended()),
            Event::Vm(attempt, event) if attempt == self.own.attempt() => self.vm(event),
            Event::Vm(..) => None,
        }
    }

    fn receive(
        &self,
        events: &Receiver<Event>,
        until: Option<Instant>,
    ) -> Result<Event, RecvTimeoutError> {
        let pending = self.pending.as_ref().map(|(at, _)| *at);
        match [until, pending].into_iter().flatten().min() {
            Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// What is over now: a guest that KVM gave up on, QEMU once init's last words are in, or what was
    /// pending too long.
    fn due(&mut self, now: Instant, ended: impl FnOnce() -> Option<ExitStatus>) -> Option<Over> {
        if self.own.has_kvm_failed() {
            return Some(Over::Kvm);
        }
        // What follows from QEMU's end may be heard of before the end itself is.
        if self.qemu.is_none() && self.pending.as_ref().is_some_and(|(at, _)| *at <= now) {
            self.child(ended());
        }
        if let Some(status) = self.qemu.filter(|_| self.status_ended) {
            return Some(Over::Qemu(status));
        }
        self.pending
            .take_if(|(at, _)| *at <= now)
            .map(|(_, over)| over)
    }

    fn child(&mut self, ended: Option<ExitStatus>) -> Option<Step> {
        let status = ended?;
        self.qemu = Some(status);
        self.pending = Some((Instant::now() + LAST_WORDS, Over::Qemu(status)));
        None
    }

    fn vm(&mut self, event: VmEvent) -> Option<Step> {
        match event {
            VmEvent::Heartbeat => Some(Step::Heartbeat),
            VmEvent::Status(status) => self.status(status),
            VmEvent::StatusEnded => {
                self.status_ended = true;
                None
            }
            VmEvent::NsmEnded(Ok(())) => self.expect(CLOSING, Over::Nsm(None)),
            VmEvent::NsmEnded(Err(error @ NsmPortError::Io(_))) => {
                self.expect(CLOSING, Over::Nsm(Some(error)))
            }
            VmEvent::NsmEnded(Err(error)) => Some(Step::Over(Over::Nsm(Some(error)))),
            VmEvent::SwitchEnded => self.expect(CLOSING, Over::Switch),
            // What it is about is due before the next event is waited for.
            VmEvent::Woken => None,
        }
    }

    fn status(&mut self, status: Status) -> Option<Step> {
        let first = !std::mem::replace(&mut self.init_seen, true);
        match status {
            Status::Exited(_) | Status::Signalled(_) => {
                self.application.get_or_insert(status);
                self.expect(POWER_OFF, Over::PowerOff);
            }
            Status::Failed(reason) => {
                self.gave_up.get_or_insert(reason);
                self.expect(POWER_OFF, Over::PowerOff);
            }
            Status::Init | Status::Nsm(_) | Status::Heartbeat => {}
        }
        first.then_some(Step::Init)
    }

    /// Waits for QEMU's end that long; the first reason to wait stands.
    fn expect(&mut self, time: Duration, over: Over) -> Option<Step> {
        self.pending.get_or_insert((Instant::now() + time, over));
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::event::channel;

    #[test]
    fn what_an_attempt_that_was_given_up_said_is_not_the_next_one_s() {
        let (events, _receiver) = channel();
        let first = VmEvents::new(&events, 1);
        let mut course = Course::new(VmEvents::new(&events, 2));
        first.kvm_failed();
        assert!(course.due(Instant::now(), || None).is_none());
        let mut waiting = Vec::new();
        let mut hear = |attempt, event| {
            let event = Event::Vm(attempt, event);
            course.hear(event, || None, &mut waiting)
        };
        assert!(hear(1, VmEvent::Heartbeat).is_none());
        assert!(hear(1, VmEvent::Status(Status::Init)).is_none());
        let init = hear(2, VmEvent::Status(Status::Init));
        assert!(matches!(init, Some(Step::Init)));
        let beat = hear(2, VmEvent::Heartbeat);
        assert!(matches!(beat, Some(Step::Heartbeat)));
    }

    #[test]
    fn kvm_s_end_is_heard_of_however_many_events_wait() {
        let (events, _receiver) = channel();
        while events.try_send(Event::Child).is_ok() {}
        let own = VmEvents::new(&events, 1);
        let mut course = Course::new(own.clone());
        assert!(course.due(Instant::now(), || None).is_none());
        own.kvm_failed();
        let over = course.due(Instant::now(), || None);
        assert!(matches!(over, Some(Over::Kvm)));
    }

    /// A course whose switch has just ended, and its status port before.
    fn closed() -> Course {
        let (events, _receiver) = channel();
        let mut course = Course::new(VmEvents::new(&events, 1));
        for event in [VmEvent::StatusEnded, VmEvent::SwitchEnded] {
            let step = course.hear(Event::Vm(1, event), || None, &mut Vec::new());
            assert!(step.is_none());
        }
        course
    }

    #[test]
    fn a_socket_that_closes_with_qemu_is_not_what_ended_the_machine() {
        let early = Instant::now();
        let mut course = closed();
        assert!(course.due(early, || None).is_none());
        let late = Instant::now() + CLOSING;
        let over = course.due(late, || Some(ExitStatus::from_raw(9)));
        assert!(matches!(over, Some(Over::Qemu(status)) if status.signal() == Some(9)));
    }

    #[test]
    fn a_socket_that_closes_while_qemu_runs_ends_the_machine() {
        let mut course = closed();
        let over = course.due(Instant::now() + CLOSING, || None);
        assert!(matches!(over, Some(Over::Switch)));
    }
}
