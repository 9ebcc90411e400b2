//! What each message of `/dev/cuse` is answered with.
//!
//! Where Linux's NSM driver (`drivers/misc/nsm.c`) decides something, the same is decided
//! here: another ioctl number is `EINVAL`, a request beyond [`MAX_REQUEST`] is `EMSGSIZE`
//! before anything of it is read, a response that does not fit is cut to the room there
//! is, and reading, writing and mapping do not exist.

use std::io;

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use anchorhold_document::nsm::{ErrorCode, Response};

use super::wire::{self, InitIn, IoctlIn, Message, Opcode, Vector};
use crate::nsm::{IOCTL_RAW, RAW_MESSAGE_SIZE};

/// Offset of `response.len` in the ioctl's argument.
const RESPONSE_LENGTH_AT: usize = 24;

/// What to do after a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Write this reply.
    Reply(Vec<u8>),
    /// Write nothing.
    Silence,
}

/// Why the handshake cannot succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The message cannot be understood.
    #[error(transparent)]
    Wire(#[from] wire::WireError),
    /// The kernel's first message is another one.
    #[error("cuse.handshake: CUSE_INIT expected first, {0:?} came")]
    Opcode(Opcode),
    /// The kernel speaks another version of the protocol.
    #[error(
        "cuse.version: {}.{} or later expected, the kernel has {major}.{minor}",
        wire::MAJOR,
        wire::OLDEST_MINOR
    )]
    Version {
        /// The kernel's major version.
        major: u32,
        /// The kernel's minor version.
        minor: u32,
    },
    /// The kernel does not offer ioctls with pointers in their argument.
    #[error("cuse.unrestricted: unrestricted ioctls expected, the kernel offers flags {flags:#x}")]
    Restricted {
        /// What it offers.
        flags: u32,
    },
}

impl HandshakeError {
    /// The rule that was broken, as a stable name.
    pub fn rule(&self) -> &'static str {
        match self {
            HandshakeError::Wire(error) => error.rule(),
            HandshakeError::Opcode(_) => "cuse.handshake",
            HandshakeError::Version { .. } => "cuse.version",
            HandshakeError::Restricted { .. } => "cuse.unrestricted",
        }
    }
}

/// The reply to the kernel's first message, which makes the device `/dev/<device>`.
///
/// # Errors
/// See [`HandshakeError`].
pub fn handshake(message: &[u8], device: &str) -> Result<Vec<u8>, HandshakeError> {
    let message = Message::parse(message)?;
    if message.opcode != Opcode::CuseInit {
        return Err(HandshakeError::Opcode(message.opcode));
    }
    let InitIn {
        major,
        minor,
        flags,
    } = InitIn::parse(message.body)?;
    if major != wire::MAJOR || minor < wire::OLDEST_MINOR {
        return Err(HandshakeError::Version { major, minor });
    }
    if flags & wire::UNRESTRICTED_IOCTL == 0 {
        return Err(HandshakeError::Restricted { flags });
    }
    let body = wire::init_body(minor.min(wire::NEWEST_MINOR), device);
    Ok(wire::reply(message.unique, &body))
}

/// Answers one message after the handshake. `ask` is given requests of 1 to
/// [`MAX_REQUEST`] bytes and returns the security module's response; its error's number
/// becomes the caller's.
pub fn answer(message: &Message<'_>, ask: &mut impl FnMut(&[u8]) -> io::Result<Vec<u8>>) -> Answer {
    let unique = message.unique;
    Answer::Reply(match message.opcode {
        Opcode::Forget | Opcode::BatchForget => return Answer::Silence,
        // One message is dealt with at a time, so what this one would interrupt has been
        // answered by now.
        Opcode::Interrupt => return Answer::Silence,
        Opcode::Open => wire::reply(unique, &wire::open_body()),
        Opcode::Release | Opcode::Flush | Opcode::Destroy => wire::reply(unique, &[]),
        // What the kernel itself answers for a driver without these operations.
        Opcode::Read | Opcode::Write => wire::error_reply(unique, libc::EINVAL),
        Opcode::Ioctl => match ioctl(message.body, ask) {
            Ok(body) => wire::reply(unique, &body),
            Err(errno) => wire::error_reply(unique, errno),
        },
        Opcode::CuseInit | Opcode::Other(_) => wire::error_reply(unique, libc::ENOSYS),
    })
}

/// One message of an ioctl; see the [module](super) for how many there are.
fn ioctl(body: &[u8], ask: &mut impl FnMut(&[u8]) -> io::Result<Vec<u8>>) -> Result<Vec<u8>, i32> {
    let ioctl = IoctlIn::parse(body).map_err(|_| libc::EIO)?;
    if ioctl.command != IOCTL_RAW {
        return Err(libc::EINVAL);
    }
    if ioctl.flags & wire::IOCTL_UNRESTRICTED == 0 {
        return Err(libc::EIO);
    }
    let argument = Vector {
        base: ioctl.argument,
        length: RAW_MESSAGE_SIZE as u64,
    };
    match ioctl.input.split_first_chunk::<RAW_MESSAGE_SIZE>() {
        None if ioctl.input.is_empty() => Ok(wire::retry_body(&[argument], &[])),
        None => Err(libc::EIO),
        Some((raw, _)) if ioctl.output_size == 0 => ask_for_buffers(argument, raw),
        Some((raw, request)) => finish(raw, request, ioctl.output_size, ask),
    }
}

/// The second retry: the request, and room for argument and response.
fn ask_for_buffers(argument: Vector, raw: &[u8; RAW_MESSAGE_SIZE]) -> Result<Vec<u8>, i32> {
    let request = Vector {
        base: wire::u64_at(raw, 0),
        length: wire::u64_at(raw, 8),
    };
    if request.length > MAX_REQUEST as u64 {
        return Err(libc::EMSGSIZE);
    }
    // Room beyond the longest response stays unused, so the kernel need not hold it.
    let room = wire::u64_at(raw, RESPONSE_LENGTH_AT).min(MAX_RESPONSE as u64);
    let response = Vector {
        base: wire::u64_at(raw, 16),
        length: room,
    };
    Ok(wire::retry_body(
        &[argument, request],
        &[argument, response],
    ))
}

/// The last message: asks, and returns argument and response.
///
/// The caller may have changed its memory between the messages. What counts is what the
/// kernel copied this time, within the sizes of its vectors.
fn finish(
    raw: &[u8; RAW_MESSAGE_SIZE],
    request: &[u8],
    output_size: usize,
    ask: &mut impl FnMut(&[u8]) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, i32> {
    let room = output_size.checked_sub(RAW_MESSAGE_SIZE).ok_or(libc::EIO)?;
    let response = match request.len() {
        // Nothing at all is no CBOR either, and the module is asked nothing.
        0 => Response::Error(ErrorCode::InvalidOperation).to_cbor(),
        1..=MAX_REQUEST => {
            ask(request).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?
        }
        _ => return Err(libc::EMSGSIZE),
    };
    let fitting = response.get(..room).unwrap_or(&response);
    let mut argument = *raw;
    argument[RESPONSE_LENGTH_AT..].copy_from_slice(&(fitting.len() as u64).to_ne_bytes());
    Ok(wire::ioctl_body(&[&argument, fitting]))
}
