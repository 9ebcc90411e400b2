//! Signals to the agent: they end an enclave that boots, and never one that runs.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use common::{Parent, Running, appears, description, eventually, signal};

/// The signals that ask for the end, and their numbers.
const SIGNALS: [(&str, i32); 3] = [("INT", 2), ("TERM", 15), ("HUP", 1)];

/// `run-enclave`, with signals as a process of a terminal has them, whatever the tests' are.
fn start(parent: &Parent, more: &[&str]) -> Running {
    let words = [&["run-enclave", "--eif-path", "a"], more].concat();
    let agent = parent.command(&words);
    let mut command = std::process::Command::new("env");
    command
        .arg("--default-signal=INT,TERM,HUP")
        .arg(agent.get_program())
        .args(agent.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in agent.get_envs() {
        command.env(name, value.expect("set"));
    }
    Running(command.spawn().expect("agent"))
}

fn said(agent: &mut Child) -> String {
    let mut said = String::new();
    let mut stderr = agent.stderr.take().expect("piped");
    stderr.read_to_string(&mut said).expect("text");
    said
}

/// A hypervisor that waits for its end, and notes that it came.
fn waits(parent: &Parent, begin: &str, at_the_end: &str) {
    let script = format!(
        "trap '{at_the_end}; exit 1' TERM; {begin} touch {}; while :; do sleep 0.02; done",
        parent.path("started").display(),
    );
    parent.tool("hypervisor", &script);
}

fn start_and_wait(parent: &Parent, more: &[&str]) -> Running {
    let started = parent.path("started");
    let _ = fs::remove_file(&started);
    let agent = start(parent, more);
    appears(&started);
    agent
}

/// Ends what a test's hypervisor would be for ever.
fn end(process: &Path) {
    let id = fs::read_to_string(process).expect("its id");
    signal("KILL", id.trim().parse().expect("a number"));
}

#[test]
fn a_signal_while_the_enclave_boots_is_handed_on() {
    let parent = Parent::new();
    let refusal = r#"{"error":{"rule":"boot.interrupted","message":"ended by signal 15"}}"#;
    fs::write(parent.path("refusal"), refusal).expect("refusal");
    let answer = format!("cat {}", parent.path("refusal").display());
    waits(&parent, "", &answer);
    for (name, _) in SIGNALS {
        let mut agent = start_and_wait(&parent, &[]);
        signal(name, agent.0.id());
        let said = said(&mut agent.0);
        assert!(said.contains("error[boot.interrupted]"), "{said}");
        assert_eq!(agent.0.wait().expect("agent").code(), Some(1));
    }
}

#[test]
fn an_enclave_that_comes_up_while_it_is_told_to_end_is_no_success() {
    let parent = Parent::new();
    let report = format!("{{\"ok\":{}}}", description("NONE"));
    fs::write(parent.path("report"), report).expect("report");
    let answer = format!("cat {}", parent.path("report").display());
    waits(&parent, "", &answer);
    let mut agent = start_and_wait(&parent, &[]);
    signal("TERM", agent.0.id());
    let mut shown = String::new();
    let mut stdout = agent.0.stdout.take().expect("piped");
    stdout.read_to_string(&mut shown).expect("text");
    assert_eq!(shown, "");
    assert!(said(&mut agent.0).contains("error[boot.interrupted]"));
    assert_eq!(agent.0.wait().expect("agent").code(), Some(1));
}

#[test]
fn a_signal_while_the_console_is_shown_leaves_the_enclave() {
    let parent = Parent::new();
    let console = parent.enclave().join("console.sock");
    let listener = UnixListener::bind(console).expect("bind");
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            stream.write_all(b"booting\n").expect("console");
            open.push(stream);
        }
    });
    let report = format!("{{\"ok\":{}}}", description("DEBUG_MODE"));
    fs::write(parent.path("report"), format!("{report}\n")).expect("report");
    let (process, ended) = (parent.path("process"), parent.path("ended"));
    let begin = format!(
        "cat {}; exec >/dev/null 2>&1; echo $$ > {};",
        parent.path("report").display(),
        process.display()
    );
    waits(&parent, &begin, &format!("touch {}", ended.display()));
    for (name, number) in SIGNALS {
        let mut agent = start_and_wait(&parent, &["--attach-console"]);
        let mut lines = BufReader::new(agent.0.stdout.take().expect("piped")).lines();
        assert!(lines.any(|line| line.expect("text") == "booting"));
        signal(name, agent.0.id());
        let status = eventually("its end", || agent.0.try_wait().expect("child"));
        assert_eq!(status.code(), Some(128 + number), "{name}");
        thread::sleep(Duration::from_millis(100));
        assert!(!ended.exists(), "{name} ended the enclave");
        end(&process);
    }
    assert!(parent.words("hypervisor").contains(&"--debug-mode".into()));
}

#[test]
fn a_hypervisor_can_leave_the_agent_s_session() {
    let parent = Parent::new();
    let report = format!("{{\"ok\":{}}}", description("NONE"));
    fs::write(parent.path("report"), report).expect("report");
    // Its id and its group's, fields 1 and 5 (proc_pid_stat(5)).
    let script = format!(
        "read -r id _ _ _ group _ < /proc/$$/stat; echo $id $group > {}; cat {}",
        parent.path("group").display(),
        parent.path("report").display()
    );
    parent.tool("hypervisor", &script);
    parent.done(&["run-enclave", "--eif-path", "a"]);
    let text = fs::read_to_string(parent.path("group")).expect("noted");
    let (id, group) = text.trim().split_once(' ').expect("two numbers");
    assert_ne!(id, group, "a group's leader stays in its session");
}
