//! Documents with chains of any shape, signed correctly: rcgen issues the certificates, which
//! shares no code with the security module.

use std::collections::BTreeMap;

use anchorhold_document::{AttestationDocument, DocumentToSign, Pcr, PcrIndex};
use anchorhold_verifier::{RootSha256, Timestamp, TrustRoots};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm, SigningKey,
};
use time::{Duration, OffsetDateTime};

use super::NOW;

/// One certificate to be.
pub struct Link {
    pub name: &'static str,
    pub is_ca: IsCa,
    pub usages: Vec<KeyUsagePurpose>,
    /// Seconds before and after [`NOW`].
    pub valid: (i64, i64),
    pub algorithm: &'static SignatureAlgorithm,
    pub extensions: Vec<CustomExtension>,
    /// Whether the issuer's name stands on it without the issuer's signature.
    pub signed_by_another: bool,
}

impl Link {
    pub fn issuer(name: &'static str, path_length: Option<u8>) -> Self {
        let constraints = match path_length {
            None => BasicConstraints::Unconstrained,
            Some(length) => BasicConstraints::Constrained(length),
        };
        Self {
            name,
            is_ca: IsCa::Ca(constraints),
            usages: vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::KeyCertSign,
            ],
            valid: (3_600, 86_400),
            algorithm: &PKCS_ECDSA_P384_SHA384,
            extensions: vec![],
            signed_by_another: false,
        }
    }

    pub fn leaf(name: &'static str) -> Self {
        Self {
            is_ca: IsCa::ExplicitNoCa,
            usages: vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::ContentCommitment,
            ],
            valid: (3, 10_800),
            ..Self::issuer(name, None)
        }
    }

    fn parameters(&self) -> CertificateParams {
        let now =
            OffsetDateTime::from_unix_timestamp((NOW.as_millis() / 1000).cast_signed()).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, self.name);
        parameters.is_ca = self.is_ca;
        parameters.key_usages = self.usages.clone();
        parameters.not_before = now - Duration::seconds(self.valid.0);
        parameters.not_after = now + Duration::seconds(self.valid.1);
        parameters.custom_extensions = self.extensions.clone();
        parameters
    }
}

/// Root, regional, zonal, instance and leaf as AWS and our module make them.
pub fn links() -> Vec<Link> {
    vec![
        Link::issuer("root", None),
        Link::issuer("regional", Some(2)),
        Link::issuer("zonal", Some(1)),
        Link::issuer("instance", Some(0)),
        Link::leaf("leaf"),
    ]
}

/// A chain whose leaf can sign.
pub struct Forged {
    pub certificates: Vec<Vec<u8>>,
    pub leaf_key: KeyPair,
}

/// Issues each link by the one before.
pub fn chain(links: &[Link]) -> Forged {
    let keys: Vec<KeyPair> = links
        .iter()
        .map(|link| KeyPair::generate_for(link.algorithm).unwrap())
        .collect();
    let stranger = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let certificates = links.iter().enumerate().map(|(index, link)| {
        let above = index.saturating_sub(1);
        let key = if link.signed_by_another {
            &stranger
        } else {
            &keys[above]
        };
        let issuer = Issuer::new(links[above].parameters(), key);
        link.parameters()
            .signed_by(&keys[index], &issuer)
            .unwrap()
            .der()
            .to_vec()
    });
    let certificates = certificates.collect();
    Forged {
        certificates,
        leaf_key: keys.into_iter().next_back().unwrap(),
    }
}

impl Forged {
    /// Trusts the first certificate.
    pub fn roots(&self) -> TrustRoots {
        TrustRoots::from_iter([RootSha256::of_der(&self.certificates[0])])
    }

    /// A document with these certificates.
    pub fn document(&self) -> AttestationDocument {
        let (leaf, bundle) = self.certificates.split_last().unwrap();
        AttestationDocument {
            module_id: "i-0123456789abcdef0-enc0123456789abcdef".to_owned(),
            timestamp_ms: NOW.as_millis(),
            pcrs: BTreeMap::from([(PcrIndex::PCR0, Pcr([1; 48]))]),
            certificate: leaf.clone(),
            cabundle: bundle.to_vec(),
            public_key: None,
            user_data: None,
            nonce: None,
        }
    }

    /// The document signed by the leaf.
    pub fn signed(&self) -> Vec<u8> {
        self.sign(&self.document())
    }

    pub fn sign(&self, document: &AttestationDocument) -> Vec<u8> {
        let document = DocumentToSign::new(document).unwrap();
        let signature = raw(&self.sign_der(&document.to_be_signed()));
        document.with_signature(signature).to_bytes()
    }

    /// A DER signature by the leaf.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        self.leaf_key.sign(message).unwrap()
    }
}

/// A DER signature as r ‖ s.
pub fn raw(der: &[u8]) -> [u8; 96] {
    p384::ecdsa::Signature::from_der(der)
        .unwrap()
        .to_bytes()
        .into()
}

/// Seconds after [`NOW`].
pub fn later(seconds: u64) -> Timestamp {
    NOW.saturating_add(std::time::Duration::from_secs(seconds))
}
