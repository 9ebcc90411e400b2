//! PID 1 of an enclave.
//!
//! It makes the machine one in which software written for Nitro enclaves runs
//! unmodified, starts the application, and turns the machine off when that ends. Its
//! steps, in order, are those of [`boot::run`]; each either succeeds or ends the enclave
//! with a line that says which step failed and why. Nothing here waits without a bound,
//! except for the application to end.
//!
//! Two places are told how far it is: the console, which the host discards once a
//! production enclave's heartbeat has been heard, and the serial port `status.0`, where
//! the host has one. Neither ever carries anything of the application's.
//!
//! No signal ends init: the kernel drops what PID 1 does not handle, and it handles none
//! but its own memory faults. So only the application's own end, or the host, ends the
//! enclave.
//!
//! A panic, here or in the thread that serves `/dev/nsm`, ends the machine: an enclave
//! without its init or its security module must not go on.
#![forbid(unsafe_code)]

mod application;
mod boot;
mod failure;
mod files;
mod heartbeat;
mod kernel_modules;
mod report;
mod root;
mod security_module;

use std::process::{ExitCode, id};

use anchorhold_enclave_sys::{power, process};

use crate::report::{Line, Report};

fn main() -> ExitCode {
    if id() != 1 {
        eprintln!("anchorhold-init is PID 1 of an enclave and does nothing elsewhere");
        return ExitCode::from(2);
    }
    let report = Report::default();
    end_on_panic(report.clone());
    let last = match boot::run(&report) {
        Ok(outcome) => Line::Ended(outcome),
        Err(failure) => Line::Failed(failure),
    };
    process::kill_all_others();
    report.line(&last);
    power::off()
}

fn end_on_panic(report: Report) {
    std::panic::set_hook(Box::new(move |_| {
        // The message may quote anything, so it is not passed on.
        report.panicked();
        power::off()
    }));
}
