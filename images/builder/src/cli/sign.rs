//! Signing images: a command of its own, and flags of those that make images.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anchorhold_eif_signature::{Existing, SigningIdentity};
use clap::Args;
use zeroize::Zeroizing;

use super::{print, progress, read_image};
use crate::error::Error;
use crate::output::write_atomically;
use crate::pack::Packed;
use crate::report::BuildReport;
use crate::sign::signed;

/// Largest certificate or key file that is read, in bytes: this project's own limit. A certificate
/// has to fit a signature section; key files are of a few hundred bytes.
const MAX_PEM_SIZE: u64 = 64 << 10;

/// Sign an image in place and print its measurements, PCR8 of the certificate among them.
///
/// The private key is PEM (PKCS#8 or SEC1) on P-256, P-384 or P-521, without a passphrase.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  anchorhold-image sign --eif-path hello.eif \\\n      \
        --signing-certificate certificate.pem --private-key key.pem"
)]
pub(super) struct SignCommand {
    /// The image
    #[arg(long, value_name = "FILE")]
    eif_path: PathBuf,
    /// The signer's certificate in PEM
    #[arg(long, value_name = "FILE")]
    signing_certificate: PathBuf,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE")]
    private_key: PathBuf,
    /// Where to write the signed image [default: in place of the image]
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Replace the signature that the image has
    #[arg(long)]
    replace: bool,
}

/// Flags with which `build` and `pack` sign what they make.
#[derive(Debug, Args)]
pub(super) struct SigningOptions {
    /// Sign the image with this certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "private_key")]
    signing_certificate: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "signing_certificate")]
    private_key: Option<PathBuf>,
}

impl SignCommand {
    pub fn run(&self) -> Result<(), Error> {
        let at = SystemTime::now();
        let identity = identity(&self.signing_certificate, &self.private_key, at)?;
        let file = read_image(&self.eif_path)?;
        let existing = match self.replace {
            true => Existing::Replace,
            false => Existing::Refuse,
        };
        let packed = signed(&file, &identity, existing, at)?;
        let output = self.output_file.as_ref().unwrap_or(&self.eif_path);
        write_atomically(output, &packed.bytes)?;
        progress(&format!("signed {}", output.display()));
        print(&BuildReport::from(&packed.measurements))
    }
}

impl SigningOptions {
    /// Who signs, if anybody: read before anything is built, which takes long.
    pub fn identity(&self) -> Result<Option<SigningIdentity>, Error> {
        match (&self.signing_certificate, &self.private_key) {
            (Some(certificate), Some(key)) => {
                identity(certificate, key, SystemTime::now()).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Signs what was made, if anybody does.
pub(super) fn finish(packed: Packed, identity: Option<&SigningIdentity>) -> Result<Packed, Error> {
    match identity {
        Some(identity) => signed(&packed.bytes, identity, Existing::Refuse, SystemTime::now()),
        None => Ok(packed),
    }
}

fn identity(certificate: &Path, key: &Path, at: SystemTime) -> Result<SigningIdentity, Error> {
    // nitro-cli takes a key's name in AWS KMS here.
    if key.as_os_str().as_encoded_bytes().starts_with(b"arn:") {
        return Err(Error::KeyElsewhere { key: key.into() });
    }
    let certificate = read_pem(certificate)?;
    let key = read_pem(key)?;
    Ok(SigningIdentity::from_pem(&certificate, &key, at)?)
}

/// A whole small file. Its buffer never moves, so that no copy of a key stays behind.
fn read_pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PEM_SIZE as usize + 1));
    let mut buffer = Zeroizing::new([0; 4096]);
    let mut file = File::open(path).map_err(Error::read(path))?;
    loop {
        let count = match file.read(buffer.as_mut_slice()) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::read(path)(error)),
        };
        if (bytes.len() + count) as u64 > MAX_PEM_SIZE {
            let error = io::Error::other(format!("it has more than {MAX_PEM_SIZE} bytes"));
            return Err(Error::read(path)(error));
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}
