//! The parent's end: has an enclave send and read bytes, plainly and through an attested channel in
//! turn, all in one microVM. Prints one JSON object with medians.
//!
//! ```sh
//! cargo run --release -p anchorhold-throughput --example parent -- \
//!     SOCKET ROOT.pem PCR0 MIB ROUNDS
//! ```

use std::error::Error;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anchorhold_channel::{Channel, PeerPolicy, SessionContext, Terms};
use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_proxy::hybrid;
use anchorhold_throughput::{APPLICATION, MESSAGE, Order, PORT, Plain, To, Way, call};
use anchorhold_verifier::{RootSha256, Timestamp, TrustRoots};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;

/// How long the enclave may take to listen, and to say something.
const PATIENCE: Duration = Duration::from_secs(120);
/// How old the enclave's document may be.
const MAX_AGE: Duration = Duration::from_secs(300);
/// The image that this end says it is.
const IMAGE: Pcr = Pcr([1; 48]);
/// What is carried before the time counts: the first bytes find nothing warm.
const WARM_UP: u32 = 4;

const DIRECTIONS: [(To, &str); 2] = [
    (To::Parent, "enclave_to_parent"),
    (To::Enclave, "parent_to_enclave"),
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, root, pcr0, mib, rounds] = arguments.as_slice() else {
        return Err("usage: parent SOCKET ROOT.pem PCR0 MIB ROUNDS".into());
    };
    let root = std::fs::read_to_string(root)?;
    let policy = PeerPolicy::new(TrustRoots::from_pem(&root)?, pcr0.parse()?, MAX_AGE);
    let platform = Platform::generate(SystemTime::now(), &mut UnwrapErr(SysRng))?;
    let mut caller = Caller {
        socket: PathBuf::from(socket),
        root: RootSha256(platform.root_sha256()),
        module: module(platform)?,
        terms: Terms::new(SessionContext::of(APPLICATION, &[]), policy).with_max_message(MESSAGE),
        handshakes: Vec::new(),
    };
    let report = caller.measure(mib.parse()?, rounds.parse()?)?;
    println!("{report}");
    Ok(())
}

fn module(platform: Platform) -> Result<SecurityModule, Failure> {
    let boot = Boot {
        module_id: platform.module_id(1),
        pcr0: IMAGE,
        pcr1: Pcr([2; 48]),
        pcr2: Pcr([3; 48]),
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    Ok(SecurityModule::new(platform, boot)?)
}

/// The parent, which has a security module of its own for the length of the measurement.
struct Caller {
    socket: PathBuf,
    root: RootSha256,
    module: SecurityModule,
    terms: Terms,
    /// Seconds of each.
    handshakes: Vec<f64>,
}

impl Caller {
    /// Every way in every direction, in turn.
    fn measure(&mut self, messages: u32, rounds: u32) -> Result<Value, Failure> {
        let mut report = json!({ "mebibytes": messages, "rounds": rounds });
        for (to, name) in DIRECTIONS {
            let [mut plain, mut channel] = [Vec::new(), Vec::new()];
            self.carry(Way::Plain, to, WARM_UP)?;
            self.carry(Way::Channel, to, WARM_UP)?;
            for _ in 0..rounds {
                plain.push(self.carry(Way::Plain, to, messages)?);
                channel.push(self.carry(Way::Channel, to, messages)?);
            }
            report[name] = json!({
                "plain_mib_per_s": median(&mut plain),
                "channel_mib_per_s": median(&mut channel),
            });
        }
        report["handshake_ms"] = json!(median(&mut self.handshakes) * 1000.0);
        Ok(report)
    }

    /// MiB per second of one order.
    fn carry(&mut self, way: Way, to: To, messages: u32) -> Result<f64, Failure> {
        let mut stream = hybrid::connect_when_ready(&self.socket, PORT, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let order = Order {
            way,
            to,
            messages,
            root: self.root.to_string(),
            pcr0: IMAGE.to_string(),
        };
        let line = serde_json::to_string(&order)? + "\n";
        stream.write_all(line.as_bytes())?;
        let start = match way {
            Way::Plain => {
                let start = Instant::now();
                call(&mut Plain(stream), to, messages)?;
                start
            }
            Way::Channel => {
                let mut channel = self.channel(&stream)?;
                let start = Instant::now();
                call(&mut channel, to, messages)?;
                start
            }
        };
        Ok(f64::from(messages) / start.elapsed().as_secs_f64())
    }

    fn channel<'s>(
        &mut self,
        stream: &'s UnixStream,
    ) -> Result<Channel<&'s UnixStream, &'s UnixStream>, Failure> {
        let start = Instant::now();
        let now = Timestamp::try_from(SystemTime::now())?;
        let module = &mut self.module;
        let mut attest = |data: &[u8], _: Option<&[u8]>| document(module, data);
        let mut rng = UnwrapErr(SysRng);
        let terms = self.terms.clone();
        let channel = Channel::initiate(stream, stream, terms, &mut attest, || now, &mut rng)?;
        self.handshakes.push(start.elapsed().as_secs_f64());
        Ok(channel)
    }
}

fn document(module: &mut SecurityModule, data: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let request = Request::Attestation(AttestationRequest {
        user_data: Some(data.to_vec()),
        nonce: None,
        public_key: None,
    });
    let now = SystemTime::now();
    let answer = module.handle(&request.to_cbor(), now, &mut UnwrapErr(SysRng));
    match Response::from_cbor(&answer) {
        Ok(Response::Attestation { document }) => Ok(document),
        other => Err(std::io::Error::other(format!(
            "expected a document, got {other:?}"
        ))),
    }
}

/// The median; of an even number of values the upper one of the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
