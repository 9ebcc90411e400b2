//! Every bound of the protocol, with its source.

use std::ops::RangeInclusive;

use anchorhold_document::limits::MAX_DOCUMENT;

/// Bytes of a frame's body: what its two length bytes can say, and the longest Noise message
/// (Noise Protocol Framework §3).
pub const MAX_FRAME: usize = 65_535;

/// Bytes of a frame's length, big-endian.
pub const FRAME_HEADER: usize = 2;

/// Bytes that AES-256-GCM adds to what it seals (Noise §12.4).
pub const TAG: usize = 16;

/// Bytes of an X25519 public key (RFC 7748 §5).
pub const PUBLIC_KEY: usize = 32;

/// Bytes of application data in one record: a frame without the tag and the record's type.
pub const MAX_FRAGMENT: usize = MAX_FRAME - TAG - 1;

/// Bytes of a party's [`Claim`](crate::Claim). Room for a name and a few hashes or keys; a claim is
/// no place for data.
pub const MAX_CLAIM: usize = 1024;

/// Records sealed under one key. AES-GCM with a counter stays far within NIST SP 800-38D's 2^32
/// invocations, and a key found in memory opens at most 4 GiB of the past.
pub const RECORDS_PER_KEY: u64 = 1 << 16;

/// Bytes of the longest message that is accepted unless [`Terms`](crate::Terms) say otherwise.
pub const DEFAULT_MAX_MESSAGE: usize = 1 << 20;

/// Bytes of sealed frames that a [`Sealer`](crate::Sealer) hands over at once: four frames of the
/// greatest length. A transport that cuts what it is given into packets of a power of two, as vsock
/// does with 64 KiB, is left with one short packet in five instead of with every second one.
pub const BATCH: usize = 4 * (FRAME_HEADER + MAX_FRAME);

/// Bytes of the first message's payload: protocol and version in clear.
pub(crate) const HELLO: usize = 4;

/// A frame's body with the first message: key and [`HELLO`].
pub(crate) const FIRST: RangeInclusive<usize> = exactly(PUBLIC_KEY + HELLO);

/// A frame's body with the second message: key and the tag over nothing.
pub(crate) const SECOND: RangeInclusive<usize> = exactly(PUBLIC_KEY + TAG);

/// Bytes before the claim in an evidence record: type and length.
pub(crate) const EVIDENCE_HEADER: usize = 1 + 2;

/// A frame's body with an evidence record, from an empty claim and a document of one byte to the
/// largest of both.
pub(crate) const EVIDENCE: RangeInclusive<usize> =
    EVIDENCE_HEADER + 1 + TAG..=EVIDENCE_HEADER + MAX_CLAIM + MAX_DOCUMENT + TAG;

/// A frame's body with any other record: at least its type.
pub(crate) const RECORD: RangeInclusive<usize> = 1 + TAG..=MAX_FRAME;

const fn exactly(length: usize) -> RangeInclusive<usize> {
    length..=length
}

// An evidence record fits into one frame, whatever the document's limit becomes.
const _: () = assert!(EVIDENCE_HEADER + MAX_CLAIM + MAX_DOCUMENT + TAG <= MAX_FRAME);
