//! Random bytes of the cryptographic library.
//!
//! Keys in an enclave come from AWS-LC's generator. It seeds itself from the kernel, whose pool
//! init has filled from the security module, and from CPU jitter. A machine on which that fails
//! must fail at once and by name, not in the middle of a handshake: applications call [`seed`]
//! first.

use thiserror::Error;

/// Draws once from the generator, so that it seeds itself now.
///
/// # Errors
/// [`RandomError`]. Where AWS-LC cannot get any entropy at all it ends the process instead.
pub fn seed() -> Result<(), RandomError> {
    fill(&mut [0; 32])
}

/// Fills `out` with random bytes that are fit for keys.
///
/// # Errors
/// [`RandomError`].
pub fn fill(out: &mut [u8]) -> Result<(), RandomError> {
    aws_lc_rs::rand::fill(out).map_err(|_| RandomError)
}

/// The generator could not be seeded: a fault of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the random generator could not be seeded")]
pub struct RandomError;

impl RandomError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        "random.seed"
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        super::seed().unwrap();
        super::fill(&mut first).unwrap();
        super::fill(&mut second).unwrap();
        assert_ne!(first, second);
    }
}
