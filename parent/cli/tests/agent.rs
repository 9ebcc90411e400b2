//! The agent's commands as they are typed, with small programs in its tools' place.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::thread;

use common::{ID, Parent, Running, appears, description, eventually, signal};

#[test]
fn misuse_names_the_flag_and_exits_with_two() {
    let parent = Parent::new();
    for (words, named) in [
        (&["run-enclave"][..], "--eif-path"),
        (&["run-enclave", "--eif-path", "a", "--gpu"], "--gpu"),
        (&["terminate-enclave"], "--enclave-id"),
        (&["vsock-proxy", "8000"], "REMOTE_ADDR"),
        (&["launch"], "launch"),
    ] {
        let output = parent.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn missing_tools_are_named_with_their_variables() {
    let parent = Parent::new();
    for (words, tool) in [
        (&["run-enclave", "--eif-path", "a"][..], "hypervisor"),
        (&["describe-eif", "--eif-path", "a"], "image"),
        (&["build-enclave", "--binary", "a"], "image"),
        (&["sign-eif", "--eif-path", "a"], "image"),
    ] {
        fs::remove_file(parent.path(tool)).expect("a tool");
        let said = parent.refused(words, "tool.missing");
        let variable = format!("ANCHORHOLD_{}", tool.to_uppercase());
        assert!(said.contains(&variable), "{said}");
        parent.tool(tool, "exit 0");
    }
}

#[test]
fn a_refusal_of_the_hypervisor_is_shown_with_the_console() {
    let parent = Parent::new();
    let refusal =
        r#"{"error":{"rule":"boot.deadline","message":"did not boot","console":["one","two"]}}"#;
    parent.tool("hypervisor", &format!("echo '{refusal}'; exit 1"));
    let said = parent.refused(&["run-enclave", "--eif-path", "a"], "boot.deadline");
    assert!(said.contains("did not boot"), "{said}");
    assert!(said.contains("  | one\n  | two\n"), "{said}");
}

#[test]
fn a_hypervisor_without_a_report_is_an_error() {
    let parent = Parent::new();
    for script in [
        "exit 3",
        "kill -9 $$",
        "echo rubbish; exit 3",
        "echo '{\"ok\":{}}'",
    ] {
        parent.tool("hypervisor", script);
        parent.refused(&["run-enclave", "--eif-path", "a"], "hypervisor.no-report");
    }
}

#[test]
fn run_enclave_prints_nitro_clis_json_and_leaves_the_enclave_running() {
    let parent = Parent::new();
    let report = description("NONE");
    let left = parent.path("left");
    let script = format!(
        "echo measuring >&2; echo '{{\"ok\":{report}}}'; exec >/dev/null 2>&1; \
         sleep 0.3; touch {}",
        left.display()
    );
    parent.tool("hypervisor", &script);
    let output = parent.run(&["run-enclave", "--eif-path", "a.eif", "--memory", "256"]);
    assert!(output.status.success(), "{output:?}");
    let expected = format!(
        "{{\n  \"EnclaveName\": \"hello\",\n  \"EnclaveID\": \"{ID}\",\n  \"ProcessID\": 7,\n  \
         \"EnclaveCID\": 16,\n  \"NumberOfCPUs\": 2,\n  \"CPUIDs\": [\n    0,\n    1\n  ],\n  \
         \"MemoryMiB\": 256\n}}\n"
    );
    assert_eq!(String::from_utf8(output.stdout).expect("text"), expected);
    assert_eq!(output.stderr, b"measuring\n");
    let state = parent.state().display().to_string();
    let words = [
        "run",
        "--detach",
        "--state-dir",
        &state,
        "--eif-path",
        "a.eif",
        "--memory",
        "256",
    ];
    assert_eq!(parent.words("hypervisor"), words);
    appears(&left);
}

#[test]
fn nothing_runs_where_nothing_was_started() {
    let parent = Parent::new();
    assert_eq!(parent.done(&["describe-enclaves"]), "[]\n");
    assert_eq!(parent.done(&["describe-enclaves", "--ended"]), "[]\n");
    assert_eq!(parent.done(&["terminate-enclave", "--all"]), "");
    assert!(!parent.state().exists(), "looking makes nothing");
}

#[test]
fn enclaves_that_are_not_there_are_named() {
    let parent = Parent::new();
    parent.running("NONE");
    for words in [
        ["terminate-enclave", "--enclave-id", "i-1-enc1"],
        ["terminate-enclave", "--enclave-name", "other"],
        ["console", "--enclave-id", "i-1-enc1"],
        ["console", "--enclave-name", "other"],
    ] {
        let said = parent.refused(&words, "enclave.unknown");
        assert!(said.contains(words[2]), "{said}");
    }
    let words = ["connect", "--enclave-cid", "17", "--port", "1"];
    let said = parent.refused(&words, "enclave.unknown");
    assert!(said.contains("CID \"17\""), "{said}");
    let words = ["terminate-enclave", "--enclave-id", "../../etc"];
    parent.refused(&words, "state.enclave-id");
}

#[test]
fn describe_enclaves_lists_what_answers_and_has_the_rest_swept() {
    let parent = Parent::new();
    parent.running("NONE");
    let plain = parent.done(&["describe-enclaves"]);
    assert!(
        plain.starts_with("[\n  {\n    \"EnclaveName\": \"hello\","),
        "{plain}"
    );
    assert!(plain.contains("\"PCR2\": \"22\""), "{plain}");
    assert!(!plain.contains("ImageName"), "{plain}");
    let full = parent.done(&["describe-enclaves", "--metadata"]);
    assert!(full.contains("\"ImageName\": \"hello\""), "{full}");
    let swept = parent.words("hypervisor");
    assert_eq!(swept[..2], ["sweep", "--state-dir"]);
}

#[test]
fn an_enclave_whose_hypervisor_is_gone_is_not_listed() {
    let parent = Parent::new();
    let path = parent.enclave();
    drop(UnixListener::bind(path.join("control.sock")).expect("bind"));
    let output = parent.run(&["describe-enclaves"]);
    assert_eq!(output.stdout, b"[]\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(ID), "{said}");
}

#[test]
fn terminate_enclave_prints_nitro_clis_json() {
    let parent = Parent::new();
    parent.running("NONE");
    let ended = parent.done(&["terminate-enclave", "--enclave-name", "hello"]);
    let expected = format!(
        "{{\n  \"EnclaveName\": \"hello\",\n  \"EnclaveID\": \"{ID}\",\n  \"Terminated\": true\n}}\n"
    );
    assert_eq!(ended, expected);
    // Each on its own, in no array.
    let all = parent.done(&["terminate-enclave", "--all"]);
    assert_eq!(all, expected);
}

#[test]
fn the_console_of_a_production_enclave_is_refused() {
    let parent = Parent::new();
    parent.running("NONE");
    let words = ["console", "--enclave-id", ID];
    let said = parent.refused(&words, "console.production");
    assert!(said.contains("--debug-mode"), "{said}");
}

#[test]
fn a_debug_console_is_shown_to_its_end_or_until_it_is_silent() {
    let parent = Parent::new();
    let path = parent.running("DEBUG_MODE");
    let listener = UnixListener::bind(path.join("console.sock")).expect("bind");
    thread::spawn(move || {
        let mut silent = Vec::new();
        for (count, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("accept");
            stream.write_all(b"booting\n").expect("console");
            if count > 0 {
                silent.push(stream);
            }
        }
    });
    let words = ["console", "--enclave-name", "hello"];
    assert_eq!(parent.done(&words), "booting\n");
    let words = [
        "console",
        "--enclave-name",
        "hello",
        "--disconnect-timeout",
        "6",
    ];
    assert_eq!(parent.done(&words), "booting\n");
}

#[test]
fn connect_joins_standard_streams_and_hands_on_their_ends() {
    let parent = Parent::new();
    let path = parent.running("NONE");
    let listener = UnixListener::bind(path.join("vsock.sock")).expect("bind");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("clone"));
            reader.read_line(&mut line).expect("request");
            if line != "CONNECT 5005\n" {
                continue;
            }
            stream.write_all(b"OK 5005\n").expect("answer");
            let mut question = String::new();
            reader.read_to_string(&mut question).expect("up to its end");
            write!(stream, "you said {question}").expect("answer");
        }
    });
    let words = ["connect", "--enclave-cid", "16", "--port", "5005"];
    let mut command = parent.command(&words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut agent = Running(command.spawn().expect("agent"));
    let mut stdin = agent.0.stdin.take().expect("piped");
    stdin.write_all(b"good day").expect("question");
    drop(stdin);
    let mut answer = String::new();
    let mut stdout = agent.0.stdout.take().expect("piped");
    stdout.read_to_string(&mut answer).expect("answer");
    assert_eq!(answer, "you said good day");
    assert!(agent.0.wait().expect("agent").success());

    let words = ["connect", "--enclave-id", ID, "--port", "9", "--wait", "0"];
    parent.refused(&words, "hybrid.refused");
}

