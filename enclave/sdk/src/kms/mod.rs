//! A client of AWS KMS's API: JSON 1.1 over HTTP/1.1 over TLS, signed with SigV4.
//!
//! Each call opens a connection of its own, so that nothing is left behind in a proxy. A call is
//! repeated at most [`MAX_ATTEMPTS`] times in all, and only where that is safe: always when nothing
//! was sent or the KMS asked to slow down, otherwise only for operations that change nothing. It
//! ends within that many times its [`Timeouts`] and a second of pauses.
//!
//! A client works with any KMS that speaks the API; [`Client::attestation_nonce`] is the one
//! operation that AWS does not have.

mod attested;
mod error;
mod operations;
mod wire;

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::http::{Request, Response, exchange};
use crate::sigv4::{self, Scope};
use crate::tls::PinnedTls;
use crate::transport::{Connector, Timed};

pub use attested::{Attester, NonceSource, UnknownNonceSource};
pub use error::{ErrorKind, KmsError, ServiceError};
pub use operations::{DataKeyPair, Encrypted, KeyDescription};

/// Attempts of one call in all.
pub const MAX_ATTEMPTS: u32 = 3;

/// Pause before the second attempt; it grows fourfold.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Most bytes that KMS encrypts or decrypts (API model: Plaintext, 1 to 4096).
pub const MAX_PLAINTEXT: usize = 4096;

/// Most bytes of a ciphertext blob (API model: CiphertextBlob, 1 to 6144).
pub const MAX_CIPHERTEXT: usize = 6144;

/// Prefix of `X-Amz-Target` for AWS's operations.
const AWS_TARGET: &str = "TrentService.";

/// Prefix of `X-Amz-Target` for our own operations.
const OWN_TARGET: &str = "AnchorholdService.";

/// Whom the client talks to: the host name that TLS demands, and the region of the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    server_name: ServerName<'static>,
    region: String,
}

impl Endpoint {
    /// A host name or address without a port, and a region such as `us-east-1`.
    ///
    /// # Errors
    /// [`KmsError::Endpoint`]: not a host name, or a region with other characters than
    /// `a-z`, `0-9` and `-`.
    pub fn new(host: &str, region: &str) -> Result<Self, KmsError> {
        let server_name = ServerName::try_from(host.to_owned())
            .map_err(|_| KmsError::Endpoint { part: "host" })?;
        let in_region = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if region.is_empty() || region.len() > 32 || !region.bytes().all(in_region) {
            return Err(KmsError::Endpoint { part: "region" });
        }
        Ok(Self {
            host: host.to_owned(),
            server_name,
            region: region.to_owned(),
        })
    }

    /// A host name or address without a port, in the region of a key that it holds, by the key's ARN.
    ///
    /// # Errors
    /// Those of [`Endpoint::new`]; a text that is no ARN names no region.
    pub fn of_key(host: &str, key_arn: &str) -> Result<Self, KmsError> {
        // arn:partition:kms:REGION:account:key/id
        Self::new(host, key_arn.split(':').nth(3).unwrap_or_default())
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From there until the response is complete, TLS included.
    pub exchange: Duration,
}

impl Default for Timeouts {
    /// 10 s and 30 s: a TLS handshake takes seconds on an emulated CPU.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            exchange: Duration::from_secs(30),
        }
    }
}

/// A client for one endpoint with one set of credentials.
pub struct Client<C> {
    connector: C,
    endpoint: Endpoint,
    tls: PinnedTls,
    credentials: Credentials,
    timeouts: Timeouts,
    clock: fn() -> SystemTime,
}

/// Whether a call may be repeated after it may have reached the KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing there.
    Safe,
    /// It changes something, or carries a nonce that is good for one use.
    OnlyUnsent,
}

impl<C: Connector> Client<C> {
    /// A client with default time-outs and the system's clock.
    #[must_use]
    pub fn new(connector: C, endpoint: Endpoint, tls: PinnedTls, credentials: Credentials) -> Self {
        let timeouts = Timeouts::default();
        Self {
            connector,
            endpoint,
            tls,
            credentials,
            timeouts,
            clock: SystemTime::now,
        }
    }

