//! Putting a signature on an image that exists.

use crate::error::EifError;
use crate::header::Version;
use crate::parse::Eif;
use crate::section::{Section, SectionType};
use crate::signature::SignatureSection;
use crate::write;

impl Eif<'_> {
    /// The file of this image with this signature section as its last, in place of the one that it
    /// may have. Every other section stays as it is, byte for byte and in its order, and so PCR0, 1
    /// and 2 stay too.
    ///
    /// # Errors
    /// [`EifError::SectionType`] for an image of version 2, which has no signatures, and the rules
    /// for sections' number and sizes.
    pub fn with_signature(&self, signature: &SignatureSection) -> Result<Vec<u8>, EifError> {
        let mut sections: Vec<_> = self
            .sections()
            .iter()
            .filter(|section| section.kind != SectionType::Signature)
            .copied()
            .collect();
        let version = self.header().version;
        if version < Version::V3 {
            return Err(EifError::SectionType {
                index: sections.len(),
                got: SectionType::Signature.number(),
                version: version.number(),
            });
        }
        let data = signature.to_bytes();
        sections.push(Section {
            kind: SectionType::Signature,
            data: &data,
        });
        write::assemble(*self.header(), &sections)
    }
}