#[test]
fn images_are_the_image_tools_affair() {
    let parent = Parent::new();
    parent.tool("image", "echo '{}'");
    assert_eq!(parent.done(&["describe-eif", "--eif-path", "a"]), "{}\n");
    let words = ["build-enclave", "--recipe", "r.toml", "--output-file", "o"];
    assert_eq!(parent.done(&words), "{}\n");
    let words = ["describe", "--eif-path", "a", "build", "--recipe", "r.toml"];
    assert_eq!(parent.words("image")[..6], words);

    let words = [
        "sign-eif",
        "--eif-path",
        "a",
        "--signing-certificate",
        "c",
        "--private-key",
        "k",
    ];
    assert_eq!(parent.done(&words), "{}\n");
    let handed_on = parent.words("image");
    let (command, flags) = handed_on[handed_on.len() - 7..].split_at(1);
    assert_eq!(
        (&command[0][..], flags),
        ("sign", &words.map(String::from)[1..])
    );

    parent.tool("image", "echo 'error[eif.crc]: changed' >&2; exit 1");
    let said = parent.refused(&["describe-eif", "--eif-path", "a"], "tool.failed");
    assert!(said.contains("error[eif.crc]: changed"), "{said}");
    let words = ["build-enclave", "--docker-uri", "hello:latest"];
    parent.refused(&words, "flag.unsupported");
}

