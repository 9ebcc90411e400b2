//! What happens to an enclave, as its hypervisor's one loop hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::control::Waiting;
use crate::ports::nsm::NsmPortError;
use crate::ports::status::Status;

/// Events that may wait to be heard. A sender beyond it waits, which holds back its guest.
const CAPACITY: usize = 64;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A signal came that asks this process to end.
    Signal(i32),
    /// A child changed state.
    Child,
    /// A client of the control socket asks for the enclave's end.
    Terminate(Waiting),
    /// Something about the virtual machine of this attempt to boot.
    Vm(u32, VmEvent),
}

/// Something that happened to a virtual machine.
#[derive(Debug)]
pub enum VmEvent {
    /// The heartbeat was exchanged.
    Heartbeat,
    /// init spoke.
    Status(Status),
    /// The status port ended: nothing more comes from init.
    StatusEnded,
    /// The security module's port ended.
    NsmEnded(Result<(), NsmPortError>),
    /// The vsock switch ended.
    SwitchEnded,
    /// [`VmEvents::has_kvm_failed`] is to be looked at.
    Woken,
}

/// Where events are sent to.
pub type Events = SyncSender<Event>;

/// A channel of bounded length.
pub fn channel() -> (Events, Receiver<Event>) {
    sync_channel(CAPACITY)
}

/// The events of one attempt to boot.
#[derive(Debug, Clone)]
pub struct VmEvents {
    events: Events,
    attempt: u32,
    kvm_failed: Arc<AtomicBool>,
}

impl VmEvents {
    /// Events that are marked with the attempt's number.
    pub fn new(events: &Events, attempt: u32) -> Self {
        Self {
            events: events.clone(),
            attempt,
            kvm_failed: Arc::default(),
        }
    }

    /// The attempt's number.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Sends; a hypervisor that hears no more has ended, and nothing needs to know.
    pub fn send(&self, event: VmEvent) {
        let _ = self.events.send(Event::Vm(self.attempt, event));
    }

    /// Says that KVM gave up on the guest, without waiting: the loop may wait for the thread that
    /// says so. A loop that has too much to hear for one more event finds it at its next one.
    pub fn kvm_failed(&self) {
        self.kvm_failed.store(true, Ordering::Release);
        let _ = self
            .events
            .try_send(Event::Vm(self.attempt, VmEvent::Woken));
    }

    /// Whether KVM gave up on the guest.
    pub fn has_kvm_failed(&self) -> bool {
        self.kvm_failed.load(Ordering::Acquire)
    }
}
