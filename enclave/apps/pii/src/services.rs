//! The KMS and the security module, as sessions use them.

use std::env;

use anchorhold_enclave::kms::{Attester, Client, Endpoint, NonceSource};
use anchorhold_enclave::nsm::Nsm;
use anchorhold_enclave::recipient::SessionKey;
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Vsock;
use anchorhold_enclave::{Credentials, Refusal};
use zeroize::Zeroizing;

use crate::session::{KeyRequest, Services};

/// Where the KMS is. All of it is part of the measured image: its environment and its files.
pub struct Settings {
    host: String,
    port: u32,
    ca_file: String,
    nonce: NonceSource<'static>,
}

impl Settings {
    /// `ANCHORHOLD_KMS_HOST` (the name that TLS demands), `ANCHORHOLD_KMS_PORT` (the parent's vsock
    /// port that leads there), `ANCHORHOLD_KMS_CA` (the pinned authority), and
    /// `ANCHORHOLD_KMS_NONCE` (`none` for a KMS that gives no nonces, as AWS's).
    ///
    /// # Errors
    /// A variable's value is none of those.
    pub fn from_env() -> Result<Self, Box<dyn std::error::Error>> {
        let or = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        let nonce = NonceSource::of_setting(&or("ANCHORHOLD_KMS_NONCE", "kms"))
            .map_err(|error| format!("ANCHORHOLD_KMS_NONCE: {error}"))?;
        Ok(Self {
            host: or("ANCHORHOLD_KMS_HOST", "kms.anchorhold.internal"),
            port: or("ANCHORHOLD_KMS_PORT", "8000").parse()?,
            ca_file: or("ANCHORHOLD_KMS_CA", "/etc/anchorhold/kms-ca.pem"),
            nonce,
        })
    }
}

/// What all sessions of this enclave share.
pub struct Enclave {
    settings: Settings,
    tls: PinnedTls,
    nsm: Nsm,
}

impl Enclave {
    /// Opens the security module and pins the authority.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn new(settings: Settings) -> Result<Self, Box<dyn std::error::Error>> {
        let tls = PinnedTls::from_pem(&std::fs::read(&settings.ca_file)?)?;
        Ok(Self {
            settings,
            tls,
            nsm: Nsm::open()?,
        })
    }

    /// The services of one session, with a recipient key of its own.
    pub fn session(&self) -> Session<'_> {
        Session {
            enclave: self,
            recipient: SessionKey::default(),
        }
    }
}

/// The services of one session: both its keys are released to one fresh recipient key.
pub struct Session<'a> {
    enclave: &'a Enclave,
    recipient: SessionKey,
}

impl Services for Session<'_> {
    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let client = self.client(request)?;
        let recipient = self.recipient.key()?;
        let attester = Attester::new(&self.enclave.nsm, recipient, self.enclave.settings.nonce);
        let (wrapped, context) = (request.ciphertext, request.context);
        Ok(client.decrypt_attested(wrapped, context, request.key_arn, &attester)?)
    }

    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
        let nsm = &self.enclave.nsm;
        Ok(nsm.attest(None, Some(user_data), Some(nonce))?)
    }
}

impl Session<'_> {
    fn client(&self, request: &KeyRequest<'_>) -> Result<Client<Vsock>, Refusal> {
        let Settings { host, port, .. } = &self.enclave.settings;
        Ok(Client::new(
            Vsock::parent(*port),
            Endpoint::of_key(host, request.key_arn)?,
            self.enclave.tls.clone(),
            Credentials::from_json(request.credentials)?,
        ))
    }
}
