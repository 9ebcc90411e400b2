//! Files and standard input, read within bounds.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anchorhold_document::DocumentError;
use anchorhold_document::limits::MAX_DOCUMENT;
use anchorhold_verifier::VerifyError;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Failure;

/// Bytes of the largest document in hex, with as much again for line breaks.
const MAX_INPUT: usize = 4 * MAX_DOCUMENT;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a document in any of its three forms.
pub(super) fn document(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if file == Path::new("-") {
        read(io::stdin().lock(), MAX_INPUT as u64)
    } else {
        File::open(file).and_then(|file| read(file, MAX_INPUT as u64))
    };
    let bytes = bytes.map_err(|source| Failure::Unreadable {
        file: file.display().to_string(),
        source,
    })?;
    if bytes.len() > MAX_INPUT {
        let error = DocumentError::TooLarge {
            item: "input",
            limit: MAX_INPUT,
            got: bytes.len(),
        };
        return Err(Failure::Refused(VerifyError::Document(error)));
    }
    Ok(decode(bytes))
}

/// Reads up to one byte past `limit`, so that more than that shows.
fn read(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Raw documents begin with 0x84 or 0xD2, which no text does: text is hex if it can be and begins
/// with one of these two, else base64, and what is neither is left for the codec to refuse.
fn decode(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.is_ascii() {
        return bytes;
    }
    let text: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    match hex::decode(&text) {
        Ok(decoded) if matches!(decoded.first(), Some(0x84 | 0xD2)) => decoded,
        _ => BASE64.decode(&text).unwrap_or(bytes),
    }
}
