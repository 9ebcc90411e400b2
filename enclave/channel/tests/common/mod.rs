//! What the tests share: enclaves with real security modules, and a peer that plays by the
//! documented bytes with another implementation of the primitives.
#![allow(dead_code)] // Each test file uses a part.

pub mod puppet;
pub mod wire;

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use anchorhold_channel::{
    Attestor, Claim, Established, Handshake, HandshakeError, Opened, PeerPolicy, Progress,
    RecordError, Session, SessionContext, Terms,
};
use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_verifier::{RootSha256, Timestamp, TrustRoots};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use rand_core::{TryCryptoRng, TryRng};

/// The image that everybody agreed on.
pub const IMAGE: Pcr = Pcr([0xa1; 48]);
/// How old a document may be.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// 2026-03-01T12:00:00Z.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_366_400)
}

pub fn timestamp() -> Timestamp {
    Timestamp::try_from(now()).expect("a time after the epoch")
}

pub fn context() -> SessionContext {
    SessionContext::of("test", &[b"contract"])
}

pub fn claim(text: &str) -> Claim {
    Claim::new(text).expect("a short claim")
}

pub fn random() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Gives one byte only, so that a session can be had again.
pub struct Fixed(pub u8);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_be_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_be_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        target.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// A host with a root of its own.
pub struct Host {
    pem: String,
    pub root: RootSha256,
}

impl Host {
    pub fn new() -> Self {
        let platform = Platform::generate(now(), &mut random()).expect("a platform");
        Self {
            pem: platform.to_pem().expect("its PEM").to_string(),
            root: RootSha256(platform.root_sha256()),
        }
    }

    pub fn boot(&self, number: u64) -> Enclave {
        self.boot_image(number, IMAGE, false)
    }

    pub fn boot_image(&self, number: u64, pcr0: Pcr, debug: bool) -> Enclave {
        let platform = Platform::from_pem(&self.pem).expect("a platform");
        let boot = Boot {
            module_id: platform.module_id(number),
            pcr0,
            pcr1: Pcr([0xa2; 48]),
            pcr2: Pcr([0xa3; 48]),
            pcr3: None,
            pcr8: None,
            debug,
        };
        Enclave {
            module: SecurityModule::new(platform, boot).expect("a module"),
            at: now(),
            made: HashMap::new(),
        }
    }

    pub fn policy(&self) -> PeerPolicy {
        PeerPolicy::new(TrustRoots::from_iter([self.root]), IMAGE, MAX_AGE)
    }

    pub fn terms(&self) -> Terms {
        Terms::new(context(), self.policy())
    }
}

/// An enclave's security module. It remembers its documents, so that a repeated session costs none.
pub struct Enclave {
    module: SecurityModule,
    /// The module's clock.
    pub at: SystemTime,
    made: HashMap<Vec<u8>, Vec<u8>>,
}

impl Enclave {
    pub fn document(&mut self, user_data: Option<&[u8]>) -> Vec<u8> {
        let request = Request::Attestation(AttestationRequest {
            user_data: user_data.map(<[u8]>::to_vec),
            nonce: None,
            public_key: None,
        });
        let answer = self
            .module
            .handle(&request.to_cbor(), self.at, &mut random());
        match Response::from_cbor(&answer).expect("an answer") {
            Response::Attestation { document } => document,
            other => panic!("no document: {other:?}"),
        }
    }
}

impl Attestor for Enclave {
    type Error = Infallible;

    fn attest(&mut self, user_data: &[u8], nonce: Option<&[u8]>) -> Result<Vec<u8>, Infallible> {
        assert_eq!(nonce, None);
        if let Some(document) = self.made.get(user_data) {
            return Ok(document.clone());
        }
        let document = self.document(Some(user_data));
        self.made.insert(user_data.to_vec(), document.clone());
        Ok(document)
    }
}

/// An enclave that must not be asked for a document.
pub struct Silent;

impl Attestor for Silent {
    type Error = Infallible;

