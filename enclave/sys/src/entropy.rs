//! Feeding the kernel's random number generator.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use zeroize::Zeroize;

/// Bytes per `RNDADDENTROPY` call: what the security module gives at a time.
const CHUNK: usize = 256;

/// `struct rand_pool_info` of `linux/random.h` with room for [`CHUNK`] bytes.
#[repr(C)]
struct PoolInfo {
    /// Credited entropy in bits.
    entropy_count: libc::c_int,
    /// Length of what follows, in bytes.
    buf_size: libc::c_int,
    buf: [u8; CHUNK],
}

mod raw {
    // `_IOW('R', 0x03, int[2])`: the number encodes two integers, the argument is the
    // structure that begins with them.
    nix::ioctl_write_ptr_bad!(
        add_entropy,
        nix::request_code_write!(b'R', 0x03, size_of::<[libc::c_int; 2]>()),
        super::PoolInfo
    );
    nix::ioctl_none!(reseed, b'R', 0x07);
}

/// Mixes `seed` into the kernel's pool, credits eight bits for each byte, and has the
/// generator take a new key from the pool at once.
///
/// Without the last step a generator that the boot loader's or processor's numbers
/// have made ready keeps its key for up to a minute, and what draws meanwhile draws
/// nothing of `seed`. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// What the kernel answers to opening `/dev/random`, to `RNDADDENTROPY` or to
/// `RNDRESEEDCRNG`. Less than 32 bytes leave a fresh generator unready, and the last
/// call then answers `ENODATA`.
pub fn credit(seed: &[u8]) -> io::Result<()> {
    let random = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/random")?;
    for chunk in seed.chunks(CHUNK) {
        let mut info = pool_info(chunk);
        // SAFETY: the descriptor is open during the call. `info` has the layout of
        // `struct rand_pool_info`, the kernel reads its two integers and then `buf_size`
        // bytes, which `pool_info` keeps within `buf`; it writes nothing.
        let outcome = unsafe { raw::add_entropy(random.as_raw_fd(), &raw const info) };
        info.buf.zeroize();
        outcome?;
    }
    // SAFETY: this ioctl takes no argument and touches no memory of ours; the descriptor
    // is open during the call.
    unsafe { raw::reseed(random.as_raw_fd()) }
        .map_err(Errno::into)
        .map(drop)
}

/// One call's argument; `chunk` is cut to [`CHUNK`] bytes.
fn pool_info(chunk: &[u8]) -> PoolInfo {
    let mut info = PoolInfo {
        entropy_count: 0,
        buf_size: 0,
        buf: [0; CHUNK],
    };
    let mut length = 0;
    for (slot, byte) in info.buf.iter_mut().zip(chunk) {
        *slot = *byte;
        length += 1;
    }
    info.buf_size = length;
    info.entropy_count = length * 8;
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credit_is_that_of_the_bytes_given() {
        for (given, bytes) in [(0, 0), (1, 1), (255, 255), (256, 256), (300, 256)] {
            let info = pool_info(&vec![7; given]);
            assert_eq!((info.buf_size, info.entropy_count), (bytes, bytes * 8));
            assert_eq!(
                info.buf.iter().filter(|byte| **byte == 7).count(),
                bytes as usize
            );
        }
    }
}
