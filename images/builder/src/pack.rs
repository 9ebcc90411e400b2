//! An image from its parts.

use std::path::PathBuf;

use anchorhold_eif::{BuildMetadata, EifWriter, Measurements, Metadata};

use crate::error::Error;
use crate::kernel::Kernel;
use crate::ramdisk::{self, Application};

/// The kernel's command line, which is measured. The same one boots on a machine with PCI and
/// without.
///
/// - `reboot=t panic=-1 oops=panic`: the machine ends at once, however it ends.
/// - `no_timer_check` keeps a busy host's late ticks from being taken for a broken timer, as the
///   kernel does by itself under KVM.
/// - The i8042 words are AWS's and save probing for a keyboard; `nowatchdog audit=0
///   cryptomgr.notests` save another seventh of the boot's processor time under emulation.
/// - `slab_nomerge vsyscall=none` close what a guest without users can do without.
pub const CMDLINE: &str = "console=ttyS0 reboot=t panic=-1 oops=panic quiet no_timer_check \
     nowatchdog audit=0 cryptomgr.notests random.trust_cpu=on i8042.noaux i8042.nomux i8042.nopnp \
     i8042.dumbkbd slab_nomerge vsyscall=none";

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// Name of the image, in its metadata.
    pub name: String,
    /// Version of the image, in its metadata.
    pub version: String,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The kernel's command line, usually [`CMDLINE`].
    pub cmdline: String,
    /// PID 1, a static executable.
    pub init: PathBuf,
    /// What runs in the enclave.
    pub application: Application,
}

/// An image's bytes and what they measure to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The enclave image file.
    pub bytes: Vec<u8>,
    /// Its PCRs.
    pub measurements: Measurements,
}

/// Puts an image together in memory.
///
/// # Errors
/// What the kernel's cache, the ramdisks and the image format refuse.
pub fn pack(parts: &Parts<'_>) -> Result<Packed, Error> {
    let kernel = parts.kernel.read_bzimage()?;
    let boot = ramdisk::boot(&parts.init, &parts.kernel.read_modules()?)?;
    let application = ramdisk::application(&parts.application)?;
    let mut writer = EifWriter::new(&kernel, &parts.cmdline);
    writer
        .ramdisk(&boot)
        .ramdisk(&application)
        .metadata(Metadata {
            image_name: parts.name.clone(),
            image_version: parts.version.clone(),
            build: BuildMetadata {
                build_tool: env!("CARGO_PKG_NAME").into(),
                build_tool_version: env!("CARGO_PKG_VERSION").into(),
                kernel_version: parts.kernel.release.clone(),
                ..BuildMetadata::default()
            },
            ..Metadata::default()
        });
    let bytes = writer.to_bytes()?;
    let image = anchorhold_eif::Eif::parse(&bytes)?;
    image.check_boundaries()?;
    let measurements = image.measure();
    Ok(Packed {
        bytes,
        measurements,
    })
}
