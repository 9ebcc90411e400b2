//! Messages of `/dev/cuse`, byte for byte (`include/uapi/linux/fuse.h`, native byte order).

/// Size of `struct fuse_in_header`.
pub const IN_HEADER_SIZE: usize = 40;

/// Size of `struct fuse_out_header`.
pub const OUT_HEADER_SIZE: usize = 16;

/// Size of `struct fuse_ioctl_in`.
pub const IOCTL_IN_SIZE: usize = 32;

/// The protocol's major version, `FUSE_KERNEL_VERSION`.
pub const MAJOR: u32 = 7;

/// The lowest minor version served: since 7.16 retried ioctls name memory in vectors of a
/// fixed layout (`struct fuse_ioctl_iovec`).
pub const OLDEST_MINOR: u32 = 16;

/// The highest minor version claimed: 7.31. What later versions added does not concern a
/// character device.
pub const NEWEST_MINOR: u32 = 31;

/// `CUSE_UNRESTRICTED_IOCTL`, offered by the kernel and asked for in the reply.
pub const UNRESTRICTED_IOCTL: u32 = 1 << 0;

/// `FUSE_IOCTL_UNRESTRICTED`: this ioctl may be retried.
pub const IOCTL_UNRESTRICTED: u32 = 1 << 1;

/// `FUSE_IOCTL_RETRY` in a reply: do it again with this memory.
const IOCTL_RETRY: u32 = 1 << 2;

/// `FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE`.
const OPEN_FLAGS: u32 = 1 << 0 | 1 << 2;

/// Why a message cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ends before its structure does.
    #[error("cuse.short: {structure} takes {expected} bytes, {got} came")]
    Short {
        /// The structure, as `linux/fuse.h` calls it.
        structure: &'static str,
        /// Its size in bytes.
        expected: usize,
        /// What there was, in bytes.
        got: usize,
    },
    /// The header gives another length than the message has.
    #[error("cuse.length: the header says {stated} bytes, {got} came")]
    Length {
        /// Length in the header.
        stated: u32,
        /// Length of the message in bytes.
        got: usize,
    },
}

impl WireError {
    /// The rule that was broken, as a stable name.
    pub fn rule(&self) -> &'static str {
        match self {
            WireError::Short { .. } => "cuse.short",
            WireError::Length { .. } => "cuse.length",
        }
    }
}

/// What the kernel asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// `FUSE_FORGET`, which gets no reply.
    Forget,
    /// `FUSE_OPEN`.
    Open,
    /// `FUSE_READ`.
    Read,
    /// `FUSE_WRITE`.
    Write,
    /// `FUSE_RELEASE`.
    Release,
    /// `FUSE_FLUSH`.
    Flush,
    /// `FUSE_INTERRUPT`, which needs no reply.
    Interrupt,
    /// `FUSE_DESTROY`.
    Destroy,
    /// `FUSE_IOCTL`.
    Ioctl,
    /// `FUSE_BATCH_FORGET`, which gets no reply.
    BatchForget,
    /// `CUSE_INIT`.
    CuseInit,
    /// Anything else.
    Other(u32),
}

impl From<u32> for Opcode {
    fn from(code: u32) -> Self {
        match code {
            2 => Opcode::Forget,
            14 => Opcode::Open,
            15 => Opcode::Read,
            16 => Opcode::Write,
            18 => Opcode::Release,
            25 => Opcode::Flush,
            36 => Opcode::Interrupt,
            38 => Opcode::Destroy,
            39 => Opcode::Ioctl,
            42 => Opcode::BatchForget,
            4096 => Opcode::CuseInit,
            other => Opcode::Other(other),
        }
    }
}

/// A message of the kernel's: `struct fuse_in_header` and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What is asked for.
    pub opcode: Opcode,
    /// The number that the reply must carry.
    pub unique: u64,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Splits a message as read from the device, one message per read.
    ///
    /// # Errors
    /// [`WireError`] if the header is cut short or lies about the length.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, body) = split::<IN_HEADER_SIZE>(bytes, "fuse_in_header")?;
        let stated = u32_at(header, 0);
        if usize::try_from(stated) != Ok(bytes.len()) {
            return Err(WireError::Length {
                stated,
                got: bytes.len(),
            });
        }
        Ok(Self {
            opcode: u32_at(header, 4).into(),
            unique: u64_at(header, 8),
            body,
        })
    }
}

