//! Keys: metadata, states, and which operation each state permits.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::arn::KeyArn;
use crate::error::KmsError;
use crate::material::MaterialId;
use crate::operation::Operation;

/// Longest description of a key, in characters (API model, `DescriptionType`).
pub const MAX_DESCRIPTION: usize = 8192;

/// The state of a key
/// (<https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Usable.
    Enabled,
    /// Kept, not usable.
    Disabled,
    /// Not usable, and gone after its waiting period.
    PendingDeletion,
}

impl KeyState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
        }
    }

    /// The state as AWS's messages say it: "… is disabled.".
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::PendingDeletion => "pending deletion",
        }
    }

    /// Whether a key in this state permits `operation`.
    ///
    /// CreateAlias and UpdateAlias ask the target key. Operations without a key pass.
    ///
    /// # Errors
    /// `DisabledException` or `KMSInvalidStateException`, per AWS's table.
    pub fn permits(self, operation: Operation, arn: &KeyArn) -> Result<(), KmsError> {
        use Operation as O;
        let invalid = || {
            Err(KmsError::InvalidState {
                arn: arn.clone(),
                state: self,
            })
        };
        match (operation, self) {
            (O::CancelKeyDeletion, Self::PendingDeletion) => Ok(()),
            (O::CancelKeyDeletion, _) => Err(KmsError::NotPendingDeletion { arn: arn.clone() }),
            (
                O::Decrypt | O::Encrypt | O::GenerateDataKey | O::GenerateDataKeyWithoutPlaintext,
                Self::Disabled,
            ) => Err(KmsError::Disabled { arn: arn.clone() }),
            (
                O::Decrypt
                | O::Encrypt
                | O::GenerateDataKey
                | O::GenerateDataKeyWithoutPlaintext
                | O::CreateAlias
                | O::UpdateAlias
                | O::EnableKey
                | O::DisableKey
                | O::ScheduleKeyDeletion,
                Self::PendingDeletion,
            ) => invalid(),
            _ => Ok(()),
        }
    }
}

impl FromStr for KeyState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::Enabled, Self::Disabled, Self::PendingDeletion]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or(UnknownName { what: "key state" })
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of an enumeration's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a {what}")]
pub struct UnknownName {
    /// The enumeration.
    pub what: &'static str,
}

/// What a key's material is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySpec {
    /// A 256-bit symmetric key that never leaves the KMS.
    SymmetricDefault,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUsage {
    /// Encrypt, Decrypt and the data key operations.
    EncryptDecrypt,
}

/// Where a key's material came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Made by this KMS.
    AwsKms,
}

/// How Encrypt and Decrypt encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncryptionAlgorithm {
    /// AES-256-GCM under a key derived per message.
    SymmetricDefault,
}

/// What GenerateDataKey makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKeySpec {
    /// 32 bytes.
    Aes256,
    /// 16 bytes.
    Aes128,
}

impl DataKeySpec {
    /// The data key's length in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Aes256 => 32,
            Self::Aes128 => 16,
        }
    }
}

/// Gives an enumeration its names on the wire, both ways.
macro_rules! wire_names {
    ($type:ident, $what:literal, $($variant:ident => $name:literal),+) => {
        impl $type {
            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text { $($name => Ok(Self::$variant),)+ _ => Err(UnknownName { what: $what }) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

wire_names!(KeySpec, "key spec that is supported", SymmetricDefault => "SYMMETRIC_DEFAULT");
wire_names!(KeyUsage, "key usage that is supported", EncryptDecrypt => "ENCRYPT_DECRYPT");
wire_names!(Origin, "key origin that is supported", AwsKms => "AWS_KMS");
wire_names!(
    EncryptionAlgorithm, "encryption algorithm that is supported",
    SymmetricDefault => "SYMMETRIC_DEFAULT"
);
wire_names!(DataKeySpec, "data key spec", Aes256 => "AES_256", Aes128 => "AES_128");

/// The waiting period before a key is deleted: 7 to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeletionWindow(u8);

impl DeletionWindow {
    /// Shortest period in days.
    pub const MIN_DAYS: u8 = 7;
    /// Longest period in days, and the one taken when none is asked for.
    pub const MAX_DAYS: u8 = 30;

    /// A period of `days`.
    ///
    /// # Errors
    /// `ValidationException` outside 7 to 30 days. (The API model's shape allows 1 to 365, the
    /// service does not.)
    pub fn from_days(days: i64) -> Result<Self, KmsError> {
        match u8::try_from(days) {
            Ok(days) if (Self::MIN_DAYS..=Self::MAX_DAYS).contains(&days) => Ok(Self(days)),
            _ => Err(KmsError::validation(
                "key.deletion-window",
                "PendingWindowInDays must be between 7 and 30",
            )),
        }
    }

    /// The period in days.
    pub fn days(self) -> u8 {
        self.0
    }

    fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 86_400)
    }
}

impl Default for DeletionWindow {
    fn default() -> Self {
        Self(Self::MAX_DAYS)
    }
}

/// What is known about a key, its material and policy aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMetadata {
    /// The key.
    pub arn: KeyArn,
    /// When it was made.
    pub created: SystemTime,
    /// What its owner says about it, at most [`MAX_DESCRIPTION`] characters.
    pub description: String,
    /// What its material is.
    pub spec: KeySpec,
    /// What it is for.
    pub usage: KeyUsage,
    /// Where its material came from.
    pub origin: Origin,
    /// The material that Encrypt uses.
    pub current_material: MaterialId,
    status: Status,
}

/// State and deletion date, which come and go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Enabled,
    Disabled,
    PendingDeletion { at: SystemTime },
}

