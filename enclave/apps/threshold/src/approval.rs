//! An owner's word that a message may be signed: Ed25519 over group, group key and message.
//!
//! Each signer's enclave asks for its own owner's, so that no host, and no other owner, can have an
//! enclave sign what its owner did not see.

use anchorhold_threshold::{Group, GroupKey};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::error::Refusal;

/// The bytes that an approval signs.
pub fn to_be_signed(group: &Group, key: &GroupKey, message: &[u8]) -> Vec<u8> {
    let mut bytes = b"anchorhold-threshold approval v1".to_vec();
    bytes.extend_from_slice(group.context());
    bytes.extend_from_slice(&key.0);
    bytes.extend_from_slice(message);
    bytes
}

/// Checks an approval.
///
/// # Errors
/// `sign.approval`.
pub fn check(
    public: &[u8; 32],
    group: &Group,
    key: &GroupKey,
    message: &[u8],
    approval: &[u8],
) -> Result<(), Refusal> {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(&to_be_signed(group, key, message), approval)
        .map_err(|_| {
            let message = "the approval is not this owner's, for this message and group";
            Refusal::new("sign.approval", message)
        })
}
