//! A peer written from the documentation alone: snow with its own primitives, SHA-384 of another
//! crate, and no code of the channel's. It does what it is told, right or wrong.

use anchorhold_channel::{Established, Handshake, HandshakeError, Role, SessionContext, Terms};
use sha2::{Digest, Sha384};
use snow::{Builder, HandshakeState, TransportState};

use super::{Enclave, Silent, last, random, step};

pub const EVIDENCE: u8 = 1;
pub const MORE: u8 = 2;
pub const LAST: u8 = 3;
pub const CLOSE: u8 = 4;

fn noise(context: &SessionContext) -> Builder<'static> {
    let prologue = [b"anchorhold-channel/1\0", &context.as_bytes()[..]].concat();
    let params = "Noise_NN_25519_AESGCM_SHA256".parse().unwrap();
    Builder::new(params).prologue(prologue.leak()).unwrap()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

fn write(noise: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut body = [0; 128];
    let length = noise.write_message(payload, &mut body).unwrap();
    framed(&body[..length])
}

/// The puppet after Noise's two messages.
pub struct Puppet {
    pub hash: Vec<u8>,
    noise: TransportState,
}

impl Puppet {
    fn new(noise: HandshakeState) -> Self {
        Self {
            hash: noise.get_handshake_hash().to_vec(),
            noise: noise.into_transport_mode().unwrap(),
        }
    }

    /// Seals anything as the next record.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut body = vec![0; plaintext.len() + 16];
        let length = self.noise.write_message(plaintext, &mut body).unwrap();
        framed(&body[..length])
    }

    pub fn open(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut plaintext = vec![0; frame.len()];
        let length = self
            .noise
            .read_message(&frame[2..], &mut plaintext)
            .unwrap();
        plaintext.truncate(length);
        plaintext
    }

    pub fn rekey(&mut self) {
        self.noise.rekey_outgoing();
        self.noise.rekey_incoming();
    }
}

/// `user_data` as it is documented.
pub fn user_data(role: &str, hash: &[u8], context: &SessionContext, claim: &[u8]) -> [u8; 48] {
    let mut sha = Sha384::new();
    let fields: [&[u8]; 6] = [
        b"anchorhold-channel evidence v1",
        b"Noise_NN_25519_AESGCM_SHA256",
        role.as_bytes(),
        hash,
        context.as_bytes(),
        claim,
    ];
    for field in fields {
        sha.update((field.len() as u64).to_be_bytes());
        sha.update(field);
    }
    sha.finalize().into()
}

/// The evidence record's plaintext.
pub fn evidence(claim: &[u8], document: &[u8]) -> Vec<u8> {
    let length = u16::try_from(claim.len()).unwrap();
    [&[EVIDENCE][..], &length.to_be_bytes(), claim, document].concat()
}

/// What the puppet's evidence is made from.
pub struct Scene<'a> {
    pub hash: &'a [u8],
    pub victim: &'a mut Enclave,
    /// The victim's own document, if it was sent already.
    pub victims_document: Option<Vec<u8>>,
    /// The puppet's role, and the victim's.
    pub role: &'static str,
    pub victims_role: &'static str,
}

/// Plays `role` against a real party of `terms` on `victim`, up to the evidence that `craft` makes.
pub fn play(
    role: Role,
    terms: Terms,
    context: &SessionContext,
    victim: &mut Enclave,
    craft: impl FnOnce(Scene<'_>) -> Vec<u8>,
) -> Result<(Established, Puppet), HandshakeError> {
    match role {
        Role::Initiator => initiate(terms, context, victim, craft),
        Role::Responder => respond(terms, context, victim, craft),
    }
}

fn initiate(
    terms: Terms,
    context: &SessionContext,
    victim: &mut Enclave,
    craft: impl FnOnce(Scene<'_>) -> Vec<u8>,
) -> Result<(Established, Puppet), HandshakeError> {
    let mut noise = noise(context).build_initiator().unwrap();
    let first = write(&mut noise, b"AHC\x01");
    let party = Handshake::respond(terms, &mut random())?;
    let (second, party) = step(party, &first, &mut Silent)?;
    noise.read_message(&second[2..], &mut [0; 64]).unwrap();
    let mut puppet = Puppet::new(noise);
    let plaintext = craft(Scene {
        hash: &puppet.hash,
        victim,
        victims_document: None,
        role: "initiator",
        victims_role: "responder",
    });
    let frame = puppet.seal(&plaintext);
    let established = last(party, &frame, victim)?;
    let evidence = established.send.as_ref().expect("evidence");
    let plaintext = puppet.open(evidence);
    assert_eq!(plaintext[0], EVIDENCE);
    Ok((established, puppet))
}

fn respond(
    terms: Terms,
    context: &SessionContext,
    victim: &mut Enclave,
    craft: impl FnOnce(Scene<'_>) -> Vec<u8>,
) -> Result<(Established, Puppet), HandshakeError> {
    let mut noise = noise(context).build_responder().unwrap();
    let (first, party) = Handshake::initiate(terms, &mut random())?;
    let mut payload = [0; 64];
    let length = noise.read_message(&first[2..], &mut payload).unwrap();
    assert_eq!(&payload[..length], b"AHC\x01");
    let second = write(&mut noise, b"");
    let mut puppet = Puppet::new(noise);
    let (third, party) = step(party, &second, victim)?;
    let theirs = puppet.open(&third);
    assert_eq!(theirs[0], EVIDENCE);
    let claim = usize::from(u16::from_be_bytes([theirs[1], theirs[2]]));
    let plaintext = craft(Scene {
        hash: &puppet.hash,
        victim,
        victims_document: Some(theirs[3 + claim..].to_vec()),
        role: "responder",
        victims_role: "initiator",
    });
    let frame = puppet.seal(&plaintext);
    Ok((last(party, &frame, &mut Silent)?, puppet))
}
