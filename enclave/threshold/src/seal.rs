//! A share at rest: a message of the AWS Encryption SDK that opens as one thing only.
//!
//! The encryption context says what is in it: the agreement, the group key, the participant, the
//! epoch, the sharing and the purpose. It is authenticated with the message, the KMS wraps the data key under
//! it, and key policies name its pairs. So a share of an old epoch stays a share of that epoch in
//! every place where it is asked for: in the KMS, whose policy names the current one, and here.
//!
//! The suite is `0x0478`: committed, without a signature. Whoever can have the data key is the
//! measured code alone, which is reader and writer.

use std::io::{self, Write};

use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};
use zeroize::Zeroizing;

use crate::error::ThresholdError;
use crate::group::{Epoch, Group, Participant};
use crate::limits::MAX_SEALED;
use crate::share::{GroupKey, Share};

/// The agreement's hash, in hex.
pub const GROUP_FIELD: &str = "anchorhold-threshold-group";
/// The group key, in hex.
pub const KEY_FIELD: &str = "anchorhold-threshold-key";
/// The participant's number, in decimal.
pub const PARTICIPANT_FIELD: &str = "anchorhold-threshold-participant";
/// The epoch, in decimal.
pub const EPOCH_FIELD: &str = "anchorhold-threshold-epoch";
/// Which sharing of the key the share is of, in hex ([`PublicShares::fingerprint`]).
///
/// [`PublicShares::fingerprint`]: crate::PublicShares::fingerprint
pub const SHARING_FIELD: &str = "anchorhold-threshold-sharing";
/// What it is.
pub const PURPOSE_FIELD: &str = "anchorhold-threshold-purpose";
/// The one purpose: a share of a signing key.
pub const PURPOSE: &str = "signing-share";

/// What a sealed share is, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The group, with its agreement.
    pub group: Group,
    /// The group key.
    pub key: GroupKey,
    /// Whose share.
    pub participant: Participant,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Of which sharing: a refresh that not all finished, and the one that was tried again, have
    /// one epoch and two sharings, and t shares of either are the key.
    pub sharing: [u8; 48],
}

impl Identity {
    /// What a share is.
    #[must_use]
    pub fn of(share: &Share) -> Self {
        Self {
            group: *share.public().group(),
            key: share.key(),
            participant: share.participant(),
            epoch: share.epoch(),
            sharing: share.public().fingerprint(),
        }
    }

    /// The pairs to be bound: for the KMS, and for the message.
    ///
    /// # Errors
    /// None that these values could cause.
    pub fn context(&self) -> Result<EncryptionContext, ThresholdError> {
        EncryptionContext::from_pairs([
            (GROUP_FIELD, hex::encode(self.group.context())),
            (KEY_FIELD, self.key.to_string()),
            (PARTICIPANT_FIELD, self.participant.to_string()),
            (EPOCH_FIELD, self.epoch.to_string()),
            (SHARING_FIELD, hex::encode(self.sharing)),
            (PURPOSE_FIELD, PURPOSE.to_owned()),
        ])
        .map_err(|error| ThresholdError::Seal(error.into()))
    }
}

/// Seals a share under a data key that was wrapped under [`Identity::context`].
///
/// # Errors
/// [`ThresholdError::Seal`].
pub fn seal(
    share: &Share,
    data_key: &DataKey,
    wrapped: Vec<EncryptedDataKey>,
) -> Result<Vec<u8>, ThresholdError> {
    let context = Identity::of(share).context()?;
    let plan = SealPlan::new(Suite::Committed, context).map_err(ThresholdError::Seal)?;
    let sealer = plan.seal_to(Vec::new(), data_key, wrapped);
    let mut sealer = sealer.map_err(ThresholdError::Seal)?;
    let written = sealer.write_all(&share.to_bytes()?);
    written.map_err(|error| ThresholdError::Seal(error.into()))?;
    let (message, _) = sealer.finish().map_err(ThresholdError::Seal)?;
    Ok(message)
}

/// A sealed share whose context is the one that is wanted. Its data key can be asked for.
pub struct Wanted<'a> {
    message: UnverifiedMessage<&'a [u8]>,
    identity: Identity,
    rule: ContextRule,
}

impl<'a> Wanted<'a> {
    /// Reads the header, and demands exactly the context of `identity`.
    ///
    /// # Errors
    /// [`ThresholdError::Sealed`], before any KMS is asked.
    pub fn begin(bytes: &'a [u8], identity: Identity) -> Result<Self, ThresholdError> {
        if bytes.len() > MAX_SEALED {
            return Err(ThresholdError::MessageLength {
                limit: MAX_SEALED,
                got: bytes.len(),
            });
        }
        let message = UnverifiedMessage::begin(bytes).map_err(ThresholdError::Sealed)?;
        if message.suite() != Suite::Committed {
            return Err(ThresholdError::ShareEncoding);
        }
        let rule = ContextRule::Exactly(identity.context()?);
        message
            .check_context(&rule)
            .map_err(ThresholdError::Sealed)?;
        Ok(Self {
            message,
            identity,
            rule,
        })
    }

    /// The wrapped forms of the data key.
    #[must_use]
    pub fn encrypted_data_keys(&self) -> &[EncryptedDataKey] {
        self.message.encrypted_data_keys()
    }

    /// The context that the data key is wrapped under.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        self.message.encryption_context()
    }

    /// Opens the share, to its end and nothing after it.
    ///
    /// # Errors
    /// [`ThresholdError::Sealed`]; [`ThresholdError::ShareEncoding`] if what is inside is not what
    /// the context says.
    pub fn open(self, data_key: &DataKey) -> Result<Share, ThresholdError> {
        let opener = self.message.authenticate(data_key, &self.rule);
        let opener = opener.map_err(ThresholdError::Sealed)?;
        let room = Zeroizing::new(Vec::with_capacity(MAX_SEALED));
        let mut plaintext = opener.unreleased(Plaintext(room));
        let verified = opener.open_into(&mut plaintext);
        let verified = verified.map_err(ThresholdError::Sealed)?;
        let bytes = plaintext.release(&verified);
        let Plaintext(bytes) = bytes.map_err(|_| ThresholdError::ShareEncoding)?;
        let share = Share::from_bytes(&bytes)?;
        match Identity::of(&share) == self.identity {
            true => Ok(share),
            false => Err(ThresholdError::ShareEncoding),
        }
    }
}

/// Plaintext of a message, in a buffer with room for all that a message of the limit can hold.
struct Plaintext(Zeroizing<Vec<u8>>);

impl Write for Plaintext {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
