//! Many callers at once, callers without privileges, and callers that die.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_document::{AttestationDocument, SignedDocument};
use anchorhold_enclave_sys::nsm::NsmDevice;

use crate::abi;
use crate::helpers;
use crate::module::Client;
use crate::outcome::{Checked, Failure, Results, equal, machine, mismatch};

/// Threads at once, and what each asks for.
const THREADS: usize = 16;
const REQUESTS: usize = 10;

/// `nobody` and `nogroup`, as on Debian.
const NOBODY: u32 = 65534;

/// All about who calls.
pub fn check(results: &mut Results) {
    results.note("callers.threads-with-own-descriptors", || {
        in_threads(own_descriptor)
    });
    results.note("callers.threads-with-one-descriptor", one_descriptor);
    results.note("callers.not-root", not_root);
    results.note("callers.killed", killed);
}

/// Runs `caller` in all threads with distinct numbers.
fn in_threads(caller: impl Fn(usize) -> Checked + Send + Clone + 'static) -> Checked {
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let caller = caller.clone();
            thread::spawn(move || caller(number))
        })
        .collect();
    threads
        .into_iter()
        .try_for_each(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(mismatch("thread", &"an outcome", &"a panic")),
        })
}

/// With AWS's client: each gets the answer to its own request.
fn own_descriptor(number: usize) -> Checked {
    let client = Client::open()?;
    for round in 0..REQUESTS {
        let nonce = format!("{number}/{round}").into_bytes();
        let document = client.attest([None, Some(&nonce), None])?;
        equal("nonce", document.nonce, Some(nonce))?;
    }
    Ok(())
}

fn one_descriptor() -> Checked {
    let device = Arc::new(abi::device()?);
    in_threads(move |number| {
        for round in 0..REQUESTS {
            let nonce = format!("shared {number}/{round}").into_bytes();
            let got = attested_nonce(&device, &nonce)?;
            equal("nonce", got, Some(nonce))?;
        }
        Ok(())
    })
}

fn attested_nonce(device: &NsmDevice, nonce: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let request = AttestationRequest {
        nonce: Some(nonce.to_vec()),
        ..Default::default()
    };
    let response = abi::ask(device, &Request::Attestation(request))?;
    let Response::Attestation { document } = response else {
        return Err(mismatch("Attestation", &"a document", &response));
    };
    let document = SignedDocument::from_bytes(&document)
        .and_then(|signed| AttestationDocument::from_payload(signed.payload()));
    document
        .map(|document| document.nonce)
        .map_err(|error| mismatch("document", &"one of the facts' shape", &error.to_string()))
}

fn not_root() -> Checked {
    let mut helper = helper(helpers::DESCRIBE);
    let output = helper
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .map_err(machine("helper"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    equal("exit status", output.status.code(), Some(0))?;
    equal("what it said", said, format!("{NOBODY} described\n"))
}

/// Callers that are killed with a request under way cost nobody else an answer.
fn killed() -> Checked {
    for round in 0..8 {
        let mut children = Vec::new();
        for _ in 0..4 {
            let child = helper(helpers::HAMMER).spawn().map_err(machine("helper"))?;
            children.push(Killed(child));
        }
        thread::sleep(Duration::from_millis(10 + 7 * round));
        drop(children);
        own_descriptor(0)?;
    }
    Ok(())
}

/// A child that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself, which later checks would notice.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn helper(mode: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(mode)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}
