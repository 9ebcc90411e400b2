//! `pcr`: measures a file as a register would.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anchorhold_eif::{MAX_FILE_SIZE, Measurement};
use serde::Serialize;

use super::{Outcome, print};
use crate::args::PcrArgs;
use crate::error::AgentError;

/// Largest certificate file that is read, in bytes: what a signature section may hold.
const MAX_CERTIFICATE: u64 = anchorhold_eif::MAX_SIGNATURE_SIZE as u64;

#[derive(Debug, Serialize)]
enum Shown {
    #[serde(rename = "PCR")]
    Any(String),
    #[serde(rename = "PCR8")]
    Certificate(String),
}

/// Prints `{"PCR":hex}` of a file's bytes, or `{"PCR8":hex}` of a certificate's DER.
///
/// # Errors
/// [`AgentError::Io`] or [`AgentError::NoCertificate`].
pub fn run(args: &PcrArgs) -> Outcome {
    if let Some(path) = &args.input {
        let bytes = read(path, MAX_FILE_SIZE)?;
        print(&Shown::Any(Measurement::of(&bytes).to_string()))?;
    }
    if let Some(path) = &args.signing_certificate {
        let measured = certificate(path)?;
        print(&Shown::Certificate(measured.to_string()))?;
    }
    Ok(())
}

/// PCR8 measures the DER of the first certificate in the file.
fn certificate(path: &Path) -> Result<Measurement, AgentError> {
    let bytes = read(path, MAX_CERTIFICATE)?;
    let blocks = pem::parse_many(&bytes).unwrap_or_default();
    blocks
        .iter()
        .find(|block| block.tag() == "CERTIFICATE")
        .map(|block| Measurement::of(block.contents()))
        .ok_or(AgentError::NoCertificate {
            path: path.to_owned(),
        })
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, AgentError> {
    let reading = || AgentError::io(format!("reading {path:?}"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(reading())?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(reading())?;
    if bytes.len() as u64 > limit {
        return Err(reading()(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("c.pem");
        for text in [
            "",
            "rubbish",
            "-----BEGIN CERTIFICATE-----\nAA==\n",
            "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
        ] {
            fs::write(&path, text).expect("file");
            let error = certificate(&path).expect_err(text);
            assert_eq!(error.rule(), "pcr.certificate");
        }
        fs::write(&path, vec![b'x'; MAX_CERTIFICATE as usize + 1]).expect("file");
        assert_eq!(certificate(&path).expect_err("too large").rule(), "io");
    }

    #[test]
    fn a_certificates_der_is_measured_whatever_stands_around_it() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("c.pem");
        let text = "subject=x\n-----BEGIN CERTIFICATE-----\nZGVy\n-----END CERTIFICATE-----\n";
        fs::write(&path, text).expect("file");
        let measured = certificate(&path).expect("a certificate");
        assert_eq!(measured, Measurement::of(b"der"));
    }
}
