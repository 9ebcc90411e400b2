//! Randomness: the kernel's generator, asked each time.

use getrandom::SysRng;
use rand_core::{Infallible, TryCryptoRng, TryRng, UnwrapErr};

/// The kernel's generator as an infallible one. The process ends when the kernel
/// has none to give, which Linux does not do once it has booted: nothing may go on
/// with bytes that are not random.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        UnwrapErr(SysRng).try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        UnwrapErr(SysRng).try_next_u64()
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        UnwrapErr(SysRng).try_fill_bytes(destination)
    }
}

impl TryCryptoRng for Random {}
