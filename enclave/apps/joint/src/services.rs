//! The owners' KMSs and the security module, as sessions use them.

use std::env;

use anchorhold_document::PcrIndex;
use anchorhold_enclave::kms::{Attester, Client, Endpoint, NonceSource};
use anchorhold_enclave::nsm::Nsm;
use anchorhold_enclave::recipient::RecipientKey;
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Vsock;
use anchorhold_enclave::{Credentials, Refusal};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::session::{KeyRequest, Services};
use crate::submission::Measured;

/// What of the world is settled by the measured image: its environment.
pub struct Settings {
    first_port: u32,
    nonce: NonceSource<'static>,
}

impl Settings {
    /// `ANCHORHOLD_KMS_PORT` (the parent's vsock port that leads to the KMS of the contract's first
    /// party; the others' follow), and `ANCHORHOLD_KMS_NONCE` (`none` for KMSs that give no nonces,
    /// as AWS's).
    ///
    /// # Errors
    /// A variable's value is none of those.
    pub fn from_env() -> Result<Self, Box<dyn std::error::Error>> {
        let or = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        let nonce = NonceSource::of_setting(&or("ANCHORHOLD_KMS_NONCE", "kms"))
            .map_err(|error| format!("ANCHORHOLD_KMS_NONCE: {error}"))?;
        let first_port = or("ANCHORHOLD_KMS_PORT", "8000").parse()?;
        Ok(Self { first_port, nonce })
    }
}

/// What all sessions of this enclave share.
pub struct Enclave {
    settings: Settings,
    nsm: Nsm,
}

impl Enclave {
    /// Opens the security module.
    ///
    /// # Errors
    /// It is not there.
    pub fn new(settings: Settings) -> Result<Self, Box<dyn std::error::Error>> {
        let nsm = Nsm::open()?;
        Ok(Self { settings, nsm })
    }

    /// The services of one session.
    pub fn session(&self) -> Session<'_> {
        Session { enclave: self }
    }
}

/// The services of one session.
pub struct Session<'a> {
    enclave: &'a Enclave,
}

impl Services for Session<'_> {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn measured(&mut self) -> Result<Measured, Refusal> {
        let register = |index: u8| {
            let index = PcrIndex::new(index).map_err(|e| Refusal::new(e.rule(), e))?;
            let (pcr, _) = self.enclave.nsm.describe_pcr(index)?;
            Ok::<_, Refusal>(pcr)
        };
        Ok(Measured {
            pcrs: [register(0)?, register(1)?, register(2)?],
            pcr8: register(8)?,
        })
    }

    fn memory(&self) -> usize {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        // A quarter stays for everything else.
        available(&memory).unwrap_or_default() / 4 * 3
    }

    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let (client, key_arn) = self.client(request)?;
        // A key for this owner alone, made when its turn comes and gone when it has answered: what
        // another owner's KMS sends does not open under it. Owners do not trust each other's KMS.
        let recipient =
            RecipientKey::generate().map_err(|e| Refusal::from(e).about(request.party))?;
        let user_data = request.contract.user_data();
        let attester = Attester::new(&self.enclave.nsm, &recipient, self.enclave.settings.nonce);
        let attester = attester.with_user_data(&user_data);
        let (wrapped, context) = (&request.key.wrapped, &request.key.context);
        client
            .decrypt_attested(wrapped, context, key_arn, &attester)
            .map_err(|e| Refusal::from(e).about(request.party))
    }

    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
        let nsm = &self.enclave.nsm;
        Ok(nsm.attest(None, Some(user_data), Some(nonce))?)
    }
}

impl Session<'_> {
    /// A client for the party's KMS, against the authority that the contract names, and the key.
    fn client<'r>(&self, request: &KeyRequest<'r>) -> Result<(Client<Vsock>, &'r str), Refusal> {
        let party = request.party;
        let (place, terms) = request
            .contract
            .party(party)
            .ok_or_else(|| Refusal::of(party, "approval.unknown-party", "no party"))?;
        let of_party = |refusal: Refusal| refusal.about(party);
        let credentials = Credentials::from_json(request.credentials);
        let credentials = credentials.map_err(|e| of_party(e.into()))?;
        let tls = PinnedTls::from_pem(terms.kms_ca.as_bytes());
        let tls = tls.map_err(|e| of_party(e.into()))?;
        let (host, _) = terms.kms_host_and_port();
        let endpoint = Endpoint::of_key(host, &terms.kms_key);
        let endpoint = endpoint.map_err(|e| of_party(e.into()))?;
        // At most 16 parties.
        let port = u32::try_from(place).unwrap_or_default();
        let port = self.enclave.settings.first_port.saturating_add(port);
        let client = Client::new(Vsock::parent(port), endpoint, tls, credentials);
        Ok((client, &terms.kms_key))
    }
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(text: &str) -> Option<usize> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:  500 kB\nMemAvailable:     321 kB\n";
        assert_eq!(available(text), Some(321 * 1024));
        for none in [
            "",
            "MemAvailable: x kB",
            "MemAvailable: 3",
            "MemTotal: 3 kB",
        ] {
            assert_eq!(available(none), None);
        }
    }
}
