//! Loading the drivers that the image brings.

use std::path::Path;

use anchorhold_enclave_sys::{modules, virtio};

use crate::failure::{Failure, ModuleError};
use crate::files;

/// Directory of the modules, and the list of their load order in it.
const DIRECTORY: &str = "/modules";
const ORDER: &str = "order";

/// The driver of the security module's hardware, of use only where that is.
const NSM: &str = "nsm.ko";

/// The module for devices served from user space, of use only where the hardware is not.
const CUSE: &str = "cuse.ko";

/// The modules of the image, in the order of their list.
#[derive(Debug)]
pub struct KernelModules {
    files: Vec<String>,
}

impl KernelModules {
    /// Reads the list. An image without one has a kernel with everything built in.
    ///
    /// # Errors
    /// [`Failure::Module`].
    pub fn read() -> Result<Self, Failure> {
        let path = Path::new(DIRECTORY).join(ORDER);
        let files = files::lines_if_any(&path).and_then(|lines| files::module_names(&lines));
        match files {
            Ok(files) => Ok(Self { files }),
            Err(error) => Err(refused(ORDER, ModuleError::List(error))),
        }
    }

    /// Loads what every machine needs: all but the two ways to a security module.
    ///
    /// # Errors
    /// [`Failure::Module`].
    pub fn load_general(&self) -> Result<(), Failure> {
        self.files
            .iter()
            .filter(|file| ![NSM, CUSE].contains(&file.as_str()))
            .try_for_each(load)
    }

    /// Loads the driver of the security module's hardware, if there is such hardware.
    /// Finding devices takes the drivers of [`load_general`](Self::load_general).
    ///
    /// # Errors
    /// [`Failure::Module`].
    pub fn load_nsm(&self) -> Result<(), Failure> {
        match virtio::device_present(virtio::SECURITY_MODULE) {
            true => self.load_listed(NSM),
            false => Ok(()),
        }
    }

    /// Loads the module for devices served from user space.
    ///
    /// # Errors
    /// [`Failure::Module`].
    pub fn load_cuse(&self) -> Result<(), Failure> {
        self.load_listed(CUSE)
    }

    /// A module that is not listed is taken for built in; what needs it will tell.
    fn load_listed(&self, name: &str) -> Result<(), Failure> {
        self.files
            .iter()
            .filter(|file| *file == name)
            .try_for_each(load)
    }
}

fn load(file: &String) -> Result<(), Failure> {
    match modules::load(&Path::new(DIRECTORY).join(file)) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(file, ModuleError::Load(error))),
    }
}

fn refused(file: &str, source: ModuleError) -> Failure {
    Failure::Module {
        file: file.to_owned(),
        source,
    }
}
