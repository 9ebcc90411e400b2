//! The hypervisor as a process, with a small program in QEMU's place: who ends whom, and what is
//! left. The heartbeat comes from the test, on the enclave's own socket.

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::{Host, LIMIT, SLEEP, ask, beat, eventually, is_alive, running, signal};
use serde_json::{Value, json};

/// Waits for a file beside the program.
const WAIT: &str = "until [ -e \"${0%/*}/go\" ]; do sleep 0.02; done;";

/// Boots what does not come up; gives the refusal and what people were told.
fn fails(host: &Host, more: &[&str]) -> (Value, String) {
    let image = host.image();
    let words = [&["--eif-path", image.to_str().expect("path")], more].concat();
    let mut enclave = host.start(&words);
    let failure = enclave.failure();
    assert_eq!(enclave.wait().code(), Some(1));
    assert!(host.enclaves().is_empty(), "nothing is left behind");
    (failure, enclave.progress())
}

#[test]
fn a_qemu_that_ends_is_tried_twice_and_its_words_are_shown() {
    let host = Host::with_qemu("echo cannot allocate memory >&2; exit 1");
    let (failure, progress) = fails(&host, &[]);
    assert_eq!(failure["rule"], "boot.ended");
    let message = failure["message"].as_str().expect("message");
    assert!(message.contains("status 1"), "{message}");
    assert!(message.contains("cannot allocate memory"), "{message}");
    assert!(progress.contains("attempt 2"), "{progress}");
    assert!(!progress.contains("attempt 3"), "{progress}");
}

#[test]
fn a_guest_that_never_boots_meets_the_deadline_and_its_console_is_shown() {
    let host = Host::with_qemu("echo Switch to symmetric I/O mode >&$console; exec sleep 1000");
    let begun = Instant::now();
    let (failure, progress) = fails(&host, &["--boot-deadline", "12"]);
    assert_eq!(failure["rule"], "boot.deadline");
    let message = failure["message"].as_str().expect("message");
    assert!(message.contains("within 12 s"), "{message}");
    assert!(message.contains("init was never heard of"), "{message}");
    let console = failure["console"].as_array().expect("console");
    assert_eq!(console.last(), Some(&json!("Switch to symmetric I/O mode")));
    assert!(progress.contains("attempt 2"), "tried again: {progress}");
    assert!(begun.elapsed() < LIMIT);
}

#[test]
fn init_that_was_heard_of_is_not_started_again() {
    let host = Host::with_qemu("echo init >&$status; exec sleep 1000");
    let (failure, progress) = fails(&host, &["--boot-deadline", "12"]);
    assert_eq!(failure["rule"], "boot.deadline");
    let message = failure["message"].as_str().expect("message");
    assert!(message.contains("its init runs"), "{message}");
    assert!(!progress.contains("attempt 2"), "{progress}");
}

#[test]
fn init_that_gave_up_is_quoted() {
    let host = Host::with_qemu("echo init >&$status; echo failed clock: EIO >&$status; exit 0");
    let (failure, _) = fails(&host, &[]);
    assert_eq!(failure["rule"], "boot.init");
    let message = failure["message"].as_str().expect("message");
    assert!(message.contains("clock: EIO"), "{message}");
}

#[test]
fn a_broken_nsm_frame_ends_the_enclave() {
    let host = Host::with_qemu("printf '\\377\\377\\377\\377' >&$nsm; exec sleep 1000");
    let (failure, progress) = fails(&host, &[]);
    assert_eq!(failure["rule"], "nsm-port.frame-size");
    let message = failure["message"].as_str().expect("message");
    assert!(message.contains("4294967295 bytes"), "{message}");
    assert!(!progress.contains("attempt 2"), "{progress}");
}

