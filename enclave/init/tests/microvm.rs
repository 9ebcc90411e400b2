//! init in a real machine: QEMU's software emulation, the locked kernel, ramdisks as the
//! builder makes them, the security module and the vsock switch that the hypervisor uses.
//!
//! What the machine is made of stands in `machine`; the tests are about what init does.

mod machine;

use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anchorhold_document::nsm::{ErrorCode, Request, Response};
use anchorhold_document::{AttestationDocument, DocumentToSign};
use serde_json::Value;

use machine::{Machine, Parts};

/// The program, found in init's default path.
const APPLICATION: &str = "anchorhold-conformance";

/// Where the conformance application tells its results.
const RESULTS: u32 = 5006;

/// How far the machine's clock may be off the time between the host's question and its answer.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// What production hosts see of an application: nothing but this.
const CONSOLE: [&str; 4] = ["init", "nsm cuse", "heartbeat", "exit 0"];

#[test]
fn software_for_nitro_finds_the_microvm_it_expects() {
    let machine = Machine::boot(Parts::new(&[APPLICATION, "run", "two words"]));
    let module_id = machine.module_id().to_owned();
    let before = since_epoch();
    let mut line = String::new();
    machine
        .connect(RESULTS)
        .read_to_string(&mut line)
        .expect("results");
    let after = since_epoch();
    let ended = machine.wait();

    let results: Value = serde_json::from_str(&line).expect("one line of JSON");
    let failures: Vec<&Value> = results["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| !c["failure"].is_null())
        .collect();
    assert!(failures.is_empty(), "{failures:#?}\n{ended}");
    assert!(results["passed"].as_u64().unwrap() >= 35, "{results}");
    assert_eq!(results["module_id"], module_id);
    assert_eq!(
        results["arguments"],
        serde_json::json!(["run", "two words"])
    );
    let clock = Duration::from_millis(results["clock_ms"].as_u64().unwrap());
    assert!(
        clock + CLOCK_TOLERANCE > before && clock < after + CLOCK_TOLERANCE,
        "clock {clock:?}, here between {before:?} and {after:?}"
    );

    assert_eq!(ended.said(), CONSOLE, "{ended}");
    assert_eq!(ended.heartbeats, 1);
    let console: Vec<&str> = ended.console_of_init();
    assert_eq!(
        console,
        CONSOLE.map(|line| format!("anchorhold-init: {line}")),
        "{ended}"
    );
    println!("{}", ended.timeline());
}

#[test]
fn the_application_s_end_is_the_microvm_s() {
    let ended = Machine::boot(Parts::new(&[APPLICATION, "exit", "7"])).wait();
    assert_eq!(
        ended.said(),
        ["init", "nsm cuse", "heartbeat", "exit 7"],
        "{ended}"
    );
}

/// The security module's device is served by init, so that nothing the application does
/// takes it away; what the kernel kills for memory is the application.
#[test]
fn an_application_that_takes_all_memory_of_the_microvm_is_what_ends() {
    let ended = Machine::boot(Parts::new(&[APPLICATION, "exhaust"])).wait();
    assert_eq!(
        ended.said(),
        ["init", "nsm cuse", "heartbeat", "signal 9"],
        "{ended}"
    );
}

#[test]
fn a_program_that_is_not_there_ends_the_microvm() {
    let ended = Machine::boot(Parts::new(&["no-such-program"])).wait();
    let reason = "failed application: No such file or directory (os error 2)";
    assert_eq!(ended.last(), reason, "{ended}");
    let whole = "failed application: no-such-program cannot be run: No such file or directory";
    assert!(ended.console.contains(whole), "{ended}");
}

#[test]
fn a_module_without_a_clock_ends_the_microvm_before_the_application_starts() {
    let mut parts = Parts::new(&[APPLICATION, "exit", "0"]);
    parts.module = Box::new(|request| {
        match Request::from_cbor(request).expect("a request of init's") {
            Request::GetRandom => Response::GetRandom {
                random: vec![7; 256],
            },
            Request::Attestation(_) => Response::Attestation {
                document: document_of(1),
            },
            _ => Response::Error(ErrorCode::InvalidOperation),
        }
        .to_cbor()
    });
    let ended = Machine::boot(parts).wait();
    let reason = "failed clock: time of at least 1603843200000 ms since 1970 expected, 1 came";
    assert_eq!(ended.said(), ["init", "nsm cuse", reason], "{ended}");
    assert_eq!(ended.heartbeats, 0);
}

#[test]
fn a_module_without_random_numbers_ends_the_microvm() {
    let mut parts = Parts::new(&[APPLICATION, "exit", "0"]);
    parts.module = Box::new(|_| {
        Response::GetRandom {
            random: vec![7; 31],
        }
        .to_cbor()
    });
    let ended = Machine::boot(parts).wait();
    let reason = "failed entropy: 32 random bytes expected, 31 came";
    assert_eq!(ended.said(), ["init", "nsm cuse", reason], "{ended}");
}

#[test]
fn a_microvm_without_vsock_ends_at_its_heartbeat() {
    let mut parts = Parts::new(&[APPLICATION, "exit", "0"]);
    parts.vsock = false;
    let ended = Machine::boot(parts).wait();
    let reason = "failed heartbeat: No such device (os error 19)";
    assert_eq!(ended.said(), ["init", "nsm cuse", reason], "{ended}");
}

#[test]
fn a_microvm_without_ports_says_on_its_console_that_it_has_no_security_module() {
    let mut parts = Parts::new(&[APPLICATION, "exit", "0"]);
    parts.ports = false;
    let ended = Machine::boot(parts).wait();
    assert!(ended.said().is_empty());
    assert!(
        ended
            .console
            .contains("anchorhold-init: failed nsm: /dev/nsm"),
        "{ended}"
    );
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A document of that time, unsigned: init looks at the time only.
fn document_of(timestamp_ms: u64) -> Vec<u8> {
    let document = AttestationDocument {
        module_id: "i-0-enc0".into(),
        timestamp_ms,
        pcrs: [(
            anchorhold_document::PcrIndex::PCR0,
            anchorhold_document::Pcr::ZERO,
        )]
        .into(),
        certificate: vec![1],
        cabundle: vec![vec![1]],
        public_key: None,
        user_data: None,
        nonce: None,
    };
    DocumentToSign::new(&document)
        .expect("a document")
        .with_signature([1; 96])
        .to_bytes()
}
