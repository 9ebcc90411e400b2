//! The client of `/dev/nsm`.
//!
//! The ABI is that of Linux's driver (`include/uapi/linux/nsm.h`, mainline since 6.8):
//! one ioctl, `NSM_IOCTL_RAW` = `_IOWR(0x0A, 0, 32)`, whose argument points at a CBOR
//! request and at room for a CBOR response. Whether AWS's hardware or the
//! [CUSE device](crate::cuse) answers cannot be told from here.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use nix::errno::Errno;

/// Where the device stands in an enclave.
pub const DEVICE_PATH: &str = "/dev/nsm";

/// `NSM_IOCTL_RAW`: `_IOWR(0x0A, 0, struct nsm_raw)`.
pub const IOCTL_RAW: u32 = 0xC020_0A00;

/// Size of the argument, `struct nsm_raw`, in bytes, which is part of [`IOCTL_RAW`].
pub const RAW_MESSAGE_SIZE: usize = 32;

/// Why the security module could not be asked. What it answers to a request that it
/// received, errors included, is a response and not one of these.
#[derive(Debug, thiserror::Error)]
pub enum NsmError {
    /// The device is missing or may not be opened.
    #[error("nsm.open: /dev/nsm cannot be opened")]
    Open(#[source] io::Error),
    /// The device refused a request for its length (`EMSGSIZE`).
    #[error("nsm.request-size: the device takes {limit} bytes at most, the request has {got}")]
    RequestTooLarge {
        /// The driver's limit, `NSM_REQUEST_MAX_SIZE`.
        limit: usize,
        /// Length of the refused request in bytes.
        got: usize,
    },
    /// The ioctl failed.
    #[error("nsm.ioctl: the device did not answer")]
    Ioctl(#[source] io::Error),
    /// The device claims to have written more than there was room for.
    #[error("nsm.response-size: room for {room} bytes, the device says it wrote {got}")]
    ResponseSize {
        /// Size of the buffer that was offered, in bytes.
        room: usize,
        /// What the device says it wrote, in bytes.
        got: u64,
    },
}

impl NsmError {
    /// The rule that was broken, as a stable name.
    pub fn rule(&self) -> &'static str {
        match self {
            NsmError::Open(_) => "nsm.open",
            NsmError::RequestTooLarge { .. } => "nsm.request-size",
            NsmError::Ioctl(_) => "nsm.ioctl",
            NsmError::ResponseSize { .. } => "nsm.response-size",
        }
    }
}

/// An open `/dev/nsm`. Threads may share it: the device takes one request at a time
/// and makes the others wait.
#[derive(Debug)]
pub struct NsmDevice {
    file: File,
}

impl NsmDevice {
    /// Opens [`DEVICE_PATH`].
    ///
    /// # Errors
    /// [`NsmError::Open`].
    pub fn open() -> Result<Self, NsmError> {
        Self::open_at(Path::new(DEVICE_PATH))
    }

    /// Opens the device at another path.
    ///
    /// # Errors
    /// [`NsmError::Open`].
    pub fn open_at(path: &Path) -> Result<Self, NsmError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self {
            file: file.map_err(NsmError::Open)?,
        })
    }

    /// Sends one CBOR request and returns the CBOR response, which may be an `Error` of
    /// the module's: 1 to [`MAX_RESPONSE`] bytes.
    ///
    /// The length of the request is the device's to refuse, so that there is one rule.
    ///
    /// # Errors
    /// See [`NsmError`].
    pub fn request(&self, request: &[u8]) -> Result<Vec<u8>, NsmError> {
        let mut response = vec![0; MAX_RESPONSE];
        let length = self.request_into(request, &mut response)?;
        response.truncate(length);
        Ok(response)
    }

    /// As [`request`](Self::request), into the caller's buffer; returns the number of
    /// bytes written. As the driver does, the device cuts a response that does not fit.
    ///
    /// # Errors
    /// See [`NsmError`].
    pub fn request_into(&self, request: &[u8], response: &mut [u8]) -> Result<usize, NsmError> {
        let mut message = RawMessage {
            request: request.as_ptr().expose_provenance() as u64,
            request_length: request.len() as u64,
            response: response.as_mut_ptr().expose_provenance() as u64,
            response_length: response.len() as u64,
        };
        // SAFETY: the descriptor is open for as long as `self` lives. `message` has the
        // layout that this ioctl's number stands for (asserted below), and it is alive
        // and exclusively borrowed during the call. It points at `request`, which the
        // kernel only reads, and at `response`, an exclusive borrow of initialised bytes
        // of which the kernel writes at most `response_length`; both outlive the call,
        // and the kernel keeps neither pointer after it.
        let outcome = unsafe { raw_ioctl(self.file.as_raw_fd(), &raw mut message) };
        match outcome {
            Ok(_) => written(message.response_length, response.len()),
            Err(Errno::EMSGSIZE) => Err(NsmError::RequestTooLarge {
                limit: MAX_REQUEST,
                got: request.len(),
            }),
            Err(errno) => Err(NsmError::Ioctl(errno.into())),
        }
    }
}

/// Checks the length that the device reports against the room it was given.
fn written(reported: u64, room: usize) -> Result<usize, NsmError> {
    usize::try_from(reported)
        .ok()
        .filter(|length| *length <= room)
        .ok_or(NsmError::ResponseSize {
            room,
            got: reported,
        })
}

/// `struct nsm_raw`: two `struct nsm_iovec { __u64 addr; __u64 len; }`.
#[repr(C)]
struct RawMessage {
    request: u64,
    request_length: u64,
    response: u64,
    response_length: u64,
}

const _: () = assert!(size_of::<RawMessage>() == RAW_MESSAGE_SIZE);
const _: () = assert!(
    nix::request_code_readwrite!(0x0A, 0, size_of::<RawMessage>()) as u32 == IOCTL_RAW,
    "NSM_IOCTL_RAW"
);

mod raw {
    // The macro's function carries the ioctl's contract; it is called in one place, and
    // what makes that call sound is argued there.
    nix::ioctl_readwrite!(raw_ioctl, 0x0A, 0, super::RawMessage);
}
use raw::raw_ioctl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_named() {
        let error = NsmDevice::open_at(Path::new("/nonexistent/nsm")).unwrap_err();
        assert_eq!(error.rule(), "nsm.open");
    }

    #[test]
    fn another_device_is_an_ioctl_error() {
        let device = NsmDevice::open_at(Path::new("/dev/null")).unwrap();
        let error = device.request(b"\x6bDescribeNSM").unwrap_err();
        assert_eq!(error.rule(), "nsm.ioctl");
    }

    #[test]
    fn a_length_beyond_the_buffer_is_refused() {
        assert_eq!(written(12, 12).unwrap(), 12);
        for reported in [13, u64::MAX] {
            let error = written(reported, 12).unwrap_err();
            assert!(matches!(error, NsmError::ResponseSize { room: 12, got } if got == reported));
        }
    }
}
