//! What a guest or a full table can make a hypervisor take of its host: bounded memory, and little
//! of a processor.

mod common;

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{Host, LIMIT, SLEEP, ask, eventually, processor_time, resident_kib, running};

/// The processor time that a process takes within at least so long, and within how long: a busy
/// host may wake this one late.
fn processor_use(process: u32, time: Duration) -> (Duration, Duration) {
    let begun = Instant::now();
    let before = processor_time(process);
    thread::sleep(time);
    let used = processor_time(process) - before;
    (used, begun.elapsed())
}

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
    // What grows at all has grown by then; 30 s more would show the same.
    let warm = processor_time(process) + Duration::from_millis(200);
    eventually("work", || (processor_time(process) >= warm).then_some(()));
    let before = resident_kib(process);
    let (used, elapsed) = processor_use(process, Duration::from_secs(2));
    let after = resident_kib(process);
    assert!(used < elapsed * 3 / 10, "{used:?} of {elapsed:?}");
    assert!(after < 32 * 1024, "{after} KiB");
    assert!(after < before + 1024, "{before} KiB became {after} KiB");
    let begun = Instant::now();
    ask(&enclave.directory(), r#"{"command":"terminate"}"#);
    assert!(begun.elapsed() < LIMIT);
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
    let (used, elapsed) = processor_use(process, Duration::from_secs(1));
    assert!(used < elapsed / 10, "{used:?} of {elapsed:?}");
    limit("1024:");
    drop((control, console));
    ask(&directory, r#"{"command":"terminate"}"#);
    assert!(enclave.wait().success());
}
