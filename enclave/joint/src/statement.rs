//! What the attestation document of the answers says: its `user_data`.

use ciborium::Value;
use sha2::{Digest, Sha384};

use crate::contract::ContractHash;

/// Names the statement and its version; no other CBOR of this system holds it.
pub const DOMAIN: &str = "anchorhold-joint-answer/2";

/// All sealed answers of a run, bound to the contract, to the files that they were computed from,
/// and to the parties' challenge. The enclave makes it; each party makes it again from what it
/// received and compares.
///
/// The files are named because a contract does not name them: a party can approve two under one
/// contract, and the host then chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The contract's hash.
    pub contract: ContractHash,
    /// What makes this run another than the last: the challenge that the enclave was given.
    pub challenge: Vec<u8>,
    /// For every party of the contract, in its order: the name and SHA-384 of the header of its
    /// sealed file, as its approval names it.
    pub inputs: Vec<(String, [u8; 48])>,
    /// For every party of the contract, in its order: the name and SHA-384 of its sealed answer.
    pub answers: Vec<(String, [u8; 48])>,
}

impl Statement {
    /// The document's `user_data`: SHA-384 of the deterministic CBOR (RFC 8949, section 4.2.1) of
    /// `{"domain": tstr, "inputs": [* [tstr, bstr .size 48]], "answers": [* [tstr, bstr .size 48]],
    /// "contract": bstr .size 48, "challenge": bstr}`.
    pub fn user_data(&self) -> [u8; 48] {
        Sha384::digest(self.to_cbor()).into()
    }

    /// SHA-384 of a party's sealed answer.
    pub fn answer_of(&self, party: &str) -> Option<&[u8; 48]> {
        of(&self.answers, party)
    }

    /// SHA-384 of the header of a party's sealed file.
    pub fn input_of(&self, party: &str) -> Option<&[u8; 48]> {
        of(&self.inputs, party)
    }

    fn to_cbor(&self) -> Vec<u8> {
        let entries = [
            ("domain", Value::Text(DOMAIN.to_owned())),
            ("inputs", by_party(&self.inputs)),
            ("answers", by_party(&self.answers)),
            ("contract", Value::Bytes(self.contract.0.to_vec())),
            ("challenge", Value::Bytes(self.challenge.clone())),
        ];
        let entries = entries.map(|(key, value)| (Value::Text(key.to_owned()), value));
        let mut out = Vec::new();
        if ciborium::into_writer(&Value::Map(entries.into()), &mut out).is_err() {
            unreachable!("writing to a Vec does not fail");
        }
        out
    }
}

fn of<'h>(hashes: &'h [(String, [u8; 48])], party: &str) -> Option<&'h [u8; 48]> {
    let mut hashes = hashes.iter();
    hashes.find(|(name, _)| name == party).map(|(_, hash)| hash)
}

fn by_party(hashes: &[(String, [u8; 48])]) -> Value {
    let entry = |(party, hash): &(String, [u8; 48])| {
        let hash = Value::Bytes(hash.to_vec());
        Value::Array(vec![Value::Text(party.clone()), hash])
    };
    Value::Array(hashes.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            contract: ContractHash([1; 48]),
            challenge: vec![2; 32],
            inputs: vec![("a".to_owned(), [5; 48]), ("b".to_owned(), [6; 48])],
            answers: vec![("a".to_owned(), [3; 48]), ("b".to_owned(), [4; 48])],
        }
    }

    #[test]
    fn each_field_counts() {
        let changes: [fn(&mut Statement); 10] = [
            |s| s.contract.0[0] ^= 1,
            |s| s.challenge[0] ^= 1,
            |s| s.challenge.push(0),
            |s| s.inputs[1].1[47] ^= 1,
            |s| s.inputs.swap(0, 1),
            |s| s.inputs[0].0.push('x'),
            // What was put in does not pass for what came out.
            |s| std::mem::swap(&mut s.inputs, &mut s.answers),
            |s| s.answers[0].1 = [4; 48],
            |s| s.answers.swap(0, 1),
            |s| s.answers[0].0.push('x'),
        ];
        for change in changes {
            let mut other = statement();
            change(&mut other);
            assert_ne!(other.user_data(), statement().user_data());
        }
        assert_eq!(statement().answer_of("b"), Some(&[4; 48]));
        assert_eq!(statement().answer_of("c"), None);
        assert_eq!(statement().input_of("b"), Some(&[6; 48]));
        assert_eq!(statement().input_of("c"), None);
    }

    #[test]
    fn the_encoding_is_deterministic_cbor() {
        let cbor = statement().to_cbor();
        assert_eq!(&cbor[..8], b"\xA5\x66domain");
        let keys: [&[u8]; 5] = [
            b"\x66domain",
            b"\x66inputs",
            b"\x67answers",
            b"\x68contract",
            b"\x69challenge",
        ];
        let at = |k: &&[u8]| cbor.windows(k.len()).position(|w| w == *k);
        assert!(keys.is_sorted() && keys.iter().map(at).is_sorted());
        assert!(keys.iter().all(|k| at(k).is_some()));
    }
}
