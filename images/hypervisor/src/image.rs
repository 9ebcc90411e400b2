//! An enclave image, ready to boot: copied once, sealed, measured, and only then taken apart.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anchorhold_eif::{Architecture, Eif, EifError, MAX_FILE_SIZE, Measurements, Metadata};
use anchorhold_eif_signature::SignatureError;

use crate::memfd::SealedFile;

/// What the kernel needs beside its image and the ramdisks, in bytes: page tables, per-CPU areas,
/// its own data and a working minimum for init. Debian's 6.12 cloud kernel with 4 MiB of ramdisks
/// comes up in 84 MiB, the sum that this gives, and not in 72.
pub const KERNEL_WORKING_MEMORY: u64 = 64 << 20;

const MIB: u64 = 1 << 20;

/// Why an image does not boot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file is not there or cannot be read.
    #[error("cannot read the enclave image {path:?}")]
    Read {
        /// The file that was named.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A directory, a device or a pipe in place of a file.
    #[error("{path:?} is not a regular file")]
    NotAFile {
        /// The path that was named.
        path: PathBuf,
    },
    /// The machine has no memory for a copy of the image.
    #[error("cannot copy the enclave image into sealed memory")]
    Memory(#[source] io::Error),
    /// The file breaks a rule of the image format.
    #[error("{path:?} is not an enclave image that boots")]
    Format {
        /// The file that was named.
        path: PathBuf,
        /// The rule.
        source: EifError,
    },
    /// The image is for another kind of processor.
    #[error("the image is for {got}, this host runs x86_64")]
    Architecture {
        /// What the image's header says.
        got: &'static str,
    },
    /// The image's signature does not hold.
    #[error("the image's signature does not hold")]
    Signature(#[source] SignatureError),
    /// Fewer memory than the image needs to unpack itself.
    #[error(
        "memory: expected at least {expected_mib} MiB ({working_mib} MiB for the kernel, \
         {kernel_mib} MiB its image, twice {ramdisks_mib} MiB of ramdisks, packed and unpacked), \
         got {got_mib} MiB"
    )]
    MemoryTooSmall {
        /// The least that is accepted, in MiB.
        expected_mib: u64,
        /// The kernel's working memory, in MiB.
        working_mib: u64,
        /// The kernel's image, in MiB rounded up.
        kernel_mib: u64,
        /// All ramdisks, in MiB rounded up.
        ramdisks_mib: u64,
        /// What was asked for, in MiB.
        got_mib: u64,
    },
}

impl ImageError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Read { .. } => "image.read",
            Self::NotAFile { .. } => "image.not-a-file",
            Self::Memory(_) => "image.copy",
            Self::Format { source, .. } => source.rule(),
            Self::Architecture { .. } => "image.architecture",
            Self::Signature(source) => source.rule(),
            Self::MemoryTooSmall { .. } => "memory.too-small",
        }
    }
}

/// A measured image. Its kernel and ramdisks are sealed copies of the bytes that were measured.
#[derive(Debug)]
pub struct Image {
    /// The kernel's image.
    pub kernel: SealedFile,
    /// All ramdisks, one after the other, as the kernel unpacks them.
    pub initrd: SealedFile,
    /// The command line, exactly as measured.
    pub cmdline: String,
    /// PCR0, PCR1, PCR2 and, of a signed image, PCR8.
    pub measurements: Measurements,
    /// What the builder wrote about the image. Nobody measures it.
    pub metadata: Option<Metadata>,
    /// Memory that the image's header asks for, in bytes.
    pub default_memory: u64,
    /// Processors that the image's header asks for.
    pub default_cpus: u64,
}

impl Image {
    /// Copies the file into sealed memory, parses and measures that copy, checks its signature if
    /// it has one at the time `now`, and takes kernel and ramdisks from it.
    ///
    /// It does not establish that anybody should trust the image: the measurements say which image
    /// it is, and whoever releases a key to it decides.
    ///
    /// # Errors
    /// [`ImageError`], without having started anything.
    pub fn load(path: &Path, now: SystemTime) -> Result<Self, ImageError> {
        let copy = copy(path)?;
        let format = |source| ImageError::Format {
            path: path.to_owned(),
            source,
        };
        let bytes = match copy.is_empty() {
            true => None,
            false => Some(copy.map().map_err(ImageError::Memory)?),
        };
        let eif = Eif::parse(bytes.as_deref().unwrap_or_default()).map_err(format)?;
        if eif.header().architecture != Architecture::X86_64 {
            return Err(ImageError::Architecture { got: "aarch64" });
        }
        eif.check_boundaries().map_err(format)?;
        anchorhold_eif_signature::verify(&eif, now).map_err(ImageError::Signature)?;

        let sealed = |name, parts: &[&[u8]]| {
            SealedFile::concatenated(name, parts).map_err(ImageError::Memory)
        };
        Ok(Self {
            kernel: sealed(c"anchorhold-kernel", &[eif.kernel()])?,
            initrd: sealed(c"anchorhold-initrd", &eif.ramdisks())?,
            cmdline: eif.cmdline().to_owned(),
            measurements: eif.measure(),
            metadata: eif.metadata().cloned(),
            default_memory: eif.header().default_memory,
            default_cpus: eif.header().default_cpus,
        })
    }

    /// The least memory that lets this image unpack itself and start, in MiB.
    pub fn least_memory_mib(&self) -> u64 {
        let ramdisks = mib(self.initrd.len());
        mib(KERNEL_WORKING_MEMORY) + mib(self.kernel.len()) + ramdisks.saturating_mul(2)
    }

    /// Refuses a size in which the image could not even start.
    ///
    /// # Errors
    /// [`ImageError::MemoryTooSmall`] with every number.
    pub fn check_memory(&self, got_mib: u64) -> Result<(), ImageError> {
        let expected_mib = self.least_memory_mib();
        if got_mib >= expected_mib {
            return Ok(());
        }
        Err(ImageError::MemoryTooSmall {
            expected_mib,
            working_mib: mib(KERNEL_WORKING_MEMORY),
            kernel_mib: mib(self.kernel.len()),
            ramdisks_mib: mib(self.initrd.len()),
            got_mib,
        })
    }
}

fn copy(path: &Path) -> Result<SealedFile, ImageError> {
    let read = |source| ImageError::Read {
        path: path.to_owned(),
        source,
    };
    // Opening a pipe without this flag would wait for its other end.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = opened.map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() {
        return Err(ImageError::NotAFile {
            path: path.to_owned(),
        });
    }
    // Only to save the copy: the copy's own length is what counts.
    if metadata.len() > MAX_FILE_SIZE {
        return Err(ImageError::Format {
            path: path.to_owned(),
            source: EifError::FileTooLarge {
                limit: MAX_FILE_SIZE,
                got: metadata.len(),
            },
        });
    }
    SealedFile::copy_of(c"anchorhold-eif", file, MAX_FILE_SIZE).map_err(ImageError::Memory)
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB)
}
