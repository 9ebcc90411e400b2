//! The encryption context: authenticated with a ciphertext, never encrypted, and what policies
//! ask for as `kms:EncryptionContext:<key>`.

use std::collections::BTreeMap;

/// Names and values that a ciphertext is bound to. Both may be any text; the request's size bounds
/// them (AWS's model has no limit of its own).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// The context without any pair.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Whether it has no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs in the order of their names' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value under `name`, which is case-sensitive here.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// An injective encoding: the number of pairs, then each name and value behind its length,
    /// all numbers 64-bit big-endian, sorted by the names' bytes. `{ab: c}` and `{a: bc}` differ.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_length(&mut out, self.0.len());
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            push_length(&mut out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

impl From<BTreeMap<String, String>> for EncryptionContext {
    fn from(pairs: BTreeMap<String, String>) -> Self {
        Self(pairs)
    }
}

impl FromIterator<(String, String)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Appends a length; `usize` has at most 64 bits on every platform this is built for.
fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u64).to_be_bytes());
}