impl KeyMetadata {
    /// A new, enabled key.
    pub fn new(
        arn: KeyArn,
        created: SystemTime,
        description: String,
        current_material: MaterialId,
    ) -> Self {
        Self {
            arn,
            created,
            description,
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
            origin: Origin::AwsKms,
            current_material,
            status: Status::Enabled,
        }
    }

    /// The key as it was stored: with its state and, when pending deletion, its deletion date.
    ///
    /// # Errors
    /// [`UnknownName`] when a deletion date stands without that state, or the state without a
    /// date.
    pub fn with_state(
        mut self,
        state: KeyState,
        deletion_date: Option<SystemTime>,
    ) -> Result<Self, UnknownName> {
        self.status = match (state, deletion_date) {
            (KeyState::Enabled, None) => Status::Enabled,
            (KeyState::Disabled, None) => Status::Disabled,
            (KeyState::PendingDeletion, Some(at)) => Status::PendingDeletion { at },
            _ => {
                return Err(UnknownName {
                    what: "key state with that deletion date",
                });
            }
        };
        Ok(self)
    }

    /// The key's state.
    pub fn state(&self) -> KeyState {
        match self.status {
            Status::Enabled => KeyState::Enabled,
            Status::Disabled => KeyState::Disabled,
            Status::PendingDeletion { .. } => KeyState::PendingDeletion,
        }
    }

    /// When the key will be deleted; only while it is pending deletion.
    pub fn deletion_date(&self) -> Option<SystemTime> {
        match self.status {
            Status::PendingDeletion { at } => Some(at),
            _ => None,
        }
    }

    /// Whether the waiting period is over: the key must then be treated as gone.
    pub fn is_due_for_deletion(&self, now: SystemTime) -> bool {
        self.deletion_date().is_some_and(|at| at <= now)
    }

    /// Whether the key's state permits `operation`.
    ///
    /// # Errors
    /// Those of [`KeyState::permits`].
    pub fn permits(&self, operation: Operation) -> Result<(), KmsError> {
        self.state().permits(operation, &self.arn)
    }

    /// Enables the key; an enabled one stays as it is.
    ///
    /// # Errors
    /// `KMSInvalidStateException` when pending deletion.
    pub fn enable(&mut self) -> Result<(), KmsError> {
        self.permits(Operation::EnableKey)?;
        self.status = Status::Enabled;
        Ok(())
    }

    /// Disables the key; a disabled one stays as it is.
    ///
    /// # Errors
    /// `KMSInvalidStateException` when pending deletion.
    pub fn disable(&mut self) -> Result<(), KmsError> {
        self.permits(Operation::DisableKey)?;
        self.status = Status::Disabled;
        Ok(())
    }

    /// Schedules the key's deletion and returns its date.
    ///
    /// # Errors
    /// `KMSInvalidStateException` when it is scheduled already.
    pub fn schedule_deletion(
        &mut self,
        now: SystemTime,
        window: DeletionWindow,
    ) -> Result<SystemTime, KmsError> {
        self.permits(Operation::ScheduleKeyDeletion)?;
        let at = now
            .checked_add(window.duration())
            .ok_or_else(|| KmsError::internal("key.deletion-date"))?;
        self.status = Status::PendingDeletion { at };
        Ok(at)
    }

    /// Cancels the deletion; the key is then disabled.
    ///
    /// # Errors
    /// `KMSInvalidStateException` when it is not pending deletion.
    pub fn cancel_deletion(&mut self) -> Result<(), KmsError> {
        self.permits(Operation::CancelKeyDeletion)?;
        self.status = Status::Disabled;
        Ok(())
    }
}
