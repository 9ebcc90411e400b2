//! Measures a channel against the plain stream below it: one socket pair each, the same bytes in
//! the same pieces, one after the other in one run. Prints one JSON object.
//!
//! ```sh
//! cargo run --release -p anchorhold-channel --example channel_throughput -- [MiB]
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anchorhold_channel::{Attestor, Channel, PeerPolicy, SessionContext, Terms};
use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_verifier::{RootSha256, Timestamp, TrustRoots};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use serde_json::json;
use zeroize::Zeroizing;

type Failure = Box<dyn Error + Send + Sync>;

/// Bytes of each message, and of each plain write.
const MESSAGE: usize = 1 << 20;
/// Runs of each kind, by turns; the best of each counts, which a busy machine disturbs least.
const RUNS: usize = 5;
/// Handshakes that are timed.
const HANDSHAKES: u32 = 20;

/// The emulated security module of an enclave.
struct Enclave(SecurityModule);

impl Attestor for Enclave {
    type Error = Infallible;

    fn attest(&mut self, user_data: &[u8], _: Option<&[u8]>) -> Result<Vec<u8>, Infallible> {
        let request = Request::Attestation(AttestationRequest {
            user_data: Some(user_data.to_vec()),
            nonce: None,
            public_key: None,
        });
        let now = SystemTime::now();
        let answer = self
            .0
            .handle(&request.to_cbor(), now, &mut UnwrapErr(SysRng));
        match Response::from_cbor(&answer) {
            Ok(Response::Attestation { document }) => Ok(document),
            other => panic!("expected a document, got {other:?}"),
        }
    }
}

fn boot(pem: &str, number: u64) -> Result<Enclave, Failure> {
    let platform = Platform::from_pem(pem)?;
    let boot = Boot {
        module_id: platform.module_id(number),
        pcr0: Pcr([1; 48]),
        pcr1: Pcr([2; 48]),
        pcr2: Pcr([3; 48]),
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    Ok(Enclave(SecurityModule::new(platform, boot)?))
}

type Pair = [Channel<UnixStream, UnixStream>; 2];

/// Both ends of a channel over a socket pair.
fn open(terms: &Terms, enclaves: &mut [Enclave; 2]) -> Result<Pair, Failure> {
    let (here, there) = UnixStream::pair()?;
    let ends = [(here.try_clone()?, here), (there.try_clone()?, there)];
    let [(here_r, here_w), (there_r, there_w)] = ends;
    let [a, b] = enclaves;
    let mut rng = [UnwrapErr(SysRng), UnwrapErr(SysRng)];
    let [rng_a, rng_b] = &mut rng;
    let at = Timestamp::try_from(SystemTime::now())?;
    let now = || at;
    thread::scope(|scope| {
        let other =
            scope.spawn(|| Channel::respond(there_r, there_w, terms.clone(), b, now, rng_b));
        let one = Channel::initiate(here_r, here_w, terms.clone(), a, now, rng_a)?;
        let other = other.join().map_err(|_| "the responder panicked")??;
        Ok([one, other])
    })
}

/// Seconds to send so many messages one way, until the last byte was read.
fn channel(terms: &Terms, enclaves: &mut [Enclave; 2], count: usize) -> Result<f64, Failure> {
    let [mut one, mut other] = open(terms, enclaves)?;
    let message = vec![7; MESSAGE];
    thread::scope(|scope| {
        let start = Instant::now();
        let sender = scope.spawn(move || {
            (0..count).try_for_each(|_| one.send(&message))?;
            one.close()
        });
        let (mut received, mut message) = (0, Zeroizing::default());
        while other.receive_into(&mut message)? {
            received += message.len();
        }
        sender.join().map_err(|_| "the sender panicked")??;
        check(received, count, start)
    })
}

/// The same over the bare socket.
fn plain(count: usize) -> Result<f64, Failure> {
    let (mut here, mut there) = UnixStream::pair()?;
    let message = vec![7; MESSAGE];
    thread::scope(|scope| {
        let start = Instant::now();
        let sender = scope.spawn(move || (0..count).try_for_each(|_| here.write_all(&message)));
        let mut buffer = vec![0; 128 << 10];
        let mut received = 0;
        loop {
            match there.read(&mut buffer)? {
                0 => break,
                read => received += read,
            }
        }
        sender.join().map_err(|_| "the sender panicked")??;
        check(received, count, start)
    })
}

fn check(received: usize, count: usize, start: Instant) -> Result<f64, Failure> {
    let seconds = start.elapsed().as_secs_f64();
    match received == count * MESSAGE {
        true => Ok(seconds),
        false => Err(format!("expected {} bytes, got {received}", count * MESSAGE).into()),
    }
}

fn main() -> Result<(), Failure> {
    let count: usize = std::env::args().nth(1).map_or(Ok(256), |mib| mib.parse())?;
    let platform = Platform::generate(SystemTime::now(), &mut UnwrapErr(SysRng))?;
    let roots = TrustRoots::from_iter([RootSha256(platform.root_sha256())]);
    let policy = PeerPolicy::new(roots, Pcr([1; 48]), Duration::from_secs(60));
    let context = SessionContext::of("throughput", &[]);
    let terms = Terms::new(context, policy).with_max_message(MESSAGE);
    let pem = platform.to_pem()?;
    let mut enclaves = [boot(&pem, 1)?, boot(&pem, 2)?];

    let mut best = [f64::INFINITY; 2];
    for _ in 0..RUNS {
        best[0] = best[0].min(plain(count)?);
        best[1] = best[1].min(channel(&terms, &mut enclaves, count)?);
    }
    let start = Instant::now();
    for _ in 0..HANDSHAKES {
        open(&terms, &mut enclaves)?;
    }
    let handshake = start.elapsed() / HANDSHAKES;
    let [plain, channel] = best.map(|seconds| count as f64 / seconds);
    let report = json!({
        "mebibytes": count,
        "message_bytes": MESSAGE,
        "plain_mib_per_s": plain.round(),
        "channel_mib_per_s": channel.round(),
        "ratio": (channel / plain * 1000.0).round() / 1000.0,
        "handshake_ms": handshake.as_micros() as f64 / 1000.0,
    });
    println!("{report}");
    Ok(())
}
