//! Reading an image.

use crate::boundary;
use crate::error::EifError;
use crate::header::{CRC_OFFSET, HEADER_SIZE, Header, RawHeader};
use crate::measure::Measurements;
use crate::metadata::Metadata;
use crate::rules::{self, MAX_FILE_SIZE};
use crate::section::{SECTION_HEADER_SIZE, Section, SectionHeader, SectionType};
use crate::signature::SignatureSection;

/// An enclave image that keeps every rule of the format, borrowed from the file's bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Eif<'a> {
    header: Header,
    sections: Vec<Section<'a>>,
    cmdline: &'a str,
    metadata: Option<Metadata>,
    signature: Option<SignatureSection>,
}

impl<'a> Eif<'a> {
    /// Reads a whole file: header, every section, checksum, metadata and the signature's form.
    ///
    /// The bytes are borrowed, so a mapped file is neither copied nor read twice as two different
    /// things, provided that nobody can change it meanwhile (a sealed memfd).
    ///
    /// Does not establish that the image is signed by anyone (`anchorhold-eif-signature` does),
    /// nor that its measurement fixes where kernel, command line and ramdisks begin
    /// ([`Eif::check_boundaries`] does).
    ///
    /// # Errors
    /// The first rule that the file breaks, as an [`EifError`].
    pub fn parse(file: &'a [u8]) -> Result<Self, EifError> {
        if file.len() as u64 > MAX_FILE_SIZE {
            let got = file.len() as u64;
            return Err(EifError::FileTooLarge {
                limit: MAX_FILE_SIZE,
                got,
            });
        }
        let raw = RawHeader::parse(file)?;
        let sections = walk(file, &raw)?;
        check_crc(file, raw.header.crc32)?;
        rules::check(raw.header.version, &sections)?;

        let find = |kind| sections.iter().find(|s| s.kind == kind).map(|s| s.data);
        let cmdline = find(SectionType::Cmdline).unwrap_or_default();
        let cmdline = std::str::from_utf8(cmdline).map_err(|error| EifError::CmdlineEncoding {
            at: error.valid_up_to(),
        })?;
        let metadata = find(SectionType::Metadata)
            .map(Metadata::from_json)
            .transpose()?;
        let signature = find(SectionType::Signature)
            .map(SignatureSection::parse)
            .transpose()?;
        Ok(Self {
            header: raw.header,
            sections,
            cmdline,
            metadata,
            signature,
        })
    }

    /// The header's fields.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Every section in the file's order.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// The kernel: a bzImage on x86_64, an Image on aarch64.
    pub fn kernel(&self) -> &'a [u8] {
        self.of_kind(SectionType::Kernel).next().unwrap_or_default()
    }

    /// The kernel's command line, at most [`MAX_CMDLINE_SIZE`](crate::MAX_CMDLINE_SIZE) bytes,
    /// without a NUL.
    pub fn cmdline(&self) -> &'a str {
        self.cmdline
    }

    /// The ramdisks in order, at least one; the initramfs is their concatenation. The first one
    /// boots, the others are the application's.
    pub fn ramdisks(&self) -> Vec<&'a [u8]> {
        self.of_kind(SectionType::Ramdisk).collect()
    }

    /// The metadata, which is not measured: whoever hands over the file can change it. Always
    /// there in version 4.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// The signature section's two values, unchecked.
    pub fn signature(&self) -> Option<&SignatureSection> {
        self.signature.as_ref()
    }

    /// Hashes the image as AWS does: PCR0, 1 and 2, and PCR8 when there is a certificate.
    ///
    /// PCR8 is the hash of whatever certificate the file carries. It says who signed only after
    /// `anchorhold-eif-signature` has checked the signature.
    pub fn measure(&self) -> Measurements {
        let certificate = self
            .signature
            .as_ref()
            .map(SignatureSection::certificate_der);
        Measurements::of(&self.sections, certificate)
    }

    /// Checks that this image's measurement belongs to no other split of the same bytes.
    ///
    /// PCR0 hashes kernel, command line and ramdisks without their lengths. Someone who hands over
    /// the file could therefore move the border between two of them, and the same PCR0 would boot
    /// with, say, the first words of the command line counted to the kernel's tail and so ignored.
    /// This accepts an x86_64 image only if the bytes themselves fix every border: measured
    /// sections in the order kernel, command line, ramdisks; the kernel as long as its own boot
    /// header (and signature table) says; the command line printable; the first ramdisk beginning
    /// as an archive does. Borders between ramdisks stay free: they change PCR1 and PCR2, but the
    /// initramfs that boots is their concatenation and the same.
    ///
    /// A launcher calls this before it boots an image under a measurement. Images with made-up
    /// kernels, as tests use them, do not pass.
    ///
    /// # Errors
    /// [`EifError::Boundary`] with the border that is loose.
    pub fn check_boundaries(&self) -> Result<(), EifError> {
        boundary::check(self.header.architecture, &self.sections)
    }

    fn of_kind(&self, kind: SectionType) -> impl Iterator<Item = &'a [u8]> {
        self.sections
            .iter()
            .filter(move |s| s.kind == kind)
            .map(|s| s.data)
    }
}

/// Follows the sections one after the other and demands that the header's tables say the same.
fn walk<'a>(file: &'a [u8], raw: &RawHeader) -> Result<Vec<Section<'a>>, EifError> {
    let truncated = |what, expected| EifError::Truncated {
        what,
        expected,
        got: file.len() as u64,
    };
    let mut sections = Vec::with_capacity(usize::from(raw.num_sections));
    let mut rest = file.get(HEADER_SIZE..).unwrap_or_default();
    let mut offset = HEADER_SIZE as u64;
    let table = raw.offsets.iter().zip(&raw.sizes);
    for (index, (&at, &size)) in table.enumerate().take(usize::from(raw.num_sections)) {
        if at != offset {
            return Err(EifError::SectionOffset {
                index,
                expected: offset,
                got: at,
            });
        }
        let data_at = offset.saturating_add(SECTION_HEADER_SIZE as u64);
        let (bytes, after) = rest
            .split_first_chunk::<SECTION_HEADER_SIZE>()
            .ok_or(truncated("a section's header", data_at))?;
        let header = SectionHeader::parse(bytes, index, raw.header.version)?;
        if header.size != size {
            return Err(EifError::SectionSize {
                index,
                expected: header.size,
                got: size,
            });
        }
        let end = data_at.saturating_add(size);
        let (data, after) = usize::try_from(size)
            .ok()
            .and_then(|size| after.split_at_checked(size))
            .ok_or(truncated("a section's data", end))?;
        sections.push(Section {
            kind: header.kind,
            data,
        });
        rest = after;
        offset = end;
    }
    if rest.is_empty() {
        Ok(sections)
    } else {
        Err(EifError::TrailingBytes {
            expected: offset,
            got: rest.len() as u64,
        })
    }
}

fn check_crc(file: &[u8], expected: u32) -> Result<(), EifError> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(file.get(..CRC_OFFSET).unwrap_or_default());
    crc.update(file.get(HEADER_SIZE..).unwrap_or_default());
    let got = crc.finalize();
    if got == expected {
        Ok(())
    } else {
        Err(EifError::Crc { expected, got })
    }
}
