//! Real enclaves in real virtual machines: what they attest, what they show, how they end.

mod common;
#[path = "common/guest.rs"]
mod guest;
#[path = "common/signer.rs"]
mod signer;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::SystemTime;

use anchorhold_document::{AttestationDocument, Pcr, PcrIndex, SignedDocument};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Enclave, Host, LIMIT, ask, eventually, is_alive, resident_kib, signal};
use serde_json::{Value, json};
use signer::{Signer, with_signature};

/// RssAnon + RssFile of a hypervisor, guest memory and QEMU not counted.
const MAX_RESIDENT_KIB: u64 = 32 * 1024;

/// Asks the hello application for a document over a nonce.
fn attest(directory: &Path) -> AttestationDocument {
    let mut stream = eventually("the application", || dial(directory, 5005));
    stream.write_all(b"attest 00ff\n").expect("request");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("answer");
    let bytes = STANDARD.decode(line.trim()).expect(&line);
    let signed = SignedDocument::from_bytes(&bytes).expect("a document");
    let document = AttestationDocument::from_payload(signed.payload()).expect("its payload");
    assert_eq!(document.nonce.as_deref(), Some(&[0x00, 0xff][..]));
    document
}

fn dial(directory: &Path, port: u32) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(directory.join("vsock.sock")).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    writeln!(stream, "CONNECT {port}").ok()?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).ok()?;
        answer.extend_from_slice(&byte);
    }
    answer.starts_with(b"OK ").then_some(stream)
}

fn pcr(pcrs: &BTreeMap<PcrIndex, Pcr>, index: u8) -> Pcr {
    pcrs[&PcrIndex::new(index).expect("index")]
}

fn launch(host: &Host, image: &Path, more: &[&str]) -> Enclave {
    let words = ["--memory", "160", "--cpu-count", "1", "--eif-path"];
    let image = [image.to_str().expect("path")];
    host.start(&[&words[..], &image, more].concat())
}