#[test]
fn kvm_that_gives_up_is_reported_and_never_waited_for() {
    let script = "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 1000";
    let host = Host::with_qemu(script);
    let image = host.image();
    let begun = Instant::now();
    let mut command = host.command(&["run", "--accel", "kvm", "--eif-path"]);
    let output = command.arg(image).output().expect("hypervisor");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error[boot.kvm]"), "{said}");
    assert!(said.contains("KVM internal error"), "{said}");
    // A boot that nothing is heard of may take three minutes.
    assert!(begun.elapsed() < LIMIT);
}

#[test]
fn a_kernel_that_is_silent_on_kvm_is_no_verdict_on_kvm() {
    for (on_kvm, recorded) in [("exec sleep 1000", false), ("exit 1", true)] {
        let script = format!(
            "case \"$*\" in *\"-accel kvm\"*) {on_kvm};; esac; touch \"${{0%/*}}/emulated\"; {SLEEP}"
        );
        let host = Host::with_qemu(&script);
        let image = host.image();
        // A trial of KVM takes ten seconds of it, and the first emulation half of what is left.
        let words = ["--accel", "auto", "--boot-deadline", "40", "--eif-path"];
        let mut enclave = host.start(&[&words[..], &[image.to_str().expect("path")]].concat());
        eventually("emulation", || host.path("emulated").exists().then_some(()));
        beat(&enclave.directory());
        enclave.running();
        let verdict = fs::read_to_string(host.state().join("kvm.json"));
        // Where there is no KVM, it is not tried.
        let device = fs::File::options().read(true).write(true).open("/dev/kvm");
        let against = verdict.is_ok_and(|json| json.contains("\"works\":false"));
        assert_eq!(against, recorded && device.is_ok(), "{on_kvm}");
    }
}

#[test]
fn a_running_enclave_describes_itself_and_ends_on_request() {
    let host = Host::with_qemu(SLEEP);
    let (mut enclave, description) = running(&host, &["--enclave-cid", "77"]);
    let directory = enclave.directory();
    let id = description["EnclaveID"].as_str().expect("id").to_owned();
    assert_eq!(host.enclaves(), std::slice::from_ref(&id));
    assert_eq!(description["EnclaveName"], "small");
    assert_eq!(description["EnclaveCID"], 77);
    assert_eq!(description["MemoryMiB"], 128);
    assert_eq!(description["NumberOfCPUs"], 1);
    assert_eq!(description["CPUIDs"], json!([0]));
    assert_eq!(description["State"], "RUNNING");
    assert_eq!(description["Flags"], "NONE");
    assert_eq!(description["ImageName"], "small");
    assert_eq!(
        description["Measurements"]["HashAlgorithm"],
        "Sha384 { ... }"
    );
    assert_eq!(
        ask(&directory, r#"{"command":"describe"}"#)["ok"],
        description
    );

    let mode = |path: &Path| fs::metadata(path).expect("made").permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&host.state()), 0o700);
    let names = ["console.sock", "vsock.sock_9000"];
    for name in names {
        assert!(!directory.join(name).exists(), "{name} in production");
    }

    let qemu = enclave.qemu();
    let answer = ask(&directory, r#"{"command":"terminate"}"#);
    assert_eq!(answer, json!({"ok": {"Terminated": true}}));
    assert!(!is_alive(qemu), "QEMU is gone when the answer comes");
    assert!(!directory.exists(), "and so is the directory");
    assert!(enclave.wait().success());
    assert_eq!(host.ended(&id)["Reason"], "terminate.requested");
}

#[test]
fn directories_too_deep_for_a_socket_address_stay_open_while_the_enclave_runs() {
    let host = Host::with_qemu(SLEEP).deepen();
    let (mut enclave, description) = running(&host, &["--debug-mode"]);
    let id = description["EnclaveID"].as_str().expect("id");
    let directory = enclave.directory();
    let open = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", enclave.process.id()));
        let descriptors = descriptors.expect("a process").flatten();
        let paths: Vec<_> = descriptors
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .collect();
        let state = fs::canonicalize(host.state()).expect("state");
        let own = state.join("enclaves").join(id);
        paths.contains(&state) && paths.contains(&own)
    };
    assert!(open(), "what the switch dials by is closed");
    UnixStream::connect(directory.join("console.sock")).expect("console");
    assert!(open(), "what the switch dials by was closed");
    let answer = ask(&directory, r#"{"command":"terminate"}"#);
    assert_eq!(answer, json!({"ok": {"Terminated": true}}));
    assert!(enclave.wait().success());
    assert!(host.enclaves().is_empty());
}

