//! The primitives by the RustCrypto project's crates.

use aes_gcm::aead::KeyInit;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm};
use hkdf::Hkdf;
use p384::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p384::ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::{
    Aead, CryptoFailure, Hash, KEY_LENGTH, NONCE_LENGTH, POINT_LENGTH, Provider, SHA384_LENGTH,
    Signer, TAG_LENGTH,
};

/// `aes-gcm`, `hkdf`, `sha2` and `p384`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RustCrypto;

impl Provider for RustCrypto {
    fn name(&self) -> &'static str {
        "RustCrypto"
    }

    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoFailure> {
        getrandom::fill(out).map_err(|_| CryptoFailure::of("random generation"))
    }

    fn hkdf_sha512(
        &self,
        secret: &[u8; KEY_LENGTH],
        salt: &[u8],
        info: &[u8],
        out: &mut [u8; KEY_LENGTH],
    ) -> Result<(), CryptoFailure> {
        let hkdf = Hkdf::<Sha512>::new(Some(salt), secret);
        hkdf.expand(info, out)
            .map_err(|_| CryptoFailure::of("HKDF"))
    }

    fn aes_256_gcm(&self, key: &[u8; KEY_LENGTH]) -> Result<Box<dyn Aead>, CryptoFailure> {
        Ok(Box::new(Gcm(Aes256Gcm::new(key.into()))))
    }

    fn sha384(&self) -> Box<dyn Hash> {
        Box::new(Sha384(sha2::Sha384::new()))
    }

    fn generate_signing_key(&self) -> Result<Box<dyn Signer>, CryptoFailure> {
        // FIPS 186-5, A.2.2: draw until the number is in [1, n-1]; for P-384 the first one
        // practically always is.
        let mut candidate = Zeroizing::new([0u8; SHA384_LENGTH]);
        for _ in 0..8 {
            self.fill_random(candidate.as_mut())?;
            if let Ok(key) = SigningKey::from_slice(candidate.as_ref()) {
                return Ok(Box::new(Ecdsa(key)));
            }
        }
        Err(CryptoFailure::of("ECDSA key generation"))
    }

    fn verify(
        &self,
        point: &[u8; POINT_LENGTH],
        digest: &[u8; SHA384_LENGTH],
        signature: &[u8],
    ) -> Result<(), CryptoFailure> {
        let failure = |_| CryptoFailure::of("ECDSA verification");
        let key = parse_point(point).ok_or(CryptoFailure::of("ECDSA verification"))?;
        let signature = Signature::from_der(signature).map_err(failure)?;
        key.verify_prehash(digest, &signature).map_err(failure)
    }

    fn is_point(&self, point: &[u8; POINT_LENGTH]) -> bool {
        parse_point(point).is_some()
    }
}

/// Compressed points begin with 2 or 3 (SEC 1, 2.3.3); the parser would also take 5, its own mark
/// for points without a sign.
fn parse_point(point: &[u8; POINT_LENGTH]) -> Option<VerifyingKey> {
    match point {
        [2 | 3, ..] => VerifyingKey::from_sec1_bytes(point).ok(),
        _ => None,
    }
}

struct Gcm(Aes256Gcm);

impl Aead for Gcm {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoFailure> {
        let tag = self
            .0
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(in_out));
        tag.map(Into::into)
            .map_err(|_| CryptoFailure::of("AES-GCM encryption"))
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoFailure> {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(in_out), tag.into())
            .map_err(|_| CryptoFailure::of("AES-GCM authentication"))
    }
}

struct Sha384(sha2::Sha384);

impl Hash for Sha384 {
    fn update(&mut self, bytes: &[u8]) {
        Digest::update(&mut self.0, bytes);
    }

    fn finish(self: Box<Self>) -> [u8; SHA384_LENGTH] {
        self.0.finalize().into()
    }
}

struct Ecdsa(SigningKey);

impl Signer for Ecdsa {
    fn public_point(&self) -> [u8; POINT_LENGTH] {
        let mut out = [0; POINT_LENGTH];
        let point = self.0.verifying_key().to_sec1_point(true);
        out.copy_from_slice(point.as_bytes());
        out
    }

    fn sign(&self, digest: &[u8; SHA384_LENGTH]) -> Result<Vec<u8>, CryptoFailure> {
        let signature: DerSignature = self
            .0
            .sign_prehash(digest)
            .map_err(|_| CryptoFailure::of("ECDSA signing"))?;
        Ok(signature.as_bytes().to_vec())
    }
}
