//! How an owner's values come into the enclaves: each piece under a key of one enclave.
//!
//! An enclave makes an RSA key and has it attested. The owner, outside every enclave, checks all
//! enclaves' documents, splits its values, seals each piece as a message of the AWS Encryption SDK
//! (raw RSA keyring) under one enclave's key, and signs it. A piece says in its context which
//! agreement, sum, owner and enclave it is for, so that a host can neither swap nor reuse it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anchorhold_envelope::raw_rsa::{KeyName, UnwrappingKey, WrappingKey};
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};
use anchorhold_threshold::sum::Piece;
use anchorhold_threshold::{Group, Participant};
use aws_lc_rs::digest::{Context, SHA384};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use zeroize::Zeroizing;

use crate::error::{Refusal, chain};

/// Bytes of a sealed piece: values of 16 bytes each in frames, and a header.
pub const MAX_PIECE: usize = 64 * 1024;

/// Bytes of what names a sum.
pub const MAX_LABEL: usize = 256;

/// What tells one splitting of an owner's values from all others: 32 random bytes. Pieces of two
/// splittings do not add up to the values, so the enclaves compare which ones they were given.
pub type Split = [u8; 32];

/// SHA-384 over how many values stand side by side and which splitting each owner's piece is of.
pub fn fingerprint(values: usize, splits: &BTreeMap<Participant, Split>) -> [u8; 48] {
    let mut hash = Context::new(&SHA384);
    hash.update(b"anchorhold-threshold splits v1");
    hash.update(&(values as u64).to_be_bytes());
    for (owner, split) in splits {
        hash.update(&owner.number().to_be_bytes());
        hash.update(split);
    }
    let mut out = [0; 48];
    for (out, byte) in out.iter_mut().zip(hash.finish().as_ref()) {
        *out = *byte;
    }
    out
}

/// Which piece it is.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// The group.
    pub group: &'a Group,
    /// What the sum is.
    pub label: &'a str,
    /// Which splitting of the owner's values it is of.
    pub split: &'a Split,
    /// Whose values.
    pub owner: Participant,
    /// Whose enclave.
    pub enclave: Participant,
}

impl Slot<'_> {
    fn context(&self) -> Result<EncryptionContext, Refusal> {
        EncryptionContext::from_pairs([
            (
                "anchorhold-threshold-group",
                hex::encode(self.group.context()),
            ),
            ("anchorhold-threshold-sum", self.label.to_owned()),
            ("anchorhold-threshold-split", hex::encode(self.split)),
            ("anchorhold-threshold-owner", self.owner.to_string()),
            ("anchorhold-threshold-participant", self.enclave.to_string()),
            ("anchorhold-threshold-purpose", "sum-piece".to_owned()),
        ])
        .map_err(|error| Refusal::new(error.rule(), error))
    }
}

fn name() -> Result<KeyName, Refusal> {
    KeyName::new("anchorhold-threshold", "intake").map_err(other)
}

/// The `user_data` of an intake key's document: whose enclave it is, in which group.
pub fn user_data(group: &Group, enclave: Participant) -> Vec<u8> {
    let mut hash = Context::new(&SHA384);
    hash.update(b"anchorhold-threshold intake v1");
    hash.update(group.context());
    hash.update(&enclave.number().to_be_bytes());
    hash.finish().as_ref().to_vec()
}

/// An enclave's key for pieces. It lives in memory only.
pub struct Intake {
    key: UnwrappingKey,
    public: Vec<u8>,
}

impl Intake {
    /// Makes a key, RSA-2048.
    ///
    /// # Errors
    /// None that a host could cause.
    pub fn generate() -> Result<Self, Refusal> {
        let failed = |_| Refusal::new("intake.key", "no RSA key could be made");
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(failed)?;
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(failed)?;
        let private: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
        Ok(Self {
            key: UnwrappingKey::from_pkcs8_der(name()?, private.as_ref()).map_err(other)?,
            public: public.as_ref().to_vec(),
        })
    }

    /// The public key, DER SubjectPublicKeyInfo: the document's `public_key`.
    pub fn public_key_der(&self) -> &[u8] {
        &self.public
    }

    /// Opens an owner's piece.
    ///
    /// # Errors
    /// `sum.signature`, the envelope's rules, or `sum.values`.
    pub fn open(
        &self,
        slot: Slot<'_>,
        approval_key: &[u8; 32],
        message: &[u8],
        signature: &[u8],
    ) -> Result<Piece, Refusal> {
        if message.len() > MAX_PIECE {
            let got = message.len();
            let message = format!("expected a piece of at most {MAX_PIECE} bytes, got {got}");
            return Err(Refusal::new("sum.length", message));
        }
        UnparsedPublicKey::new(&ED25519, approval_key)
            .verify(message, signature)
            .map_err(|_| Refusal::new("sum.signature", "the piece is not signed by its owner"))?;
        let refused =
            |error: anchorhold_envelope::OpenError| Refusal::new(error.rule(), chain(&error));
        let rule = ContextRule::Exactly(slot.context()?);
        let message = UnverifiedMessage::begin(message).map_err(refused)?;
        message.check_context(&rule).map_err(refused)?;
        let key = self
            .key
            .unwrap(message.encrypted_data_keys())
            .map_err(other)?;
        let opener = message.authenticate(&key, &rule).map_err(refused)?;
        let room = Plaintext(Zeroizing::new(Vec::with_capacity(MAX_PIECE)));
        let mut plaintext = opener.unreleased(room);
        let verified = opener.open_into(&mut plaintext).map_err(refused)?;
        let bytes = plaintext.release(&verified);
        let Plaintext(bytes) = bytes.map_err(|error| Refusal::new(error.rule(), error))?;
        Ok(Piece::from_bytes(&bytes)?)
    }
}

/// Plaintext of a piece, with room for all of it; wiped whether it verifies or not.
struct Plaintext(Zeroizing<Vec<u8>>);

impl Write for Plaintext {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The owner's side: seals a piece under an enclave's key, whose document was checked.
///
/// # Errors
/// The key is none.
pub fn seal(slot: Slot<'_>, piece: &Piece, public_key_der: &[u8]) -> Result<Vec<u8>, Refusal> {
    let wrapping = WrappingKey::from_public_key_der(name()?, public_key_der).map_err(other)?;
    let refused = |error: anchorhold_envelope::SealError| Refusal::new("sum.seal", chain(&error));
    let key = DataKey::generate().map_err(|error| Refusal::new("sum.seal", error))?;
    let wrapped = wrapping.wrap(&key).map_err(other)?;
    let plan = SealPlan::new(Suite::Committed, slot.context()?).map_err(refused)?;
    let mut sealer = plan
        .seal_to(Vec::new(), &key, vec![wrapped])
        .map_err(refused)?;
    sealer
        .write_all(&piece.to_bytes())
        .map_err(|error| Refusal::new("sum.seal", error))?;
    Ok(sealer.finish().map_err(refused)?.0)
}

fn other(error: anchorhold_envelope::raw_rsa::RawRsaError) -> Refusal {
    Refusal::new("sum.key", chain(&error))
}
