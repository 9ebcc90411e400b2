//! PCR values of an image.

use std::fmt;

use sha2::{Digest, Sha384};

use crate::section::{Section, SectionType};

/// How nitro-cli names the hash in its JSON.
pub const HASH_ALGORITHM: &str = "Sha384 { ... }";

/// One PCR value: 48 bytes, shown as 96 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Measurement(pub [u8; 48]);

impl Measurement {
    /// The value of a register that was zero and has been extended once with `data`'s hash:
    /// SHA-384(48 zero bytes ‖ SHA-384(data)).
    pub fn of(data: &[u8]) -> Self {
        Self::extended(Sha384::new_with_prefix(data))
    }

    fn extended(hasher: Sha384) -> Self {
        let mut register = Sha384::new_with_prefix([0; 48]);
        register.update(hasher.finalize());
        Self(register.finalize().into())
    }
}

impl From<Measurement> for [u8; 48] {
    fn from(measurement: Measurement) -> Self {
        measurement.0
    }
}

impl AsRef<[u8]> for Measurement {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Measurement({self})")
    }
}

/// What an image measures to. Only sections' data counts, without their headers, in the file's
/// order; metadata and header fields do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurements {
    /// Kernel, command line and all ramdisks.
    pub pcr0: Measurement,
    /// Kernel, command line and the first ramdisk.
    pub pcr1: Measurement,
    /// The ramdisks after the first.
    pub pcr2: Measurement,
    /// The signing certificate's DER; `None` for an unsigned image, whose PCR8 is zero.
    pub pcr8: Option<Measurement>,
}

impl Measurements {
    pub(crate) fn of(sections: &[Section<'_>], certificate_der: Option<&[u8]>) -> Self {
        let mut image = Sha384::new();
        let mut application = Sha384::new();
        // Kernel, command line and first ramdisk usually come first: until the first application
        // ramdisk, PCR1's hash is PCR0's and is not computed twice.
        let mut boot = None;
        let mut ramdisks = 0;
        for section in sections.iter().filter(|section| section.kind.is_measured()) {
            let is_ramdisk = section.kind == SectionType::Ramdisk;
            if is_ramdisk && ramdisks > 0 {
                boot.get_or_insert_with(|| image.clone());
                application.update(section.data);
            } else if let Some(boot) = &mut boot {
                Digest::update(boot, section.data);
            }
            ramdisks += usize::from(is_ramdisk);
            image.update(section.data);
        }
        Self {
            pcr1: Measurement::extended(boot.unwrap_or_else(|| image.clone())),
            pcr0: Measurement::extended(image),
            pcr2: Measurement::extended(application),
            pcr8: certificate_der.map(Measurement::of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h(parts: &[&[u8]]) -> Measurement {
        Measurement::of(&parts.concat())
    }

    #[test]
    fn each_register_holds_its_sections_in_file_order() {
        let section = |kind, data| Section { kind, data };
        let sections: [Section<'_>; 6] = [
            section(SectionType::Kernel, b"kernel"),
            section(SectionType::Metadata, b"{}"),
            section(SectionType::Ramdisk, b"zero"),
            section(SectionType::Ramdisk, b"one"),
            section(SectionType::Cmdline, b"cmdline"),
            section(SectionType::Ramdisk, b"two"),
        ];
        let got = Measurements::of(&sections, Some(b"der"));
        assert_eq!(
            got.pcr0,
            h(&[b"kernel", b"zero", b"one", b"cmdline", b"two"])
        );
        assert_eq!(got.pcr1, h(&[b"kernel", b"zero", b"cmdline"]));
        assert_eq!(got.pcr2, h(&[b"one", b"two"]));
        assert_eq!(got.pcr8, Some(h(&[b"der"])));
    }

    #[test]
    fn without_application_ramdisks_pcr2_extends_the_empty_hash() {
        let sections = [Section {
            kind: SectionType::Kernel,
            data: b"kernel",
        }];
        let got = Measurements::of(&sections, None);
        assert_eq!(got.pcr0, got.pcr1);
        // SHA-384(48 zero bytes ‖ SHA-384("")), computed with Python's hashlib; the value that
        // describe-eif shows as PCR2 of every image with one ramdisk.
        assert_eq!(
            got.pcr2.to_string(),
            "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c\
             10edb30948c90ba67310f7b964fc500a"
        );
    }
}