#[test]
fn a_cid_in_use_is_refused_and_names_its_holder() {
    let host = Host::with_qemu(SLEEP);
    let (_enclave, description) = running(&host, &["--enclave-cid", "20"]);
    let image = host.image();
    let image = image.to_str().expect("path");
    let (_, said) = host.refused(&["run", "--eif-path", image, "--enclave-cid", "20"]);
    assert!(said.contains("error[cid.in-use]"), "{said}");
    let holder = description["EnclaveID"].as_str().expect("id");
    assert!(said.contains(holder), "{said}");
    assert_eq!(host.enclaves(), [holder]);
}

#[test]
fn two_starts_at_once_get_an_identity_each() {
    let host = Host::with_qemu(SLEEP);
    let image = host.image();
    let words = ["--eif-path", image.to_str().expect("path")];
    let mut both = [host.start(&words), host.start(&words)];
    let directories = eventually("two enclaves", || {
        let names = host.enclaves();
        (names.len() == 2).then(|| {
            let enclaves = host.state().join("enclaves");
            names.into_iter().map(move |name| enclaves.join(name))
        })
    });
    for directory in directories {
        beat(&directory);
    }
    let mut found: Vec<(Value, Value)> = both
        .iter_mut()
        .map(|enclave| {
            let description = enclave.running();
            let field = |name: &str| description[name].clone();
            (field("EnclaveCID"), field("EnclaveName"))
        })
        .collect();
    found.sort_by_key(|(cid, _)| cid.as_u64());
    let expected = [(json!(16), json!("small")), (json!(17), json!("small_1"))];
    assert_eq!(found, expected);
}

#[test]
fn the_applications_exit_status_is_recorded() {
    for (status, field, value) in [("exit 7", "ExitCode", 7), ("signal 11", "Signal", 11)] {
        let script = format!("{WAIT} echo init >&$status; echo {status} >&$status; exit 0");
        let host = Host::with_qemu(&script);
        let (mut enclave, description) = running(&host, &[]);
        fs::write(host.path("go"), b"").expect("the word to go on");
        assert_eq!(enclave.wait().code(), Some(1));
        let ended = host.ended(description["EnclaveID"].as_str().expect("id"));
        assert_eq!(ended[field], value, "{ended}");
        assert!(
            ended["Reason"]
                .as_str()
                .expect("reason")
                .starts_with("application.")
        );
        assert!(host.enclaves().is_empty());
    }
}

#[test]
fn a_killed_qemu_ends_its_hypervisor() {
    let host = Host::with_qemu(SLEEP);
    let (mut enclave, description) = running(&host, &[]);
    signal("KILL", enclave.qemu());
    assert_eq!(enclave.wait().code(), Some(1));
    assert!(host.enclaves().is_empty(), "nothing is left behind");
    let ended = host.ended(description["EnclaveID"].as_str().expect("id"));
    assert_eq!(ended["Reason"], "vm.ended");
    assert!(
        ended["Message"]
            .as_str()
            .expect("message")
            .contains("signal 9")
    );
}

#[test]
fn a_killed_hypervisor_takes_qemu_along_and_the_next_command_cleans_up() {
    let host = Host::with_qemu(SLEEP);
    let (mut enclave, description) = running(&host, &[]);
    let id = description["EnclaveID"].as_str().expect("id");
    let qemu = enclave.qemu();
    signal("KILL", enclave.process.id());
    enclave.wait();
    eventually("QEMU's end", || (!is_alive(qemu)).then_some(()));
    assert_eq!(host.enclaves(), [id], "nobody was there to remove it");
    assert_eq!(host.sweep(), json!({"swept": [id]}));
    assert!(host.enclaves().is_empty());
    assert_eq!(host.ended(id)["Reason"], "hypervisor.killed");
}

