//! Frames between the enclave and the host: `type u8 | length u32 | payload`, big-endian.
//!
//! The host sends [`CONTRACT`]; for each party [`APPROVAL`], [`CHALLENGE`], [`CREDENTIALS`] and
//! [`START`], the first bytes of its sealed file; then [`READY`]. In the same order it sends the
//! rest of each file as [`RECORDS`] and [`END`]. The enclave sends for each party, in the
//! contract's order, [`ANSWER_TO`] and [`ANSWER`] in pieces; then [`STATEMENT`], [`DOCUMENT`] and
//! [`DONE`]; or [`REFUSED`] at any time, as its last frame.
//!
//! Where rows do not fit into its memory, the enclave sends them as [`PAGE_PUT`] while files come in.
//! When all have come it asks for them one by one with [`PAGE_GET`], and the host answers each with
//! [`PAGE`].
//!
//! The beginnings come first because approvals name the headers of all files, and no key is asked
//! for before all approvals have been checked.

use anchorhold_enclave::frame::PieceFrames;

/// The vsock port of the application.
pub const PORT: u32 = 5005;

/// The contract, canonical.
pub const CONTRACT: u8 = 0x01;
/// A party's approval, canonical; the frames of a party begin with it.
pub const APPROVAL: u8 = 0x02;
/// A party's challenge, 32 bytes: it knows its answer again by it.
pub const CHALLENGE: u8 = 0x03;
/// JSON of the credentials that the party gave the enclave for its KMS.
pub const CREDENTIALS: u8 = 0x04;
/// The first bytes of a party's sealed file, at most
/// [`PIECE`](anchorhold_enclave::frame::PIECE), its header among them. Empty when
/// there is no file.
pub const START: u8 = 0x05;
/// No more parties; empty.
pub const READY: u8 = 0x06;
/// A further piece of a party's sealed file.
pub const RECORDS: u8 = 0x07;
/// The end of a party's sealed file; empty.
pub const END: u8 = 0x08;
/// A page that was asked for.
pub const PAGE: u8 = 0x09;
/// The name of the party whose answer follows.
pub const ANSWER_TO: u8 = 0x81;
/// A piece of a party's sealed answer.
pub const ANSWER: u8 = 0x82;
/// JSON of the statement that the document is about.
pub const STATEMENT: u8 = 0x83;
/// The attestation document of all answers.
pub const DOCUMENT: u8 = 0x84;
/// The end of the answers; empty.
pub const DONE: u8 = 0x85;
/// A sealed page for the host to keep: its place as u32, big-endian, and its bytes.
pub const PAGE_PUT: u8 = 0x86;
/// Asks for the page that was last put at a place: u32, big-endian.
pub const PAGE_GET: u8 = 0x87;
/// JSON `{"rule", "message"}`: no answer comes.
pub const REFUSED: u8 = 0xFF;

/// The frames of the rest of a party's sealed file.
pub const RECORD_FRAMES: PieceFrames = PieceFrames {
    piece: RECORDS,
    end: END,
};

const _: () = assert!(
    anchorhold_joint::contract::MAX_CONTRACT <= anchorhold_enclave::frame::MAX_PAYLOAD,
    "a whole contract fits in one frame"
);
