//! The handshake: frames in, frames out, and at its end a session.

use std::ops::RangeInclusive;

use anchorhold_verifier::Timestamp;
use rand_core::CryptoRng;
use snow::{Error, HandshakeState};

use crate::attestor::{Attestor, OwnDocument, own_document};
use crate::binding::{Role, Transcript, user_data};
use crate::error::{FrameError, HandshakeError};
use crate::evidence::{self, Receiver};
use crate::keys::{self, GREETING, OpeningKey, SealingKey};
use crate::limits::{EVIDENCE, FIRST, HELLO, SECOND};
use crate::policy::{Peer, Terms};
use crate::record::Session;

/// A handshake that waits for the peer's next frame.
///
/// Every step takes it and gives the next one, or an end: what was refused cannot be tried again,
/// and nothing but [`Established`] holds a [`Session`].
pub struct Handshake {
    terms: Box<Terms>,
    role: Role,
    stage: Stage,
}

enum Stage {
    /// Waits for the first message (responder) or the second (initiator).
    Noise(Box<HandshakeState>),
    /// Waits for the peer's evidence; an initiator has sent its own.
    Evidence(Box<Keys>, Option<Box<OwnDocument>>),
}

struct Keys {
    transcript: Transcript,
    sealing: SealingKey,
    opening: OpeningKey,
}

/// What comes of a frame.
pub enum Progress {
    /// Send the frame, then wait for the peer's next.
    Continue {
        /// The frame to send.
        send: Vec<u8>,
        /// What waits.
        handshake: Handshake,
    },
    /// The peer is appraised.
    Established(Box<Established>),
}

/// The end of a handshake.
pub struct Established {
    /// The frame to send before any of the session's: the responder's evidence.
    pub send: Option<Vec<u8>>,
    /// Both directions.
    pub session: Session,
    /// Who is at the other end.
    pub peer: Peer,
}

impl Handshake {
    /// Begins a channel: the frame to send, and what waits for the answer. Draws 32 bytes of
    /// randomness.
    pub fn initiate(
        terms: Terms,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, Self), HandshakeError> {
        let mut noise = keys::noise(Role::Initiator, &terms.context, rng)?;
        let first = keys::write(&mut noise, &GREETING)?;
        Ok((first, Self::new(terms, Role::Initiator, noise)))
    }

    /// Waits for a peer to begin a channel. Draws 32 bytes of randomness.
    pub fn respond(terms: Terms, rng: &mut impl CryptoRng) -> Result<Self, HandshakeError> {
        let noise = keys::noise(Role::Responder, &terms.context, rng)?;
        Ok(Self::new(terms, Role::Responder, noise))
    }

    fn new(terms: Terms, role: Role, noise: HandshakeState) -> Self {
        Self {
            terms: Box::new(terms),
            role,
            stage: Stage::Noise(Box::new(noise)),
        }
    }

    /// Which side this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The lengths that the next frame's body may have.
    pub fn bounds(&self) -> RangeInclusive<usize> {
        match (&self.stage, self.role) {
            (Stage::Noise(_), Role::Responder) => FIRST,
            (Stage::Noise(_), Role::Initiator) => SECOND,
            (Stage::Evidence(..), _) => EVIDENCE,
        }
    }

    /// Takes the body of the peer's next frame at the time `now`. The initiator's document is made
    /// when the second message has come, the responder's when the initiator's was appraised.
    pub fn receive(
        self,
        body: &[u8],
        attestor: &mut impl Attestor,
        now: Timestamp,
    ) -> Result<Progress, HandshakeError> {
        let bounds = self.bounds();
        if !bounds.contains(&body.len()) {
            return Err(HandshakeError::Frame(FrameError {
                expected: bounds,
                got: body.len(),
            }));
        }
        let Self { terms, role, stage } = self;
        match (stage, role) {
            (Stage::Noise(noise), Role::Responder) => answer(terms, *noise, body),
            (Stage::Noise(noise), Role::Initiator) => begin(terms, *noise, body, attestor),
            (Stage::Evidence(keys, own), _) => {
                finish(&terms, role, *keys, own, body, attestor, now)
            }
        }
    }
}

