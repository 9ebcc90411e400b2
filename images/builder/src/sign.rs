//! Signed images.

use std::time::SystemTime;

use anchorhold_eif::Eif;
use anchorhold_eif_signature::{Existing, SigningIdentity, sign, verify};

use crate::error::Error;
use crate::pack::Packed;

/// Signs an image file, and checks the result as a launcher would at the time `at`.
///
/// PCR0, 1 and 2 stay what they were: the signature is not measured, its certificate is PCR8. The
/// same image and identity give the same bytes.
///
/// # Errors
/// What the format and [`anchorhold_eif_signature`] refuse.
pub fn signed(
    file: &[u8],
    identity: &SigningIdentity,
    existing: Existing,
    at: SystemTime,
) -> Result<Packed, Error> {
    let image = Eif::parse(file)?;
    let bytes = image.with_signature(&sign(&image, identity, existing)?)?;
    let image = Eif::parse(&bytes)?;
    verify(&image, at)?;
    let measurements = image.measure();
    Ok(Packed {
        bytes,
        measurements,
    })
}
