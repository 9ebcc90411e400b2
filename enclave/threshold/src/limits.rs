//! Every bound of the protocol, with its source.

/// Participants of a group: rounds are all to all, and a group of organisations is small.
pub const MAX_PARTICIPANTS: u16 = 32;

/// Bytes of a message to be signed. Hash what is longer, as Ed25519 has no streaming form.
pub const MAX_SIGNED: usize = 64 * 1024;

/// Bytes of an owner's approval of a signature: room for any signature scheme and a short reason.
pub const MAX_APPROVAL: usize = 1024;

/// Values that one secret-shared sum adds side by side.
pub const MAX_VALUES: usize = 1024;

/// Bytes of an encoded message: the largest is a request to sign, or a vector of partial sums.
pub const MAX_MESSAGE: usize = MAX_SIGNED + MAX_APPROVAL + 1024;

/// Bytes of a share's encoding at rest: its own secret, and one verifying share per participant.
pub const MAX_SHARE: usize = 4096;

/// Bytes of a sealed share: the encoding in one frame, one header with a few wrapped keys.
pub const MAX_SEALED: usize = 32 * 1024;

const _: () = assert!(MAX_MESSAGE > MAX_VALUES * 17 + 512);
