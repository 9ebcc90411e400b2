//! AWS Encryption SDK messages, version 2, sealed and opened as streams.
//!
//! Records travel to an enclave as messages that any AWS Encryption SDK can make, and what this
//! crate seals any AWS Encryption SDK can open. Two algorithm suites exist here, the two that
//! commit to their key: [`Suite::CommittedSigned`] (`0x0578`, the SDKs' default) and
//! [`Suite::Committed`] (`0x0478`). Every other suite, and version 1, is refused by name.
//!
//! # Opening
//!
//! A message is opened in the order in which its parts can be trusted, and the types keep it:
//!
//! 1. [`UnverifiedMessage::begin`] reads the header and nothing else. Its encryption context and
//!    encrypted data keys are claims so far: enough to ask KMS (or a [`raw_rsa`] key) for the data
//!    key, not enough to act upon.
//! 2. [`UnverifiedMessage::authenticate`] takes the data key and a [`ContextRule`], and checks
//!    context, key commitment and header tag, in this order. It gives an [`Opener`].
//! 3. The [`Opener`] checks number and tag of every frame before it passes the frame on. What it
//!    passes on is [`Unreleased`]: more frames may be missing, and the signature is not checked
//!    yet. Work on it, but let no result out.
//! 4. [`Opener::finish`] demands the final frame, the signature (suite `0x0578`) and the end of the
//!    input, and gives [`Verified`]. Only this value turns an [`Unreleased<T>`] into its `T`.
//!
//! ```
//! use anchorhold_envelope::{
//!     ContextRule, DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite,
//!     UnverifiedMessage,
//! };
//! use std::io::Write;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let context = EncryptionContext::from_pairs([("purpose", "records")])?;
//! let data_key = DataKey::generate()?;
//!
//! // The plan's context (with the signature's public key in it) is what a KMS wraps the key under.
//! let plan = SealPlan::new(Suite::CommittedSigned, context.clone())?;
//! let wrapped = EncryptedDataKey::new("example", b"key 1".to_vec(), b"wrapped".to_vec())?;
//! let mut sealer = plan.seal_to(Vec::new(), &data_key, vec![wrapped])?;
//! sealer.write_all(b"name,city\nAda,London\n")?;
//! let (message, sealed) = sealer.finish()?;
//!
//! let begun = UnverifiedMessage::begin(&message[..])?;
//! let mut opener = begun.authenticate(&data_key, &ContextRule::Exactly(context))?;
//! let mut output = opener.unreleased(Vec::new());
//! let verified = opener.open_into(&mut output)?;
//! let records: Vec<u8> = output.release(&verified)?;
//! assert_eq!(records, b"name,city\nAda,London\n");
//! assert_eq!(verified.header_sha384(), sealed.header_sha384());
//! # Ok(())
//! # }
//! ```
//!
//! # Several owners, and fewer calls
//!
//! [`keyring`] has messages that several parties can open, [`materials`] data keys that serve several
//! messages (as the SDKs' caching manager counts them), and [`bucket`] keys of which one call to the
//! KMS gives the wrapping keys of many messages. Pairs of the context may stay out of the header
//! ([`SealPlan::with_required_context`]). [`Outline`] tells of a message what anybody can see.
//!
//! # Unframed messages
//!
//! A body may also be one single ciphertext without frames. Such messages are opened, up to
//! [`Limits::unframed_length`] bytes, and never sealed. Sealers are to write frames only
//! (specification of the AWS Encryption SDK, client-apis/encrypt.md); a few SDKs still make the
//! other form on demand (the Python SDK with a `frame_length` of 0), and old files have it. A reader
//! has to hold all of it before it can check its tag, so that it costs the memory that frames save.
//!
//! # What an opened message does not prove
//!
//! Whoever holds the data key can make messages: with a symmetric suite, every reader is also a
//! possible writer. Suite `0x0578` proves that one party sealed all of it, header to end; who that
//! is rests on who could have the data key wrapped under the encryption context (with KMS, the
//! public key of the signature is part of that context). Nothing here says how old a message is,
//! or whether it was opened before.
//!
//! # Format
//!
//! AWS Encryption SDK message format reference, version 2; all integers big-endian:
//!
//! ```text
//! header   02 | suite u16 | message id [32] | context length u16 | context
//!          | key count u16 | count × (provider id, provider info, ciphertext: each u16 length + bytes)
//!          | content type u8 | frame length u32 | commitment key [32]
//!          | tag [16]                                (nonce: 12 zero bytes; AAD: all of the above)
//! frame    number u32 | nonce [12] | ciphertext [frame length] | tag [16]
//! final    FFFFFFFF | number u32 | nonce [12] | length u32 | ciphertext | tag [16]
//! unframed nonce [12] | length u64 | ciphertext | tag [16]
//! footer   length u16 | DER ECDSA P-384 over SHA-384 of header and body   (0x0578 only)
//! ```
#![forbid(unsafe_code)]

pub mod bucket;
pub mod crypto;
pub mod keyring;
pub mod materials;
pub mod raw_rsa;

mod body;
mod context;
mod derive;
mod edk;
mod error;
mod header;
pub mod limits;
mod open;
mod outline;
mod plan;
mod seal;
mod suite;
mod unreleased;

pub use context::{
    ContextError, ContextRule, EncryptionContext, PUBLIC_KEY_FIELD, RESERVED_PREFIX,
};
pub use derive::DataKey;
pub use edk::{AWS_KMS, EdkError, EncryptedDataKey};
pub use error::{OpenError, SealError};
pub use header::MessageId;
pub use limits::Limits;
pub use open::{FrameReader, Opener, UnverifiedMessage, Verified};
pub use outline::Outline;
pub use plan::SealPlan;
pub use seal::{Sealed, Sealer};
pub use suite::Suite;
pub use unreleased::{NotThisMessage, Unreleased, UnreleasedSink};
