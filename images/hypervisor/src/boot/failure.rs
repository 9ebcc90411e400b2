//! Why an enclave did not come up, and what that says.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anchorhold_nsm::BootError;

use crate::platform;
use crate::ports::nsm::NsmPortError;
use crate::vm::VmError;

/// Why an enclave did not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootFailure {
    /// The virtual machine did not start.
    #[error("the enclave's virtual machine did not start")]
    Start(#[from] VmError),
    /// The platform's identity could not be read again.
    #[error("the platform identity could not be read")]
    Platform(#[from] platform::PlatformError),
    /// The security module refused the boot's values.
    #[error("the security module could not be made")]
    Security(#[from] BootError),
    /// No heartbeat came in time.
    #[error(
        "the enclave did not boot within {} s ({heard})", deadline.as_secs_f32(),
        heard = if *init_seen { "its init runs, no heartbeat came" } else { "its init was never heard of" }
    )]
    Deadline {
        /// The whole boot's time limit.
        deadline: Duration,
        /// Whether init was heard of.
        init_seen: bool,
    },
    /// QEMU ended before the heartbeat.
    #[error("the virtual machine ended before its heartbeat ({}){}", in_words(*status), said(messages))]
    Ended {
        /// How QEMU ended.
        status: ExitStatus,
        /// QEMU's last words.
        messages: String,
    },
    /// init gave up, in its own words.
    #[error("the enclave's init gave up: {reason:?}")]
    Init {
        /// Step and reason.
        reason: String,
    },
    /// KVM gave up on the guest.
    #[error("KVM does not run this guest{}", said(messages))]
    Kvm {
        /// QEMU's last words.
        messages: String,
    },
    /// The security module's port broke a rule or closed.
    #[error("the enclave's security module port ended")]
    Nsm(#[source] Option<NsmPortError>),
    /// The vsock switch ended.
    #[error("the vsock switch ended")]
    Switch,
    /// Somebody asked for the end.
    #[error("the boot was ended by {by}")]
    Interrupted {
        /// Who asked.
        by: String,
    },
}

impl BootFailure {
    /// Whether another attempt could only fail in the same way.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Start(_) | Self::Platform(_) | Self::Security(_) => true,
            Self::Interrupted { .. } | Self::Nsm(Some(_)) => true,
            Self::Deadline { .. } | Self::Ended { .. } | Self::Init { .. } => false,
            Self::Kvm { .. } | Self::Nsm(None) | Self::Switch => false,
        }
    }

    /// Whether a trial that failed so says something about KVM, and not about one image or a busy
    /// host: a kernel that is merely silent may be slow.
    pub(super) fn is_kvm_s(&self) -> bool {
        matches!(self, Self::Kvm { .. } | Self::Ended { .. })
    }

    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Start(error) => error.rule(),
            Self::Platform(error) => error.rule(),
            Self::Security(error) => error.rule(),
            Self::Deadline { .. } => "boot.deadline",
            Self::Ended { .. } => "boot.ended",
            Self::Init { .. } => "boot.init",
            Self::Kvm { .. } => "boot.kvm",
            Self::Nsm(Some(error)) => error.rule(),
            Self::Nsm(None) => "boot.nsm-port",
            Self::Switch => "boot.switch",
            Self::Interrupted { .. } => "boot.interrupted",
        }
    }
}

/// An exit status in words.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("QEMU exited with status {code}"),
        (None, Some(signal)) => format!("QEMU was ended by signal {signal}"),
        (None, None) => "QEMU ended".to_owned(),
    }
}

fn said(messages: &str) -> String {
    match messages {
        "" => String::new(),
        messages => format!("; it said: {messages}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_says_nothing_about_kvm() {
        let deadline = BootFailure::Deadline {
            deadline: Duration::from_secs(1),
            init_seen: false,
        };
        assert!(!deadline.is_kvm_s());
        assert!(!BootFailure::Switch.is_kvm_s());
        let status = ExitStatus::from_raw(1);
        let ended = BootFailure::Ended {
            status,
            messages: String::new(),
        };
        assert!(ended.is_kvm_s());
        let messages = String::new();
        assert!(BootFailure::Kvm { messages }.is_kvm_s());
    }
}
