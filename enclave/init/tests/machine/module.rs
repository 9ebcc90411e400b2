//! The host's end of the private port.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

use anchorhold_document::Pcr;
use anchorhold_eif::Measurements;
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// Answers one request.
pub type Module = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// The security module of an enclave with these measurements, and its name.
pub fn real(measurements: &Measurements) -> (String, Module) {
    let (now, mut rng) = (SystemTime::now(), UnwrapErr(SysRng));
    let platform = Platform::generate(now, &mut rng).expect("a platform");
    let module_id = platform.module_id(0xA11CE);
    let boot = Boot {
        module_id: module_id.clone(),
        pcr0: Pcr(measurements.pcr0.0),
        pcr1: Pcr(measurements.pcr1.0),
        pcr2: Pcr(measurements.pcr2.0),
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    let mut module = SecurityModule::new(platform, boot).expect("a module");
    let answer = move |request: &[u8]| module.handle(request, SystemTime::now(), &mut rng);
    (module_id, Box::new(answer))
}

/// Answers frame after frame until the machine ends.
pub fn serve(mut port: UnixStream, mut module: Module) {
    let mut length = [0; 4];
    while port.read_exact(&mut length).is_ok() {
        let length = u32::from_be_bytes(length);
        assert!(
            (1..=0x1000).contains(&length),
            "a request of {length} bytes"
        );
        let mut request = vec![0; length as usize];
        port.read_exact(&mut request).expect("a whole request");
        let response = module(&request);
        let mut frame = (response.len() as u32).to_be_bytes().to_vec();
        frame.extend(response);
        if port.write_all(&frame).is_err() {
            return;
        }
    }
}
