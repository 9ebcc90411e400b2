//! One enclave's life in this process, from the image to the last trace of it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, setrlimit};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::boot::{BootFailure, Choice};
use crate::console::Console;
use crate::enclave::Enclave;
use crate::ended::Ending;
use crate::event::{Event, Events, channel};
use crate::host::{self, HostError};
use crate::image::{Image, ImageError};
use crate::layout::LayoutError;
use crate::platform::{self, PlatformError};
use crate::qemu::{self, QemuError};
use crate::registry::{Registry, RegistryError, check_name};
use crate::report::{Description, Failure};
use crate::vm::VsockMode;

const MIB: u64 = 1 << 20;

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The enclave image file.
    pub eif_path: PathBuf,
    /// Guest memory in MiB; what the image asks for if absent.
    pub memory_mib: Option<u64>,
    /// Virtual processors; what the image asks for if absent, as far as the host has them.
    pub cpus: Option<u32>,
    /// The enclave's CID; a free one from 16 on if absent.
    pub cid: Option<u32>,
    /// The enclave's name; the file's if absent.
    pub name: Option<String>,
    /// Whether the console can be read and the registers are zero.
    pub debug: bool,
    /// How its vsock is served.
    pub vsock: VsockMode,
    /// Which accelerators may be used.
    pub accelerator: Choice,
    /// The whole boot's time limit.
    pub boot_deadline: Duration,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The platform directory.
    pub platform_dir: PathBuf,
}

/// Why an enclave did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The image does not boot, or not with that memory.
    #[error("the enclave image was refused")]
    Image(#[from] ImageError),
    /// The host does not have what was asked for.
    #[error("the host cannot run this enclave")]
    Host(#[from] HostError),
    /// QEMU is not there.
    #[error("no virtual machine can be started")]
    Qemu(#[from] QemuError),
    /// There is no platform identity.
    #[error("no security module can be made")]
    Platform(#[from] PlatformError),
    /// The identity, name or CID is not to be had.
    #[error("the enclave could not be registered")]
    Registry(#[from] RegistryError),
    /// A directory or a socket in it cannot be made.
    #[error("the enclave's directory cannot be used")]
    Layout(#[from] LayoutError),
    /// The process could not set itself up.
    #[error("cannot set up {what}")]
    Process {
        /// What was to be set up.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// It did not come up.
    #[error("the enclave did not come up")]
    Boot {
        /// Why.
        source: BootFailure,
        /// The last lines of its console.
        console: Vec<String>,
    },
}

impl RunError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Image(error) => error.rule(),
            Self::Host(error) => error.rule(),
            Self::Qemu(error) => error.rule(),
            Self::Platform(error) => error.rule(),
            Self::Registry(error) => error.rule(),
            Self::Layout(error) => error.rule(),
            Self::Process { .. } => "process.set-up",
            Self::Boot { source, .. } => source.rule(),
        }
    }

    /// The refusal as it is told to the agent: the chain of causes in one sentence.
    pub fn failure(&self) -> Failure {
        let mut failure = Failure::new(self.rule(), chain(self));
        if let Self::Boot { console, .. } = self {
            failure.console.clone_from(console);
        }
        failure
    }
}

/// An error and its causes, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Runs an enclave to its end. `running` is called once, when its heartbeat has come; `progress`
/// with what happens on the way.
///
/// It has to be called on the process's main thread: QEMU dies with the thread that started it.
///
/// # Errors
/// [`RunError`], with nothing left running and nothing left behind.
pub fn run(
    options: &Options,
    running: impl FnOnce(&Description),
    progress: &dyn Fn(&str),
) -> Result<Ending, RunError> {
    let (events, receiver) = channel();
    listen_to_signals(&events).map_err(process("signal handling"))?;
    // What this process and QEMU hold belongs in no file: the platform's key, the guest's memory.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| process("limits")(errno.into()))?;

    let name = name(options)?;
    let program = qemu::program()?;
    progress(&format!("measuring {}", options.eif_path.display()));
    let image = Image::load(&options.eif_path, SystemTime::now())?;
    let (memory_mib, cpus) = size(options, &image)?;
    let identity = platform::open_or_make(&options.platform_dir)?;
    let number = getrandom::u64().map_err(|error| process("randomness")(error.into()))?;
    let registry = Registry::open(&options.state_dir)?;
    let claim = registry.claim(&identity.module_id(number), &name, options.cid)?;
    drop(identity);

    let enclave = Enclave {
        options,
        memory_mib,
        cpus,
        program,
        claim,
        console: Console::default(),
        description: Arc::new(Mutex::new(Description::default())),
        progress,
    };
    enclave.live(image, &events, &receiver, running)
}

/// The name asked for, else the file's without what a name may not hold.
fn name(options: &Options) -> Result<String, RunError> {
    if let Some(name) = &options.name {
        check_name(name)?;
        return Ok(name.clone());
    }
    let stem = options.eif_path.file_stem().unwrap_or_default();
    let stem = stem.to_string_lossy();
    let plain: String = stem
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .take(64)
        .collect();
    Ok(match plain.as_str() {
        "" => "enclave".to_owned(),
        _ => plain,
    })
}

/// Memory and processors: what was asked for, else what the image asks for.
fn size(options: &Options, image: &Image) -> Result<(u64, u32), RunError> {
    let default_mib = (image.default_memory / MIB).max(image.least_memory_mib());
    let memory_mib = options.memory_mib.unwrap_or(default_mib);
    let default_cpus = u32::try_from(image.default_cpus).unwrap_or(u32::MAX);
    let cpus = options
        .cpus
        .unwrap_or(default_cpus.clamp(1, host::processors()));
    image.check_memory(memory_mib)?;
    host::check(memory_mib, cpus)?;
    Ok((memory_mib, cpus))
}

fn listen_to_signals(events: &Events) -> io::Result<()> {
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])?;
    let events = events.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || {
            for signal in signals.forever() {
                let event = match signal {
                    SIGCHLD => Event::Child,
                    signal => Event::Signal(signal),
                };
                if events.send(event).is_err() {
                    return;
                }
            }
        })
        .map(drop)
}

/// A [`RunError::Process`] of that set-up, to hand to `map_err`.
pub(crate) fn process(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Process { what, source }
}
