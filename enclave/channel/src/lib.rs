//! Mutually attested channels between two enclaves, over any byte stream.
//!
//! Two enclaves that trust neither each other's hosts nor the way between them get a channel that
//! exists only if each has shown the other, with a document of its security module made for this
//! very session, that it is the image, under the root, that the other demands. Parents carry the
//! bytes; what they change, drop, repeat or reorder ends the channel with a refusal that names the
//! rule, what was expected and what came.
//!
//! - [`Channel`] runs it over `Read` and `Write`; [`Channel::split`] gives each direction a thread,
//!   and [`Channel::receive_into`] receives bulk in memory that is used again.
//! - [`Handshake`] and [`Session`] are the same without I/O: frames in, frames out ([`Deframer`]).
//!
//! Time, roots, demands and randomness are the caller's, as arguments; nothing here reads a clock.
//!
//! ```no_run
//! use std::os::unix::net::UnixStream;
//! use std::time::Duration;
//!
//! use anchorhold_channel::{Channel, Claim, PeerPolicy, SessionContext, Terms};
//! use anchorhold_verifier::{Pcr, Timestamp, TrustRoots};
//! # fn nsm(user_data: &[u8], nonce: Option<&[u8]>) -> Result<Vec<u8>, std::io::Error> { Ok(Vec::new()) }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (root_pem, image, contract) = (String::new(), Pcr([0; 48]), [0; 48]);
//! # let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
//! let peer = PeerPolicy::new(TrustRoots::from_pem(&root_pem)?, image, Duration::from_secs(300))
//!     .require_claim(Claim::new("signer 2")?);
//! let terms = Terms::new(SessionContext::from_sha384(contract), peer)
//!     .with_claim(Claim::new("signer 1")?);
//!
//! let socket = UnixStream::connect("peer.sock")?;
//! socket.set_read_timeout(Some(Duration::from_secs(10)))?;
//! // The enclave's clock, which init set from a document.
//! let now = Timestamp::try_from(std::time::SystemTime::now())?;
//! let mut channel = Channel::initiate(&socket, &socket, terms, &mut nsm, || now, &mut rng)?;
//! channel.send(b"round 1")?;
//! let answer = channel.receive()?;
//! channel.close()?;
//! # Ok(())
//! # }
//! ```
//!
#![doc = include_str!("protocol.md")]
#![doc = include_str!("security.md")]
#![forbid(unsafe_code)]

mod attestor;
mod binding;
mod deadline;
mod error;
mod evidence;
mod frame;
mod handshake;
mod keys;
pub mod limits;
mod policy;
mod primitives;
mod record;
mod stream;

pub use attestor::Attestor;
pub use binding::{Claim, ClaimTooLong, Role, SessionContext, Transcript, user_data};
pub use deadline::{Timed, Timeouts};
pub use error::{ChannelError, FrameError, HandshakeError, RecordError};
pub use frame::Deframer;
pub use handshake::{Established, Handshake, Progress};
pub use policy::{Peer, PeerPolicy, Terms};
pub use record::{Opened, Opener, Sealer, Session};
pub use stream::{Channel, Receiver, Sender};
