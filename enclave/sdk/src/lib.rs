//! The enclave SDK: what an application inside an enclave needs to be given a key.
//!
//! - [`nsm`]: attestation documents and random bytes from the security module;
//! - [`recipient`]: the RSA key that is made inside, named in a document, and opens the answer;
//! - [`cms`]: the parser of that answer, CMS EnvelopedData;
//! - [`kms`]: a client of AWS KMS's API, with the `Recipient` flow on top;
//! - [`keyring`]: KMS keys for the envelope's multi-key messages, cached data keys and bucket keys;
//! - [`serve`], [`frame`], [`refusal`]: serving a parent, one session at a time, in bounded frames;
//! - [`sigv4`], [`http`], [`tls`], [`transport`]: what the client is made of.
//!
//! The data owner's tools use the same client over TCP.
//!
//! ```no_run
//! use anchorhold_enclave::kms::{Attester, Client, Endpoint, NonceSource};
//! use anchorhold_enclave::nsm::Nsm;
//! use anchorhold_enclave::recipient::RecipientKey;
//! use anchorhold_enclave::tls::PinnedTls;
//! use anchorhold_enclave::transport::Vsock;
//! use anchorhold_enclave::{Credentials, EncryptionContext};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (id, secret, ciphertext, key_arn) = ("", "", vec![0u8], "");
//! anchorhold_enclave::random::seed()?;
//! let nsm = Nsm::open()?;
//! let tls = PinnedTls::from_pem(&std::fs::read("/etc/anchorhold/kms-ca.pem")?)?;
//! let endpoint = Endpoint::new("kms.anchorhold.internal", "us-east-1")?;
//! let credentials = Credentials::new(id, secret, None)?;
//! let kms = Client::new(Vsock::parent(8000), endpoint, tls, credentials);
//! let context = EncryptionContext::from_pairs([("purpose", "records")])?;
//! let recipient = RecipientKey::generate()?;
//! let attester = Attester::new(&nsm, &recipient, NonceSource::Kms);
//! let key = kms.decrypt_attested(&ciphertext, &context, key_arn, &attester)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a released key rests on
//!
//! CMS is not authenticated: whoever sees the recipient's public key can make an answer that opens.
//! That the answer is the KMS's rests on TLS, which ends in the enclave against one pinned CA that
//! is part of the measurement. That it is the right key's rests on the full key ARN and the
//! encryption context, which the caller of [`kms::Client::decrypt_attested`] must know beforehand.
//!
//! Secrets are cleared from the memory of this crate when they are dropped. What the TLS library
//! holds of a connection while it lasts is the library's to clear.
//!
//! # Errors
//!
//! No error of this crate holds plaintext, key material or credentials: all are safe to log and to
//! send to the parent. They do hold what is public anyway: key ARNs, encryption contexts, and the
//! text of the KMS's refusals.
#![forbid(unsafe_code)]

pub mod cms;
pub mod frame;
pub mod http;
pub mod keyring;
pub mod kms;
pub mod nsm;
pub mod random;
pub mod recipient;
pub mod refusal;
pub mod serve;
pub mod sigv4;
pub mod tls;
pub mod transport;

mod credentials;

pub use anchorhold_envelope::EncryptionContext;
pub use credentials::{AccessKey, Credentials, CredentialsError};
pub use refusal::Refusal;
