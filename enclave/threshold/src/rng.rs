//! The caller's randomness, under the trait that the FROST crates take.

use frost_rand_core as legacy;
use rand_core::CryptoRng;

/// `rand_core` 0.10 seen as `rand_core` 0.6: the same bytes.
pub(crate) struct Randomness<'a, R>(pub &'a mut R);

impl<R: CryptoRng> legacy::RngCore for Randomness<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), legacy::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: CryptoRng> legacy::CryptoRng for Randomness<'_, R> {}
