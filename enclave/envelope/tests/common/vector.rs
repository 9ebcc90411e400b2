//! The vector files of `vectors/`, which `make_vectors.py` writes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anchorhold_envelope::crypto::Provider;
use anchorhold_envelope::{ContextRule, DataKey, EncryptionContext};

use super::{Opening, open_with};

/// Where they lie.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// What a file tells.
pub struct Vector {
    pub name: String,
    pub fields: HashMap<String, String>,
    context: EncryptionContext,
}

impl Vector {
    /// Reads the file of that name.
    pub fn named(name: &str) -> Self {
        Self::read(&folder().join(name).with_extension("vec"))
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        assert!(
            lines.next().unwrap().starts_with("# "),
            "a vector says what it shows"
        );
        let pairs: Vec<(&str, &str)> = lines
            .map(|line| {
                line.split_once(": ")
                    .unwrap_or((line.trim_end_matches(':'), ""))
            })
            .collect();
        let context = pairs.iter().filter(|(field, _)| *field == "context");
        let context = context.map(|(_, pair)| pair.split_once('=').unwrap());
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            context: EncryptionContext::from_pairs(context).unwrap(),
            fields: pairs
                .iter()
                .map(|(field, value)| ((*field).into(), (*value).into()))
                .collect(),
        }
    }

    /// Opens a message, this one or a changed one, with the vector's data key and exactly its context.
    pub fn open(&self, provider: &'static dyn Provider, message: &[u8]) -> Opening {
        let key = DataKey::from_bytes(&self.bytes("data-key")).unwrap();
        let rule = ContextRule::Exactly(self.context.clone());
        open_with(provider, message, &key, &rule)
    }

    /// A field in hexadecimal.
    pub fn bytes(&self, field: &str) -> Vec<u8> {
        hex::decode(self.fields[field].trim()).unwrap()
    }
}
