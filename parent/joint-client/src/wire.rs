//! The joint-analysis application's frames, as their carrier sees them.
//! The carrier decides nothing; it only keeps the order and the bounds.

/// The vsock port of the application.
pub const PORT: u32 = 5005;

/// The largest page in bytes.
pub const MAX_PAGE: usize = 64 * 1024;
/// Bytes of a page's place.
pub const PLACE: usize = 4;

/// The contract.
pub const CONTRACT: u8 = 0x01;
/// A party's approval; the frames of a party begin with it.
pub const APPROVAL: u8 = 0x02;
/// A party's challenge.
pub const CHALLENGE: u8 = 0x03;
/// The credentials that a party gave the enclave for its KMS.
pub const CREDENTIALS: u8 = 0x04;
/// The first bytes of a party's sealed file.
pub const START: u8 = 0x05;
/// No more parties.
pub const READY: u8 = 0x06;
/// A further piece of a party's sealed file.
pub const RECORDS: u8 = 0x07;
/// The end of a party's sealed file.
pub const END: u8 = 0x08;
/// A page that was asked for.
pub const PAGE: u8 = 0x09;
/// The name of the party whose answer follows.
pub const ANSWER_TO: u8 = 0x81;
/// A piece of a party's sealed answer.
pub const ANSWER: u8 = 0x82;
/// The statement that the document is about.
pub const STATEMENT: u8 = 0x83;
/// The attestation document of all answers.
pub const DOCUMENT: u8 = 0x84;
/// The end of the answers.
pub const DONE: u8 = 0x85;
/// A sealed page to keep: its place as u32, big-endian, and its bytes. Places are
/// taken in their order, each once.
pub const PAGE_PUT: u8 = 0x86;
/// Asks for the page of a place: u32, big-endian.
pub const PAGE_GET: u8 = 0x87;
/// The enclave refuses; JSON `{"rule", "message"}`.
pub const REFUSED: u8 = 0xFF;
