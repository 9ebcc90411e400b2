//! Bringing an enclave up: which accelerator, how long, and whether to try again.

mod failure;

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anchorhold_document::Pcr;
use anchorhold_nsm::{Boot, BootError, Platform, SecurityModule};

use crate::console::Console;
use crate::control::Waiting;
use crate::event::{Event, Events, VmEvents};
use crate::heartbeat::Listening;
use crate::qemu::Accelerator;
use crate::qemu::kvm::{KvmVerdicts, Verdict};
use crate::vm::{Plan, Vm, VmError};
use crate::watch::{Course, Over, Step};
use crate::{image::Image, platform};

pub use failure::BootFailure;
pub(crate) use failure::in_words;

/// How long a boot may take when nobody says otherwise. Software emulation takes about 4 seconds of
/// a processor to init: 5 to 10 on a busy host, and a minute on one that many others keep busy.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(180);

/// How long a kernel may take to init on a KVM that nobody has tried since the host booted. One
/// that works takes about a second.
const KVM_TRIAL: Duration = Duration::from_secs(10);

/// Which accelerators may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// KVM where it works, software emulation elsewhere.
    Auto,
    /// KVM only.
    Kvm,
    /// Software emulation only.
    Tcg,
}

/// A boot's inputs beside the [`Plan`].
pub struct Attempts<'a> {
    /// Which accelerators may be used.
    pub choice: Choice,
    /// What is known of KVM here.
    pub verdicts: &'a KvmVerdicts,
    /// The whole boot's time limit.
    pub deadline: Duration,
    /// Where the platform's identity is.
    pub platform_dir: &'a Path,
    /// Whether the registers are zero and the console can be read.
    pub debug: bool,
    /// Told of every attempt.
    pub progress: &'a dyn Fn(&str),
}

impl Attempts<'_> {
    /// Boots until a heartbeat comes. An attempt in which nothing of init's was heard is repeated
    /// as far as [`Attempts::choice`] allows.
    ///
    /// # Errors
    /// [`BootFailure`] of the last attempt, with nothing left running.
    pub fn boot(
        &self,
        plan: &Plan<'_>,
        events: &Events,
        receiver: &Receiver<Event>,
        waiting: &mut Vec<Waiting>,
    ) -> Result<(Vm, Course), BootFailure> {
        let started = Instant::now();
        let until = started + self.deadline;
        let verdict = self.verdicts.verdict();
        let accelerators = accelerators(self.choice, verdict);
        let mut kvm_failed = false;
        for (number, &accelerator) in (1..).zip(&accelerators) {
            let is_last = number == accelerators.len();
            let trial = accelerator == Accelerator::Kvm && verdict == Verdict::Untried;
            (self.progress)(&format!("booting ({accelerator}), attempt {number}"));
            let attempt = Attempt {
                number: u32::try_from(number).unwrap_or(u32::MAX),
                accelerator,
                until,
                init_until: init_limit(Instant::now(), until, is_last, trial),
            };
            let (failure, init_seen) = match self.attempt(&attempt, plan, events, receiver, waiting)
            {
                Ok(running) => {
                    self.learn(trial, kvm_failed);
                    let seconds = started.elapsed().as_secs_f32();
                    (self.progress)(&format!("running after {seconds:.1} s"));
                    return Ok(running);
                }
                Err(failed) => failed,
            };
            if init_seen || is_last || failure.is_final() || Instant::now() >= until {
                return Err(failure);
            }
            kvm_failed |= trial && failure.is_kvm_s();
            (self.progress)(&format!("nothing was heard of init: {failure}"));
        }
        Err(BootFailure::Deadline {
            deadline: self.deadline,
            init_seen: false,
        })
    }

    /// Remembers what a boot that came up has shown of KVM.
    fn learn(&self, trial: bool, kvm_failed: bool) {
        if trial || kvm_failed {
            self.verdicts.remember(trial);
        }
    }

    /// One virtual machine, up to its heartbeat. An error says whether init was heard of.
    fn attempt(
        &self,
        attempt: &Attempt,
        plan: &Plan<'_>,
        events: &Events,
        receiver: &Receiver<Event>,
        waiting: &mut Vec<Waiting>,
    ) -> Result<(Vm, Course), (BootFailure, bool)> {
        let unseen = |failure: BootFailure| (failure, false);
        let security = self.security(plan).map_err(unseen)?;
        let vm_events = VmEvents::new(events, attempt.number);
        let _heartbeat = self.listen(plan, &vm_events).map_err(unseen)?;
        let mut vm = Vm::start(plan, attempt.accelerator, security, &vm_events)
            .map_err(|error| unseen(error.into()))?;
        let mut course = Course::new(vm_events);
        loop {
            let until = if course.init_seen {
                attempt.until
            } else {
                attempt.init_until
            };
            match course.next(&mut vm, receiver, waiting, Some(until)) {
                Step::Heartbeat => return Ok((vm, course)),
                Step::Init => (self.progress)("init runs"),
                Step::Timeout => {
                    vm.kill();
                    let failure = BootFailure::Deadline {
                        deadline: self.deadline,
                        init_seen: course.init_seen,
                    };
                    return Err((failure, course.init_seen));
                }
                Step::Over(over) => {
                    let messages = vm.kill();
                    let failure = failure(over, course.gave_up.take(), messages);
                    return Err((failure, course.init_seen));
                }
            }
        }
    }

    /// Listens for the attempt's heartbeat. A production console is captured up to it and no
    /// further: the application starts with the answer.
    fn listen(&self, plan: &Plan<'_>, events: &VmEvents) -> Result<Listening, BootFailure> {
        let console = (!self.debug).then(|| plan.console.clone());
        let forget = move || console.iter().for_each(Console::forget);
        Listening::start(
            plan.directory,
            plan.vsock,
            plan.identity.cid,
            forget,
            events.clone(),
        )
        .map_err(|source| {
            BootFailure::Start(VmError::Resource {
                what: "the heartbeat's listener",
                source,
            })
        })
    }

    /// A fresh security module with the image's registers.
    fn security(&self, plan: &Plan<'_>) -> Result<SecurityModule, BootFailure> {
        let platform = platform::open(self.platform_dir)?;
        Ok(security(
            platform,
            &plan.identity.id,
            plan.image,
            self.debug,
        )?)
    }
}

