//! The primitives under Noise, all AWS-LC's, and randomness that the caller drew.
//!
//! snow's own primitives are portable and a tenth as fast; AWS-LC is in every measured image
//! anyway, for the verifier needs it. What snow's traits cannot refuse (they return no error) is
//! made to fail closed: nothing is written that a caller could take for ciphertext.

use std::cell::Cell;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest;
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

use crate::limits::{PUBLIC_KEY, TAG};

/// Bytes of an AES-256 key.
const KEY: usize = 32;

/// The bytes that become the ephemeral private key. In a place of their own, so that handing them
/// on leaves no copies behind.
pub(crate) type Seed = Box<Zeroizing<[u8; PUBLIC_KEY]>>;

/// Resolves the primitives of one handshake, which draws randomness once: for its ephemeral key.
pub(crate) struct Primitives(Cell<Option<Seed>>);

impl Primitives {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(Cell::new(Some(seed)))
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        self.0
            .take()
            .map(|seed| Box::new(Once(Some(seed))) as Box<dyn Random>)
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::<KeyPair>::default()),
            _ => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::new(Sha256(digest::Context::new(&digest::SHA256)))),
            _ => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        match choice {
            CipherChoice::AESGCM => Some(Box::<AesGcm>::default()),
            _ => None,
        }
    }
}

/// Gives its bytes once, and no others.
struct Once(Option<Seed>);

impl Random for Once {
    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Error> {
        match self.0.take() {
            Some(seed) if target.len() == seed.len() => {
                target.copy_from_slice(&**seed);
                Ok(())
            }
            _ => Err(Error::Rng),
        }
    }
}

/// An X25519 key pair (RFC 7748); none until one is generated.
#[derive(Default)]
struct KeyPair {
    private: Zeroizing<[u8; PUBLIC_KEY]>,
    public: [u8; PUBLIC_KEY],
    key: Option<PrivateKey>,
}

impl KeyPair {
    fn load(&mut self) -> Result<(), Error> {
        let key = PrivateKey::from_private_key(&X25519, &*self.private).map_err(|_| Error::Rng)?;
        let public = key.compute_public_key().map_err(|_| Error::Rng)?;
        self.public = public.as_ref().try_into().map_err(|_| Error::Rng)?;
        self.key = Some(key);
        Ok(())
    }
}

impl Dh for KeyPair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        PUBLIC_KEY
    }

    fn priv_len(&self) -> usize {
        PUBLIC_KEY
    }

    /// Noise NN sets no key; one of another length leaves none to agree with.
    fn set(&mut self, private: &[u8]) {
        self.key = None;
        if private.len() == self.private.len() {
            self.private.copy_from_slice(private);
            // A failure leaves no key, with which `dh` fails.
            let _ = self.load();
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        rng.try_fill_bytes(&mut *self.private)?;
        self.load()
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    /// Fails for the points of small order, whose secret is zero (RFC 7748 §6.1).
    fn dh(&self, peer: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let (Some(key), Some(peer), Some(out)) =
            (&self.key, peer.get(..PUBLIC_KEY), out.get_mut(..PUBLIC_KEY))
        else {
            return Err(Error::Dh);
        };
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agreement::agree(key, peer, Error::Dh, |secret| {
            if secret.len() != out.len() {
                return Err(Error::Dh);
            }
            out.copy_from_slice(secret);
            Ok(())
        })
    }
}

/// AES-256-GCM (Noise §12.4); no key until one is set.
#[derive(Default)]
struct AesGcm(Option<LessSafeKey>);

impl Cipher for AesGcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; KEY]) {
        self.0 = UnboundKey::new(&AES_256_GCM, key)
            .ok()
            .map(LessSafeKey::new);
    }

    /// `REKEY(k)` (Noise §4.2), of which snow's own would leave the new key on the stack. Without a
    /// key there is none afterwards either.
    fn rekey(&mut self) {
        let mut sealed = Zeroizing::new([0; KEY + TAG]);
        let written = self.encrypt(u64::MAX, &[], &[0; KEY], &mut *sealed);
        match sealed.first_chunk() {
            Some(key) if written == sealed.len() => self.set(key),
            _ => self.0 = None,
        }
    }

    /// Writes ciphertext and tag and returns their length; where that fails, zeros what it wrote
    /// and returns 0, which no sealed text has.
    fn encrypt(&self, nonce: u64, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let sealed = plaintext.len().saturating_add(TAG);
        let Some(out) = out.get_mut(..sealed) else {
            return 0;
        };
        let (ciphertext, tag) = out.split_at_mut(plaintext.len());
        let done = self.0.as_ref().is_some_and(|key| {
            key.seal_out_of_place_scatter(
                iv(nonce),
                Aad::from(aad),
                plaintext,
                ciphertext,
                &[],
                tag,
            )
            .is_ok()
        });
        if done {
            return sealed;
        }
        out.fill(0);
        0
    }

    fn decrypt(
        &self,
        nonce: u64,
        aad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..ciphertext.len()).ok_or(Error::Decrypt)?;
        let key = self.0.as_ref().ok_or(Error::Decrypt)?;
        let opened = key.open_separate_gather(iv(nonce), Aad::from(aad), ciphertext, tag, out);
        if opened.is_err() {
            out.fill(0);
            return Err(Error::Decrypt);
        }
        Ok(ciphertext.len())
    }
}

/// 32 zero bits and the counter, big-endian (Noise §12.4). snow counts, or the record layer.
fn iv(nonce: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&nonce.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// SHA-256 (FIPS 180-4).
struct Sha256(digest::Context);

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = digest::Context::new(&digest::SHA256);
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let context = std::mem::replace(&mut self.0, digest::Context::new(&digest::SHA256));
        for (out, byte) in out.iter_mut().zip(context.finish().as_ref()) {
            *out = *byte;
        }
    }
}

#[cfg(test)]
mod tests;
