//! `/dev/nsm`, and what the machine takes from it before the application runs.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_document::{AttestationDocument, SignedDocument};
use anchorhold_enclave_sys::channel::{self, Channel, ChannelError};
use anchorhold_enclave_sys::cuse::CuseDevice;
use anchorhold_enclave_sys::nsm::{DEVICE_PATH, NsmDevice};
use anchorhold_enclave_sys::{clock, entropy, power, virtio};
use zeroize::Zeroizing;

use crate::failure::{Failure, SecurityModuleError};
use crate::kernel_modules::KernelModules;
use crate::report::{Line, Report};

/// The device's name below `/dev`.
const DEVICE_NAME: &str = "nsm";

/// The mode that Linux's driver gives the device: any user of the enclave may attest.
const DEVICE_MODE: u32 = 0o666;

/// How long the private port may take to appear.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

/// The kernel's generator is keyed with 256 bits; less would leave it guessable.
const LEAST_RANDOM: usize = 32;

/// 2020-10-28T00:00:00Z, when Nitro enclaves became available. A document that claims to
/// be older has no clock behind it.
const EARLIEST_TIME_MS: u64 = 1_603_843_200_000;

/// Stack of the thread that serves the device, in bytes. Messages live on the heap.
const SERVER_STACK: usize = 128 * 1024;

/// Who answers at `/dev/nsm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The kernel's driver, hence hardware or what the hypervisor shows as such.
    Driver,
    /// A device of ours over the private port.
    Cuse,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Driver => "driver",
            Source::Cuse => "cuse",
        })
    }
}

/// Sees to it that `/dev/nsm` exists: the kernel's, where the machine has the device.
///
/// # Errors
/// [`Failure::SecurityModule`] or [`Failure::Module`].
pub fn provide(modules: &KernelModules, report: &Report) -> Result<Source, Failure> {
    modules.load_nsm()?;
    if fs::metadata(DEVICE_PATH).is_ok_and(|device| device.file_type().is_char_device()) {
        return Ok(Source::Driver);
    }
    // The port first: without it there is nothing to serve, whatever the kernel can do.
    let port = virtio::open_port(channel::PORT_NAME, Instant::now() + PORT_PATIENCE)
        .map_err(|error| Failure::SecurityModule(SecurityModuleError::Port(error)))?;
    modules.load_cuse()?;
    serve(
        Channel::new(port, channel::RESPONSE_TIMEOUT),
        report.clone(),
    )
    .map_err(Failure::SecurityModule)?;
    Ok(Source::Cuse)
}

/// Mixes the module's random numbers into the kernel's pool.
///
/// # Errors
/// [`Failure::Entropy`].
pub fn seed_kernel() -> Result<(), Failure> {
    random()
        .and_then(|seed| entropy::credit(&seed).map_err(SecurityModuleError::Kernel))
        .map_err(Failure::Entropy)
}

/// Sets the clock to the time of a document made for the purpose.
///
/// Its signature is not checked, and need not be: it comes from the module's device, not
/// over a network, and whoever could change it there could as well answer everything else.
///
/// # Errors
/// [`Failure::Clock`].
pub fn set_clock() -> Result<(), Failure> {
    time()
        .and_then(|time| clock::set(time).map_err(SecurityModuleError::Kernel))
        .map_err(Failure::Clock)
}

/// Makes the device and serves it from a thread of PID 1.
///
/// The device vanishes with the process that serves it, so that must outlive the
/// application, and this is the one process that does: no signal reaches it, the kernel
/// never picks it when memory runs out, and the machine ends with it. A child would need
/// watching, and could die first.
fn serve(mut channel: Channel<fs::File>, report: Report) -> Result<(), SecurityModuleError> {
    let device = CuseDevice::create(DEVICE_NAME, DEVICE_MODE).map_err(SecurityModuleError::Cuse)?;
    let server = move || {
        let ended = device.serve(|request| channel.exchange(request).map_err(into_errno));
        let error = SecurityModuleError::Cuse(ended);
        report.line(&Line::Failed(Failure::SecurityModule(error)));
        power::off()
    };
    let thread = std::thread::Builder::new()
        .name(DEVICE_NAME.into())
        .stack_size(SERVER_STACK);
    thread
        .spawn(server)
        .map(drop)
        .map_err(SecurityModuleError::Thread)
}

/// What the device's caller is told when the module does not answer; the driver's own
/// numbers.
fn into_errno(error: ChannelError) -> io::Error {
    io::Error::from_raw_os_error(match &error {
        ChannelError::RequestSize { .. } => EMSGSIZE,
        ChannelError::Io(cause) if cause.kind() == io::ErrorKind::TimedOut => ETIMEDOUT,
        _ => EIO,
    })
}

const EIO: i32 = 5;
const EMSGSIZE: i32 = 90;
const ETIMEDOUT: i32 = 110;

fn random() -> Result<Zeroizing<Vec<u8>>, SecurityModuleError> {
    match ask(&Request::GetRandom)? {
        Response::GetRandom { random } => {
            let random = Zeroizing::new(random);
            match random.len() {
                ..LEAST_RANDOM => Err(SecurityModuleError::Random {
                    expected: LEAST_RANDOM,
                    got: random.len(),
                }),
                _ => Ok(random),
            }
        }
        other => Err(unexpected("GetRandom", &other)),
    }
}

fn time() -> Result<Duration, SecurityModuleError> {
    let nothing = AttestationRequest {
        user_data: None,
        nonce: None,
        public_key: None,
    };
    let document = match ask(&Request::Attestation(nothing))? {
        Response::Attestation { document } => document,
        other => return Err(unexpected("Attestation", &other)),
    };
    let document = SignedDocument::from_bytes(&document)
        .and_then(|signed| AttestationDocument::from_payload(signed.payload()))
        .map_err(SecurityModuleError::Answer)?;
    match document.timestamp_ms {
        got @ ..EARLIEST_TIME_MS => Err(SecurityModuleError::Time {
            expected: EARLIEST_TIME_MS,
            got,
        }),
        milliseconds => Ok(Duration::from_millis(milliseconds)),
    }
}

fn ask(request: &Request) -> Result<Response, SecurityModuleError> {
    let device = NsmDevice::open().map_err(SecurityModuleError::Request)?;
    let answer = device
        .request(&request.to_cbor())
        .map_err(SecurityModuleError::Request)?;
    let answer = Zeroizing::new(answer);
    Response::from_cbor(&answer).map_err(SecurityModuleError::Answer)
}

fn unexpected(expected: &'static str, response: &Response) -> SecurityModuleError {
    let got = match response {
        Response::Error(code) => code.name(),
        _ => "another response",
    };
    SecurityModuleError::Other { expected, got }
}