/// The responder, with the first message: sends the second.
fn answer(
    terms: Box<Terms>,
    mut noise: HandshakeState,
    body: &[u8],
) -> Result<Progress, HandshakeError> {
    let mut payload = [0; HELLO];
    let length = noise.read_message(body, &mut payload)?;
    let hello = payload.get(..length).unwrap_or_default();
    if hello != GREETING {
        return Err(HandshakeError::Hello {
            expected: GREETING,
            got: hello.to_vec(),
        });
    }
    let send = keys::write(&mut noise, &[])?;
    Ok(Progress::Continue {
        send,
        handshake: Handshake {
            terms,
            role: Role::Responder,
            stage: Stage::Evidence(Box::new(Keys::of(noise)?), None),
        },
    })
}

/// The initiator, with the second message: sends its evidence.
fn begin(
    terms: Box<Terms>,
    mut noise: HandshakeState,
    body: &[u8],
    attestor: &mut impl Attestor,
) -> Result<Progress, HandshakeError> {
    noise
        .read_message(body, &mut [])
        .map_err(|error| match error {
            Error::Decrypt => HandshakeError::Answer,
            other => HandshakeError::from(other),
        })?;
    let mut keys = Keys::of(noise)?;
    let (send, own) = keys.evidence(&terms, Role::Initiator, attestor)?;
    Ok(Progress::Continue {
        send,
        handshake: Handshake {
            terms,
            role: Role::Initiator,
            stage: Stage::Evidence(Box::new(keys), Some(Box::new(own))),
        },
    })
}

/// Either side, with the peer's evidence. Only what passes here gives a session.
fn finish(
    terms: &Terms,
    role: Role,
    mut keys: Keys,
    own: Option<Box<OwnDocument>>,
    body: &[u8],
    attestor: &mut impl Attestor,
    now: Timestamp,
) -> Result<Progress, HandshakeError> {
    let mut plaintext = vec![0; body.len()];
    let record = keys
        .opening
        .open(body, &mut plaintext)
        .map_err(|_| HandshakeError::EvidenceAuthentication)?;
    let receiver = Receiver {
        terms,
        role,
        transcript: &keys.transcript,
    };
    let peer = receiver.appraise(record, now)?;
    let (send, own) = match own {
        Some(own) => (None, own),
        None => {
            let (send, own) = keys.evidence(terms, role, attestor)?;
            (Some(send), Box::new(own))
        }
    };
    evidence::refuse_self(&peer, &own)?;
    let session = Session::new(
        keys.sealing,
        keys.opening,
        keys.transcript,
        terms.max_message,
    );
    Ok(Progress::Established(Box::new(Established {
        send,
        session,
        peer,
    })))
}

impl Keys {
    fn of(noise: HandshakeState) -> Result<Self, HandshakeError> {
        let (hash, sealing, opening) = keys::split(noise)?;
        Ok(Self {
            transcript: Transcript(hash),
            sealing,
            opening,
        })
    }

    /// Has the own document made for this session, and seals it as the first record.
    fn evidence(
        &mut self,
        terms: &Terms,
        role: Role,
        attestor: &mut impl Attestor,
    ) -> Result<(Vec<u8>, OwnDocument), HandshakeError> {
        let bound = user_data(role, &self.transcript, &terms.context, &terms.claim);
        let own = own_document(attestor, &bound)?;
        let record = evidence::encode(&terms.claim, &own.bytes)?;
        let mut frame = vec![0; keys::frame_length(record.len())];
        self.sealing.seal(&record, &mut frame)?;
        Ok((frame, own))
    }
}

impl From<Error> for HandshakeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Dh => Self::PeerKey,
            other => Self::Noise(other),
        }
    }
}