/// `struct cuse_init_in`: the kernel's side of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitIn {
    /// Major version of the kernel's protocol.
    pub major: u32,
    /// Minor version of the kernel's protocol.
    pub minor: u32,
    /// What the kernel offers.
    pub flags: u32,
}

impl InitIn {
    /// Reads the body of a [`Opcode::CuseInit`] message.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let (body, _) = split::<16>(body, "cuse_init_in")?;
        Ok(Self {
            major: u32_at(body, 0),
            minor: u32_at(body, 4),
            flags: u32_at(body, 12),
        })
    }
}

/// `struct fuse_ioctl_in` and the caller's memory as far as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoctlIn<'a> {
    /// `FUSE_IOCTL_*` flags.
    pub flags: u32,
    /// The ioctl's number.
    pub command: u32,
    /// Its argument: an address in the caller's memory.
    pub argument: u64,
    /// The memory of the in-vectors, one after the other.
    pub input: &'a [u8],
    /// Room in the out-vectors together, in bytes.
    pub output_size: usize,
}

impl<'a> IoctlIn<'a> {
    /// Reads the body of a [`Opcode::Ioctl`] message.
    ///
    /// # Errors
    /// [`WireError`] if it is cut short, or `in_size` disagrees with what follows.
    pub fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let (fixed, input) = split::<IOCTL_IN_SIZE>(body, "fuse_ioctl_in")?;
        let stated = u32_at(fixed, 24);
        if usize::try_from(stated) != Ok(input.len()) {
            return Err(WireError::Length {
                stated,
                got: input.len(),
            });
        }
        Ok(Self {
            flags: u32_at(fixed, 8),
            command: u32_at(fixed, 12),
            argument: u64_at(fixed, 16),
            input,
            output_size: u32_at(fixed, 28) as usize,
        })
    }
}

/// `struct fuse_ioctl_iovec`: a piece of the caller's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// Its address.
    pub base: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// The reply that fails a message: `errno` is positive, as in `errno.h`.
pub fn error_reply(unique: u64, errno: i32) -> Vec<u8> {
    let mut reply = Vec::with_capacity(OUT_HEADER_SIZE);
    reply.extend((OUT_HEADER_SIZE as u32).to_ne_bytes());
    reply.extend(errno.saturating_neg().to_ne_bytes());
    reply.extend(unique.to_ne_bytes());
    reply
}

/// The reply that succeeds, with what the opcode's reply consists of.
pub fn reply(unique: u64, body: &[u8]) -> Vec<u8> {
    let length = OUT_HEADER_SIZE.saturating_add(body.len());
    let mut reply = Vec::with_capacity(length);
    reply.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    reply.extend(0i32.to_ne_bytes());
    reply.extend(unique.to_ne_bytes());
    reply.extend(body);
    reply
}

/// `struct fuse_open_out`. All opens share one file handle, since none has state.
pub fn open_body() -> Vec<u8> {
    [
        &0u64.to_ne_bytes()[..],
        &OPEN_FLAGS.to_ne_bytes(),
        &0u32.to_ne_bytes(),
    ]
    .concat()
}

/// `struct cuse_init_out` and the device's name: a fresh device number, messages of at
/// most a page for `read` and `write` (of which the device has none), unrestricted ioctls.
pub fn init_body(minor: u32, device: &str) -> Vec<u8> {
    const PAGE: u32 = 4096;
    let fields = [MAJOR, minor, 0, UNRESTRICTED_IOCTL, PAGE, PAGE, 0, 0];
    let mut body: Vec<u8> = fields
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect();
    body.extend([0; 10 * 4]);
    body.extend(b"DEVNAME=");
    body.extend(device.as_bytes());
    body.push(0);
    body
}

