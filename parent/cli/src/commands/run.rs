//! `run-enclave`: starts a hypervisor and waits for its report.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use anchorhold_proxy::{StateDir, state_dir};

use super::{Outcome, console, print};
use crate::args::RunArgs;
use crate::error::AgentError;
use crate::report::{DescribeInfo, Response};
use crate::signals::{self, Boot};
use crate::tools::HYPERVISOR;

/// Longest report that is read, in bytes: metadata is at most 1 MiB, and JSON may escape each byte
/// of it to six.
const MAX_REPORT: u64 = 8 << 20;

/// Starts the enclave, prints who it is once its heartbeat has come, and leaves it to itself.
///
/// # Errors
/// [`AgentError`]: what the hypervisor refused, or why there is none.
pub fn run(args: &RunArgs) -> Outcome {
    let state = state_dir()?;
    let mut signals = signals::listen()?;
    let mut hypervisor = start(args, &state)?;
    let boot = signals.hand_on_to(&hypervisor);
    let enclave = report(&mut hypervisor, &boot)?;
    print(&enclave.run)?;
    if args.attach_console {
        console::show(&state, &enclave.run.enclave_id.parse()?, None)?;
    }
    Ok(())
}

/// The hypervisor is a process of its own: it goes on when this one ends. It makes a session of its
/// own as well, which a key typed at this one's terminal does not reach; so it is started as a
/// member of this one's group, since a group's leader cannot leave its session (setsid(2)).
fn start(args: &RunArgs, state: &StateDir) -> Result<Child, AgentError> {
    let program = HYPERVISOR.locate()?;
    Command::new(&program)
        .args(arguments(args, state))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| AgentError::ToolStart { program, source })
}

fn arguments(args: &RunArgs, state: &StateDir) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["run".into(), "--detach".into()];
    let mut add = |flag: &str, value: OsString| {
        arguments.push(flag.into());
        arguments.push(value);
    };
    add("--state-dir", state.path().into());
    add("--eif-path", args.eif_path.clone().into());
    for (flag, value) in [
        ("--memory", args.memory.map(|n| n.to_string())),
        ("--cpu-count", args.cpu_count.map(|n| n.to_string())),
        ("--enclave-cid", args.enclave_cid.map(|n| n.to_string())),
        ("--boot-deadline", args.boot_deadline.map(|n| n.to_string())),
        ("--enclave-name", args.enclave_name.clone()),
        ("--vsock", args.vsock.clone()),
    ] {
        if let Some(value) = value {
            add(flag, value.into());
        }
    }
    // nitro-cli's --attach-console implies debug mode: no other enclave has a console.
    if args.debug_mode || args.attach_console {
        arguments.push("--debug-mode".into());
    }
    arguments
}

/// Waits for the hypervisor's report, with which the boot is over.
fn report(hypervisor: &mut Child, boot: &Boot) -> Result<DescribeInfo, AgentError> {
    let mut line = Vec::new();
    let read = hypervisor.stdout.take().map_or(Ok(0), |stdout| {
        BufReader::new(stdout.take(MAX_REPORT)).read_until(b'\n', &mut line)
    });
    let interrupted = boot.over();
    read.map_err(AgentError::io("reading the hypervisor's report"))?;
    match serde_json::from_slice::<Response<DescribeInfo>>(&line) {
        // It came up while it was told to end, and ends now.
        Ok(Response::Ok(enclave)) if interrupted => Err(AgentError::Interrupted {
            id: enclave.run.enclave_id,
        }),
        Ok(Response::Ok(enclave)) => Ok(enclave),
        Ok(Response::Error(failure)) => Err(AgentError::Refused(failure)),
        Err(_) => Err(AgentError::NoReport {
            status: hypervisor
                .wait()
                .map_err(AgentError::io("waiting for the hypervisor"))?,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flags_that_were_given_are_handed_on() {
        let state = StateDir::new("/s".into());
        let mut args = RunArgs {
            eif_path: "a b.eif".into(),
            memory: None,
            cpu_count: None,
            enclave_cid: None,
            enclave_name: None,
            debug_mode: false,
            attach_console: false,
            vsock: None,
            boot_deadline: None,
        };
        let plain = [
            "run",
            "--detach",
            "--state-dir",
            "/s",
            "--eif-path",
            "a b.eif",
        ];
        assert_eq!(arguments(&args, &state), plain);

        args.memory = Some(256);
        args.enclave_name = Some("--detach".into());
        args.debug_mode = true;
        let all = arguments(&args, &state);
        let added = [
            "--memory",
            "256",
            "--enclave-name",
            "--detach",
            "--debug-mode",
        ];
        assert_eq!(all[plain.len()..], added);

        args.debug_mode = false;
        args.attach_console = true;
        assert_eq!(
            arguments(&args, &state),
            all,
            "a console implies debug mode"
        );
    }
}
