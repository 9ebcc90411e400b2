//! Plays arbitrary bytes as the peer, at every state of a channel.
//!
//! The first byte says which party is fed, after how many genuine frames, and whether the rest is the
//! stream from there on or is laid over the genuine one at an offset, which gets past lengths and
//! names to what a frame says. The length of the rest is also how the stream is chopped. Whatever
//! comes, a party neither panics nor accepts anything that its peer did not send.
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use anchorhold_channel::{
    Attestor, Channel, ChannelError, Handshake, PeerPolicy, Progress, Role, SessionContext, Terms,
};
use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_verifier::{RootSha256, Timestamp, TrustRoots};
use libfuzzer_sys::fuzz_target;
use rand_core::{TryCryptoRng, TryRng};

const IMAGE: Pcr = Pcr([0xa1; 48]);
const MESSAGE: &[u8] = b"genuine";

/// The same bytes always, so that every run is the same session.
struct Fixed(u8);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from(self.0))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.0))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        target.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_366_400)
}

fn timestamp() -> Timestamp {
    Timestamp::try_from(now()).expect("after the epoch")
}

struct Enclave(SecurityModule, HashMap<Vec<u8>, Vec<u8>>);

impl Attestor for Enclave {
    type Error = Infallible;

    fn attest(&mut self, user_data: &[u8], _: Option<&[u8]>) -> Result<Vec<u8>, Infallible> {
        let module = &mut self.0;
        let make = || {
            let request = Request::Attestation(AttestationRequest {
                user_data: Some(user_data.to_vec()),
                nonce: None,
                public_key: None,
            });
            let answer = module.handle(&request.to_cbor(), now(), &mut Fixed(0x42));
            match Response::from_cbor(&answer).expect("an answer") {
                Response::Attestation { document } => document,
                other => panic!("{other:?}"),
            }
        };
        Ok(self.1.entry(user_data.to_vec()).or_insert_with(make).clone())
    }
}

/// Two enclaves, and what each is sent in a genuine session: two frames of handshake, a message,
/// the close record.
struct Scene {
    terms: Terms,
    enclaves: [Enclave; 2],
    genuine: [Vec<Vec<u8>>; 2],
}

fn index(role: Role) -> usize {
    match role {
        Role::Initiator => 0,
        Role::Responder => 1,
    }
}

fn boot(pem: &str, number: u64) -> Enclave {
    let platform = Platform::from_pem(pem).expect("a platform");
    let boot = Boot {
        module_id: platform.module_id(number),
        pcr0: IMAGE,
        pcr1: IMAGE,
        pcr2: IMAGE,
        pcr3: None,
        pcr8: None,
        debug: false,
    };
    Enclave(SecurityModule::new(platform, boot).expect("a module"), HashMap::new())
}

fn next(handshake: Handshake, frame: &[u8], enclave: &mut Enclave) -> Progress {
    handshake.receive(&frame[2..], enclave, timestamp()).expect("a genuine frame")
}

impl Scene {
    fn new() -> Self {
        let platform = Platform::generate(now(), &mut Fixed(0x21)).expect("a platform");
        let pem = platform.to_pem().expect("PEM").to_string();
        let roots = TrustRoots::from_iter([RootSha256(platform.root_sha256())]);
        let policy = PeerPolicy::new(roots, IMAGE, Duration::from_secs(300));
        let terms = Terms::new(SessionContext::of("fuzz", &[]), policy).with_max_message(1 << 17);
        let [mut a, mut b] = [boot(&pem, 1), boot(&pem, 2)];
        let (first, initiator) =
            Handshake::initiate(terms.clone(), &mut Fixed(1)).expect("a handshake");
        let responder = Handshake::respond(terms.clone(), &mut Fixed(2)).expect("a handshake");
        let Progress::Continue { send: second, handshake } = next(responder, &first, &mut b) else {
            unreachable!()
        };
        let Progress::Continue { send: third, handshake: initiator } =
            next(initiator, &second, &mut a)
        else {
            unreachable!()
        };
        let Progress::Established(mut responder) = next(handshake, &third, &mut b) else {
            unreachable!()
        };
        let fourth = responder.send.take().expect("evidence");
        let Progress::Established(mut initiator) = next(initiator, &fourth, &mut a) else {
            unreachable!()
        };
        let rest = |session: &mut anchorhold_channel::Session| {
            [session.seal(MESSAGE).expect("a record"), session.close().expect("a record")]
        };
        let to_initiator = [vec![second, fourth], rest(&mut responder.session).to_vec()].concat();
        let to_responder = [vec![first, third], rest(&mut initiator.session).to_vec()].concat();
        Self { terms, enclaves: [a, b], genuine: [to_initiator, to_responder] }
    }
}

/// A stream in pieces of one size.
struct Chopped<'a>(&'a [u8], usize);

impl Read for Chopped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.1.min(self.0.len()).min(buffer.len());
        let (now, later) = self.0.split_at(size);
        buffer[..size].copy_from_slice(now);
        self.0 = later;
        Ok(size)
    }
}

fn run(
    scene: &mut Scene,
    role: Role,
    input: Chopped<'_>,
    accepted: &mut Vec<Vec<u8>>,
) -> Result<(), ChannelError> {
    let (terms, enclave) = (scene.terms.clone(), &mut scene.enclaves[index(role)]);
    let mut channel = match role {
        Role::Initiator => {
            Channel::initiate(input, io::sink(), terms, enclave, timestamp, &mut Fixed(1))?
        }
        Role::Responder => {
            Channel::respond(input, io::sink(), terms, enclave, timestamp, &mut Fixed(2))?
        }
    };
    while let Some(message) = channel.receive()? {
        accepted.push(message.to_vec());
    }
    Ok(())
}

/// The rest of an input over the genuine stream: an offset, and what stands there instead.
fn laid_over(mut genuine: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    if let [high, low, over @ ..] = rest {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % genuine.len();
        genuine[at..].iter_mut().zip(over).for_each(|(byte, over)| *byte = *over);
    }
    genuine
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene::new());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let role = if choice & 1 == 0 { Role::Initiator } else { Role::Responder };
    let kept = usize::from(choice >> 1) % 4;
    SCENE.with_borrow_mut(|scene| {
        let frames = &scene.genuine[index(role)];
        let whole = frames.concat();
        let stream = match choice & 8 {
            0 => [&frames[..kept].concat(), bytes].concat(),
            _ => [frames[..kept].concat(), laid_over(frames[kept..].concat(), bytes)].concat(),
        };
        let mut accepted = Vec::new();
        let end = run(scene, role, Chopped(&stream, 1 + bytes.len()), &mut accepted);
        // Only the genuine session itself, and whatever stands behind its end, is no refusal.
        assert_eq!(end.is_ok(), stream.starts_with(&whole), "{end:?}");
        assert!(accepted.iter().all(|message| message == MESSAGE) && accepted.len() <= 1);
    });
});