#[test]
fn microvm_production_enclaves_attest_what_was_measured_side_by_side() {
    let host = Host::new();
    let image = host.path("hello.eif");
    guest::hello(&image);
    let mut first = launch(&host, &image, &[]);
    let mut second = launch(&host, &image, &["--enclave-cid", "30"]);
    for (enclave, name) in [(&mut first, "hello"), (&mut second, "hello")] {
        let description = enclave.running();
        let id = description["EnclaveID"].as_str().expect("id");
        assert!(
            description["EnclaveName"]
                .as_str()
                .expect("name")
                .starts_with(name)
        );
        let directory = host.state().join("enclaves").join(id);
        let document = attest(&directory);
        assert_eq!(document.module_id, id);
        for index in 0..3 {
            let measured = &description["Measurements"][format!("PCR{index}")];
            assert_eq!(pcr(&document.pcrs, index).to_string(), *measured);
        }
        assert!(!pcr(&document.pcrs, 4).is_zero());
        assert!(!directory.join("console.sock").exists());
        assert!(dial(&directory, 9).is_none(), "nobody listens there");
        let resident = resident_kib(enclave.process.id());
        eprintln!("hypervisor: {resident} KiB");
        assert!(resident <= MAX_RESIDENT_KIB, "{resident} KiB");
    }

    let qemu = second.qemu();
    signal("KILL", second.process.id());
    second.wait();
    eventually("QEMU's end", || (!is_alive(qemu)).then_some(()));
    assert_eq!(host.sweep()["swept"].as_array().map(Vec::len), Some(1));
    let directory = host.state().join("enclaves").join(&host.enclaves()[0]);
    let answer = ask(&directory, r#"{"command":"terminate"}"#);
    assert_eq!(answer, json!({"ok": {"Terminated": true}}));
    assert!(first.wait().success());
    assert!(host.enclaves().is_empty());
}

#[test]
fn microvm_a_signed_image_attests_its_signer() {
    let host = Host::new();
    let image = host.path("hello.eif");
    guest::hello(&image);
    let signer = Signer::valid_at(SystemTime::now());
    let file = fs::read(&image).expect("image");
    fs::write(&image, with_signature(&file, &signer.section(&file))).expect("file");
    let mut enclave = launch(&host, &image, &[]);
    let description = enclave.running();
    let id = description["EnclaveID"].as_str().expect("id");
    let document = attest(&host.state().join("enclaves").join(id));
    let pcr8 = signer.pcr8().to_string();
    assert_eq!(pcr(&document.pcrs, 8).to_string(), pcr8);
    assert_eq!(description["Measurements"]["PCR8"], pcr8);
    let unsigned = anchorhold_eif::Eif::parse(&file).expect("an image");
    let pcr0 = unsigned.measure().pcr0.to_string();
    assert_eq!(
        pcr(&document.pcrs, 0).to_string(),
        pcr0,
        "not the signature"
    );
}

#[test]
fn microvm_an_enclave_in_a_deep_directory_reaches_listeners_made_later() {
    let host = Host::new().deepen();
    let image = host.path("dialler.eif");
    guest::dialler(&image);
    let mut enclave = launch(&host, &image, &[]);
    let description = enclave.running();
    let id = description["EnclaveID"].as_str().expect("id");
    let own = host
        .state()
        .join("enclaves")
        .join(id)
        .join("vsock.sock_7001");
    let shared = host.state().join("vsock_7002");
    for (path, port) in [(own, "7001"), (shared, "7002")] {
        let listener = UnixListener::bind(&path).expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        let (mut stream, _) = eventually("a connection", || listener.accept().ok());
        stream.set_nonblocking(false).expect("blocking");
        stream.set_read_timeout(Some(LIMIT)).expect("time limit");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("text");
        assert_eq!(said, port);
    }
}

#[test]
fn microvm_a_debug_enclave_shows_its_console_and_attests_zeros() {
    let host = Host::new();
    let image = host.path("hello.eif");
    guest::hello(&image);
    // Whatever this host has: KVM, KVM that does not work, or none.
    let words = ["--accel", "auto", "--debug-mode"];
    let mut enclave = launch(&host, &image, &words);
    let description = enclave.running();
    assert_eq!(description["Flags"], "DEBUG_MODE");
    let id = description["EnclaveID"].as_str().expect("id");
    let directory = host.state().join("enclaves").join(id);
    let document = attest(&directory);
    for index in [0, 1, 2, 8] {
        assert!(pcr(&document.pcrs, index).is_zero(), "PCR{index}");
    }
    assert!(!pcr(&document.pcrs, 4).is_zero());

    let console = UnixStream::connect(directory.join("console.sock")).expect("console");
    console.set_read_timeout(Some(LIMIT)).expect("time limit");
    let mut lines = BufReader::new(console)
        .lines()
        .map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("heartbeat")));

    signal("KILL", enclave.qemu());
    assert_eq!(enclave.wait().code(), Some(1));
    assert!(host.enclaves().is_empty(), "nothing is left behind");
    assert_eq!(host.ended(id)["Reason"], "vm.ended");
}

#[test]
fn microvm_a_kernel_that_panics_is_tried_twice_and_its_last_words_are_shown() {
    let host = Host::new();
    let image = host.path("panic.eif");
    guest::without_init(&image);
    let mut enclave = launch(&host, &image, &[]);
    let failure = enclave.failure();
    assert_eq!(failure["rule"], "boot.ended", "{failure:#}");
    let console = failure["console"].as_array().expect("console");
    let panics = |line: &Value| line.as_str().is_some_and(|l| l.contains("Kernel panic"));
    assert!(console.iter().any(panics), "{console:#?}");
    assert_eq!(enclave.wait().code(), Some(1));
    assert!(enclave.progress().contains("attempt 2"));
    assert!(host.enclaves().is_empty());
}
