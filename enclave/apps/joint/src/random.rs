//! AWS-LC's generator as the computations take it.

use anchorhold_enclave::random::{RandomError, fill};
use rand_core::{TryCryptoRng, TryRng};

/// The generator that keys come from.
#[derive(Clone, Copy, Debug)]
pub struct Random;

impl TryRng for Random {
    type Error = RandomError;

    fn try_next_u32(&mut self) -> Result<u32, RandomError> {
        let mut bytes = [0; 4];
        fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, RandomError> {
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        fill(bytes)
    }
}

impl TryCryptoRng for Random {}