struct Attempt {
    number: u32,
    accelerator: Accelerator,
    until: Instant,
    init_until: Instant,
}

/// The attempts in order. Software emulation is tried twice: a boot of which nothing was heard may
/// have been the host's doing.
fn accelerators(choice: Choice, verdict: Verdict) -> Vec<Accelerator> {
    use Accelerator::{Kvm, Tcg};
    match (choice, verdict) {
        (Choice::Kvm, _) => vec![Kvm, Kvm],
        (Choice::Tcg, _) | (Choice::Auto, Verdict::Broken) => vec![Tcg, Tcg],
        (Choice::Auto, Verdict::Works | Verdict::Untried) => vec![Kvm, Tcg, Tcg],
    }
}

/// Until when something of init's has to be heard: the last attempt has all the time that is left,
/// one before it half, a trial of KVM little.
fn init_limit(now: Instant, until: Instant, is_last: bool, trial: bool) -> Instant {
    let left = until.saturating_duration_since(now);
    match (is_last, trial) {
        (true, _) => until,
        (false, true) => now + KVM_TRIAL.min(left / 2),
        (false, false) => now + left / 2,
    }
}

fn security(
    platform: Platform,
    id: &str,
    image: &Image,
    debug: bool,
) -> Result<SecurityModule, BootError> {
    let measured = &image.measurements;
    let boot = Boot {
        module_id: id.to_owned(),
        pcr0: Pcr(measured.pcr0.into()),
        pcr1: Pcr(measured.pcr1.into()),
        pcr2: Pcr(measured.pcr2.into()),
        pcr3: None,
        pcr8: measured.pcr8.map(|pcr8| Pcr(pcr8.into())),
        debug,
    };
    SecurityModule::new(platform, boot)
}

fn failure(over: Over, gave_up: Option<String>, messages: String) -> BootFailure {
    match (over, gave_up) {
        (Over::Signal(signal), _) => BootFailure::Interrupted {
            by: format!("signal {signal}"),
        },
        (Over::Terminate, _) => BootFailure::Interrupted {
            by: "a request to terminate".to_owned(),
        },
        (Over::Nsm(Some(error)), _) => BootFailure::Nsm(Some(error)),
        (_, Some(reason)) => BootFailure::Init { reason },
        (Over::Nsm(None), None) => BootFailure::Nsm(None),
        (Over::Switch, None) => BootFailure::Switch,
        (Over::Kvm, None) => BootFailure::Kvm { messages },
        (Over::Qemu(status), None) => BootFailure::Ended { status, messages },
        (Over::PowerOff, None) => BootFailure::Init {
            reason: "the application ended before the heartbeat".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn kvm_is_tried_where_it_may_work_and_emulation_twice() {
        use Accelerator::{Kvm, Tcg};
        let of = accelerators;
        assert_eq!(of(Choice::Auto, Verdict::Untried), [Kvm, Tcg, Tcg]);
        assert_eq!(of(Choice::Auto, Verdict::Works), [Kvm, Tcg, Tcg]);
        assert_eq!(of(Choice::Auto, Verdict::Broken), [Tcg, Tcg]);
        assert_eq!(of(Choice::Tcg, Verdict::Works), [Tcg, Tcg]);
        assert_eq!(of(Choice::Kvm, Verdict::Broken), [Kvm, Kvm]);
    }

    #[test]
    fn an_attempt_leaves_time_for_the_next_and_the_last_takes_it_all() {
        let now = Instant::now();
        let until = now + Duration::from_secs(100);
        let after = |is_last, trial| init_limit(now, until, is_last, trial) - now;
        assert_eq!(after(true, false), Duration::from_secs(100));
        assert_eq!(after(false, false), Duration::from_secs(50));
        assert_eq!(after(false, true), KVM_TRIAL);
        let short = init_limit(now, now + Duration::from_secs(4), false, true);
        assert_eq!(short - now, Duration::from_secs(2));
    }

    #[test]
    fn what_init_said_goes_before_how_the_machine_ended() {
        let status = ExitStatus::from_raw(0);
        let gave_up = Some("modules: ENOENT".to_owned());
        let error = failure(Over::Qemu(status), gave_up, String::new());
        assert_eq!(error.rule(), "boot.init");
        assert!(error.to_string().contains("modules: ENOENT"));
        let error = failure(Over::Qemu(status), None, "no memory".into());
        assert_eq!(error.rule(), "boot.ended");
        assert!(error.to_string().ends_with("it said: no memory"));
    }
}
