//! The signer's certificate (X.509, RFC 5280).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::SignatureError;

/// What a certificate says, in the words of nitro-cli's `describe-eif`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignerCertificate {
    /// The issuer's name: OpenSSL's long name of each attribute, and its value.
    #[serde(rename = "IssuerName")]
    pub issuer_name: BTreeMap<String, String>,
    /// OpenSSL's name of the algorithm that signed the certificate.
    #[serde(rename = "Algorithm")]
    pub algorithm: String,
    /// First moment of validity, `Jan  2 03:04:05 2030 GMT`.
    #[serde(rename = "NotBefore")]
    pub not_before: String,
    /// Last moment of validity.
    #[serde(rename = "NotAfter")]
    pub not_after: String,
    /// The signature on the certificate, upper-case hex with colons.
    #[serde(rename = "Signature")]
    pub signature: String,
}

pub(crate) struct Certificate<'a>(X509Certificate<'a>);

impl<'a> Certificate<'a> {
    pub fn parse(der: &'a [u8]) -> Result<Self, SignatureError> {
        let form = |reason: String| SignatureError::Form {
            what: "certificate",
            reason,
        };
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| form(error.to_string()))?;
        if rest.is_empty() {
            Ok(Self(certificate))
        } else {
            Err(form(format!("{} bytes follow it", rest.len())))
        }
    }

    /// Demands that `at` lies within the validity, first and last second included.
    pub fn check_validity(&self, at: SystemTime) -> Result<(), SignatureError> {
        let validity = self.0.validity();
        let now = match at.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(_) => -1,
        };
        if (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
            return Ok(());
        }
        Err(SignatureError::Validity {
            not_before: rfc3339(validity.not_before.to_datetime()),
            not_after: rfc3339(validity.not_after.to_datetime()),
            at: OffsetDateTime::from_unix_timestamp(now)
                .map_or_else(|_| format!("{now} s after the epoch"), rfc3339),
        })
    }

    /// The subject's public key: an uncompressed point for an elliptic-curve key.
    pub fn public_key(&self) -> &[u8] {
        &self.0.public_key().subject_public_key.data
    }

    /// The curve's identifier for an elliptic-curve key (RFC 5480), else the algorithm's.
    pub fn key_type(&self) -> String {
        const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
        let algorithm = &self.0.public_key().algorithm;
        let name = algorithm.algorithm.to_id_string();
        let curve = algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok());
        match curve {
            Some(curve) if name == EC_PUBLIC_KEY => curve.to_id_string(),
            _ => name,
        }
    }

    pub fn describe(&self) -> SignerCertificate {
        let attributes = self.0.issuer().iter_attributes().map(|attribute| {
            let oid = attribute.attr_type().to_id_string();
            let name = attribute_name(&oid).map_or(oid.clone(), str::to_owned);
            (name, attribute.as_str().unwrap_or("(not text)").to_owned())
        });
        let algorithm = self.0.signature_algorithm.algorithm.to_id_string();
        let signature = &self.0.signature_value.data;
        let octets: Vec<_> = signature
            .iter()
            .map(|octet| format!("{octet:02X}"))
            .collect();
        SignerCertificate {
            issuer_name: attributes.collect(),
            algorithm: algorithm_name(&algorithm).map_or(algorithm.clone(), str::to_owned),
            not_before: openssl_time(self.0.validity().not_before.to_datetime()),
            not_after: openssl_time(self.0.validity().not_after.to_datetime()),
            signature: octets.join(":"),
        }
    }
}

/// OpenSSL's long names of a distinguished name's usual attributes.
fn attribute_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "commonName",
        "2.5.4.4" => "surname",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "countryName",
        "2.5.4.7" => "localityName",
        "2.5.4.8" => "stateOrProvinceName",
        "2.5.4.9" => "streetAddress",
        "2.5.4.10" => "organizationName",
        "2.5.4.11" => "organizationalUnitName",
        "2.5.4.12" => "title",
        "2.5.4.42" => "givenName",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "0.9.2342.19200300.100.1.1" => "userId",
        "0.9.2342.19200300.100.1.25" => "domainComponent",
        _ => return None,
    })
}

/// OpenSSL's names of the usual algorithms that sign certificates.
fn algorithm_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        _ => return None,
    })
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// As OpenSSL prints a certificate's times: `Jan  2 03:04:05 2030 GMT`.
fn openssl_time(time: OffsetDateTime) -> String {
    let month = time.month().to_string();
    format!(
        "{} {:>2} {:02}:{:02}:{:02} {} GMT",
        month.get(..3).unwrap_or(&month),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.year()
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_printed_as_openssl_does() {
        let time = datetime!(2030-01-02 03:04:05 UTC);
        assert_eq!(openssl_time(time), "Jan  2 03:04:05 2030 GMT");
    }
}
