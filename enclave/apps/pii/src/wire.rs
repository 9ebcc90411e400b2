//! Frames between the enclave and whoever carries the records: `type u8 | length u32 | payload`,
//! big-endian.
//!
//! The carrier sends [`JOB`], [`CHALLENGE`], [`CREDENTIALS`], [`TOKEN_KEY`], then [`RECORDS`] in
//! pieces, none of them empty, and [`END`]. The enclave sends [`ROWS`] in pieces while it reads,
//! [`REPORT`] in pieces, [`DOCUMENT`], [`RELEASE`] and [`DONE`]; or [`REFUSED`] at any time, as its
//! last frame.

use anchorhold_enclave::frame::PieceFrames;

/// The vsock port of the application.
pub const PORT: u32 = 5005;

/// The owner's job, canonical.
pub const JOB: u8 = 0x01;
/// The owner's challenge, 16 to 64 bytes; the document's nonce.
pub const CHALLENGE: u8 = 0x02;
/// JSON of the enclave principal's credentials.
pub const CREDENTIALS: u8 = 0x03;
/// The sealed token key.
pub const TOKEN_KEY: u8 = 0x04;
/// A piece of the sealed records.
pub const RECORDS: u8 = 0x05;
/// The end of the records; empty.
pub const END: u8 = 0x06;
/// A piece of the sealed rows, unreadable until [`RELEASE`].
pub const ROWS: u8 = 0x81;
/// A piece of the sealed report, unreadable until [`RELEASE`].
pub const REPORT: u8 = 0x82;
/// JSON: the key of rows and report, for those who may have the answer.
pub const RELEASE: u8 = 0x83;
/// The attestation document of the answer.
pub const DOCUMENT: u8 = 0x84;
/// The end of the answer; empty.
pub const DONE: u8 = 0x85;
/// JSON `{"rule", "message"}`: no answer comes.
pub const REFUSED: u8 = 0xFF;

/// The frames of the sealed records.
pub const RECORD_FRAMES: PieceFrames = PieceFrames {
    piece: RECORDS,
    end: END,
};

const _: () = assert!(
    crate::job::MAX_JOB <= anchorhold_enclave::frame::MAX_PAYLOAD,
    "a whole job fits in one frame"
);