#[test]
fn pcr_measures_files_as_registers_do() {
    let parent = Parent::new();
    let file = parent.path("file");
    fs::write(&file, b"").expect("file");
    let file = file.to_str().expect("path");
    let shown = parent.done(&["pcr", "--input", file]);
    // H(48 zero bytes ‖ H("")): what PCR2 is of an image without an application.
    assert_eq!(
        shown,
        "{\n  \"PCR\": \"21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c\
         10edb30948c90ba67310f7b964fc500a\"\n}\n"
    );
    let words = ["pcr", "--signing-certificate", file];
    parent.refused(&words, "pcr.certificate");
    parent.refused(&["pcr", "--input", "/nonexistent"], "io");
}

#[test]
fn vsock_proxy_refuses_what_is_not_listed() {
    let parent = Parent::new();
    let config = parent.path("allowlist.yaml");
    let config = config.to_str().expect("path");
    let words = ["vsock-proxy", "38100", "127.0.0.1", "1", "--config", config];
    parent.refused(&words, "allowlist.read");
    fs::write(config, "allowlist: [{address: 127.0.0.1, port: 2}]").expect("file");
    let said = parent.refused(&words, "allowlist.not-listed");
    assert!(said.contains("127.0.0.1:1"), "{said}");
    fs::write(config, "rubbish").expect("file");
    parent.refused(&words, "allowlist.format");
}

#[test]
fn vsock_proxy_says_where_it_listens_and_cleans_up() {
    let parent = Parent::new();
    let config = parent.path("allowlist.yaml");
    fs::write(&config, "allowlist: [{address: 127.0.0.1, port: 1}]").expect("file");
    let config = config.to_str().expect("path");
    let words = ["vsock-proxy", "38101", "127.0.0.1", "1", "--config", config];
    let mut command = parent.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut proxy = Running(command.spawn().expect("agent"));
    let mut line = String::new();
    let stdout = proxy.0.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("line");
    let socket = parent.state().join("vsock_38101");
    let begin = format!("{{\"listening\":[\"{}\"", socket.display());
    assert!(line.starts_with(&begin), "{line}");
    assert!(socket.exists());
    let said = parent.refused(&words, "hybrid.in-use");
    assert!(said.contains("38101"), "{said}");

    signal("TERM", proxy.0.id());
    let status = eventually("its end", || proxy.0.try_wait().expect("child"));
    assert!(status.success());
    assert!(!socket.exists());
}
