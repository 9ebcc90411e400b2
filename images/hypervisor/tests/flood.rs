//! What a guest or a full table can make a hypervisor take of its host: bounded memory, and little
//! of a processor.

mod common;

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{Host, SLEEP, ask, processor_time, resident_kib, running};

#[test]
fn a_guest_that_floods_every_port_makes_nothing_grow() {
    let frame = "\\000\\000\\000\\014\\153DescribeNSM";
    let host = Host::with_qemu(&format!(
        "frames=$(for i in {{1..200}}; do printf \"%s\" '{frame}'; done)\n\
         (while printf \"$frames\" >&$nsm; do :; done) &\n\
         (echo init >&$status; yes rubbish >&$status) &\n\
         (yes a line of the console >&$console) &\n\
         wait"
    ));
    let (mut enclave, _) = running(&host, &["--debug-mode"]);
    let process = enclave.process.id();
    // A second for what grows at all to show; 30 more would show the same.
    thread::sleep(Duration::from_secs(1));
    let before = resident_kib(process);
    let used = processor_time(process);
    thread::sleep(Duration::from_secs(2));
    let used = processor_time(process) - used;
    let after = resident_kib(process);
    assert!(used < Duration::from_millis(600), "{used:?} of 2 s");
    assert!(after < 32 * 1024, "{after} KiB");
    assert!(after < before + 1024, "{before} KiB became {after} KiB");
    let begun = Instant::now();
    ask(&enclave.directory(), r#"{"command":"terminate"}"#);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(enclave.wait().success());
}

#[test]
fn a_full_descriptor_table_keeps_no_processor_busy() {
    let host = Host::with_qemu(SLEEP);
    let (mut enclave, _) = running(&host, &["--debug-mode"]);
    let process = enclave.process.id();
    let limit = |to: &str| {
        let status = Command::new("prlimit")
            .args([&format!("--pid={process}"), &format!("--nofile={to}")])
            .status()
            .expect("prlimit");
        assert!(status.success());
    };
    let directory = enclave.directory();
    limit("3:");
    // Accepting fails as long as these wait.
    let control = UnixStream::connect(directory.join("control.sock")).expect("control");
    let console = UnixStream::connect(directory.join("console.sock")).expect("console");
    let used = processor_time(process);
    thread::sleep(Duration::from_secs(1));
    let used = processor_time(process) - used;
    assert!(used < Duration::from_millis(100), "{used:?} of 1 s");
    limit("1024:");
    drop((control, console));
    ask(&directory, r#"{"command":"terminate"}"#);
    assert!(enclave.wait().success());
}
