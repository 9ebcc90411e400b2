//! What is not exactly a message of its sealer is refused, and nothing of it is released.

#[path = "../common/mod.rs"]
mod common;

mod frames;
mod headers;
mod proofs;

const FRAME: usize = 8;
/// Two whole frames and a piece.
const PLAINTEXT: &[u8] = b"abcdefgh12345678XYZ";
