//! The enclave's end: takes orders on vsock port 5005, one after another.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anchorhold_channel::{Channel, PeerPolicy, SessionContext, Terms};
use anchorhold_document::Pcr;
use anchorhold_enclave::nsm::Nsm;
use anchorhold_enclave_sys::vsock::{VsockStream, listen};
use anchorhold_throughput::{
    APPLICATION, MAX_LINE, MAX_MESSAGES, MESSAGE, Order, PORT, Plain, Way, serve,
};
use anchorhold_verifier::{RootSha256, Timestamp, TrustRoots};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

type Failure = Box<dyn std::error::Error>;

/// How long a caller may say nothing.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a caller that was served may take to go.
const LINGER: Duration = Duration::from_secs(5);
/// How old the caller's document may be.
const MAX_AGE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    if let Err(error) = anchorhold_enclave::random::seed() {
        eprintln!("throughput: {error}");
        return ExitCode::FAILURE;
    }
    let (nsm, listener) = match Nsm::open().map_err(Failure::from).and_then(|nsm| {
        let listener = listen(PORT)?;
        Ok((nsm, listener))
    }) {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("throughput: {error}");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming() {
        let served = stream
            .map_err(Failure::from)
            .and_then(|stream| answer(&stream, &nsm));
        if let Err(error) = served {
            eprintln!("throughput: {error}");
        }
    }
    ExitCode::SUCCESS
}

fn answer(stream: &VsockStream, nsm: &Nsm) -> Result<(), Failure> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let order = order(stream)?;
    match order.way {
        Way::Plain => serve(&mut Plain(stream.try_clone()?), order.to, order.messages)?,
        Way::Channel => {
            let mut attest =
                |data: &[u8], nonce: Option<&[u8]>| nsm.attest(None, Some(data), nonce);
            let now = Timestamp::try_from(SystemTime::now())?;
            let mut rng = UnwrapErr(SysRng);
            let terms = terms(&order)?;
            let mut channel =
                Channel::respond(stream, stream, terms, &mut attest, || now, &mut rng)?;
            serve(&mut channel, order.to, order.messages)?;
        }
    }
    // Until the caller has gone, however it goes: it has read everything then. The next one shall
    // not wait for long for this one's end.
    stream.set_read_timeout(Some(LINGER))?;
    let mut rest = stream;
    let _gone = rest.read(&mut [0]);
    Ok(())
}

/// The caller sends nothing behind the line before it is answered, or is part of a channel, of
/// which the line is read without a byte too many.
fn order(stream: &VsockStream) -> Result<Order, Failure> {
    let mut line = Vec::new();
    let unbuffered = BufReader::with_capacity(1, stream);
    unbuffered.take(MAX_LINE).read_until(b'\n', &mut line)?;
    let order: Order = serde_json::from_slice(&line)?;
    match order.messages {
        1..=MAX_MESSAGES => Ok(order),
        other => Err(format!("expected 1 to {MAX_MESSAGES} messages, got {other}").into()),
    }
}

fn terms(order: &Order) -> Result<Terms, Failure> {
    let (root, pcr0): (RootSha256, Pcr) = (order.root.parse()?, order.pcr0.parse()?);
    let policy = PeerPolicy::new(TrustRoots::from_iter([root]), pcr0, MAX_AGE);
    let context = SessionContext::of(APPLICATION, &[]);
    Ok(Terms::new(context, policy).with_max_message(MESSAGE))
}
