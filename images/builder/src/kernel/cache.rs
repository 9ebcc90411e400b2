//! Unpacked kernels in the cache directory, `<cache>/kernel/<version>/`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::TempDir;

use super::lock::{KernelLock, expect_hash};
use super::modules::{self, MODULES, Module};
use crate::error::Error;
use crate::hash::{Sha256, sha256_file};
use crate::tool::Tool;

const DPKG_DEB: Tool = Tool {
    name: "dpkg-deb",
    purpose: "it unpacks the kernel package (on other systems it comes in the package dpkg)",
};
const STAGING_PREFIX: &str = ".unpacking-";

/// A kernel in the cache whose files are the locked ones.
#[derive(Debug, Clone, Serialize)]
pub struct Kernel {
    /// The Debian package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The kernel's release, as `uname -r` gives it.
    pub release: String,
    /// Hash of the bzImage.
    pub sha256: Sha256,
    /// The bzImage.
    pub bzimage: PathBuf,
    /// The directory that holds the package's modules, `…/lib/modules/<release>/kernel`.
    pub modules_dir: PathBuf,
    #[serde(skip)]
    lock: KernelLock,
}

impl Kernel {
    /// The lock that this kernel keeps.
    pub fn lock(&self) -> &KernelLock {
        &self.lock
    }

    /// Reads the bzImage; the bytes given are the bytes checked.
    ///
    /// # Errors
    /// [`Error::KernelHash`] when the cache has been changed since.
    pub fn read_bzimage(&self) -> Result<Vec<u8>, Error> {
        let bytes = fs::read(&self.bzimage).map_err(Error::read(&self.bzimage))?;
        let what = self.bzimage.display().to_string();
        expect_hash(&what, self.lock.bzimage_sha256, Sha256::of(&bytes))?;
        Ok(bytes)
    }

    /// Reads and decompresses the modules that an enclave needs, in the order of loading.
    ///
    /// # Errors
    /// [`Error::KernelHash`] when the cache has been changed since, [`Error::Module`] when one
    /// does not decompress or needs a module that is not loaded before it.
    pub fn read_modules(&self) -> Result<Vec<Module>, Error> {
        modules::read(&self.modules_dir, &self.lock.modules)
    }
}

pub(super) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub fn new(cache: &Path) -> Self {
        Self {
            root: cache.join("kernel"),
        }
    }

    /// The kernel, if it is there with the locked hashes. A damaged one counts as not there.
    pub fn find(&self, lock: &KernelLock) -> Result<Option<Kernel>, Error> {
        let directory = self.root.join(&lock.version);
        if !directory.exists() {
            return Ok(None);
        }
        let Ok(kernel) = kernel_in(&directory, lock) else {
            return Ok(None);
        };
        match kernel.read_bzimage().and_then(|_| kernel.read_modules()) {
            Ok(_) => Ok(Some(kernel)),
            Err(Error::KernelHash { .. } | Error::Read { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until no other process fetches into this cache; ends with the guard, or with the
    /// process. Clears what a killed process left.
    pub fn exclusive(&self) -> Result<File, Error> {
        fs::create_dir_all(&self.root).map_err(Error::write(&self.root))?;
        let path = self.root.join(".lock");
        let guard = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let guard = guard.map_err(Error::write(&path))?;
        guard.lock().map_err(Error::write(&path))?;
        let entries = fs::read_dir(&self.root).map_err(Error::read(&self.root))?;
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(STAGING_PREFIX)
            {
                fs::remove_dir_all(entry.path()).map_err(Error::write(&entry.path()))?;
            }
        }
        Ok(guard)
    }

    /// A directory to download and unpack in, on the cache's own file system.
    pub fn staging(&self) -> Result<TempDir, Error> {
        let directory = tempfile::Builder::new()
            .prefix(STAGING_PREFIX)
            .tempdir_in(&self.root);
        directory.map_err(Error::write(&self.root))
    }

    /// Unpacks a package and moves the result to its place in one step. The caller holds the
    /// guard of [`Cache::exclusive`].
    pub fn unpack(
        &self,
        staging: TempDir,
        package: &Path,
        lock: &KernelLock,
    ) -> Result<Kernel, Error> {
        let unpacked = Unpacked::of(package, staging.path())?;
        let kernel = kernel_in(&unpacked.root, lock)?;
        kernel.read_bzimage()?;
        kernel.read_modules()?;

        let directory = self.root.join(&lock.version);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::write(&directory)(error));
            }
            _ => {}
        }
        fs::rename(&unpacked.root, &directory).map_err(Error::write(&directory))?;
        kernel_in(&directory, lock)
    }
}

/// A package's files in a directory of their own.
pub(super) struct Unpacked {
    root: PathBuf,
}

impl Unpacked {
    /// Unpacks into `<staging>/root`, once.
    pub fn of(package: &Path, staging: &Path) -> Result<Self, Error> {
        let root = staging.join("root");
        if !root.exists() {
            fs::create_dir(&root).map_err(Error::write(&root))?;
            DPKG_DEB.run(DPKG_DEB.command().arg("-x").arg(package).arg(&root))?;
        }
        Ok(Self { root })
    }

    /// The lock for what was unpacked.
    pub fn lock(&self, package: &Path) -> Result<KernelLock, Error> {
        let field = |name| {
            let mut command = DPKG_DEB.command();
            let text = DPKG_DEB.run(command.arg("-f").arg(package).arg(name))?;
            Ok::<_, Error>(text.trim().to_owned())
        };
        let mut lock = KernelLock {
            package: field("Package")?,
            version: field("Version")?,
            deb_sha256: sha256_file(package)?,
            bzimage_sha256: Sha256([0; 32]),
            modules: BTreeMap::new(),
        };
        lock.check()?;
        let kernel = kernel_in(&self.root, &lock)?;
        lock.bzimage_sha256 = sha256_file(&kernel.bzimage)?;
        for (name, path) in MODULES {
            lock.modules
                .insert(name.into(), sha256_file(&kernel.modules_dir.join(path))?);
        }
        Ok(lock)
    }
}

/// Finds the files of a package that is unpacked in `root`; does not look at their hashes.
fn kernel_in(root: &Path, lock: &KernelLock) -> Result<Kernel, Error> {
    let release = lock.release();
    let existing = |path: PathBuf, what: String| {
        if path.exists() {
            Ok(path)
        } else {
            Err(Error::KernelFile { what })
        }
    };
    let bzimage = root.join(format!("boot/vmlinuz-{release}"));
    let modules = format!("lib/modules/{release}/kernel");
    let merged = root.join("usr").join(&modules);
    let modules_dir = if merged.exists() {
        merged
    } else {
        root.join(&modules)
    };
    Ok(Kernel {
        package: lock.package.clone(),
        version: lock.version.clone(),
        release: release.into(),
        sha256: lock.bzimage_sha256,
        bzimage: existing(bzimage, format!("/boot/vmlinuz-{release}"))?,
        modules_dir: existing(modules_dir, format!("/{modules}"))?,
        lock: lock.clone(),
    })
}
