//! Owners with a raw RSA key each, here and in the Python SDK.

use std::sync::Arc;

use anchorhold_envelope::EncryptionContext;
use anchorhold_envelope::keyring::{Keyrings, SharedKeyring};
use anchorhold_envelope::raw_rsa::{KeyName, RsaKeyring, UnwrappingKey, WrappingKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// One owner's raw key.
pub struct Owner {
    name: &'static str,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl Owner {
    /// An owner with a new key.
    pub fn new(name: &'static str) -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        Self {
            name,
            pkcs8: pkcs8.as_ref().to_vec(),
            public: public.as_ref().to_vec(),
        }
    }

    /// The public half alone.
    pub fn wrapping(&self) -> WrappingKey {
        WrappingKey::from_public_key_der(self.key_name(), &self.public).unwrap()
    }

    fn key_name(&self) -> KeyName {
        KeyName::new("owners", self.name).unwrap()
    }

    /// The keyring here, with both halves or the public one.
    pub fn keyring(&self, both: bool) -> RsaKeyring {
        let name = self.key_name();
        let unwrapping = UnwrappingKey::from_pkcs8_der(name.clone(), &self.pkcs8).unwrap();
        let both = both.then_some(unwrapping);
        RsaKeyring::new(name, Some(self.wrapping()), both)
    }

    /// The key as the Python scripts take it; `half` says which of its halves are used.
    pub fn for_python(&self, half: &str) -> Value {
        let pem = |label: &str, der: &[u8]| {
            let body = STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        json!({
            "namespace": "owners",
            "name": self.name,
            "private_key": pem("PRIVATE KEY", &self.pkcs8),
            "public_key": pem("PUBLIC KEY", &self.public),
            "half": half,
        })
    }
}

/// Two of them.
pub fn owners() -> [Owner; 2] {
    [Owner::new("one"), Owner::new("two")]
}

/// What these owners can open; with public halves only, what anybody can seal for them.
pub fn keyrings(owners: &[&Owner], both: bool) -> Keyrings {
    let shared = |owner: &&Owner| Arc::new(owner.keyring(both)) as SharedKeyring;
    Keyrings::new(owners.iter().map(shared).collect()).unwrap()
}

/// The pairs of [`all`].
pub const PAIRS: [(&str, &str); 4] = [
    ("stored", "1"),
    ("\u{ff5e}", "fullwidth"),
    ("\u{1f511}", "key"),
    ("tenant", "blue"),
];

/// The context of messages that go to and fro.
pub fn all() -> EncryptionContext {
    EncryptionContext::from_pairs(PAIRS).unwrap()
}

/// Bytes that show a frame in the wrong place.
pub fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 7)) as u8).collect()
}

/// A field of an answer, which must have it.
pub fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_else(|| panic!("{answer}"))
}
