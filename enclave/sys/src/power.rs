//! The end of the machine.

use std::path::Path;

use nix::sys::reboot::{RebootMode, reboot};

/// Ends the machine and does not return.
///
/// Where ACPI exists the power goes off. Elsewhere the kernel knows no way to do that
/// and would halt with the processors still held, so it restarts instead, as AWS's init
/// does: a Nitro enclave ends when it restarts. If the kernel refuses both, PID 1 aborts,
/// which makes it panic. There is nothing to sync: an enclave has no disk.
pub fn off() -> ! {
    if Path::new("/sys/firmware/acpi").exists() {
        // On success this does not return; on failure the next way is tried.
        let _refused = reboot(RebootMode::RB_POWER_OFF);
    }
    let _refused = reboot(RebootMode::RB_AUTOBOOT);
    std::process::abort()
}
