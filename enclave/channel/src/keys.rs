//! The Noise session: its two handshake messages, and the keys that come of it.

use std::sync::{Arc, PoisonError, RwLock};

use rand_core::CryptoRng;
use snow::{Builder, Error, HandshakeState, StatelessTransportState};
use zeroize::Zeroizing;

use crate::binding::{Role, SessionContext};
use crate::limits::{FRAME_HEADER, HELLO, PUBLIC_KEY, RECORDS_PER_KEY, TAG};
use crate::primitives::{Primitives, Seed};

/// Pattern and primitives, Noise's own name for them.
pub(crate) const PROTOCOL: &str = "Noise_NN_25519_AESGCM_SHA256";

/// What the prologue begins with, before the session context.
const PROLOGUE: &[u8] = b"anchorhold-channel/1\0";

/// Payload of the first message: `AHC` and the version.
pub(crate) const GREETING: [u8; HELLO] = *b"AHC\x01";

/// Bytes of the handshake hash h.
pub(crate) const HASH: usize = 32;

/// Noise_NN with a prologue that says version and context.
pub(crate) fn noise(
    role: Role,
    context: &SessionContext,
    rng: &mut impl CryptoRng,
) -> Result<HandshakeState, Error> {
    let mut seed: Seed = Box::new(Zeroizing::new([0; PUBLIC_KEY]));
    rng.fill_bytes(seed.as_mut_slice());
    let prologue = [PROLOGUE, context.as_bytes()].concat();
    let builder = Builder::with_resolver(PROTOCOL.parse()?, Box::new(Primitives::new(seed)))
        .prologue(&prologue)?;
    match role {
        Role::Initiator => builder.build_initiator(),
        Role::Responder => builder.build_responder(),
    }
}

/// Writes a handshake message as a frame.
pub(crate) fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, Error> {
    // snow asks for room for a tag even where none is written.
    let mut body = [0; PUBLIC_KEY + HELLO + TAG];
    let length = noise.write_message(payload, &mut body)?;
    framed(body.get(..length).ok_or(Error::Input)?)
}

/// The bytes of the frame that holds a record with this plaintext.
pub(crate) const fn frame_length(plaintext: usize) -> usize {
    FRAME_HEADER + plaintext + TAG
}

/// A body with its length before it.
fn framed(body: &[u8]) -> Result<Vec<u8>, Error> {
    let length = u16::try_from(body.len()).map_err(|_| Error::Input)?;
    Ok([&length.to_be_bytes(), body].concat())
}

/// The keys of both directions. They stand in one snow object; a lock lets each direction have its
/// own thread, and is only ever written once in [`RECORDS_PER_KEY`] records.
struct Keys(RwLock<StatelessTransportState>);

impl Keys {
    fn read<T>(&self, f: impl FnOnce(&StatelessTransportState) -> T) -> T {
        f(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, f: impl FnOnce(&mut StatelessTransportState)) {
        f(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The end of a finished handshake: h, and a key for each direction.
pub(crate) fn split(noise: HandshakeState) -> Result<([u8; HASH], SealingKey, OpeningKey), Error> {
    let hash = noise
        .get_handshake_hash()
        .try_into()
        .map_err(|_| Error::Input)?;
    let keys = Arc::new(Keys(RwLock::new(noise.into_stateless_transport_mode()?)));
    let sealing = SealingKey {
        keys: Arc::clone(&keys),
        next: 0,
    };
    Ok((hash, sealing, OpeningKey { keys, next: 0 }))
}

/// Seals this side's records, one number each.
pub(crate) struct SealingKey {
    keys: Arc<Keys>,
    next: u64,
}

impl SealingKey {
    /// Writes the next record to `frame`, which must have room for just the record's frame.
    pub(crate) fn seal(&mut self, plaintext: &[u8], frame: &mut [u8]) -> Result<(), Error> {
        let sealed = plaintext.len().saturating_add(TAG);
        let length = u16::try_from(sealed).map_err(|_| Error::Input)?;
        let (header, body) = frame.split_first_chunk_mut().ok_or(Error::Input)?;
        if body.len() != sealed {
            return Err(Error::Input);
        }
        if is_new_key(self.next) {
            self.keys.change(StatelessTransportState::rekey_outgoing);
        }
        *header = length.to_be_bytes();
        let written = self
            .keys
            .read(|keys| keys.write_message(self.next, plaintext, body))?;
        if written != sealed {
            return Err(Error::Input);
        }
        self.next += 1;
        Ok(())
    }
}

/// Opens the peer's records, in their order.
pub(crate) struct OpeningKey {
    keys: Arc<Keys>,
    next: u64,
}

impl OpeningKey {
    /// The number of the record that must come next.
    pub(crate) fn number(&self) -> u64 {
        self.next
    }

    /// Opens the next record into `plaintext`, which must have room for it.
    ///
    /// After a failure the key is not to be used again.
    pub(crate) fn open<'p>(
        &mut self,
        body: &[u8],
        plaintext: &'p mut [u8],
    ) -> Result<&'p [u8], Error> {
        if is_new_key(self.next) {
            self.keys.change(StatelessTransportState::rekey_incoming);
        }
        let length = self
            .keys
            .read(|keys| keys.read_message(self.next, body, plaintext))?;
        self.next += 1;
        plaintext.get(..length).ok_or(Error::Input)
    }
}

/// Whether a record is the first under another key than the handshake's or the one before
/// (Noise §11.3: both sides count alike).
fn is_new_key(number: u64) -> bool {
    number != 0 && number.is_multiple_of(RECORDS_PER_KEY)
}
