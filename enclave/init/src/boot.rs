//! The order of things.

use anchorhold_enclave_sys::process::Outcome;

use crate::application::Application;
use crate::failure::Failure;
use crate::kernel_modules::KernelModules;
use crate::report::{Line, Report};
use crate::{application, heartbeat, report, root, security_module};

/// Boots, runs the application and returns how it ended.
///
/// The security module comes first, because what follows depends on it: the kernel's
/// random numbers are seeded before anything draws one for a key, the clock is set
/// before anything checks a certificate, and neither is the parent's to choose.
///
/// # Errors
/// The first step that failed.
pub fn run(host: &Report) -> Result<Outcome, Failure> {
    root::mount_early()?;
    host.attach(report::AT_ONCE);
    host.line(&Line::Init);

    let modules = KernelModules::read()?;
    modules.load_general()?;
    // On a machine whose devices are behind virtio_mmio the port exists only now.
    host.attach(report::AFTER_MODULES);

    let source = security_module::provide(&modules, host)?;
    host.line(&Line::Nsm(source));
    security_module::seed_kernel()?;
    security_module::set_clock()?;

    heartbeat::send()?;
    host.line(&Line::Heartbeat);

    application::bring_loopback_up()?;
    let application = Application::read()?;
    root::enter()?;
    application.run()
}
