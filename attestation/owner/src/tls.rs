//! The owner's own certificate authority: its certificate goes into the image, so that TLS ends in
//! the enclave against nothing else.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
};
use time::{Duration, OffsetDateTime};

/// How long the certificates are valid. The authority's is measured with the image, and another
/// one is another image.
pub const VALIDITY: Duration = Duration::days(3650);
/// Clocks differ.
const BACKDATED: Duration = Duration::hours(1);

/// A new authority and a server certificate under it, in PEM.
pub struct ServerIdentity {
    /// The authority's certificate. Its key is gone: one authority, one server.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// The server's private key, PKCS#8.
    pub private_key: zeroize::Zeroizing<String>,
}

impl ServerIdentity {
    /// Makes both for the given host names and addresses.
    ///
    /// # Errors
    /// A name is none, or no randomness.
    pub fn generate(hosts: &[String], now: OffsetDateTime) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        validity(&mut authority, "Anchorhold data owner's KMS authority", now);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let authority = CertifiedIssuer::self_signed(authority, key)?;

        let mut server = CertificateParams::new(hosts)?;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        validity(
            &mut server,
            hosts.first().map_or("kms", String::as_str),
            now,
        );
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let certificate = server.signed_by(&key, &authority)?;
        Ok(Self {
            ca: authority.pem(),
            certificate: certificate.pem(),
            private_key: key.serialize_pem().into(),
        })
    }
}

fn validity(params: &mut CertificateParams, name: &str, now: OffsetDateTime) {
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now.saturating_sub(BACKDATED);
    params.not_after = now.saturating_add(VALIDITY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_another_authority() {
        let hosts = ["kms.anchorhold.internal".to_owned(), "127.0.0.1".to_owned()];
        let now = OffsetDateTime::now_utc();
        let one = ServerIdentity::generate(&hosts, now).unwrap();
        let two = ServerIdentity::generate(&hosts, now).unwrap();
        assert_ne!(one.ca, two.ca);
        assert!(one.private_key.contains("PRIVATE KEY"));
        assert!(!one.ca.contains("PRIVATE") && !one.certificate.contains("PRIVATE"));
    }
}
