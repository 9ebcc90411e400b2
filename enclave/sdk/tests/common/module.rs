//! A security module in the same process.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::SystemTime;

use anchorhold_document::Pcr;
use anchorhold_enclave::nsm::{Nsm, NsmDevice};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// What stands behind `/dev/nsm` elsewhere.
pub struct Module(Mutex<SecurityModule>);

impl Module {
    pub fn new(platform: Platform, boot: Boot) -> Self {
        Self(Mutex::new(SecurityModule::new(platform, boot).unwrap()))
    }
}

impl NsmDevice for Module {
    type Error = Infallible;

    fn request(&self, request: &[u8]) -> Result<Vec<u8>, Infallible> {
        let mut module = self.0.lock().unwrap();
        Ok(module.handle(request, SystemTime::now(), &mut UnwrapErr(SysRng)))
    }
}

/// A client of a new security module.
pub fn nsm() -> Nsm<Module> {
    let platform = Platform::generate(SystemTime::now(), &mut UnwrapErr(SysRng)).unwrap();
    let boot = Boot {
        module_id: platform.module_id(7),
        pcr0: Pcr([1; 48]),
        pcr1: Pcr([2; 48]),
        pcr2: Pcr([3; 48]),
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    Nsm::new(Module::new(platform, boot))
}