    fn attest(&mut self, _: &[u8], _: Option<&[u8]>) -> Result<Vec<u8>, Infallible> {
        panic!("asked for a document before the peer proved anything");
    }
}

/// The next step, the frame being given with its length.
pub fn step(
    handshake: Handshake,
    frame: &[u8],
    attestor: &mut impl Attestor,
) -> Result<(Vec<u8>, Handshake), HandshakeError> {
    match handshake.receive(&frame[2..], attestor, timestamp())? {
        Progress::Continue { send, handshake } => Ok((send, handshake)),
        Progress::Established(_) => panic!("established too early"),
    }
}

/// The last step.
pub fn last(
    handshake: Handshake,
    frame: &[u8],
    attestor: &mut impl Attestor,
) -> Result<Established, HandshakeError> {
    match handshake.receive(&frame[2..], attestor, timestamp())? {
        Progress::Established(established) => Ok(*established),
        Progress::Continue { .. } => panic!("not established"),
    }
}

/// The rule of a refusal.
pub fn rule<T>(result: Result<T, HandshakeError>) -> &'static str {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => {
            assert!(says_what(&error.to_string()), "{error}");
            error.rule()
        }
    }
}

/// The rule of a record's refusal.
pub fn record_rule<T>(result: Result<T, RecordError>) -> &'static str {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => {
            assert!(says_what(&error.to_string()), "{error}");
            error.rule()
        }
    }
}

fn says_what(text: &str) -> bool {
    (text.contains("expected") && text.contains("got")) || text.starts_with("cbor")
}

/// Both ends and the four frames of a handshake.
pub struct Pair {
    pub initiator: Established,
    pub responder: Established,
    pub frames: [Vec<u8>; 4],
}

/// Two enclaves on one host.
pub struct World {
    pub host: Host,
    pub a: Enclave,
    pub b: Enclave,
}

impl World {
    pub fn new() -> Self {
        let host = Host::new();
        let (a, b) = (host.boot(1), host.boot(2));
        Self { host, a, b }
    }

    /// A session that every call gives again.
    pub fn pair(&mut self) -> Pair {
        let terms = self.host.terms();
        self.pair_with(terms.clone(), terms, 1, 2)
            .expect("a session")
    }

    pub fn sessions(&mut self) -> (Session, Session) {
        let pair = self.pair();
        (pair.initiator.session, pair.responder.session)
    }

    /// A session of `a`, which initiates, with `b`; randomness of each.
    pub fn pair_with(
        &mut self,
        a: Terms,
        b: Terms,
        seed_a: u8,
        seed_b: u8,
    ) -> Result<Pair, HandshakeError> {
        let (first, initiator) = Handshake::initiate(a, &mut Fixed(seed_a))?;
        let responder = Handshake::respond(b, &mut Fixed(seed_b))?;
        let (second, responder) = step(responder, &first, &mut Silent)?;
        let (third, initiator) = step(initiator, &second, &mut self.a)?;
        let responder = last(responder, &third, &mut self.b)?;
        let fourth = responder.send.clone().expect("the responder's evidence");
        let initiator = last(initiator, &fourth, &mut Silent)?;
        assert!(initiator.send.is_none());
        Ok(Pair {
            initiator,
            responder,
            frames: [first, second, third, fourth],
        })
    }
}

/// The bodies of frames that stand one after another.
pub fn bodies(mut frames: &[u8]) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    while let Some((length, rest)) = frames.split_first_chunk() {
        let (body, after) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        bodies.push(body);
        frames = after;
    }
    bodies
}

/// Opens frames that hold one message.
pub fn open_message(session: &mut Session, frames: &[u8]) -> Vec<u8> {
    let mut message = None;
    for body in bodies(frames) {
        assert!(message.is_none(), "frames after the message");
        match session.open(body).expect("an authentic record") {
            Opened::Part => {}
            Opened::Message(whole) => message = Some(whole.to_vec()),
            Opened::Closed => panic!("closed"),
        }
    }
    message.expect("a whole message")
}
