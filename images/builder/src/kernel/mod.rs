//! The kernel that images boot: Debian's 6.12 cloud kernel, exactly one version of it.
//!
//! The package is fetched by the package client and unpacked into a cache directory; nothing is
//! installed. A lock file names version and hashes, because the kernel is measured: another
//! kernel, other PCRs.

mod apt;
mod cache;
mod lock;
mod modules;

use std::path::{Path, PathBuf};

use crate::error::Error;

use cache::{Cache, Unpacked};

pub use cache::Kernel;
pub use lock::KernelLock;
pub use modules::{MODULES, Module};

/// What to fetch, and where to.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The lock file; `None` for the lock that this tool was built with.
    pub lock: Option<PathBuf>,
    /// Lock the newest kernel on offer instead of demanding the locked one.
    pub update_lock: bool,
    /// Where kernels are kept: `<cache>/kernel/<version>/`.
    pub cache: PathBuf,
    /// A package file that is there already, instead of the package client.
    pub package_file: Option<PathBuf>,
}

impl Fetch {
    /// Fetches the kernel unless the cache has it, and checks every file that images use.
    ///
    /// Two processes may do this at once, and one may be killed at any time: a version's directory
    /// appears whole or not at all.
    ///
    /// # Errors
    /// The first thing that is missing, gone from the mirrors, or not as locked.
    pub fn run(&self, progress: &mut dyn FnMut(&str)) -> Result<Kernel, Error> {
        if self.update_lock {
            return self.update(self.lock.as_deref(), progress);
        }
        let lock = match &self.lock {
            Some(path) => KernelLock::read(path)?,
            None => KernelLock::built_in()?,
        };
        self.locked(&lock, progress)
    }

    /// As [`Fetch::run`], but when the locked kernel is gone from the mirrors takes the one locked
    /// in the file `fallback`; when that is gone too, or there is no such file, takes the newest
    /// and locks it there. Images then measure differently, and `progress` is told.
    ///
    /// # Errors
    /// As [`Fetch::run`], except that a kernel may be gone.
    pub fn run_or_fall_back(
        &self,
        fallback: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Kernel, Error> {
        match self.run(progress) {
            Err(gone @ Error::KernelGone { .. }) => progress(&gone.to_string()),
            result => return result,
        }
        let locked = KernelLock::read(fallback).and_then(|lock| self.locked(&lock, progress));
        let kernel = match locked {
            Err(Error::LockMissing { .. } | Error::KernelGone { .. }) => {
                self.update(Some(fallback), progress)?
            }
            other => other?,
        };
        let (package, version) = (&kernel.package, &kernel.version);
        progress(&format!(
            "using {package} {version} instead, by {}",
            fallback.display()
        ));
        Ok(kernel)
    }

    /// Takes exactly the locked kernel.
    fn locked(&self, lock: &KernelLock, progress: &mut dyn FnMut(&str)) -> Result<Kernel, Error> {
        let cache = Cache::new(&self.cache);
        if let Some(kernel) = cache.find(lock)? {
            return Ok(kernel);
        }
        let _guard = cache.exclusive()?;
        if let Some(kernel) = cache.find(lock)? {
            return Ok(kernel);
        }
        progress(&format!(
            "fetching the kernel {} {}",
            lock.package, lock.version
        ));
        let staging = cache.staging()?;
        let package_file = match &self.package_file {
            Some(path) => path.clone(),
            None => apt::download(&lock.package, Some(&lock.version), staging.path(), progress)?,
        };
        lock.check_package(&package_file)?;
        cache.unpack(staging, &package_file, lock)
    }

    /// Takes the newest kernel on offer and writes its lock.
    fn update(
        &self,
        lock_file: Option<&Path>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Kernel, Error> {
        let cache = Cache::new(&self.cache);
        let _guard = cache.exclusive()?;
        let staging = cache.staging()?;
        let package_file = match &self.package_file {
            Some(path) => path.clone(),
            None => {
                let package = apt::newest(progress)?;
                progress(&format!("fetching the kernel {package}"));
                apt::download(&package, None, staging.path(), progress)?
            }
        };
        let lock = Unpacked::of(&package_file, staging.path())?.lock(&package_file)?;
        let kernel = match cache.find(&lock)? {
            Some(kernel) => kernel,
            None => cache.unpack(staging, &package_file, &lock)?,
        };
        if let Some(path) = lock_file {
            lock.write(path)?;
            progress(&format!(
                "locked {} {} in {}",
                lock.package,
                lock.version,
                path.display()
            ));
        }
        Ok(kernel)
    }
}
