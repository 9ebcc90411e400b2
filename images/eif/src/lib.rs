//! Enclave image files (EIF): parse, write, measure.
//!
//! An EIF holds what an enclave boots: a kernel, its command line, and ramdisks that are
//! concatenated into one initramfs; beside them metadata that nobody measures and, if the image
//! is signed, a signature over PCR0. All integers are big-endian:
//!
//! ```text
//! file    = header (548 bytes) section{num_sections}
//! header  = magic ".eif" | version u16 | flags u16 | default_mem u64 | default_cpus u64
//!         | reserved u16 | num_sections u16 | section_offsets u64[32] | section_sizes u64[32]
//!         | unused u32 | crc32 u32
//! section = type u16 | flags u16 | size u64 | data (size bytes)
//! ```
//!
//! The header says where every section lies, and so do the sections themselves by following one
//! another. Readers differ in which of the two they believe. A file in which they disagree would
//! be measured as one image and booted as another, so [`Eif::parse`] refuses it.
//!
//! Files come from the parent instance, which may be hostile: every length is checked before it
//! is used, nothing is allocated in proportion to a claimed size, and [`Eif`] borrows from the
//! bytes it was given, so that a sealed and mapped file is measured and booted without a copy.
//!
//! ```
//! use anchorhold_eif::{Eif, EifWriter, Metadata};
//!
//! let mut writer = EifWriter::new(b"a kernel", "console=ttyS0");
//! writer.ramdisk(b"070701 boot").ramdisk(b"070701 application").metadata(Metadata::default());
//! let bytes = writer.to_bytes()?;
//!
//! let image = Eif::parse(&bytes)?;
//! assert_eq!(image.cmdline(), "console=ttyS0");
//! println!("PCR0 {}", image.measure().pcr0);
//! # Ok::<(), anchorhold_eif::EifError>(())
//! ```
#![forbid(unsafe_code)]

mod boundary;
mod error;
mod header;
mod measure;
mod metadata;
mod parse;
mod resign;
mod rules;
mod section;
mod signature;
mod write;

pub use error::EifError;
pub use header::{Architecture, HEADER_SIZE, Header, MAGIC, MAX_SECTIONS, MIN_SECTIONS, Version};
pub use measure::{HASH_ALGORITHM, Measurement, Measurements};
pub use metadata::{BuildMetadata, Metadata};
pub use parse::Eif;
pub use rules::{
    MAX_CMDLINE_SIZE, MAX_CUSTOM_METADATA_SIZE, MAX_FILE_SIZE, MAX_METADATA_SIZE,
    MAX_SIGNATURE_SIZE,
};
pub use section::{SECTION_HEADER_SIZE, Section, SectionType};
pub use signature::{SignatureError, SignatureSection};
pub use write::{EifWriter, WriteError};
