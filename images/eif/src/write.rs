//! Writing an image.

use std::io::{self, Write};

use thiserror::Error;

use crate::error::EifError;
use crate::header::{
    Architecture, CRC_OFFSET, HEADER_SIZE, Header, MAX_SECTIONS, RawHeader, Version,
};
use crate::measure::Measurements;
use crate::metadata::Metadata;
use crate::rules::{self, MAX_FILE_SIZE};
use crate::section::{SECTION_HEADER_SIZE, Section, SectionType};
use crate::signature::SignatureSection;

/// Puts an image together from its parts, in nitro-cli's order: kernel, command line, metadata,
/// ramdisks, signature.
///
/// Always writes version 4. The same parts give the same bytes: nothing here reads a clock.
#[derive(Debug, Clone)]
pub struct EifWriter<'a> {
    architecture: Architecture,
    default_memory: u64,
    default_cpus: u64,
    kernel: &'a [u8],
    cmdline: &'a str,
    ramdisks: Vec<&'a [u8]>,
    metadata: Metadata,
    signature: Option<SignatureSection>,
}

/// Why an image could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The parts make no image that keeps the format's rules.
    #[error("the parts do not make an enclave image")]
    Invalid(#[from] EifError),
    /// The output did not take the bytes.
    #[error("the image cannot be written")]
    Io(#[from] io::Error),
}

impl<'a> EifWriter<'a> {
    /// An x86_64 image with AWS's defaults of 1 GiB and 2 CPUs, empty metadata and no ramdisk.
    pub fn new(kernel: &'a [u8], cmdline: &'a str) -> Self {
        Self {
            architecture: Architecture::X86_64,
            default_memory: 1 << 30,
            default_cpus: 2,
            kernel,
            cmdline,
            ramdisks: Vec::new(),
            metadata: Metadata::default(),
            signature: None,
        }
    }

    /// Sets the machine that the image is for.
    pub fn architecture(&mut self, architecture: Architecture) -> &mut Self {
        self.architecture = architecture;
        self
    }

    /// Sets what to run with when nobody says otherwise: memory in bytes and number of CPUs.
    pub fn defaults(&mut self, memory: u64, cpus: u64) -> &mut Self {
        self.default_memory = memory;
        self.default_cpus = cpus;
        self
    }

    /// Adds a ramdisk after those added before: the first one boots, the others are the
    /// application's.
    pub fn ramdisk(&mut self, ramdisk: &'a [u8]) -> &mut Self {
        self.ramdisks.push(ramdisk);
        self
    }

    /// Sets the metadata.
    pub fn metadata(&mut self, metadata: Metadata) -> &mut Self {
        self.metadata = metadata;
        self
    }

    /// Sets the signature section.
    pub fn signature(&mut self, signature: SignatureSection) -> &mut Self {
        self.signature = Some(signature);
        self
    }

    /// What the image measures to: the same as [`Eif::measure`](crate::Eif::measure) of the
    /// written file.
    pub fn measure(&self) -> Measurements {
        let mut sections = vec![
            Section {
                kind: SectionType::Kernel,
                data: self.kernel,
            },
            Section {
                kind: SectionType::Cmdline,
                data: self.cmdline.as_bytes(),
            },
        ];
        let ramdisk = |&data| Section {
            kind: SectionType::Ramdisk,
            data,
        };
        sections.extend(self.ramdisks.iter().map(ramdisk));
        let certificate = self
            .signature
            .as_ref()
            .map(SignatureSection::certificate_der);
        Measurements::of(&sections, certificate)
    }

    /// The image's bytes.
    ///
    /// # Errors
    /// The first rule of the format that the parts break.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EifError> {
        let parts = Parts::of(self)?;
        let sections = parts.sections(self);
        assemble(self.header(), &sections)
    }

    /// Writes the image; `output` should be buffered or a file.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] before the first byte is written when the parts break a rule of the
    /// format, [`WriteError::Io`] when the output fails.
    pub fn write_to(&self, output: &mut impl Write) -> Result<(), WriteError> {
        let parts = Parts::of(self)?;
        let sections = parts.sections(self);
        output.write_all(&lay_out(self.header(), &sections)?.to_bytes())?;
        for section in &sections {
            output.write_all(&section.header_bytes())?;
            output.write_all(section.data)?;
        }
        Ok(output.flush()?)
    }

    fn header(&self) -> Header {
        Header {
            version: Version::V4,
            architecture: self.architecture,
            default_memory: self.default_memory,
            default_cpus: self.default_cpus,
            crc32: 0,
        }
    }
}

/// A whole file: these sections one after the other behind a header with their places and the
/// checksum.
pub(crate) fn assemble(header: Header, sections: &[Section<'_>]) -> Result<Vec<u8>, EifError> {
    let mut file = lay_out(header, sections)?.to_bytes().to_vec();
    for section in sections {
        file.extend(section.header_bytes());
        file.extend(section.data);
    }
    Ok(file)
}

/// Checks the sections and lays them out one after the other behind the header.
fn lay_out(header: Header, sections: &[Section<'_>]) -> Result<RawHeader, EifError> {
    rules::check(header.version, sections)?;
    let mut offsets = [0; MAX_SECTIONS];
    let mut sizes = [0; MAX_SECTIONS];
    let mut end = HEADER_SIZE as u64;
    for (section, (offset, size)) in sections.iter().zip(offsets.iter_mut().zip(&mut sizes)) {
        *offset = end;
        *size = section.data.len() as u64;
        end = end
            .saturating_add(SECTION_HEADER_SIZE as u64)
            .saturating_add(*size);
    }
    if end > MAX_FILE_SIZE {
        return Err(EifError::FileTooLarge {
            limit: MAX_FILE_SIZE,
            got: end,
        });
    }
    // rules::check allows at most MAX_SECTIONS.
    let num_sections = sections.len() as u16;
    let mut raw = RawHeader {
        header,
        num_sections,
        offsets,
        sizes,
    };
    raw.header.crc32 = crc(&raw, sections);
    Ok(raw)
}

/// The sections that are made from values rather than borrowed.
struct Parts {
    metadata: Vec<u8>,
    signature: Option<Vec<u8>>,
}

impl Parts {
    fn of(writer: &EifWriter<'_>) -> Result<Self, EifError> {
        Ok(Self {
            metadata: writer.metadata.to_json()?,
            signature: writer.signature.as_ref().map(SignatureSection::to_bytes),
        })
    }

    fn sections<'s>(&'s self, writer: &EifWriter<'s>) -> Vec<Section<'s>> {
        let section = |kind, data| Section { kind, data };
        let mut sections = vec![
            section(SectionType::Kernel, writer.kernel),
            section(SectionType::Cmdline, writer.cmdline.as_bytes()),
            section(SectionType::Metadata, self.metadata.as_slice()),
        ];
        sections.extend(
            writer
                .ramdisks
                .iter()
                .map(|data| section(SectionType::Ramdisk, data)),
        );
        sections.extend(
            self.signature
                .iter()
                .map(|data| section(SectionType::Signature, data)),
        );
        sections
    }
}

fn crc(raw: &RawHeader, sections: &[Section<'_>]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let header = raw.to_bytes();
    crc.update(header.get(..CRC_OFFSET).unwrap_or_default());
    for section in sections {
        crc.update(&section.header_bytes());
        crc.update(section.data);
    }
    crc.finalize()
}