/// `struct fuse_ioctl_out` that asks for the caller's memory: `input` to be copied in and
/// `output` to be made room for, next time.
pub fn retry_body(input: &[Vector], output: &[Vector]) -> Vec<u8> {
    let mut body = ioctl_out(IOCTL_RETRY, input.len(), output.len());
    for vector in input.iter().chain(output) {
        body.extend(vector.base.to_ne_bytes());
        body.extend(vector.length.to_ne_bytes());
    }
    body
}

/// `struct fuse_ioctl_out` of an ioctl that returns 0, and what goes into the out-vectors.
pub fn ioctl_body(output: &[&[u8]]) -> Vec<u8> {
    let mut body = ioctl_out(0, 0, 0);
    for part in output {
        body.extend(*part);
    }
    body
}

fn ioctl_out(flags: u32, input: usize, output: usize) -> Vec<u8> {
    // There are at most two vectors of each kind.
    [0, flags, input as u32, output as u32]
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect()
}

/// The first `N` bytes and the rest.
fn split<'a, const N: usize>(
    bytes: &'a [u8],
    structure: &'static str,
) -> Result<(&'a [u8; N], &'a [u8]), WireError> {
    let short = WireError::Short {
        structure,
        expected: N,
        got: bytes.len(),
    };
    bytes.split_first_chunk::<N>().ok_or(short)
}

/// The `u32` at an offset that the caller takes from a structure's layout; zero beyond it.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.copied().map_or(0, u32::from_ne_bytes)
}

/// The `u64` at an offset that the caller takes from a structure's layout; zero beyond it.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.copied().map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header as the kernel writes it.
    fn message(opcode: u32, unique: u64, body: &[u8]) -> Vec<u8> {
        let length = (IN_HEADER_SIZE + body.len()) as u32;
        let mut bytes = Vec::new();
        bytes.extend(length.to_ne_bytes());
        bytes.extend(opcode.to_ne_bytes());
        bytes.extend(unique.to_ne_bytes());
        bytes.extend([0xAA; 24]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_cut_header_and_a_wrong_length_are_refused() {
        let whole = message(14, 1, &[]);
        let short = Message::parse(&whole[..39]).unwrap_err();
        let structure = "fuse_in_header";
        assert_eq!(
            short,
            WireError::Short {
                structure,
                expected: 40,
                got: 39
            }
        );
        let trailing = [&whole[..], &[0]].concat();
        assert_eq!(
            Message::parse(&trailing),
            Err(WireError::Length {
                stated: 40,
                got: 41
            })
        );
    }

    #[test]
    fn an_ioctl_whose_sizes_disagree_is_refused() {
        let mut body = [0; IOCTL_IN_SIZE];
        body[24..28].copy_from_slice(&5u32.to_ne_bytes());
        assert_eq!(
            IoctlIn::parse(&body),
            Err(WireError::Length { stated: 5, got: 0 })
        );
        assert!(matches!(
            IoctlIn::parse(&body[..31]),
            Err(WireError::Short { .. })
        ));
        assert!(matches!(
            InitIn::parse(&body[..15]),
            Err(WireError::Short { .. })
        ));
    }

    /// The sizes are those of the C structures.
    #[test]
    fn replies_have_the_kernel_s_layout() {
        let error = error_reply(0x0102, 22);
        assert_eq!(error.len(), OUT_HEADER_SIZE);
        assert_eq!(error[4..8], (-22i32).to_ne_bytes());
        assert_eq!(open_body().len(), 16);
        assert_eq!(init_body(31, "nsm").len(), 72 + "DEVNAME=nsm\0".len());
        let vector = Vector { base: 1, length: 2 };
        assert_eq!(retry_body(&[vector], &[vector, vector]).len(), 16 + 3 * 16);
        let whole = reply(9, b"body");
        assert_eq!(whole[..4], (whole.len() as u32).to_ne_bytes());
        assert_eq!(&whole[16..], b"body");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
            let _ = InitIn::parse(&bytes);
            let _ = IoctlIn::parse(&bytes);
        }

        #[test]
        fn headers_are_read_back(
            opcode in any::<u32>(),
            unique in any::<u64>(),
            body in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = message(opcode, unique, &body);
            let parsed = Message::parse(&bytes).unwrap();
            prop_assert_eq!(parsed, Message { opcode: opcode.into(), unique, body: &body });
        }
    }
}