#[test]
fn signals_end_it_while_it_boots_and_while_it_runs() {
    for name in ["TERM", "INT", "HUP"] {
        let host = Host::with_qemu(SLEEP);
        let (mut enclave, description) = running(&host, &[]);
        let qemu = enclave.qemu();
        signal(name, enclave.process.id());
        assert!(enclave.wait().success());
        assert!(!is_alive(qemu) && host.enclaves().is_empty());
        let ended = host.ended(description["EnclaveID"].as_str().expect("id"));
        assert_eq!(ended["Reason"], "hypervisor.signal");
    }
    let host = Host::with_qemu(SLEEP);
    let image = host.image();
    let mut enclave = host.start(&["--eif-path", image.to_str().expect("path")]);
    enclave.directory();
    signal("TERM", enclave.process.id());
    assert_eq!(enclave.failure()["rule"], "boot.interrupted");
    assert_eq!(enclave.wait().code(), Some(1));
    assert!(host.enclaves().is_empty());
}

#[test]
fn a_detached_hypervisor_has_a_session_of_its_own() {
    let host = Host::with_qemu(SLEEP);
    let (enclave, _) = running(&host, &[]);
    let process = enclave.process.id();
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("its name in parentheses");
    // Fields 5 to 7 (proc_pid_stat(5)): group, session, terminal.
    let fields: Vec<&str> = fields.split_whitespace().skip(2).take(3).collect();
    let own = process.to_string();
    assert_eq!(fields, [&own, &own, "0"]);
}

#[test]
fn an_enclave_outlives_the_agent_that_started_it() {
    let host = Host::with_qemu(SLEEP);
    let image = host.image();
    // A shell in the agent's place: it starts the hypervisor and is killed.
    let hypervisor = env!("CARGO_BIN_EXE_anchorhold-hypervisor");
    let line = format!(
        "{hypervisor} run --detach --eif-path {} & wait",
        image.display()
    );
    let mut agent = Command::new("bash")
        .args(["-c", &line])
        .env("ANCHORHOLD_STATE_DIR", host.state())
        .env("ANCHORHOLD_PLATFORM_DIR", host.path("platform"))
        .env("ANCHORHOLD_QEMU", host.qemu.as_ref().expect("a program"))
        .env("ANCHORHOLD_ACCEL", "tcg")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("agent");
    let directory = eventually("its directory", || {
        let name = host.enclaves().pop()?;
        let path = host.state().join("enclaves").join(name);
        UnixStream::connect(path.join("vsock.sock_9000")).ok()?;
        Some(path)
    });
    agent.kill().expect("killed");
    agent.wait().expect("killed");
    drop((agent.stdout.take(), agent.stderr.take()));
    beat(&directory);
    eventually("it runs", || {
        let description = ask(&directory, r#"{"command":"describe"}"#);
        (description["ok"]["State"] == "RUNNING").then_some(())
    });
    ask(&directory, r#"{"command":"terminate"}"#);
    assert!(host.enclaves().is_empty());
}

#[test]
fn a_debug_console_shows_all_and_a_production_console_is_forgotten() {
    let script = format!("echo before >&$console; {WAIT} echo a record >&$console; {SLEEP}");
    let host = Host::with_qemu(&script);
    let (mut enclave, _) = running(&host, &["--debug-mode"]);
    fs::write(host.path("go"), b"").expect("the word to go on");
    let console = UnixStream::connect(enclave.directory().join("console.sock"));
    let mut console = console.expect("debug mode");
    let mut shown = [0; 16];
    console.set_read_timeout(Some(LIMIT)).expect("time limit");
    console.read_exact(&mut shown).expect("what was printed");
    assert_eq!(&shown, b"before\na record\n");
    signal("TERM", enclave.process.id());
    let mut rest = String::new();
    console.read_to_string(&mut rest).expect("its end");
    assert!(enclave.wait().success());
}