    /// The same client with other time-outs.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The same client with another clock for its signatures.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.clock = clock;
        self
    }

    /// Calls an operation and decodes its answer.
    fn call<A: DeserializeOwned>(
        &self,
        prefix: &str,
        operation: &'static str,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<A, KmsError> {
        let body = wire::encode(request).map_err(|_| KmsError::Request { operation })?;
        let target = format!("{prefix}{operation}");
        let response = self.repeat(operation, &target, &body, repeat)?;
        // Operations that answer nothing send no body at all.
        let answer = if response.body.is_empty() {
            b"{}"
        } else {
            response.body.as_slice()
        };
        serde_json::from_slice(answer).map_err(|error| KmsError::Answer {
            operation,
            line: error.line(),
            column: error.column(),
        })
    }

    fn repeat(
        &self,
        operation: &'static str,
        target: &str,
        body: &[u8],
        repeat: Repeat,
    ) -> Result<Response, KmsError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            match self.attempt(operation, target, body) {
                Err(error) if attempt < MAX_ATTEMPTS && error.may_repeat(repeat) => {
                    thread::sleep(pause);
                    pause = pause.saturating_mul(4);
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// One connection, one signed request, one response; refusals become errors.
    fn attempt(
        &self,
        operation: &'static str,
        target: &str,
        body: &[u8],
    ) -> Result<Response, KmsError> {
        let mut stream = self.connect()?;
        let host = self.endpoint.host.as_str();
        let content_type = "application/x-amz-json-1.1";
        let signed = [
            ("Host", host),
            ("Content-Type", content_type),
            ("X-Amz-Target", target),
        ];
        let scope = Scope {
            region: &self.endpoint.region,
            service: "kms",
        };
        let signature = sigv4::sign(&signed, body, &self.credentials, scope, (self.clock)())?;

        let mut headers = signed.to_vec();
        headers.push(("X-Amz-Date", &signature.date));
        if let Some(token) = &signature.security_token {
            headers.push(("X-Amz-Security-Token", token));
        }
        headers.push(("Authorization", &signature.authorization));
        headers.push((
            "User-Agent",
            concat!("anchorhold/", env!("CARGO_PKG_VERSION")),
        ));
        headers.push(("Connection", "close"));
        let response = exchange(
            &mut stream,
            &Request {
                headers: &headers,
                body,
            },
        )
        .map_err(|source| KmsError::Http { operation, source })?;
        if response.status == 200 {
            return Ok(response);
        }
        Err(KmsError::Refused(ServiceError::from_response(
            operation, &response,
        )))
    }

    /// A connection whose TLS handshake is done: from here on the peer is the pinned CA's.
    fn connect(&self) -> Result<StreamOwned<ClientConnection, Timed<C::Stream>>, KmsError> {
        let stream = self
            .connector
            .connect(self.timeouts.connect)
            .map_err(KmsError::Connect)?;
        let mut stream = Timed::new(stream, Instant::now() + self.timeouts.exchange);
        let name = self.endpoint.server_name.clone();
        let mut tls = ClientConnection::new(self.tls.config(), name).map_err(KmsError::Tls)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).map_err(handshake_error)?;
        }
        Ok(StreamOwned::new(tls, stream))
    }
}

/// Tells a peer that TLS refuses from a connection that broke.
fn handshake_error(error: io::Error) -> KmsError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => KmsError::Tls(error),
        Err(error) => KmsError::Connect(error),
    }
}

/// Checks the length of what KMS bounds, before a connection is opened for it.
fn bounded(field: &'static str, bytes: &[u8], limit: usize) -> Result<(), KmsError> {
    if bytes.is_empty() || bytes.len() > limit {
        return Err(KmsError::Length {
            field,
            limit,
            found: bytes.len(),
        });
    }
    Ok(())
}

/// Demands that an answer is about the key that was asked for.
fn same_key(operation: &'static str, expected: &str, found: &str) -> Result<(), KmsError> {
    if expected != found {
        let (expected, found) = (expected.to_owned(), error::printable(found, 256));
        return Err(KmsError::OtherKey {
            operation,
            expected,
            found,
        });
    }
    Ok(())
}

/// A secret that an answer holds.
type Secret = Zeroizing<Vec<u8>>;
