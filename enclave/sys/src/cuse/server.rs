//! Moves messages between `/dev/cuse` and the [`session`].

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::session::{self, Answer, HandshakeError};
use super::wire::{Message, WireError};

/// Where the kernel's module offers itself.
const CUSE_PATH: &str = "/dev/cuse";

/// Room for one message. The kernel insists on 8192 bytes (`FUSE_MIN_READ_BUFFER`) and on
/// a page beyond its headers; the longest message of ours is an ioctl's headers, argument
/// and request, together 4200 bytes.
const MESSAGE_ROOM: usize = 16 * 1024;

/// Longest device name, in bytes.
const NAME_LIMIT: usize = 32;

/// Why a device cannot be made, or is no more.
#[derive(Debug, thiserror::Error)]
pub enum CuseError {
    /// The name is none for a device.
    #[error("cuse.name: 1 to {NAME_LIMIT} lower-case letters, digits, '-' or '_' expected")]
    Name,
    /// A file could not be opened, read, written or changed.
    #[error("cuse.io: {path} failed")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel and we do not get on.
    #[error("cuse.handshake: the device cannot be set up")]
    Handshake(#[source] HandshakeError),
    /// The kernel sent what cannot be told apart.
    #[error("cuse.message: the kernel's message cannot be understood")]
    Message(#[source] WireError),
}

impl CuseError {
    /// The rule that was broken, as a stable name.
    pub fn rule(&self) -> &'static str {
        match self {
            CuseError::Name => "cuse.name",
            CuseError::Io { .. } => "cuse.io",
            CuseError::Handshake(_) => "cuse.handshake",
            CuseError::Message(_) => "cuse.message",
        }
    }
}

/// A character device that this process serves. It vanishes when this is dropped, or the
/// process ends.
#[derive(Debug)]
pub struct CuseDevice {
    connection: File,
    buffer: Vec<u8>,
}

impl CuseDevice {
    /// Makes `/dev/<name>` with the permissions `mode`; needs the `cuse` module and
    /// `CAP_SYS_ADMIN`. Callers may open the device at once, and wait until
    /// [`serve`](Self::serve) runs.
    ///
    /// # Errors
    /// See [`CuseError`].
    pub fn create(name: &str, mode: u32) -> Result<Self, CuseError> {
        if !is_device_name(name) {
            return Err(CuseError::Name);
        }
        let connection = OpenOptions::new().read(true).write(true).open(CUSE_PATH);
        let connection = connection.map_err(|source| at(CUSE_PATH, source))?;
        let mut device = Self {
            connection,
            buffer: vec![0; MESSAGE_ROOM],
        };
        let message = device.receive()?;
        let reply = session::handshake(message, name).map_err(CuseError::Handshake)?;
        // The kernel has made the device, or given up, by the time this returns.
        device.send(&reply)?;
        let path = Path::new("/dev").join(name);
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .map_err(|source| CuseError::Io { path, source })?;
        Ok(device)
    }

    /// Answers the device's callers, one at a time, for as long as the kernel keeps the
    /// device; `ask` is what [`session::answer`] takes. Returns why it ended.
    pub fn serve(mut self, mut ask: impl FnMut(&[u8]) -> io::Result<Vec<u8>>) -> CuseError {
        loop {
            if let Err(error) = self.serve_one(&mut ask) {
                return error;
            }
        }
    }

    fn serve_one(
        &mut self,
        ask: &mut impl FnMut(&[u8]) -> io::Result<Vec<u8>>,
    ) -> Result<(), CuseError> {
        let message = Message::parse(self.receive()?).map_err(CuseError::Message)?;
        match session::answer(&message, ask) {
            Answer::Reply(reply) => self.send(&reply),
            Answer::Silence => Ok(()),
        }
    }

    fn receive(&mut self) -> Result<&[u8], CuseError> {
        let length = loop {
            match self.connection.read(&mut self.buffer) {
                Ok(length) => break length,
                // ENOENT: the caller went away while its message was being handed over.
                Err(error) if is_passing(&error) || error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(at(CUSE_PATH, error)),
            }
        };
        Ok(self.buffer.get(..length).unwrap_or_default())
    }

    /// One reply is one write.
    fn send(&mut self, reply: &[u8]) -> Result<(), CuseError> {
        loop {
            match self.connection.write(reply) {
                Ok(_) => return Ok(()),
                Err(error) if is_passing(&error) => {}
                // ENOENT: the kernel gave up on this message; nobody waits for the reply.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
                Err(error) => return Err(at(CUSE_PATH, error)),
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

fn is_device_name(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

fn at(path: &str, source: io::Error) -> CuseError {
    CuseError::Io {
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_dev_are_refused() {
        for name in [
            "",
            "../nsm",
            "a b",
            "a=b",
            "nsm\0",
            "NSM",
            &"n".repeat(NAME_LIMIT + 1),
        ] {
            assert_eq!(
                CuseDevice::create(name, 0o666).unwrap_err().rule(),
                "cuse.name"
            );
        }
        assert!(is_device_name("nsm"));
    }
}
